//! What the answer holds: the tailor first, then the zone (RFC 1034 §4.3.2).

use crate::name::{self, NameBuffer};
use crate::rcode::Rcode;
use crate::rdata;
use crate::rrset::RrSet;
use crate::rtype;
use crate::snapshot::Snapshot;
use crate::tailor::{Client, Question, Tailored, Verdict};
use crate::writer::{Full, Owner, Section, Writer};
use crate::zone::{Found, Node, Zone};
use crate::zones::Zones;

/// An answer in the making.
pub(crate) struct Reply<'b> {
    pub(crate) writer: Writer<'b>,
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) scope: u8,
    pub(crate) tailored: bool,
}

/// Aliases followed in one answer; longer chains in a zone file are refused.
pub(crate) const CHAIN_MAX: usize = 8;
/// TTL of the record that stands for "not all types" (RFC 8482 §4.2): no one misses it for long.
const ANY_TTL: u32 = 3600;
/// HINFO data "RFC8482" "".
const ANY_DATA: &[u8] = b"\x07RFC8482\0";

/// Hosts of one RRset whose addresses are added: more do not fit in a datagram, and it bounds the work.
const HOSTS_MAX: usize = 32;

/// Fills the reply for a lower-cased name and a type of class IN.
pub(crate) fn answer(
    snapshot: &Snapshot,
    name: &[u8],
    rtype: u16,
    client: &Client,
    tailored: &mut Tailored,
    chain: &mut Chain,
    reply: &mut Reply<'_>,
) {
    let Some(zone) = zone_of(&snapshot.zones, name, rtype) else {
        reply.rcode = Rcode::REFUSED;
        return;
    };
    let question = Question { name, rtype };
    tailored.reset(rtype);
    let verdict = match name {
        name::ROOT => Verdict::Zone,
        _ => snapshot.tailor.tailor(&question, client, tailored),
    };
    reply.scope = tailored.scope();
    reply.tailored = verdict != Verdict::Zone;
    reply.authoritative = true;
    let written = match verdict {
        Verdict::Zone => {
            let mut lookup = Lookup {
                snapshot,
                zone,
                rtype,
                client,
                tailored,
                reply,
            };
            lookup.follow(name, chain)
        }
        Verdict::Answer if rtype == rtype::ANY => any(reply),
        Verdict::Answer if tailored.count() > 0 => {
            let count = tailored.count();
            reply.writer.composed(tailored.finished(), count)
        }
        Verdict::Answer | Verdict::NoData => negative(zone, Rcode::NOERROR, reply),
        Verdict::NxDomain => negative(zone, Rcode::NXDOMAIN, reply),
        Verdict::Refused => turn_down(Rcode::REFUSED, reply),
        Verdict::ServFail => turn_down(Rcode::SERVFAIL, reply),
    };
    if written.is_err() {
        // Nothing of a cut answer is worth caching: the client comes back over TCP (RFC 2181 §9).
        reply.writer.clear();
        reply.truncated = true;
    }
}

/// The deepest zone of a name; for DS at a zone's own name the one above it (RFC 4035 §3.1.4.1).
fn zone_of<'z>(zones: &'z Zones, name: &[u8], rtype: u16) -> Option<&'z Zone> {
    let zone = zones.find(name)?;
    let above = || name::parent(name).and_then(|parent| zones.find(parent));
    if rtype == rtype::DS && zone.origin() == name {
        above().or(Some(zone))
    } else {
        Some(zone)
    }
}

fn turn_down(rcode: Rcode, reply: &mut Reply<'_>) -> Result<(), Full> {
    reply.rcode = rcode;
    reply.authoritative = false;
    Ok(())
}

/// NXDOMAIN or NODATA with the SOA record that says how long it holds (RFC 2308 §3).
fn negative(zone: &Zone, rcode: Rcode, reply: &mut Reply<'_>) -> Result<(), Full> {
    reply.rcode = rcode;
    reply.writer.negative(zone.negative_soa())
}

/// The minimal answer to ANY (RFC 8482 §4.2).
fn any(reply: &mut Reply<'_>) -> Result<(), Full> {
    reply.writer.record(
        Section::Answer,
        Owner::Question,
        rtype::HINFO,
        ANY_TTL,
        ANY_DATA,
    )
}

/// The hosts whose addresses go along with an RRset, each once.
fn hosts(set: &RrSet) -> impl Iterator<Item = &[u8]> {
    let target = |data| rdata::additional_target(set.rtype, data);
    let targets = move || set.rdatas().take(HOSTS_MAX).filter_map(target);
    targets().enumerate().filter_map(move |(place, host)| {
        let repeated = targets()
            .take(place)
            .any(|earlier| earlier.eq_ignore_ascii_case(host));
        (!repeated).then_some(host)
    })
}

/// Names met while aliases are followed; buffers of the worker.
pub(crate) struct Chain {
    shown: NameBuffer,
    lowered: NameBuffer,
    next: NameBuffer,
}

impl Chain {
    pub(crate) const fn new() -> Self {
        Self {
            shown: NameBuffer::new(),
            lowered: NameBuffer::new(),
            next: NameBuffer::new(),
        }
    }
}

/// A look-up in one zone that follows aliases.
struct Lookup<'a, 'b> {
    snapshot: &'a Snapshot,
    zone: &'a Zone,
    rtype: u16,
    client: &'a Client,
    tailored: &'a mut Tailored,
    reply: &'a mut Reply<'b>,
}

impl<'a> Lookup<'a, '_> {
    fn follow(&mut self, qname: &[u8], chain: &mut Chain) -> Result<(), Full> {
        let Chain {
            shown,
            lowered,
            next,
        } = chain;
        let mut goes_on = self.step(qname, Owner::Question, next)?;
        for _ in 0..CHAIN_MAX {
            if !goes_on {
                return Ok(());
            }
            shown.set(next.as_slice());
            lowered.set(next.as_slice());
            lowered.lower();
            if self.ends_at(lowered.as_slice()) {
                return Ok(());
            }
            goes_on = self.step(lowered.as_slice(), Owner::Name(shown.as_slice()), next)?;
        }
        Ok(())
    }

    /// Writes what the zone knows about a lower-cased name, shown as `owner`; true if that is an alias
    /// to follow, whose target is then in `next`.
    fn step(&mut self, name: &[u8], owner: Owner<'_>, next: &mut NameBuffer) -> Result<bool, Full> {
        match self.zone.find(name) {
            Found::Missing => negative(self.zone, Rcode::NXDOMAIN, self.reply)?,
            Found::Delegated(cut) => self.refer(cut, name, owner)?,
            Found::Renamed(node, set) => return self.rename(node, set, name, owner, next),
            Found::Node(node) => match node.rrset(rtype::CNAME) {
                Some(set) if self.rtype != rtype::CNAME => {
                    self.write_set(owner, set)?;
                    next.set(set.rdatas().next().unwrap_or_default());
                    return Ok(self.rtype != rtype::ANY);
                }
                _ => self.finish(node, owner)?,
            },
        }
        Ok(false)
    }

    /// Below a DNAME: the record and the alias made from it (RFC 6672 §3.2).
    fn rename(
        &mut self,
        node: &Node,
        set: &RrSet,
        name: &[u8],
        owner: Owner<'_>,
        next: &mut NameBuffer,
    ) -> Result<bool, Full> {
        self.write_set(Owner::Name(node.owner()), set)?;
        let front = name.len().saturating_sub(node.owner().len());
        if !next.join(&name[..front], set.rdatas().next().unwrap_or_default()) {
            self.reply.rcode = Rcode::YXDOMAIN;
            return Ok(false);
        }
        let (writer, alias) = (&mut self.reply.writer, next.as_slice());
        writer.record(Section::Answer, owner, rtype::CNAME, set.ttl, alias)?;
        Ok(!matches!(self.rtype, rtype::CNAME | rtype::ANY))
    }

    /// True if the answer ends with the alias to this lower-cased name: it is another zone's, or depends
    /// on the client, so the resolver has to ask for it by itself. That the zone answers may depend on the
    /// client as well; the scope tells, and it is not the one of this answer.
    fn ends_at(&mut self, name: &[u8]) -> bool {
        let zone = self.snapshot.zones.find(name);
        if !zone.is_some_and(|zone| std::ptr::eq(zone, self.zone)) {
            return true;
        }
        self.tailored.reset(self.rtype);
        let question = Question {
            name,
            rtype: self.rtype,
        };
        let tailor = &self.snapshot.tailor;
        tailor.tailor(&question, self.client, self.tailored) != Verdict::Zone
            || self.tailored.scope() > 0
    }

    fn write_set(&mut self, owner: Owner<'_>, set: &RrSet) -> Result<(), Full> {
        self.reply
            .writer
            .rrset(Section::Answer, owner, set, set.ttl)
    }

    /// The end of the chain: records of the type asked, or the word that there are none.
    fn finish(&mut self, node: &'a Node, owner: Owner<'_>) -> Result<(), Full> {
        if self.rtype == rtype::ANY && !node.rrsets().is_empty() {
            return any(self.reply);
        }
        let Some(set) = node.rrset(self.rtype) else {
            return negative(self.zone, Rcode::NOERROR, self.reply);
        };
        self.write_set(owner, set)?;
        for host in hosts(set) {
            self.add_addresses(host, Zone::authoritative);
        }
        Ok(())
    }

    /// A referral (RFC 1034 §4.3.2 step 3b); DS at the cut is still ours.
    fn refer(&mut self, cut: &'a Node, name: &[u8], owner: Owner<'_>) -> Result<(), Full> {
        if self.rtype == rtype::DS && name.eq_ignore_ascii_case(cut.owner()) {
            return match cut.rrset(rtype::DS) {
                Some(set) => self.write_set(owner, set),
                None => negative(self.zone, Rcode::NOERROR, self.reply),
            };
        }
        if !matches!(owner, Owner::Question) {
            // The alias is the answer; where it leads is another server's to say.
            return Ok(());
        }
        self.reply.authoritative = false;
        let Some(servers) = cut.rrset(rtype::NS) else {
            return Ok(());
        };
        let owner = Owner::Name(cut.owner());
        self.reply
            .writer
            .rrset(Section::Authority, owner, servers, servers.ttl)?;
        for server in hosts(servers) {
            let fits = self.add_addresses(server, Zone::exact);
            // Without glue inside the delegated zone nobody gets there: it is required (RFC 9471 §3).
            if !fits && name::is_within(server, cut.owner()) {
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Adds the addresses of a host in this zone; false if they do not fit whole.
    fn add_addresses(
        &mut self,
        host: &[u8],
        node_of: impl Fn(&'a Zone, &[u8]) -> Option<&'a Node>,
    ) -> bool {
        if !name::is_within(host, self.zone.origin()) {
            return true;
        }
        let mut lowered = NameBuffer::new();
        lowered.set(host);
        lowered.lower();
        let Some(node) = node_of(self.zone, lowered.as_slice()) else {
            return true;
        };
        let addresses = [rtype::A, rtype::AAAA]
            .into_iter()
            .filter_map(|rtype| node.rrset(rtype));
        let mut fits = true;
        for set in addresses {
            let owner = Owner::Name(host);
            fits &= self
                .reply
                .writer
                .rrset(Section::Additional, owner, set, set.ttl)
                .is_ok();
        }
        fits
    }
}
