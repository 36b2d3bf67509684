//! Who is asking, and how far the answer for that client may be shared.
//!
//! In order of trust: the client-id label in the name, EDNS Client Subnet, the source address. The
//! scope goes back in the ECS option (RFC 7871 §7.2.1: tailored answers never overlap).

use dns_engine::Client;
use traffic_map::Subnet;

/// How the client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// The label in front of the service: the name itself differs, so the scope is 0.
    Label,
    /// EDNS Client Subnet: the scope says how far the answer holds.
    Subnet,
    /// The address the query came from, as there was no subnet or one of length 0, by which a client
    /// asks not to be told apart (RFC 7871 §7.1.2): the scope is 0.
    Source,
}

/// A client network as the map is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The network.
    pub subnet: Subnet,
    /// Where it is from.
    pub known_by: KnownBy,
}

impl Asker {
    /// The client that a label names.
    pub fn from_label(subnet: Subnet) -> Self {
        Self {
            subnet,
            known_by: KnownBy::Label,
        }
    }

    /// The client of a query whose name carries no label.
    pub fn from_query(client: &Client) -> Self {
        match client.subnet {
            Some(subnet) if subnet.source_len > 0 => {
                let subnet = Subnet {
                    address: subnet.address,
                    len: subnet.source_len,
                };
                Self {
                    subnet: subnet.normalized(),
                    known_by: KnownBy::Subnet,
                }
            }
            _ => Self {
                subnet: Subnet::host(client.source),
                known_by: KnownBy::Source,
            },
        }
    }

    /// The ECS scope of the answer, given the map's for this network.
    pub fn scope(&self, map_scope: u8) -> u8 {
        match self.known_by {
            KnownBy::Label | KnownBy::Source => 0,
            KnownBy::Subnet => map_scope,
        }
    }

    /// True if only the resolver's address is known, and the client is taken to be near it: the second level may
    /// be told more, and know better.
    pub fn is_assumed(&self) -> bool {
        self.known_by == KnownBy::Source
    }
}

#[cfg(test)]
mod tests {
    use dns_engine::ClientSubnet;

    use super::*;

    fn query(source: &str, subnet: Option<&str>) -> Asker {
        let subnet = subnet.map(|text| {
            let subnet: Subnet = text.parse().unwrap();
            ClientSubnet {
                address: subnet.address,
                source_len: subnet.len,
            }
        });
        Asker::from_query(&Client {
            source: source.parse().unwrap(),
            subnet,
        })
    }

    fn check(asker: Asker, subnet: &str, known_by: KnownBy, map_scope: u8, scope: u8) {
        assert_eq!(asker.subnet.to_string(), subnet);
        assert_eq!(
            (asker.known_by, asker.scope(map_scope)),
            (known_by, scope),
            "{subnet}"
        );
    }

    #[test]
    fn a_subnet_goes_before_the_source() {
        let asker = query("192.0.2.1", Some("198.51.100.0/24"));
        check(asker, "198.51.100.0/24", KnownBy::Subnet, 22, 22);
        check(
            query("192.0.2.1", None),
            "192.0.2.1/32",
            KnownBy::Source,
            22,
            0,
        );
    }

    #[test]
    fn a_subnet_of_length_zero_means_no_knowledge() {
        check(
            query("192.0.2.1", Some("0.0.0.0/0")),
            "192.0.2.1/32",
            KnownBy::Source,
            22,
            0,
        );
        check(
            query("192.0.2.1", Some("::/0")),
            "192.0.2.1/32",
            KnownBy::Source,
            22,
            0,
        );
    }

    #[test]
    fn a_label_has_scope_zero() {
        let asker = Asker::from_label("198.51.100.0/24".parse().unwrap());
        check(asker, "198.51.100.0/24", KnownBy::Label, 22, 0);
    }

    #[test]
    fn mapped_addresses_keep_the_scope_the_map_gives_in_the_askers_terms() {
        let asker = query("192.0.2.1", Some("::ffff:198.51.100.0/120"));
        check(asker, "::ffff:198.51.100.0/120", KnownBy::Subnet, 118, 118);
        let asker = query("192.0.2.1", Some("::ffff:0:0/96"));
        check(asker, "::ffff:0.0.0.0/96", KnownBy::Subnet, 96 + 22, 118);
    }
}
