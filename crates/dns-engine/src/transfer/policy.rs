//! Who may have a zone, and whose NOTIFY is heard. Nobody, until a rule says so; a rule holds for the
//! operation whatever the transport.

use std::net::IpAddr;
use std::sync::Arc;

use super::Journal;
use crate::Network;
use crate::hash::NameMap;
use crate::name;
use crate::tsig::Key;

/// A condition on who asks: an address, a key, or both at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    networks: Vec<Network>,
    key: Option<Box<[u8]>>,
}

impl Rule {
    /// The address must lie in one of the networks, and the query be signed with the key of this wire
    /// name, as far as either is given; `None` if neither is, as that would mean everybody.
    pub fn new(networks: Vec<Network>, key: Option<&[u8]>) -> Option<Self> {
        let key = key.map(|key| name::lowered(key).into());
        (!networks.is_empty() || key.is_some()).then_some(Self { networks, key })
    }

    /// True if someone at this address, whose signature was made with this key, is meant.
    pub fn holds(&self, source: IpAddr, key: Option<&Key>) -> bool {
        let address = self.networks.is_empty()
            || self.networks.iter().any(|network| network.contains(source));
        let signed = match (&self.key, key) {
            (None, _) => true,
            (Some(wanted), Some(key)) => **wanted == *key.name(),
            (Some(_), None) => false,
        };
        address && signed
    }
}

/// What is allowed with one zone.
#[derive(Debug, Clone, Default)]
pub struct ZonePolicy {
    /// Who may have it; one rule is enough.
    pub provide: Vec<Rule>,
    /// Whose NOTIFY is heard: the primaries of a secondary zone.
    pub notified_by: Vec<Rule>,
    /// Its history, for incremental transfers.
    pub journal: Journal,
}

/// What is allowed with each zone; a zone without an entry goes to nobody.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    zones: NameMap<Arc<ZonePolicy>>,
    hears_notify: bool,
}

impl Policy {
    /// Sets what is allowed with the zone of this wire name.
    pub fn set(&mut self, origin: &[u8], policy: impl Into<Arc<ZonePolicy>>) {
        let policy = policy.into();
        self.hears_notify |= !policy.notified_by.is_empty();
        self.zones.insert(name::lowered(origin).into(), policy);
    }

    /// True if any zone has primaries.
    pub fn hears_notify(&self) -> bool {
        self.hears_notify
    }

    /// What is allowed with the zone of this lower-cased wire name.
    pub fn zone(&self, origin: &[u8]) -> Option<&Arc<ZonePolicy>> {
        self.zones.get(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsig::Algorithm;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_with_network_and_key_wants_both() {
        let key = Key::new(b"\x01k\0", Algorithm::HmacSha256, b"s").unwrap();
        let other = Key::new(b"\x01o\0", Algorithm::HmacSha256, b"s").unwrap();
        let inside = address("192.0.2.1");
        let outside = address("198.51.100.1");
        let networks = vec!["192.0.2.0/24".parse().unwrap()];
        let both = Rule::new(networks.clone(), Some(b"\x01K\0")).unwrap();
        assert!(both.holds(inside, Some(&key)));
        assert!(!both.holds(inside, None));
        assert!(!both.holds(inside, Some(&other)));
        assert!(!both.holds(outside, Some(&key)));
        let by_network = Rule::new(networks, None).unwrap();
        assert!(by_network.holds(inside, None));
        assert!(by_network.holds(inside, Some(&other)));
        assert!(!by_network.holds(outside, Some(&key)));
        let by_key = Rule::new(Vec::new(), Some(b"\x01k\0")).unwrap();
        assert!(by_key.holds(outside, Some(&key)));
        assert!(!by_key.holds(outside, None));
        assert_eq!(Rule::new(Vec::new(), None), None);
    }
}
