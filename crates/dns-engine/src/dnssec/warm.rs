//! Signing ahead: what answers will need is made before they are asked for, so that a new snapshot, or the week's
//! new signatures, cost no query anything.

use super::rrsig::{Composer, ToSign};
use super::schedule::ZoneKeys;
use super::signatures::{Effort, Lane, Signatures};
use super::signing::is_shadowed;
use crate::rrset::RrSet;
use crate::snapshot::Snapshot;
use crate::zone::Zone;
use crate::{name, rtype};

/// What signing ahead of time came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warmed {
    /// RRsets looked at.
    pub rrsets: u64,
    /// Signatures that had to be made.
    pub made: u64,
}

/// Makes the signatures that answers from `snapshot` will need at `now`, unless they are there: those of its signed
/// zones, and of what the tailor knows beforehand. Denials are not made ahead: their names are the clients'. At most
/// half of the cache is filled, so that what is asked for keeps its place.
pub fn warm(snapshot: &Snapshot, now: u64) -> Warmed {
    let Some(signing) = &snapshot.signing else {
        return Warmed::default();
    };
    let signatures = signing.signatures();
    let before = signatures.counts().made;
    let mut warmer = Warmer {
        signatures,
        composer: Composer::new(),
        lane: Lane::next(),
        now,
        rrsets: 0,
        rrsets_max: signatures.capacity() as u64 / 2,
    };
    for keys in signing.zones() {
        if let Some(zone) = snapshot.zones.exact(keys.origin()) {
            warmer.sign_zone(keys, zone);
        }
    }
    snapshot.tailor.known(&mut |owner, set| {
        let zone = snapshot.zones.find(owner);
        if let Some(keys) = zone.and_then(|zone| signing.zone(zone.origin())) {
            warmer.sign(keys, owner, set);
        }
    });
    Warmed {
        rrsets: warmer.rrsets,
        made: signatures.counts().made - before,
    }
}

struct Warmer<'a> {
    signatures: &'a Signatures,
    composer: Composer,
    lane: Lane,
    now: u64,
    rrsets: u64,
    rrsets_max: u64,
}

impl Warmer<'_> {
    fn sign_zone(&mut self, keys: &ZoneKeys, zone: &Zone) {
        for rtype in [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY] {
            if let Some(set) = keys.rrset(rtype, self.now) {
                self.sign(keys, zone.origin(), set);
            }
        }
        for node in zone.authoritative_nodes() {
            let owner = name::lowered(node.owner());
            // What a wildcard makes is signed under the clients' names.
            if owner.starts_with(b"\x01*") {
                continue;
            }
            for set in node.rrsets() {
                if (!node.is_cut() || set.rtype == rtype::DS) && !is_shadowed(set.rtype) {
                    self.sign(keys, &owner, set);
                }
            }
        }
    }

    fn sign(&mut self, keys: &ZoneKeys, owner: &[u8], set: &RrSet) {
        if self.rrsets >= self.rrsets_max {
            return;
        }
        let now = self.now;
        let to_sign = ToSign {
            owner,
            rtype: set.rtype,
            ttl: set.ttl,
            signer: keys.origin(),
            window: keys.validity().window(owner, now),
        };
        let prints = self.signatures.fingerprints();
        let gist = prints.gist(self.composer.gather(&to_sign, set.rdatas()));
        for key in keys.signers(keys.phase(now), owner, set.rtype) {
            let fingerprint = prints.of(gist, key);
            if self.signatures.find(fingerprint, self.lane).is_none() {
                self.composer.front(&to_sign, key);
                let data = self.composer.compose(&to_sign);
                let place = (fingerprint, to_sign.window.until);
                self.signatures.make(place, key, data, now, Effort::Ahead);
            }
        }
        self.rrsets += 1;
    }
}
