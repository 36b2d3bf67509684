//! The name servers a player asks: one resolver per zone given on the command line, the system's for the rest.
//! `hickory-resolver` does the asking (UDP, TCP when truncated or silent, cache by TTL).

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;

use crate::resolve::ResolveError;

/// One try at one server. Short: a viewer waits, and one retry and TCP come after it.
const TRY_TIMEOUT: Duration = Duration::from_millis(1000);
/// A whole look-up with its retry and TCP; what hickory does inside cannot exceed it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);
/// "No such name" is forgotten after this, whatever the SOA says: a service just created must not stay away.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);

/// `[ZONE=]IP:PORT`, as given to `--resolver`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSpec {
    /// Only names at or under this zone are asked here; `None` for all.
    pub zone: Option<Name>,
    /// The name server.
    pub address: SocketAddr,
}

impl FromStr for ResolverSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, address) = match text.split_once('=') {
            Some((zone, address)) => (Some(zone), address),
            None => (None, text),
        };
        let address = address
            .parse()
            .map_err(|_| format!("`{address}` is not IP:PORT, such as 127.0.0.1:5301"))?;
        let zone = match zone {
            None => None,
            Some(zone) => {
                let mut name = Name::from_ascii(zone).map_err(|e| format!("`{zone}`: {e}"))?;
                name.set_fqdn(true);
                Some(name)
            }
        };
        Ok(Self { zone, address })
    }
}

/// All resolvers of a player; cheap to clone, the cache is shared.
#[derive(Clone)]
pub struct Resolvers {
    /// Longest zone first, so that the first match is the right one; the root zone is the default.
    zones: Vec<(Name, Arc<Upstream>)>,
}

/// The name servers of one zone. hickory falls back to TCP on truncation only (its `try_tcp_on_error`
/// has no effect in 0.26.3), so a second resolver without UDP stands by for networks that swallow UDP.
struct Upstream {
    udp_and_tcp: TokioResolver,
    tcp: TokioResolver,
    /// UDP stayed silent where TCP answered: start with TCP from now on.
    udp_silent: AtomicBool,
}

/// Records of one look-up.
pub struct Found {
    /// Answer section, CNAMEs included.
    pub records: Vec<Record>,
    /// When the answer must be asked for again.
    pub valid_until: Instant,
}

impl Resolvers {
    /// Builds one resolver per zone named; names outside all of them go to the system's name servers.
    pub fn new(specs: &[ResolverSpec]) -> Result<Self, ResolveError> {
        let mut grouped: Vec<(Name, Vec<NameServerConfig>)> = Vec::new();
        for spec in specs {
            let zone = spec.zone.clone().unwrap_or_else(Name::root);
            match grouped.iter_mut().find(|(name, _)| *name == zone) {
                Some((_, servers)) => servers.push(name_server(spec.address)),
                None => grouped.push((zone, vec![name_server(spec.address)])),
            }
        }
        if !grouped.iter().any(|(zone, _)| zone.is_root()) {
            let (config, _) = read_system_conf().map_err(|e| setup_error(&e))?;
            grouped.push((Name::root(), config.name_servers));
        }
        grouped.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.num_labels()));
        let mut zones = Vec::new();
        for (zone, servers) in grouped {
            zones.push((
                zone,
                Arc::new(Upstream::new(servers).map_err(|e| setup_error(&e))?),
            ));
        }
        Ok(Self { zones })
    }

    /// Asks for `name` and `rtype`; an empty answer is an error too, with its reason.
    pub async fn lookup(&self, name: &Name, rtype: RecordType) -> Result<Found, ResolveError> {
        let upstream = self.upstream_for(name)?;
        match tokio::time::timeout(LOOKUP_TIMEOUT, upstream.lookup(name, rtype)).await {
            Err(_) => Err(ResolveError::Timeout {
                name: name.to_string(),
            }),
            Ok(Err(error)) => Err(explain(name, rtype, &error)),
            Ok(Ok(lookup)) => Ok(Found {
                records: lookup.answers().to_vec(),
                valid_until: lookup.valid_until(),
            }),
        }
    }

    fn upstream_for(&self, name: &Name) -> Result<&Upstream, ResolveError> {
        self.zones
            .iter()
            .find(|(zone, _)| zone.zone_of(name))
            .map(|(_, upstream)| &**upstream)
            .ok_or_else(|| ResolveError::Setup {
                reason: format!("no resolver for {name}"),
            })
    }
}

impl Upstream {
    fn new(servers: Vec<NameServerConfig>) -> Result<Self, NetError> {
        let mut tcp = servers.clone();
        for server in &mut tcp {
            server
                .connections
                .retain(|c| matches!(c.protocol, ProtocolConfig::Tcp));
        }
        Ok(Self {
            udp_and_tcp: build(servers)?,
            tcp: build(tcp)?,
            udp_silent: AtomicBool::new(false),
        })
    }

    async fn lookup(&self, name: &Name, rtype: RecordType) -> Result<Lookup, NetError> {
        if self.udp_silent.load(Ordering::Relaxed) {
            return self.tcp.lookup(name.clone(), rtype).await;
        }
        let answer = self.udp_and_tcp.lookup(name.clone(), rtype).await;
        let Err(NetError::Timeout) = answer else {
            return answer;
        };
        match self.tcp.lookup(name.clone(), rtype).await {
            Err(NetError::Io(_) | NetError::NoConnections) => answer,
            by_tcp => {
                self.udp_silent
                    .store(!matches!(by_tcp, Err(NetError::Timeout)), Ordering::Relaxed);
                by_tcp
            }
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        with_port(ConnectionConfig::udp()),
        with_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}

fn build(servers: Vec<NameServerConfig>) -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(servers),
        TokioRuntimeProvider::default(),
    );
    *builder.options_mut() = options();
    builder.build()
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TRY_TIMEOUT;
    options.attempts = 1;
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    options.use_hosts_file = ResolveHosts::Never;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.edns_payload_len = 1232;
    options
}

fn setup_error(error: &NetError) -> ResolveError {
    ResolveError::Setup {
        reason: error.to_string(),
    }
}

/// Turns hickory's error into the reason a person can act upon.
fn explain(name: &Name, rtype: RecordType, error: &NetError) -> ResolveError {
    let name = name.to_string();
    match error {
        NetError::Timeout => ResolveError::Timeout { name },
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => ResolveError::NoSuchName { name },
            _ => ResolveError::NoRecords {
                name,
                rtype: rtype.to_string(),
            },
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            ResolveError::Refused { name }
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => {
            ResolveError::NoSuchName { name }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::ServerFailure {
            name,
            code: code.to_string(),
        },
        NetError::Io(error) => ResolveError::Unreachable {
            name,
            reason: error.to_string(),
        },
        other => ResolveError::Broken {
            name,
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_an_address_with_or_without_a_zone() {
        let spec: ResolverSpec = "edge.stream.example=127.0.0.1:5302".parse().unwrap();
        assert_eq!(spec.zone.unwrap().to_string(), "edge.stream.example.");
        assert_eq!(spec.address, "127.0.0.1:5302".parse().unwrap());
        assert_eq!("[::1]:53".parse::<ResolverSpec>().unwrap().zone, None);
        for text in ["127.0.0.1", "a=b", "=127.0.0.1:x", "ns.example:53"] {
            assert!(text.parse::<ResolverSpec>().is_err(), "{text}");
        }
    }
}
