//! What a snapshot holds about signing: which zones are signed, with which keys, and where signatures come from.

use std::sync::Arc;

use super::schedule::{ZoneKeys, is_of_keys};
use super::signatures::Signatures;
use crate::hash::NameMap;
use crate::rtype;

/// The signed zones of a server. Cheap to make anew when a key changes; the signatures live on.
#[derive(Clone)]
pub struct Signing {
    zones: NameMap<Arc<ZoneKeys>>,
    signatures: Arc<Signatures>,
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
}

/// True for types that a signed zone takes from its keys or makes itself, whatever its file says.
pub(crate) fn is_shadowed(rtype: u16) -> bool {
    is_of_keys(rtype) || matches!(rtype, rtype::RRSIG | rtype::NSEC)
}
