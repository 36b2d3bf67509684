//! An answer in the making: record sets with their signatures, and the word that there are none.

use crate::dnssec::{Bench, Held, Place, Signer, Signing, Wish};
use crate::ede::ExtendedError;
use crate::rcode::Rcode;
use crate::rrset::RrSet;
use crate::rtype;
use crate::writer::{Full, Owner, Section, Writer};
use crate::zone::Zone;

/// An answer in the making.
pub(crate) struct Reply<'b> {
    pub(crate) writer: Writer<'b>,
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) scope: u8,
    pub(crate) tailored: bool,
    /// There is no such name, whatever the response code says about it (RFC 9824 §3.1).
    pub(crate) no_name: bool,
    /// The zone that the name of the question lies in.
    pub(crate) zone: Option<&'b Zone>,
    /// Why the answer is what it is.
    pub(crate) error: Option<ExtendedError>,
    /// How the query wants to be answered.
    pub(crate) wish: Wish,
    /// For signing, until there is a signer.
    pub(crate) bench: Option<&'b mut Bench>,
    /// For queries that have to do with signatures, in a signed zone.
    pub(crate) signer: Option<Signer<'b>>,
}

impl<'b> Reply<'b> {
    /// Nothing but the question so far.
    pub(crate) fn new(writer: Writer<'b>, wish: Wish, bench: &'b mut Bench) -> Self {
        Self {
            writer,
            rcode: Rcode::NOERROR,
            authoritative: false,
            truncated: false,
            scope: 0,
            tailored: false,
            no_name: false,
            zone: None,
            error: None,
            wish,
            bench: Some(bench),
            signer: None,
        }
    }

    /// Answers with a response code that says all.
    pub(crate) fn fail(&mut self, rcode: Rcode) {
        self.turn_down(rcode, None);
    }

    /// Answers with a response code, and why.
    pub(crate) fn turn_down(&mut self, rcode: Rcode, error: Option<ExtendedError>) {
        self.rcode = rcode;
        self.error = error;
        self.authoritative = false;
    }

    /// Takes everything back: nothing of a cut answer is worth caching, the client comes back over a
    /// stream (RFC 2181 §9).
    pub(crate) fn truncate(&mut self) {
        self.writer.clear();
        self.truncated = true;
    }

    /// Gets ready to sign answers from the zone `origin` if it is signed and the query wants it.
    pub(crate) fn begin_signing(&mut self, signing: &'b Signing, origin: &[u8], qtype: u16) {
        if let Some(keys) = Signer::wanted(signing, origin, qtype, &self.wish)
            && let Some(bench) = self.bench.take()
        {
            self.signer = Some(Signer::new(signing, keys, self.wish, bench));
        }
    }

    /// Writes a whole RRset of the zone and its signatures; after `Full` the caller rolls back.
    pub(crate) fn rrset(&mut self, place: Place<'_>, set: &RrSet) -> Result<(), Full> {
        self.writer
            .rrset(place.section, place.owner, set, set.ttl)?;
        self.sign(place, set.rtype, set.ttl, set.rdatas())
    }

    /// Writes the signatures of an RRset that was written.
    pub(crate) fn sign<'r>(
        &mut self,
        place: Place<'_>,
        rtype: u16,
        ttl: u32,
        rdatas: impl Iterator<Item = &'r [u8]>,
    ) -> Result<(), Full> {
        match &mut self.signer {
            Some(signer) => signer.sign(&mut self.writer, place, rtype, (ttl, ttl), rdatas),
            None => Ok(()),
        }
    }

    /// Writes an RRset with its signatures if that fits whole.
    pub(crate) fn rrset_if_it_fits(&mut self, place: Place<'_>, set: &RrSet) -> bool {
        let mark = self.writer.mark();
        let fits = self.rrset(place, set).is_ok();
        if !fits {
            self.writer.roll_back(mark);
        }
        fits
    }

    /// NXDOMAIN or NODATA with the SOA record that says how long it holds (RFC 2308 §3) and, where it is wanted,
    /// the proof (RFC 9824 §3). `held` tells what the name has; it is asked only for a proof.
    pub(crate) fn negative<'z>(
        &mut self,
        zone: &Zone,
        at: Place<'_>,
        rtype: u16,
        exists: bool,
        held: impl FnOnce() -> Held<'z>,
    ) -> Result<(), Full> {
        self.no_name = !exists;
        self.rcode = if exists {
            Rcode::NOERROR
        } else {
            Rcode::NXDOMAIN
        };
        let Some(signer) = self.signer.as_mut().filter(|signer| signer.proves()) else {
            return self.writer.negative(zone);
        };
        // A proof that is not true for every client must not be used for others: resolvers that make their own
        // denials from it (RFC 8198) know nothing of scopes.
        let ttl = match self.scope {
            0 => zone.negative_ttl(),
            _ => 0,
        };
        // Every name has the two types that a proof consists of, also one that has no others.
        let proof_asked = matches!(rtype, rtype::NSEC | rtype::RRSIG);
        if proof_asked && (exists || self.wish.dnssec_ok) {
            self.rcode = Rcode::NOERROR;
            let writer = &mut self.writer;
            return match rtype {
                rtype::NSEC => signer.deny(writer, at, held(), None, ttl),
                _ => signer.sign_denial(writer, at, held(), ttl),
            };
        }
        self.writer.negative(zone)?;
        if !self.wish.dnssec_ok {
            return Ok(());
        }
        if !self.wish.compact_ok {
            self.rcode = Rcode::NOERROR;
        }
        let soa = zone.soa();
        let at_origin = Place {
            section: Section::Authority,
            owner: Owner::Name(zone.origin()),
            name: zone.origin(),
        };
        let writer = &mut self.writer;
        let shown = zone.negative_ttl();
        signer.sign(
            writer,
            at_origin,
            rtype::SOA,
            (soa.ttl, shown),
            soa.rdatas(),
        )?;
        let at = Place {
            section: Section::Authority,
            ..at
        };
        signer.deny(writer, at, held(), Some(rtype), ttl)
    }
}
