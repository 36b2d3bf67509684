//! What the answer holds: the tailor first, then the zone (RFC 1034 §4.3.2).

use crate::dnssec::{Held, Place};
use crate::ede::{self, ExtendedError};
use crate::hashed::HashedName;
use crate::name::{self, NameBuffer};
use crate::rcode::Rcode;
use crate::rdata;
use crate::reply::Reply;
use crate::rrset::RrSet;
use crate::rtype;
use crate::snapshot::Snapshot;
use crate::tailor::{Client, Question, Tailored, Verdict};
use crate::writer::{Full, Owner, Section};
use crate::zone::{Found, Node, Zone};
use crate::zones::Zones;

/// Aliases followed in one answer; longer chains in a zone file are refused.
pub(crate) const CHAIN_MAX: usize = 8;
/// TTL of the record that stands for "not all types" (RFC 8482 §4.2): no one misses it for long.
const ANY_TTL: u32 = 3600;
/// HINFO data "RFC8482" "".
const ANY_DATA: &[u8] = b"\x07RFC8482\0";

/// Hosts of one RRset whose addresses are added: more do not fit in a datagram, and it bounds the work.
const HOSTS_MAX: usize = 32;

/// What the program says about a name of a zone.
#[inline(always)]
pub(crate) fn consult(
    snapshot: &Snapshot,
    name: &HashedName,
    rtype: u16,
    client: &Client,
    tailored: &mut Tailored,
) -> Verdict {
    tailored.reset(rtype);
    match name.label_count() {
        0 => Verdict::Zone,
        _ => {
            let question = Question { name, rtype };
            snapshot.tailor.tailor(&question, client, tailored)
        }
    }
}

/// Fills the reply for a lower-cased name and a type of class IN. `consulted` is what the program has said already.
#[expect(clippy::too_many_arguments, reason = "each is something else")]
pub(crate) fn answer<'b>(
    snapshot: &'b Snapshot,
    name: &HashedName,
    rtype: u16,
    client: &Client,
    consulted: Option<Verdict>,
    tailored: &mut Tailored,
    chain: &mut Chain,
    reply: &mut Reply<'b>,
) {
    let Some(zone) = zone_of(&snapshot.zones, name, rtype) else {
        let (rcode, code) = if snapshot.zones.is_withheld(name.as_slice()) {
            (Rcode::SERVFAIL, ede::INVALID_DATA)
        } else if snapshot.zones.is_empty() {
            (Rcode::REFUSED, ede::NOT_READY)
        } else {
            (Rcode::REFUSED, ede::NOT_AUTHORITATIVE)
        };
        reply.turn_down(rcode, Some(ExtendedError::bare(code)));
        return;
    };
    reply.zone = Some(zone);
    if let Some(signing) = &snapshot.signing {
        reply.begin_signing(signing, zone.origin(), rtype);
    }
    let verdict = consulted.unwrap_or_else(|| consult(snapshot, name, rtype, client, tailored));
    reply.scope = tailored.scope();
    reply.tailored = verdict != Verdict::Zone;
    reply.authoritative = true;
    reply.error = tailored.extended_error();
    let at = Place {
        section: Section::Answer,
        owner: Owner::Question,
        name: name.as_slice(),
    };
    let mut lookup = Lookup {
        snapshot,
        zone,
        rtype,
        client,
        tailored,
        reply,
    };
    let written = match verdict {
        Verdict::Zone => lookup.follow(name, at, chain),
        Verdict::Answer if rtype == rtype::ANY => any(lookup.reply, at),
        Verdict::Answer if lookup.tailored.count() > 0 => lookup.tailored_records(at),
        Verdict::Answer | Verdict::NoData => lookup.no_data(None, at),
        Verdict::NxDomain => lookup.no_name(at),
        Verdict::Refused => turn_down(Rcode::REFUSED, ede::PROHIBITED, lookup.reply),
        Verdict::ServFail => turn_down(Rcode::SERVFAIL, ede::NOT_READY, lookup.reply),
    };
    if written.is_err() {
        reply.truncate();
    }
}

/// The deepest zone of a name; for DS at a zone's own name the one above it (RFC 4035 §3.1.4.1).
#[inline]
fn zone_of<'z>(zones: &'z Zones, name: &HashedName, rtype: u16) -> Option<&'z Zone> {
    let deepest = zones.deepest(name)?;
    let zone = zones.at(deepest);
    if rtype != rtype::DS {
        return zone;
    }
    let above = || name::parent(name.as_slice()).and_then(|parent| zones.find(parent));
    match zone {
        Some(zone) if zone.origin() == name.as_slice() => above().or(Some(zone)),
        Some(zone) => Some(zone),
        None => above(),
    }
}

/// The tailor's word for no, and the reason if it gave none.
fn turn_down(rcode: Rcode, reason: u16, reply: &mut Reply<'_>) -> Result<(), Full> {
    let error = reply.error.unwrap_or(ExtendedError::bare(reason));
    reply.turn_down(rcode, Some(error));
    Ok(())
}

/// The minimal answer to ANY (RFC 8482 §4.2).
fn any(reply: &mut Reply<'_>, at: Place<'_>) -> Result<(), Full> {
    let writer = &mut reply.writer;
    writer.record(at.section, at.owner, rtype::HINFO, ANY_TTL, ANY_DATA)?;
    reply.sign(at, rtype::HINFO, ANY_TTL, std::iter::once(ANY_DATA))
}

/// What a host is reached by.
const ADDRESSES: &[u16] = &[rtype::A, rtype::AAAA];

/// The hosts below `origin` whose addresses go along with an RRset, each once; of the first `most` records.
fn hosts<'s>(set: &'s RrSet, most: usize, origin: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
    let target = |data| rdata::additional_target(set.rtype, data);
    let targets = move || set.rdatas().take(most).filter_map(target);
    let is_ours = |(_, host): &(usize, &[u8])| name::is_within(host, origin);
    let ours = targets().enumerate().filter(is_ours);
    ours.filter_map(move |(place, host)| {
        let repeated = targets()
            .take(place)
            .any(|earlier| earlier.eq_ignore_ascii_case(host));
        (!repeated).then_some(host)
    })
}

/// Names met while aliases are followed; buffers of the worker.
pub(crate) struct Chain {
    shown: NameBuffer,
    lowered: HashedName,
    next: NameBuffer,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self {
            shown: NameBuffer::new(),
            lowered: HashedName::default(),
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
    #[inline]
    fn follow(&mut self, name: &HashedName, at: Place<'_>, chain: &mut Chain) -> Result<(), Full> {
        let Chain {
            shown,
            lowered,
            next,
        } = chain;
        let mut goes_on = self.step(name, at, next)?;
        for _ in 0..CHAIN_MAX {
            if !goes_on {
                return Ok(());
            }
            shown.set(next.as_slice());
            lowered.set(shown.as_slice());
            let at = Place {
                section: Section::Answer,
                owner: Owner::Name(shown.as_slice()),
                name: lowered.as_slice(),
            };
            if self.ends_at(lowered) {
                return Ok(());
            }
            goes_on = self.step(lowered, at, next)?;
        }
        Ok(())
    }

    /// Writes what the zone knows about a name; true if that is an alias to follow, whose target is then in `next`.
    #[inline]
    fn step(
        &mut self,
        name: &HashedName,
        at: Place<'_>,
        next: &mut NameBuffer,
    ) -> Result<bool, Full> {
        match self.zone.find(name) {
            Found::Missing => self.no_name(at)?,
            Found::Delegated(cut) => self.refer(cut, at)?,
            Found::Renamed(node, set) => return self.rename(node, set, at, next),
            Found::Node(node) => match node.rrset(rtype::CNAME) {
                Some(set) if self.rtype != rtype::CNAME && !self.is_shadowed(at.name) => {
                    self.reply.rrset(at, set)?;
                    next.set(set.rdatas().next().unwrap_or_default());
                    return Ok(self.rtype != rtype::ANY);
                }
                _ => self.finish(node, at)?,
            },
        }
        Ok(false)
    }

    /// Below a DNAME: the record and the alias made from it (RFC 6672 §3.2).
    fn rename(
        &mut self,
        node: &Node,
        set: &RrSet,
        at: Place<'_>,
        next: &mut NameBuffer,
    ) -> Result<bool, Full> {
        let mut lowered = NameBuffer::new();
        self.reply
            .rrset(Place::new(at.section, node.owner(), &mut lowered), set)?;
        let front = at.name.len().saturating_sub(node.owner().len());
        if !next.join(&at.name[..front], set.rdatas().next().unwrap_or_default()) {
            self.reply.rcode = Rcode::YXDOMAIN;
            return Ok(false);
        }
        // The alias follows from the DNAME, which is signed (RFC 6672 §5.3.1).
        let (writer, alias) = (&mut self.reply.writer, next.as_slice());
        writer.record(at.section, at.owner, rtype::CNAME, set.ttl, alias)?;
        Ok(!matches!(self.rtype, rtype::CNAME | rtype::ANY))
    }

    /// True if the answer ends with the alias to this lower-cased name: it is another zone's, or depends
    /// on the client, so the resolver has to ask for it by itself. That the zone answers may depend on the
    /// client as well; the scope tells, and it is not the one of this answer.
    fn ends_at(&mut self, name: &HashedName) -> bool {
        let zones = &self.snapshot.zones;
        let zone = zones.deepest(name).and_then(|number| zones.at(number));
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

    /// The records of the tailor.
    fn tailored_records(&mut self, at: Place<'_>) -> Result<(), Full> {
        let (reply, tailored) = (&mut *self.reply, &mut *self.tailored);
        if reply.writer.composes_all {
            for data in tailored.rdatas() {
                let writer = &mut reply.writer;
                writer.record(at.section, at.owner, self.rtype, tailored.ttl(), data)?;
            }
        } else {
            let count = tailored.count();
            reply.writer.composed(tailored.finished(), count)?;
        }
        reply.sign(at, self.rtype, tailored.ttl(), tailored.rdatas())
    }

    /// The name exists, as this node of the zone or by the tailor alone, but not with the type.
    fn no_data(&mut self, node: Option<&'a Node>, at: Place<'_>) -> Result<(), Full> {
        let (snapshot, zone) = (self.snapshot, self.zone);
        let held = || {
            let node = node.or_else(|| match zone.find_plain(at.name) {
                Found::Node(node) => Some(node),
                _ => None,
            });
            Held::Name(node, snapshot.tailor.types(at.name))
        };
        self.reply.negative(zone, at, self.rtype, true, held)
    }

    /// There is no such name.
    fn no_name(&mut self, at: Place<'_>) -> Result<(), Full> {
        let held = || Held::Nothing;
        self.reply.negative(self.zone, at, self.rtype, false, held)
    }

    /// True if the records asked for come from the keys, or are made for the answer, whatever the zone has.
    fn is_shadowed(&self, name: &[u8]) -> bool {
        let signer = self.reply.signer.as_ref();
        signer.is_some_and(|signer| signer.shadows(name, self.rtype))
    }

    /// The end of the chain: records of the type asked, or the word that there are none.
    fn finish(&mut self, node: &'a Node, at: Place<'_>) -> Result<(), Full> {
        if self.rtype == rtype::ANY && !node.rrsets().is_empty() {
            return any(self.reply, at);
        }
        let set = match &self.reply.signer {
            Some(signer) if signer.shadows(at.name, self.rtype) => signer.of_keys(self.rtype),
            _ => node.rrset(self.rtype),
        };
        let Some(set) = set else {
            return self.no_data(Some(node), at);
        };
        self.reply.rrset(at, set)?;
        if !node.leads() {
            return Ok(());
        }
        // Of an alias for a service the records it stands for, too (RFC 9460 §4.1); its own stand in the answer.
        let is_service = matches!(self.rtype, rtype::SVCB | rtype::HTTPS);
        for host in hosts(set, HOSTS_MAX, self.zone.origin()) {
            if is_service && !host.eq_ignore_ascii_case(at.name) {
                self.add_records(host, &[self.rtype], Zone::authoritative);
            }
            self.add_records(host, ADDRESSES, Zone::authoritative);
        }
        Ok(())
    }

    /// A referral (RFC 1034 §4.3.2 step 3b); DS at the cut is still ours.
    fn refer(&mut self, cut: &'a Node, at: Place<'_>) -> Result<(), Full> {
        if self.rtype == rtype::DS && at.name.eq_ignore_ascii_case(cut.owner()) {
            let held = || Held::Cut(cut);
            return match cut.rrset(rtype::DS) {
                Some(set) => self.reply.rrset(at, set),
                None => self.reply.negative(self.zone, at, self.rtype, true, held),
            };
        }
        // Behind an alias of ours AA stays: it is about the first name (RFC 1035 §4.1.1).
        self.reply.authoritative = !matches!(at.owner, Owner::Question);
        let Some(servers) = cut.rrset(rtype::NS) else {
            return Ok(());
        };
        let owner = Owner::Name(cut.owner());
        self.reply
            .writer
            .rrset(Section::Authority, owner, servers, servers.ttl)?;
        self.prove_delegation(cut)?;
        // Without glue inside the delegated zone nobody gets there: all of it is required (RFC 9471 §3.1).
        for server in hosts(servers, usize::MAX, cut.owner()) {
            if !self.add_records(server, ADDRESSES, Zone::exact) {
                return Err(Full);
            }
        }
        for server in hosts(servers, HOSTS_MAX, self.zone.origin()) {
            if !name::is_within(server, cut.owner()) {
                self.add_records(server, ADDRESSES, Zone::exact);
            }
        }
        Ok(())
    }

    /// Adds the DS records of a delegation, or the proof that it has none (RFC 4035 §3.1.4).
    fn prove_delegation(&mut self, cut: &'a Node) -> Result<(), Full> {
        let Some(signer) = self.reply.signer.as_mut().filter(|signer| signer.signs()) else {
            return Ok(());
        };
        let mut lowered = NameBuffer::new();
        let at = Place::new(Section::Authority, cut.owner(), &mut lowered);
        let (ttl, held) = (self.zone.negative_ttl(), Held::Cut(cut));
        match cut.rrset(rtype::DS) {
            Some(set) => self.reply.rrset(at, set),
            None => signer.deny(&mut self.reply.writer, at, held, None, ttl),
        }
    }

    /// Adds records of a host whose name is in this zone; false if they do not fit whole.
    fn add_records(
        &mut self,
        host: &[u8],
        rtypes: &[u16],
        node_of: impl Fn(&'a Zone, &[u8]) -> Option<&'a Node>,
    ) -> bool {
        let mut lowered = NameBuffer::new();
        let at = Place::new(Section::Additional, host, &mut lowered);
        let Some(node) = node_of(self.zone, at.name) else {
            return true;
        };
        let sets = rtypes.iter().filter_map(|rtype| node.rrset(*rtype));
        let mut fits = true;
        for set in sets {
            fits &= if node.is_glue() {
                let writer = &mut self.reply.writer;
                writer.rrset(at.section, at.owner, set, set.ttl).is_ok()
            } else {
                self.reply.rrset_if_it_fits(at, set)
            };
        }
        fits
    }
}
