//! What a snapshot holds about signing: which zones are signed, with which keys, and where signatures come from.

use std::sync::Arc;

use super::rrsig::{Composer, ToSign};
use super::schedule::{ZoneKeys, is_of_keys};
use super::signatures::{Effort, Signatures};
use crate::hash::NameMap;
use crate::rrset::RrSet;
use crate::zone::Zone;
use crate::{name, rtype};

/// The signed zones of a server. Cheap to make anew when a key changes; the signatures live on.
#[derive(Clone)]
pub struct Signing {
    zones: NameMap<Arc<ZoneKeys>>,
    signatures: Arc<Signatures>,
}

/// What signing ahead of time came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warmed {
    /// RRsets looked at.
    pub rrsets: u64,
    /// Signatures that had to be made.
    pub made: u64,
}

impl Signing {
    /// No zone is signed.
    pub fn new(signatures: Arc<Signatures>) -> Self {
        Self {
            zones: NameMap::default(),
            signatures,
        }
    }

    /// Signs a zone with these keys from now on.
    pub fn insert(&mut self, keys: impl Into<Arc<ZoneKeys>>) {
        let keys = keys.into();
        self.zones.insert(keys.origin().into(), keys);
    }

    /// The keys of the zone with exactly this lower-cased wire name.
    pub fn zone(&self, origin: &[u8]) -> Option<&ZoneKeys> {
        self.zones.get(origin).map(Arc::as_ref)
    }

    /// Every signed zone, in no order.
    pub fn zones(&self) -> impl Iterator<Item = &ZoneKeys> {
        self.zones.values().map(Arc::as_ref)
    }

    /// Where signatures come from.
    pub fn signatures(&self) -> &Arc<Signatures> {
        &self.signatures
    }

    /// Makes the signatures that answers from `zone` will need at `now`, and of `more` RRsets in it with their
    /// lower-cased owners (tailored ones that are known beforehand), unless they are there. Denials are not made
    /// ahead: their names are the clients'.
    pub fn warm<'a>(
        &self,
        zone: &Zone,
        more: impl IntoIterator<Item = (&'a [u8], &'a RrSet)>,
        now: u64,
    ) -> Warmed {
        let Some(keys) = self.zone(zone.origin()) else {
            return Warmed::default();
        };
        let before = self.signatures.counts().made;
        let mut warmer = Warmer {
            signing: self,
            keys,
            composer: Composer::new(),
            now,
            rrsets: 0,
        };
        let phase = keys.phase(now);
        for set in [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY]
            .into_iter()
            .filter_map(|rtype| phase.rrset(rtype))
        {
            warmer.sign(zone.origin(), set);
        }
        for node in zone.authoritative_nodes() {
            let owner = name::lowered(node.owner());
            let is_cut = node.is_cut();
            for set in node.rrsets() {
                if (!is_cut || set.rtype == rtype::DS) && !is_shadowed(set.rtype) {
                    warmer.sign(&owner, set);
                }
            }
        }
        for (owner, set) in more {
            warmer.sign(owner, set);
        }
        Warmed {
            rrsets: warmer.rrsets,
            made: self.signatures.counts().made - before,
        }
    }
}

/// True for types that a signed zone takes from its keys or makes itself, whatever its file says.
pub(crate) fn is_shadowed(rtype: u16) -> bool {
    is_of_keys(rtype) || matches!(rtype, rtype::RRSIG | rtype::NSEC)
}

struct Warmer<'a> {
    signing: &'a Signing,
    keys: &'a ZoneKeys,
    composer: Composer,
    now: u64,
    rrsets: u64,
}

impl Warmer<'_> {
    fn sign(&mut self, owner: &[u8], set: &RrSet) {
        let (keys, now) = (self.keys, self.now);
        let to_sign = ToSign {
            owner,
            rtype: set.rtype,
            ttl: set.ttl,
            signer: keys.origin(),
            window: keys.validity().window(owner, now),
        };
        self.composer.compose(&to_sign, set.rdatas());
        for key in keys.signers(keys.phase(now), owner, set.rtype) {
            self.composer.set_key(key);
            let signatures = &self.signing.signatures;
            let until = to_sign.window.until;
            signatures.signature(key, self.composer.data(), until, now, Effort::Ahead);
        }
        self.rrsets += 1;
    }
}
