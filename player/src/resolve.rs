//! SRV name → server set: the records in the order to try them, with the addresses of every target.
//! Each way in which DNS can fail has its own error, because each has its own cure.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_proto::rr::{Name, RData, RecordType};
use rand::Rng;
use serde::Serialize;
use thiserror::Error;

use crate::dns::Resolvers;
use crate::name::{ClientNet, ServiceName};
use crate::order::{Ranked, arrange};

/// Most SRV records looked at; a larger set is cut, as each costs two look-ups.
const RECORDS_MAX: usize = 16;
/// Most addresses taken per target, for the same reason.
const ADDRESSES_MAX: usize = 16;

/// Why no server set came out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// The name cannot be an SRV owner.
    #[error("`{name}` is not an SRV name: {reason}")]
    BadName {
        /// As given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// NXDOMAIN.
    #[error("{name}: no such name")]
    NoSuchName {
        /// The name asked for.
        name: String,
    },
    /// The name is there, records of this type are not.
    #[error("{name}: the name exists but has no {rtype} records")]
    NoRecords {
        /// The name asked for.
        name: String,
        /// The type asked for.
        rtype: String,
    },
    /// The only target is "." (RFC 2782: the service is decidedly not available at this domain).
    #[error("{name}: the service is not available (its SRV target is \".\")")]
    NotAvailable {
        /// The name asked for.
        name: String,
    },
    /// REFUSED: this server does not serve the name, or does not serve us.
    #[error("{name}: the name server refused (is it responsible for this name?)")]
    Refused {
        /// The name asked for.
        name: String,
    },
    /// SERVFAIL and its relatives.
    #[error("{name}: the name server failed: {code}")]
    ServerFailure {
        /// The name asked for.
        name: String,
        /// The response code.
        code: String,
    },
    /// Nothing came back in time, neither by UDP nor by TCP.
    #[error("{name}: no answer from the name server in time")]
    Timeout {
        /// The name asked for.
        name: String,
    },
    /// The name server's host or port cannot be reached.
    #[error("{name}: the name server cannot be reached: {reason}")]
    Unreachable {
        /// The name asked for.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// Something that is not a DNS answer.
    #[error("{name}: the look-up failed: {reason}")]
    Broken {
        /// The name asked for.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// SRV records came, but no target has an address.
    #[error("{name}: no addresses: {reasons}")]
    NoAddresses {
        /// The name asked for.
        name: String,
        /// One reason per target.
        reasons: String,
    },
    /// No resolver can be built (no system configuration).
    #[error("no resolver: {reason}")]
    Setup {
        /// What the resolver said.
        reason: String,
    },
}

/// One SRV record with the addresses of its target.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Server {
    /// SRV priority; lower first.
    pub priority: u16,
    /// SRV weight.
    pub weight: u16,
    /// RTSP port.
    pub port: u16,
    /// Target name: `<token>.edge.stream.example.`.
    pub target: String,
    /// A and AAAA records of the target.
    pub addresses: Vec<IpAddr>,
    /// Why there are no addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Server {
    /// The opaque label the first level handed out: the target's first.
    pub fn token(&self) -> &str {
        self.target.split('.').next().unwrap_or_default()
    }

    /// All socket addresses of this record.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses
            .iter()
            .map(|address| SocketAddr::new(*address, self.port))
    }
}

impl Ranked for Server {
    fn priority(&self) -> u16 {
        self.priority
    }
    fn weight(&self) -> u16 {
        self.weight
    }
}

/// What two look-ups gave: the records in the order in which to try them.
#[derive(Clone, Debug, Serialize)]
pub struct ServerSet {
    /// The owner asked for, client-id label included.
    pub name: String,
    /// In RFC 2782 order; at least one has an address.
    pub servers: Vec<Server>,
    /// Milliseconds for the SRV look-up.
    pub srv_ms: f64,
    /// Milliseconds for all address look-ups together (they run side by side).
    pub address_ms: f64,
    /// When the SRV records expire.
    #[serde(skip)]
    pub valid_until: Instant,
}

/// Asks for the SRV records of `service` as seen by `client`, then for every target's addresses.
pub async fn resolve(
    resolvers: &Resolvers,
    service: &ServiceName,
    client: Option<&ClientNet>,
    rng: &mut (impl Rng + Send),
) -> Result<ServerSet, ResolveError> {
    let name = service.query_name(client)?;
    let started = Instant::now();
    let found = resolvers.lookup(&name, RecordType::SRV).await?;
    let srv_ms = millis(started.elapsed());
    let targets = targets(&name, &found.records)?;

    let started = Instant::now();
    let servers = join_all(
        targets
            .into_iter()
            .map(|server| with_addresses(resolvers, server)),
    )
    .await;
    let address_ms = millis(started.elapsed());
    if servers.iter().all(|server| server.addresses.is_empty()) {
        return Err(ResolveError::NoAddresses {
            name: name.to_string(),
            reasons: reasons(&servers),
        });
    }
    let servers = arrange(servers, rng);
    Ok(ServerSet {
        name: name.to_string(),
        servers,
        srv_ms,
        address_ms,
        valid_until: found.valid_until,
    })
}

/// The usable SRV records of an answer.
fn targets(
    name: &Name,
    records: &[hickory_proto::rr::Record],
) -> Result<Vec<Server>, ResolveError> {
    let mut unavailable = false;
    let mut servers = Vec::new();
    for record in records {
        let RData::SRV(srv) = &record.data else {
            continue;
        };
        if srv.target.is_root() {
            unavailable = true;
            continue;
        }
        servers.push(Server {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_string(),
            addresses: Vec::new(),
            failure: None,
        });
    }
    let name = name.to_string();
    match (servers.is_empty(), unavailable) {
        (false, _) => {
            // The cut keeps the best priorities.
            servers.sort_by_key(|server| server.priority);
            servers.truncate(RECORDS_MAX);
            Ok(servers)
        }
        (true, true) => Err(ResolveError::NotAvailable { name }),
        (true, false) => Err(ResolveError::NoRecords {
            name,
            rtype: "SRV".into(),
        }),
    }
}

/// A and AAAA of one target, side by side; one of the two is enough.
async fn with_addresses(resolvers: &Resolvers, mut server: Server) -> Server {
    let Ok(target) = Name::from_ascii(&server.target) else {
        server.failure = Some("not a name".into());
        return server;
    };
    let (v4, v6) = tokio::join!(
        resolvers.lookup(&target, RecordType::A),
        resolvers.lookup(&target, RecordType::AAAA)
    );
    let records = [&v4, &v6]
        .into_iter()
        .flatten()
        .flat_map(|found| &found.records);
    for record in records {
        let address = match &record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
            _ => continue,
        };
        if !server.addresses.contains(&address) && server.addresses.len() < ADDRESSES_MAX {
            server.addresses.push(address);
        }
    }
    if server.addresses.is_empty() {
        server.failure = Some(match (v4, v6) {
            (Err(ResolveError::NoRecords { .. }), Err(ResolveError::NoRecords { .. }))
            | (Ok(_), _) => format!("{}: no A and no AAAA records", server.target),
            (Err(ResolveError::NoRecords { .. }), Err(error)) | (Err(error), _) => {
                error.to_string()
            }
        });
    }
    server
}

fn reasons(servers: &[Server]) -> String {
    let all: Vec<_> = servers
        .iter()
        .filter_map(|server| server.failure.as_deref())
        .collect();
    all.join("; ")
}

/// A duration as milliseconds, for reports.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
