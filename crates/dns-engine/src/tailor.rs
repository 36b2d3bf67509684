//! The hook for answers that depend on who asks, and the buffer they are composed in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::ede::ExtendedError;
use crate::hashed::HashedName;
use crate::rrset::RrSet;
use crate::rtype;
use crate::writer::{QUESTION_POINTER, RECORD_HEAD};

/// What a program plugs in: answers that depend on who asks.
///
/// Asked for every name inside a loaded zone (class IN, the root excepted), before the zone itself,
/// and again for the target of an alias. Names below a delegation are asked for as well: answer `Zone`.
pub trait Tailor: Send + Sync {
    /// Decides and, for [`Verdict::Answer`], fills in records. Whatever the verdict, a scope that was
    /// set is sent, so a `Zone` verdict that depended on the client must set it too.
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict;

    /// Which types a name (lower-cased wire form) has because of this tailor, for a proof that it has no others
    /// (RFC 9824 §3.2). It has to be true for every client, as validators may take the proof for all of them
    /// (RFC 8198); a type that only some clients get counts as one that is there.
    fn types(&self, _name: &[u8]) -> Types {
        Types::Zone
    }

    /// Shows every record set this tailor can answer with, with its owner (lower-cased wire form), as far as they are
    /// finite and known: so that they can be signed beforehand.
    fn known(&self, _show: &mut dyn FnMut(&[u8], &RrSet)) {}
}

/// The types of a name, as far as a tailor has a say in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// What the zone has.
    Zone,
    /// These beside what the zone has.
    Beside(&'static [u16]),
    /// These, whatever the zone has.
    Alone(&'static [u16]),
}

impl Types {
    /// Those that come from the tailor.
    pub(crate) fn listed(self) -> &'static [u16] {
        match self {
            Self::Zone => &[],
            Self::Beside(types) | Self::Alone(types) => types,
        }
    }
}

/// For a tailor that others look at as well.
impl<T: Tailor + ?Sized> Tailor for Arc<T> {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        T::tailor(self, question, client, answer)
    }

    fn types(&self, name: &[u8]) -> Types {
        T::types(self, name)
    }

    fn known(&self, show: &mut dyn FnMut(&[u8], &RrSet)) {
        T::known(self, show);
    }
}

/// The tailor of a server that has only zones.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZonesOnly;

impl Tailor for ZonesOnly {
    fn tailor(&self, _: &Question<'_>, _: &Client, _: &mut Tailored) -> Verdict {
        Verdict::Zone
    }
}

/// What the tailor decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The zone answers.
    Zone,
    /// The records in the buffer are the answer; without any it is `NoData`. For ANY, whatever the buffer
    /// holds: the name has records of some type.
    Answer,
    /// The name exists, but not with this type, and for ANY with none at all: NOERROR with the zone's SOA.
    NoData,
    /// The name does not exist: NXDOMAIN with the zone's SOA.
    NxDomain,
    /// The query is refused; without another extended error it is "prohibited".
    Refused,
    /// The server cannot answer just now; without another extended error it is "not ready".
    ServFail,
}

/// What is asked, class IN.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The name, with what tables of names are asked by.
    pub name: &'a HashedName,
    /// Type number; may be ANY (255), for which records are not used, only the verdict.
    pub rtype: u16,
}

impl<'a> Question<'a> {
    /// The labels from the left, the root label left out.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = self.name;
        (0..name.label_count()).map(move |place| name.label(place))
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Source address of the query; an IPv4-mapped one is given as IPv4.
    pub source: IpAddr,
    /// The client behind a resolver; `None` too if it discloses nothing (SOURCE 0).
    pub subnet: Option<ClientSubnet>,
}

/// EDNS Client Subnet of a query (RFC 7871), checked: bits beyond `source_len` are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSubnet {
    /// Network address.
    pub address: IpAddr,
    /// Prefix length, at least 1.
    pub source_len: u8,
}

/// More than any message holds, so that no answer is cut here.
const OCTETS_MAX: usize = 65_535;

/// The records of a tailored answer, composed as they will be sent.
pub struct Tailored {
    rtype: u16,
    ttl: u32,
    scope: u8,
    count: u16,
    records: Vec<u8>,
    extended_error: Option<ExtendedError>,
}

impl Tailored {
    pub(crate) fn new() -> Self {
        let records = Vec::with_capacity(4096);
        Self {
            rtype: 0,
            ttl: 0,
            scope: 0,
            count: 0,
            records,
            extended_error: None,
        }
    }

    /// A buffer outside a server, for a tailor's own tests.
    pub fn for_type(rtype: u16) -> Self {
        let mut tailored = Self::new();
        tailored.reset(rtype);
        tailored
    }

    pub(crate) fn reset(&mut self, rtype: u16) {
        (self.rtype, self.ttl, self.scope, self.count) = (rtype, 0, 0, 0);
        self.records.clear();
        self.extended_error = None;
    }

    /// TTL of all records in seconds, whenever it is called; 0 unless set.
    pub fn set_ttl(&mut self, seconds: u32) {
        self.ttl = seconds.min(i32::MAX as u32);
    }

    /// Scope prefix length of the answer (RFC 7871 §7.2.1); 0, the default, means "for everyone".
    pub fn set_scope(&mut self, prefix_len: u8) {
        self.scope = prefix_len;
    }

    /// Says why the answer is what it is (RFC 8914), whatever the verdict; see [`ede`](crate::ede) for
    /// codes. The text may be empty; it costs room, and every reader of the answer sees it.
    pub fn set_ede(&mut self, code: u16, text: &'static str) {
        self.extended_error = Some(ExtendedError { code, text });
    }

    /// Adds an SRV record; `target` is a wire name and goes out uncompressed (RFC 2782).
    /// Left out if another type was asked.
    pub fn srv(&mut self, priority: u16, weight: u16, port: u16, target: &[u8]) {
        let [p0, p1] = priority.to_be_bytes();
        let [w0, w1] = weight.to_be_bytes();
        let [o0, o1] = port.to_be_bytes();
        self.record(rtype::SRV, &[p0, p1, w0, w1, o0, o1], target);
    }

    /// Adds an SRV record whose target is a label in front of a wire name: 63 octets at most, and no more than a name
    /// may have together. Left out if another type was asked.
    #[inline]
    pub fn srv_below(&mut self, priority: u16, weight: u16, port: u16, label: &[u8], zone: &[u8]) {
        const FRONT: usize = RECORD_HEAD + 7;
        let length = 7 + label.len() + zone.len();
        if self.rtype != rtype::SRV || self.records.len() + RECORD_HEAD + length > OCTETS_MAX {
            return;
        }
        let [q0, q1] = QUESTION_POINTER;
        let [t0, t1] = rtype::SRV.to_be_bytes();
        let [l0, l1] = (length as u16).to_be_bytes();
        let [p0, p1] = priority.to_be_bytes();
        let [w0, w1] = weight.to_be_bytes();
        let [o0, o1] = port.to_be_bytes();
        let front: [u8; FRONT] = [
            q0,
            q1,
            t0,
            t1,
            0,
            1,
            0,
            0,
            0,
            0,
            l0,
            l1,
            p0,
            p1,
            w0,
            w1,
            o0,
            o1,
            label.len() as u8,
        ];
        self.records.extend_from_slice(&front);
        self.records.extend_from_slice(label);
        self.records.extend_from_slice(zone);
        self.count += 1;
    }

    /// Adds an A record; left out if another type was asked.
    pub fn a(&mut self, address: Ipv4Addr) {
        self.record(rtype::A, &address.octets(), &[]);
    }

    /// Adds an AAAA record; left out if another type was asked.
    pub fn aaaa(&mut self, address: Ipv6Addr) {
        self.record(rtype::AAAA, &address.octets(), &[]);
    }

    /// How many records there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The TTL that was set.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The scope that was set.
    pub fn scope(&self) -> u8 {
        self.scope
    }

    /// What `set_ede` was called with.
    pub fn extended_error(&self) -> Option<ExtendedError> {
        self.extended_error
    }

    /// The data of each record.
    pub fn rdatas(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.records[..];
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<RECORD_HEAD>()?;
            let length = usize::from(u16::from_be_bytes([head[10], head[11]]));
            let (data, after) = after.split_at_checked(length)?;
            rest = after;
            Some(data)
        })
    }

    fn record(&mut self, rtype: u16, front: &[u8], back: &[u8]) {
        let length = front.len() + back.len();
        if rtype != self.rtype || self.records.len() + RECORD_HEAD + length > OCTETS_MAX {
            return;
        }
        let [t0, t1] = rtype.to_be_bytes();
        let [l0, l1] = (length as u16).to_be_bytes();
        let [q0, q1] = QUESTION_POINTER;
        self.records
            .extend_from_slice(&[q0, q1, t0, t1, 0, 1, 0, 0, 0, 0, l0, l1]);
        self.records.extend_from_slice(front);
        self.records.extend_from_slice(back);
        self.count += 1;
    }

    /// The records as they go out, with their TTL.
    pub(crate) fn finished(&mut self) -> &[u8] {
        let ttl = self.ttl.to_be_bytes();
        let mut rest = &mut self.records[..];
        while let Some((head, after)) = rest.split_first_chunk_mut::<RECORD_HEAD>() {
            head[6..10].copy_from_slice(&ttl);
            let length = usize::from(u16::from_be_bytes([head[10], head[11]]));
            rest = after.get_mut(length..).unwrap_or_default();
        }
        &self.records
    }
}
