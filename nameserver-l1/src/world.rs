//! Everything the server is told, in its last good versions: what a snapshot is built from.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use dns_engine::{Zone, Zones, name, rtype};
use nameserver::zone_files::name_of;
use route_token::KeyRing;
use service::diagnostic::{Diagnostic, Report, Severity};
use traffic_map::services::{self, Services};

use crate::{
    checks::cross_check,
    explain::Explainer,
    metrics::Metrics,
    routing::{Release, RoutedService, Routing, ZoneDefault},
    sealing::TokenZone,
    service_names::ServiceNames,
};

/// Where a part of the world comes from. In the order in which parts are tried when not all fit together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The token keys.
    Keys,
    /// The folder of releases.
    Release,
    /// One zone file.
    Zone(PathBuf),
    /// The services file.
    Services,
}

impl Source {
    /// As a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Release => "release",
            Self::Zone(_) => "zone",
            Self::Services => "services",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(path) => write!(f, "zone {}", path.display()),
            other => f.write_str(other.label()),
        }
    }
}

/// A new version of a part.
#[derive(Clone)]
pub enum Version {
    /// A key ring.
    Keys(Arc<KeyRing>),
    /// A verified release with its map decoded.
    Release(Arc<Release>),
    /// A zone.
    Zone(Arc<Zone>),
    /// The zone file is gone.
    ZoneGone,
    /// A services file.
    Services(Arc<ServicesFile>),
}

/// A services file that was read without errors; the text is kept to point into it.
#[derive(Debug)]
pub struct ServicesFile {
    /// Its name, for findings.
    pub file: String,
    /// As the operator wrote it.
    pub text: String,
    /// What it says.
    pub services: Services,
}

/// The parts. Cheap to copy.
#[derive(Clone, Default)]
pub struct World {
    /// Zones by file.
    pub zones: BTreeMap<PathBuf, Arc<Zone>>,
    /// Names (wire form) of zones whose file is there and has not been good yet: they answer SERVFAIL.
    pub unloaded: BTreeMap<PathBuf, Box<[u8]>>,
    /// Without it, no name is known to be a service, nor known not to be one.
    pub services: Option<Arc<ServicesFile>>,
    /// Without it, services answer with the zones' own records.
    pub keys: Option<Arc<KeyRing>>,
    /// Likewise.
    pub release: Option<Arc<Release>>,
}

impl World {
    /// Replaces one part.
    pub fn set(&mut self, source: &Source, version: Version) {
        match (source, version) {
            (Source::Zone(path), Version::Zone(zone)) => {
                self.unloaded.remove(path);
                self.zones.insert(path.clone(), zone);
            }
            (Source::Zone(path), _) => {
                self.unloaded.remove(path);
                self.zones.remove(path);
            }
            (_, Version::Services(services)) => self.services = Some(services),
            (_, Version::Keys(keys)) => self.keys = Some(keys),
            (_, Version::Release(release)) => self.release = Some(release),
            (_, Version::Zone(_) | Version::ZoneGone) => {}
        }
    }

    /// Remembers a zone whose file is there and was never good. True if that is news.
    pub fn mark_unloaded(&mut self, source: &Source) -> bool {
        let Source::Zone(path) = source else {
            return false;
        };
        let Some(origin) = name_of(path).filter(|_| !self.zones.contains_key(path)) else {
            return false;
        };
        self.unloaded
            .insert(path.clone(), wire(&origin).into())
            .is_none()
    }

    /// True if a name (wire form, lower case) belongs to a zone that could not be loaded.
    pub fn is_unloaded(&self, name: &[u8]) -> bool {
        self.unloaded
            .values()
            .any(|origin| name::is_within(name, origin))
    }

    /// The zones as a table; of two files for one zone, the first.
    pub fn zones(&self) -> Zones {
        let mut zones = Zones::new();
        for zone in self.zones.values() {
            let _ = zones.insert(Arc::clone(zone)); // the checks report the second
        }
        zones
    }

    /// The zones that queries are answered from, and the services in them, for queries and `explain`.
    pub fn build(&self, metrics: &Metrics) -> (Zones, Explainer) {
        let zones = self.zones();
        let mut names = ServiceNames::default();
        let (mut routed, mut token_zones) = (Vec::new(), HashMap::new());
        let misfits = cross_check(self).services;
        let services = self
            .services
            .as_ref()
            .map_or(&[][..], |file| &file.services.services);
        for service in services {
            let owner = wire(&service.owner);
            if names.insert(&owner, routed.len()) {
                let fits = !misfits.contains_key(&service.name);
                routed.push(RoutedService {
                    default: zone_default(&zones, &owner),
                    fits,
                    tokens: self.token_zone(&service.tokens, &mut token_zones),
                    counts: metrics.service(&service.name),
                    service: service.clone(),
                });
            }
        }
        let routing = Arc::new(Routing {
            services: routed,
            names,
            services_known: self.services.is_some(),
            release: self.release.clone(),
            metrics: metrics.clone(),
        });
        let mut served = zones.clone();
        for origin in self.unloaded.values() {
            // Else the zone is loaded from another file.
            if served.exact(origin).is_none() {
                served.withhold(origin);
            }
        }
        (served, Explainer { routing, zones })
    }

    /// A token zone by its name in the services file; those of one name are one.
    fn token_zone<'s>(
        &self,
        name: &'s str,
        known: &mut HashMap<&'s str, Arc<TokenZone>>,
    ) -> Option<Arc<TokenZone>> {
        let keys = self.keys.as_ref()?;
        let zone = known
            .entry(name)
            .or_insert_with(|| Arc::new(TokenZone::new(&wire(name), keys.zone(name))));
        Some(Arc::clone(zone))
    }
}

/// A name from a services file, where it is checked, in wire form and lower case.
pub fn wire(text: &str) -> Vec<u8> {
    let wire = name::parse(text, Some(name::ROOT));
    name::lowered(&wire.unwrap_or_else(|_| name::ROOT.to_vec()))
}

/// Reads a services file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_services(file: &str, text: String) -> Result<ServicesFile, Report> {
    match services::parse(file, &text) {
        Ok(services) => Ok(ServicesFile {
            file: file.to_owned(),
            text,
            services,
        }),
        Err(findings) => {
            let mut report = Report::default();
            report.extend(findings.into_iter().map(diagnostic));
            Err(report)
        }
    }
}

/// The map library's finding as everyone's.
pub fn diagnostic(finding: traffic_map::Finding) -> Diagnostic {
    Diagnostic {
        file: finding.file,
        line: finding.line,
        column: finding.column,
        severity: match finding.severity {
            traffic_map::Severity::Error => Severity::Error,
            traffic_map::Severity::Warning => Severity::Warning,
        },
        message: finding.message,
        hint: finding.hint,
    }
}

fn zone_default(zones: &Zones, owner: &[u8]) -> ZoneDefault {
    let set = zones
        .find(owner)
        .and_then(|zone| zone.rrset(owner, rtype::SRV));
    set.map_or_else(ZoneDefault::default, |set| ZoneDefault {
        ttl: set.ttl,
        records: set.rdatas().map(Box::from).collect(),
    })
}
