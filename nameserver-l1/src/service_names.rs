//! Which service a name belongs to, and which client it was asked for.
//!
//! Each service owner `_rtsp._tcp.live.stream.example.` also stands for one name per client network,
//! `_rtsp._tcp.<id>.live.stream.example.`, and so makes `_tcp.<id>.…` and `<id>.…` empty non-terminals:
//! a resolver that minimises names (RFC 9156) asks for those first and must not be told NXDOMAIN.

use dns_engine::{HashedName, Names, name};
use traffic_map::Subnet;

use crate::client_label::{self, ClientLabel};

/// What a name is to the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing: the zone answers.
    Outside,
    /// The owner of the service with this index.
    Owner(usize),
    /// The service with this index, asked for on behalf of a client network.
    OwnerFor(usize, Subnet),
    /// Above a service's client-id names: it exists and has no data of its own.
    Between,
    /// Below a service in a place where nothing can exist: a mangled client id, or a name under one.
    Nowhere,
}

/// The owners of all services, in the order in which they were added.
#[derive(Debug, Default)]
pub struct ServiceNames {
    owners: Names,
    /// The service of each owner, by the owner's number.
    indices: Vec<usize>,
    /// What follows `_service._proto`.
    hosts: Names,
    /// By the number of the host.
    services: Vec<Vec<ServiceAt>>,
}

/// One of the services of a host.
#[derive(Debug)]
struct ServiceAt {
    /// `_service._proto`, two labels in wire form without a root label.
    front: Box<[u8]>,
    index: usize,
}

impl ServiceNames {
    /// Adds the owner (wire form) of the service with this index. False if it is another's already.
    pub fn insert(&mut self, owner: &[u8], index: usize) -> bool {
        let owner = name::lowered(owner);
        let Some((_, true)) = self.owners.insert(&owner) else {
            return false;
        };
        self.indices.push(index);
        if let Some((front, host)) = split(&owner)
            && let Some((number, _)) = self.hosts.insert(host)
        {
            self.services.resize_with(self.hosts.len(), Vec::new);
            self.services[number as usize].push(ServiceAt {
                front: front.into(),
                index,
            });
        }
        true
    }

    /// Looks a name up.
    #[inline]
    pub fn find(&self, name: &HashedName) -> Place {
        if let Some(number) = self.owners.find(name.whole()) {
            let index = self.indices.get(number as usize);
            return index.map_or(Place::Outside, |index| Place::Owner(*index));
        }
        for place in 0..name.label_count() {
            // Nearly all labels are told by their first octets.
            if !client_label::is_marked(&name.label_front(place)) {
                continue;
            }
            let label = name.label(place);
            if client_label::read(label) == ClientLabel::Ordinary {
                continue;
            }
            let host = self.hosts.find(name.suffix(place + 1));
            if let Some(services) = host.and_then(|number| self.services.get(number as usize)) {
                let whole = name.as_slice();
                let behind = name.suffix(place).octets.len();
                let front = whole.get(..whole.len() - behind).unwrap_or_default();
                return below_host(services, front, client_label::read(label));
            }
        }
        Place::Outside
    }
}

/// `_service._proto` and the rest of an owner name (RFC 2782); `None` if it is not of that form.
pub fn split(owner: &[u8]) -> Option<(&[u8], &[u8])> {
    let (proto, host) =
        name::parent(owner).and_then(|proto| Some((proto, name::parent(proto)?)))?;
    let underscored = |suffix| {
        name::labels(suffix)
            .next()
            .is_some_and(|l| l.starts_with(b"_"))
    };
    let front = owner.get(..owner.len() - host.len())?;
    (underscored(owner) && underscored(proto) && host != name::ROOT).then_some((front, host))
}

fn below_host(services: &[ServiceAt], front: &[u8], client: ClientLabel) -> Place {
    let ClientLabel::Network(subnet) = client else {
        return Place::Nowhere;
    };
    if let Some(service) = services.iter().find(|service| *service.front == *front) {
        return Place::OwnerFor(service.index, subnet);
    }
    let is_above = |service: &ServiceAt| {
        let label_length = usize::from(*service.front.first().unwrap_or(&0));
        front.is_empty() || service.front.get(1 + label_length..) == Some(front)
    };
    match services.iter().any(is_above) {
        true => Place::Between,
        false => Place::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServiceNames {
        let mut names = ServiceNames::default();
        for (index, owner) in [
            "_rtsp._tcp.live.stream.example.",
            "_rtsp._udp.live.stream.example.",
        ]
        .iter()
        .enumerate()
        {
            assert!(names.insert(&name::parse(owner, None).unwrap(), index));
        }
        names
    }

    fn check(text: &str, expected: Place) {
        let wire = name::lowered(&name::parse(text, None).unwrap());
        assert_eq!(names().find(&HashedName::new(&wire)), expected, "{text}");
    }

    fn network() -> Subnet {
        "198.51.100.0/24".parse().unwrap()
    }

    #[test]
    fn finds_owners_and_their_client_id_names_in_any_case() {
        check("_rtsp._tcp.live.stream.example.", Place::Owner(0));
        check("_RTSP._udp.LIVE.stream.example.", Place::Owner(1));
        check(
            "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.",
            Place::OwnerFor(0, network()),
        );
        check(
            "_rtsp._UDP.IP4-198-51-100-0-24.live.stream.example.",
            Place::OwnerFor(1, network()),
        );
    }

    #[test]
    fn names_above_a_client_id_name_exist_without_data() {
        check(
            "_tcp.ip4-198-51-100-0-24.live.stream.example.",
            Place::Between,
        );
        check(
            "_udp.ip4-198-51-100-0-24.live.stream.example.",
            Place::Between,
        );
        check("ip4-198-51-100-0-24.live.stream.example.", Place::Between);
    }

    #[test]
    fn mangled_ids_and_names_under_an_id_are_nowhere() {
        check(
            "_rtsp._tcp.ip4-198-51-100-1-24.live.stream.example.",
            Place::Nowhere,
        );
        check("ip4-198-51-100-0-33.live.stream.example.", Place::Nowhere);
        check(
            "_sctp.ip4-198-51-100-0-24.live.stream.example.",
            Place::Nowhere,
        );
        check(
            "x._rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.",
            Place::Nowhere,
        );
    }

    #[test]
    fn everything_else_is_the_zones() {
        check("live.stream.example.", Place::Outside);
        check("_tcp.live.stream.example.", Place::Outside);
        check("ip4-198-51-100-0-24.other.example.", Place::Outside);
        check("x._rtsp._tcp.live.stream.example.", Place::Outside);
        check(".", Place::Outside);
    }

    #[test]
    fn an_owner_is_taken_once_and_has_to_look_like_a_service() {
        let owner = name::parse("_RTSP._tcp.live.stream.example.", None).unwrap();
        assert!(!names().insert(&owner, 2));
        for odd in [
            "live.stream.example.",
            "_rtsp._tcp.",
            "_rtsp.tcp.live.",
            ".",
        ] {
            assert_eq!(split(&name::parse(odd, None).unwrap()), None, "{odd}");
        }
    }
}
