//! The records that stand for a placement: SRV records whose targets are tokens. They are sealed when they are asked for:
//! a cipher's one step for all of an answer costs less than fetching prepared ones from memory, and nothing has to be made
//! when a release, a key ring or a hundred thousand services arrive.

use dns_engine::{Tailored, name};
use route_token::{LENGTH, Payload, Token, ZoneKeys};
use traffic_map::{MAX_CHOICES, PlacementView, Ranked, services::Service};

/// A zone of tokens, and what they are sealed with.
pub struct TokenZone {
    /// Lower-cased wire name.
    name: Box<[u8]>,
    keys: ZoneKeys,
}

/// One SRV record of an answer; the port is the service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Lower is tried first (RFC 2782): 0 for regions with a share, then one for each fallback.
    pub priority: u16,
    /// Share of the clients, in thousandths, among records of the same priority.
    pub weight: u16,
    /// The region that the token stands for.
    pub region: u16,
    /// The token.
    pub token: Token,
    /// `<token>.<token zone>` in wire form.
    pub target: Vec<u8>,
}

impl Record {
    /// The data of the SRV record.
    pub fn data(&self, port: u16) -> Vec<u8> {
        let numbers = [self.priority, self.weight, port].map(u16::to_be_bytes);
        [numbers.as_flattened(), &self.target].concat()
    }
}

impl TokenZone {
    /// `name` is lower-cased and in wire form, `keys` are those of this zone.
    pub fn new(name: &[u8], keys: ZoneKeys) -> Self {
        let name = name.into();
        Self { name, keys }
    }

    /// Adds the records of a service for a placement to an answer; `assumed` if nobody told the client's network.
    #[inline]
    pub fn answer(
        &self,
        service: &Service,
        placement: PlacementView<'_>,
        assumed: bool,
        answer: &mut Tailored,
    ) {
        let port = service.srv.port;
        self.each(service, placement, assumed, |ranked, token| {
            let Ranked {
                priority, weight, ..
            } = ranked;
            answer.srv_below(priority, weight, port, token.as_bytes(), &self.name);
        });
    }

    /// The same records for those who want to look at them.
    pub fn records(
        &self,
        service: &Service,
        placement: PlacementView<'_>,
        assumed: bool,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        self.each(service, placement, assumed, |ranked, token| {
            let length = [LENGTH as u8]; // 27
            records.push(Record {
                priority: ranked.priority,
                weight: ranked.weight,
                region: ranked.region,
                token: *token,
                target: [&length, token.as_bytes(), &self.name].concat(),
            });
        });
        records
    }

    #[inline]
    fn each(
        &self,
        service: &Service,
        placement: PlacementView<'_>,
        assumed: bool,
        mut show: impl FnMut(Ranked, &Token),
    ) {
        let mut payloads = [Payload::default(); MAX_CHOICES];
        let answers = usize::from(service.srv.answers).min(placement.choices.len());
        let count = answers.min(MAX_CHOICES);
        for (payload, choice) in payloads[..count].iter_mut().zip(placement.choices) {
            *payload = Payload {
                service: service.id,
                region: choice.region,
                placement: placement.id,
                assumed,
            };
        }
        let mut ranked = placement.ranked();
        self.keys.seal_each(&payloads[..count], |token| {
            if let Some(ranked) = ranked.next() {
                show(ranked, token);
            }
        });
    }
}

/// True if a token in front of this wire name is still a name (255 octets).
pub fn fits(zone: &[u8]) -> bool {
    1 + LENGTH + zone.len() <= name::NAME_MAX
}
