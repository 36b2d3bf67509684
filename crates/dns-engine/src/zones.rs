//! All zones of a server, and the deepest one for a name.

use std::sync::Arc;

use crate::hash::NameMap;
use crate::name;
use crate::zone::Zone;

/// All zones of a server, found by the deepest origin. Each is shared, so that a new snapshot with one
/// changed zone, or with another release, costs nothing for the rest.
#[derive(Debug, Clone, Default)]
pub struct Zones {
    zones: NameMap<Arc<Zone>>,
    /// Bit n: some origin has n labels, so only those suffixes are probed.
    depths: u128,
}

impl Zones {
    /// No zone at all: every query is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a zone; hands it back if its name is taken.
    pub fn insert(&mut self, zone: impl Into<Arc<Zone>>) -> Result<(), Arc<Zone>> {
        let zone = zone.into();
        if self.zones.contains_key(zone.origin()) {
            return Err(zone);
        }
        self.depths |= 1 << name::label_count(zone.origin()).min(name::LABELS_MAX);
        self.zones.insert(zone.origin().into(), zone);
        Ok(())
    }

    /// The deepest zone at or above a lower-cased wire name.
    pub fn find(&self, name: &[u8]) -> Option<&Zone> {
        let mut depth = name::label_count(name);
        for suffix in name::suffixes(name) {
            if self.depths >> depth.min(name::LABELS_MAX) & 1 == 1
                && let Some(zone) = self.zones.get(suffix)
            {
                return Some(zone);
            }
            depth = depth.saturating_sub(1);
        }
        None
    }

    /// The zone of exactly this lower-cased wire name.
    pub fn exact(&self, origin: &[u8]) -> Option<&Zone> {
        self.zones.get(origin).map(Arc::as_ref)
    }

    /// Every zone, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.values().map(Arc::as_ref)
    }

    /// True if no zone is loaded.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }
}
