//! All zones of a server, and the deepest one for a name.

use std::sync::Arc;

use crate::hashed::HashedName;
use crate::name;
use crate::names::Names;
use crate::zone::Zone;

/// All zones of a server, found by the deepest origin. Each is shared, so that a new snapshot with one
/// changed zone, or with another release, costs nothing for the rest.
#[derive(Debug, Clone, Default)]
pub struct Zones {
    origins: Names,
    /// By the number of their origins. `None`: the zone is this server's to serve, and cannot be just now.
    zones: Vec<Option<Arc<Zone>>>,
    /// How many labels origins have, most first: only such suffixes are probed.
    depths: Vec<u8>,
}

impl Zones {
    /// No zone at all: every query is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a zone; hands it back if its name is taken.
    pub fn insert(&mut self, zone: impl Into<Arc<Zone>>) -> Result<(), Arc<Zone>> {
        let zone = zone.into();
        if self.origins.find_plain(zone.origin()).is_some() {
            return Err(zone);
        }
        let origin: Box<[u8]> = zone.origin().into();
        self.put(&origin, Some(zone));
        Ok(())
    }

    /// Says of a zone, by its lower-cased wire name, that it is this server's to serve and cannot be just
    /// now: it has not been transferred yet, or has expired. Queries for it get SERVFAIL; what the server
    /// knows about the zone, or the one above, is not said.
    pub fn withhold(&mut self, origin: &[u8]) {
        self.put(origin, None);
    }

    fn put(&mut self, origin: &[u8], zone: Option<Arc<Zone>>) {
        let depth = name::label_count(origin) as u8; // at most 127
        if let Err(place) = self.depths.binary_search_by(|other| depth.cmp(other)) {
            self.depths.insert(place, depth);
        }
        match self.origins.insert(origin) {
            Some((_, true)) => self.zones.push(zone),
            Some((number, false)) => self.zones[number as usize] = zone,
            // More names than numbers: no memory holds so many.
            None => {}
        }
    }

    /// The deepest zone at or above a lower-cased wire name; `None` also where that one is withheld.
    pub fn find(&self, name: &[u8]) -> Option<&Zone> {
        self.at(self.deepest(&HashedName::new(name))?)
    }

    /// True if the deepest zone at or above a lower-cased wire name is withheld.
    pub fn is_withheld(&self, name: &[u8]) -> bool {
        self.deepest(&HashedName::new(name))
            .is_some_and(|number| self.at(number).is_none())
    }

    /// The number of the deepest zone at or above a name.
    #[inline(always)]
    pub(crate) fn deepest(&self, name: &HashedName) -> Option<u32> {
        let labels = name.label_count();
        for depth in &self.depths {
            let above = labels.checked_sub(usize::from(*depth));
            let origin = above.and_then(|above| self.origins.find(name.suffix(above)));
            if origin.is_some() {
                return origin;
            }
        }
        None
    }

    /// The zone with this number; `None` if it is withheld.
    #[inline(always)]
    pub(crate) fn at(&self, number: u32) -> Option<&Zone> {
        self.zones.get(number as usize)?.as_deref()
    }

    /// The zone of exactly this lower-cased wire name.
    pub fn exact(&self, origin: &[u8]) -> Option<&Zone> {
        self.shared(origin).map(Arc::as_ref)
    }

    /// The zone of exactly this lower-cased wire name, to be held beyond the snapshot.
    pub fn shared(&self, origin: &[u8]) -> Option<&Arc<Zone>> {
        let number = self.origins.find_plain(origin)?;
        self.zones.get(number as usize)?.as_ref()
    }

    /// Every zone that is loaded, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().flatten().map(Arc::as_ref)
    }

    /// True if no zone is loaded.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zonefile;

    fn zone(origin: &str) -> Zone {
        let glue = if origin == "." {
            "n.o. 60 A 192.0.2.1"
        } else {
            ""
        };
        let text = format!("$ORIGIN {origin}\n@ 60 SOA n.o. m.o. 1 2 3 4 5\n@ 60 NS n.o.\n{glue}");
        zonefile::parse("t", &text, None).unwrap()
    }

    #[test]
    fn finds_the_deepest_zone_of_a_name() {
        let mut zones = Zones::new();
        for origin in ["b.", "a.b.", "c.a.b.", "x.y."] {
            assert!(zones.insert(zone(origin)).is_ok());
        }
        assert!(zones.insert(zone("A.b.")).is_err());
        let check = |name: &str, expected: Option<&str>| {
            let found = zones
                .find(&name::parse(name, None).unwrap())
                .map(|z| name::text(z.origin()));
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("b.", Some("b."));
        check("q.c.b.", Some("b."));
        check("q.a.b.", Some("a.b."));
        check("q.c.a.b.", Some("c.a.b."));
        check("c.a.b.", Some("c.a.b."));
        check("y.", None);
        check("c.y.", None);
        check(".", None);
        assert!(zones.insert(zone(".")).is_ok());
        let root = zones.find(&name::parse("c.y.", None).unwrap()).unwrap();
        assert_eq!(root.origin(), name::ROOT);
    }

    #[test]
    fn a_zone_that_is_withheld_hides_the_one_above() {
        let mut zones = Zones::new();
        assert!(zones.insert(zone("b.")).is_ok());
        let (inside, above) = (b"\x01x\x01a\x01b\0", b"\x01b\0");
        assert!(zones.find(inside).is_some() && !zones.is_withheld(inside));
        zones.withhold(b"\x01a\x01b\0");
        assert!(zones.find(inside).is_none() && zones.is_withheld(inside));
        assert!(zones.find(above).is_some() && !zones.is_withheld(above));
        zones.withhold(above);
        assert!(zones.is_empty() && zones.exact(above).is_none());
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_suffix(
            origins in prop::collection::vec("([ab]\\.){0,4}", 0..6),
            names in prop::collection::vec("([ab]\\.){0,127}", 1..6),
        ) {
            let mut zones = Zones::new();
            for origin in &origins {
                let origin = if origin.is_empty() { "." } else { origin };
                let _ = zones.insert(zone(origin));
            }
            for text in &names {
                let text = if text.is_empty() { "." } else { text };
                let name = name::parse(text, None).unwrap();
                let slow = name::suffixes(&name).find_map(|suffix| zones.exact(suffix));
                let found = zones.find(&name);
                prop_assert_eq!(found.map(Zone::origin), slow.map(Zone::origin));
            }
        }
    }
}
