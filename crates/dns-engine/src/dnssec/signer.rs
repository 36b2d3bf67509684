//! Signatures in an answer: an RRSIG record beside each RRset, and the NSEC record of a denial.

use super::denial::Denial;
use super::rrsig::{Composer, ToSign};
use super::schedule::{Phase, ZoneKeys, is_of_keys};
use super::signatures::{Effort, Lane, Signatures};
use super::signing::is_shadowed;
use super::{SIGNATURE_LENGTH, Signing};
use crate::name::NameBuffer;
use crate::rrset::RrSet;
use crate::rtype;
use crate::tailor::Types;
use crate::writer::{Full, Owner, Section, Writer};
use crate::zone::Node;

/// Buffers of one worker for signing.
pub(crate) struct Bench {
    composer: Composer,
    denial: Denial,
    rdata: Vec<u8>,
    lane: Lane,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            composer: Composer::new(),
            denial: Denial::new(),
            rdata: Vec::with_capacity(512),
            lane: Lane::next(),
        }
    }
}

/// How a query wants to be answered.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish {
    /// DO: signatures come along (RFC 3225).
    pub(crate) dnssec_ok: bool,
    /// CO: a denial may keep the RCODE NXDOMAIN (RFC 9824 §5.1).
    pub(crate) compact_ok: bool,
    /// The answer is a datagram, so it may be put off to a stream.
    pub(crate) datagram: bool,
    /// Unix time in seconds.
    pub(crate) now: u64,
}

/// What signs the answers from one zone to one query.
pub(crate) struct Signer<'s> {
    signatures: &'s Signatures,
    keys: &'s ZoneKeys,
    phase: &'s Phase,
    wish: Wish,
    bench: &'s mut Bench,
}

/// Where a record set stands and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'n> {
    pub(crate) section: Section,
    /// The owner as it is shown.
    pub(crate) owner: Owner<'n>,
    /// And in lower case.
    pub(crate) name: &'n [u8],
}

impl<'n> Place<'n> {
    /// The place of records whose owner is shown like this; `lowered` is the room for its lower case.
    pub(crate) fn new(section: Section, shown: &'n [u8], lowered: &'n mut NameBuffer) -> Self {
        lowered.set(shown);
        lowered.lower();
        Self {
            section,
            owner: Owner::Name(shown),
            name: lowered.as_slice(),
        }
    }
}

/// Which types of a name an NSEC record has to list.
#[derive(Clone, Copy)]
pub(crate) enum Held<'z> {
    /// None: there is no such name.
    Nothing,
    /// Those of a node of the zone, if it has one, and of the tailor.
    Name(Option<&'z Node>, Types),
    /// Those of a delegation point, as seen from above (RFC 4035 §2.3).
    Cut(&'z Node),
}

impl<'s> Signer<'s> {
    /// The keys for a query in a zone; `None` if the zone is not signed, or the query has nothing to do with signatures.
    pub(crate) fn wanted(
        signing: &'s Signing,
        origin: &[u8],
        qtype: u16,
        wish: &Wish,
    ) -> Option<&'s ZoneKeys> {
        let wanted = wish.dnssec_ok || is_shadowed(qtype);
        wanted.then(|| signing.zone(origin)).flatten()
    }

    pub(crate) fn new(
        signing: &'s Signing,
        keys: &'s ZoneKeys,
        wish: Wish,
        bench: &'s mut Bench,
    ) -> Self {
        Self {
            signatures: signing.signatures(),
            keys,
            phase: keys.phase(wish.now),
            wish,
            bench,
        }
    }

    /// True if denials can be proven: keys may be there that do not sign yet, or no longer.
    pub(crate) fn proves(&self) -> bool {
        self.phase.signs_data()
    }

    /// True if signatures and proofs come along.
    pub(crate) fn signs(&self) -> bool {
        self.wish.dnssec_ok && self.proves()
    }

    /// True if a name's records of a type come from here, not from the zone.
    pub(crate) fn shadows(&self, name: &[u8], rtype: u16) -> bool {
        match rtype {
            rtype::NSEC | rtype::RRSIG => self.proves(),
            _ => is_of_keys(rtype) && self.is_apex(name),
        }
    }

    /// The records of the zone's own name that come from its keys.
    pub(crate) fn of_keys(&self, rtype: u16) -> Option<&'s RrSet> {
        self.phase.rrset(rtype)
    }

    fn is_apex(&self, name: &[u8]) -> bool {
        name == self.keys.origin()
    }

    /// Writes the RRSIG records of an RRset that was written: `original_ttl` is the zone's, `ttl` what is sent.
    ///
    /// # Errors
    /// `Full` if they do not fit, or over the budget: either way the answer belongs in a stream.
    pub(crate) fn sign<'r>(
        &mut self,
        writer: &mut Writer<'_>,
        place: Place<'_>,
        rtype: u16,
        (original_ttl, ttl): (u32, u32),
        rdatas: impl Iterator<Item = &'r [u8]>,
    ) -> Result<(), Full> {
        let (wish, phase) = (self.wish, self.phase);
        if !wish.dnssec_ok {
            return Ok(());
        }
        let to_sign = ToSign {
            owner: place.name,
            rtype,
            ttl: original_ttl,
            signer: self.keys.origin(),
            window: self.keys.validity().window(place.name, wish.now),
        };
        let Bench {
            composer,
            rdata,
            lane,
            ..
        } = &mut *self.bench;
        let mut keys = self.keys.signers(phase, place.name, rtype).peekable();
        if keys.peek().is_none() {
            return Ok(());
        }
        let prints = self.signatures.fingerprints();
        let gist = prints.gist(composer.gather(&to_sign, rdatas));
        for key in keys {
            let fingerprint = prints.of(gist, key);
            let found = self.signatures.find(fingerprint, *lane);
            rdata.clear();
            rdata.extend_from_slice(composer.front(&to_sign, key));
            rdata.extend_from_slice(&found.unwrap_or([0; SIGNATURE_LENGTH]));
            // First the room, then the work.
            writer.record(place.section, place.owner, rtype::RRSIG, ttl, rdata)?;
            if found.is_some() {
                continue;
            }
            let effort = if wish.datagram {
                Effort::Budgeted
            } else {
                Effort::Whatever
            };
            let data = composer.compose(&to_sign);
            let place = (fingerprint, to_sign.window.until);
            let made = self.signatures.make(place, key, data, wish.now, effort);
            writer.overwrite_end(&made.ok_or(Full)?);
        }
        Ok(())
    }

    /// Writes the NSEC record of a name, with its signatures; `left_out` is a type that the client is told is not there.
    pub(crate) fn deny(
        &mut self,
        writer: &mut Writer<'_>,
        place: Place<'_>,
        held: Held<'_>,
        left_out: Option<u16>,
        ttl: u32,
    ) -> Result<(), Full> {
        let data = self.nsec(place.name, held, left_out);
        let written = writer.record(place.section, place.owner, rtype::NSEC, ttl, &data);
        let signed = written.and_then(|()| {
            let rdatas = std::iter::once(&data[..]);
            self.sign(writer, place, rtype::NSEC, (ttl, ttl), rdatas)
        });
        self.bench.denial.give_back(data);
        signed
    }

    /// Writes the RRSIG records over the NSEC record of a name: the answer to the question for RRSIG (after RFC 8482 §4.1).
    pub(crate) fn sign_denial(
        &mut self,
        writer: &mut Writer<'_>,
        place: Place<'_>,
        held: Held<'_>,
        ttl: u32,
    ) -> Result<(), Full> {
        let data = self.nsec(place.name, held, None);
        let asked = std::mem::replace(&mut self.wish.dnssec_ok, true);
        let rdatas = std::iter::once(&data[..]);
        let signed = self.sign(writer, place, rtype::NSEC, (ttl, ttl), rdatas);
        self.wish.dnssec_ok = asked;
        self.bench.denial.give_back(data);
        signed
    }

    /// The data of a name's NSEC record, in a buffer to be given back.
    fn nsec(&mut self, name: &[u8], held: Held<'_>, left_out: Option<u16>) -> Vec<u8> {
        let (apex, phase) = (self.is_apex(name), self.phase);
        let denial = self.bench.denial.begin();
        match held {
            Held::Nothing => denial.add([rtype::NXNAME]),
            Held::Name(node, types) => {
                if let Some(node) = node.filter(|_| !matches!(types, Types::Alone(_))) {
                    let of_zone = node.rrsets().iter().map(|set| set.rtype);
                    denial.add(of_zone.filter(|rtype| !apex || !is_shadowed(*rtype)));
                }
                if apex {
                    denial.add(phase.types());
                }
                denial.add(types.listed().iter().copied())
            }
            Held::Cut(node) => {
                let of_parent = [rtype::NS, rtype::DS];
                denial.add(
                    of_parent
                        .into_iter()
                        .filter(|rtype| node.rrset(*rtype).is_some()),
                )
            }
        };
        if let Some(rtype) = left_out {
            denial.remove(rtype);
        }
        denial.add([rtype::RRSIG, rtype::NSEC]);
        denial.take(name, self.keys.origin())
    }
}
