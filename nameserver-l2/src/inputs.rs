//! Everything the server is told by files: watched, read aside, and taken over part by part; a part that is wrong stays as
//! it was, with a report.

use std::path::Path;
use std::sync::Arc;

use distribution::keys::KeyError;
use distribution::{VerifyingKey, keys, release};
use dns_engine::{Zones, name};
use nameserver::InForce;
use nameserver::transfer::Inbox;
use nameserver::zone_files::{LoadedZones, Naming, ZoneFiles};
use route_token::KeyRing;
use service::diagnostic::{Diagnostic, Report, Severity};
use service::watch;
use traffic_map::Map;
use traffic_map::services::{self, Services};

use crate::config::Config;
use crate::metrics::Counters;
use crate::plan::Plan;
use crate::tailor::{ServiceFacts, TokenZone, Tokens};
use crate::view::View;

/// The blob of a release that holds the map.
const MAP_BLOB: &str = "map";

/// What one poll found.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Sources whose new version is in force, by their metric label.
    pub(crate) adopted: Vec<&'static str>,
    /// Sources whose new version is refused, and why.
    pub(crate) refused: Vec<(&'static str, Report)>,
    /// The snapshot has to be built anew.
    pub(crate) snapshot: bool,
    /// What is odd about what is in force.
    pub(crate) warnings: Report,
    /// A release to adopt.
    pub(crate) plan: Option<Plan>,
}

/// The files, and the last good version of each.
pub(crate) struct Inputs {
    config: Config,
    zone_files: ZoneFiles,
    zones: LoadedZones,
    services_file: watch::File,
    services: Option<Services>,
    keys_file: watch::File,
    keys: Option<KeyRing>,
    trusted_file: watch::File,
    trusted: Option<Vec<VerifyingKey>>,
    /// The newest version of the file of trusted keys is refused.
    trusted_refused: bool,
    /// None until there are keys to trust, and while the state file makes no sense.
    reader: Option<release::Reader>,
    /// The last refusal told, so that one that lasts is told once.
    told: Option<Report>,
}

impl Inputs {
    /// Starts watching files, and the zones of other servers; nothing is read yet.
    pub(crate) fn new(config: Config, transferred: Inbox) -> Inputs {
        Inputs {
            zone_files: ZoneFiles::new(config.zones.clone(), Naming::Soa)
                .and_transferred(transferred),
            zones: LoadedZones::default(),
            services_file: watch::File::new(&config.services),
            services: None,
            keys_file: watch::File::new(&config.token_keys),
            keys: None,
            trusted_file: watch::File::new(&config.trusted_key),
            trusted: None,
            trusted_refused: false,
            reader: None,
            told: None,
            config,
        }
    }

    /// Reads what has changed.
    pub(crate) fn poll(&mut self) -> News {
        let mut news = self.poll_texts();
        let outcome = self.poll_release();
        news.release(outcome);
        news
    }

    /// Reads everything once, for a single look: leaves alone what a running server remembers.
    pub(crate) fn look(&mut self) -> News {
        let mut news = self.poll_texts();
        let (folder, default) = (&self.config.releases, self.config.default_region.as_deref());
        let outcome = match keys::read_public_keys(&self.config.trusted_key) {
            Err(error) => Err(key_report(&self.config.trusted_key, error)),
            Ok(trusted) => match release::load(folder, &trusted) {
                Err(refused) if refused.reason == release::Reason::Missing => Ok(None),
                Err(refused) => Err(release_report(&refused)),
                Ok(release) => match plan(&release, default) {
                    Ok(plan) => Ok(Some(plan)),
                    Err(error) => Err(whole(folder, error)),
                },
            },
        };
        news.release(outcome);
        news
    }

    fn poll_texts(&mut self) -> News {
        let mut news = News::default();
        let mut report = Report::default();
        if self.zones.take(self.zone_files.poll(), &mut report) {
            news.adopt("zone");
        }
        news.refuse("zone", report);
        news.warnings = self.zone_files.take_warnings();
        match poll(&mut self.services_file, parse_services) {
            Some(Ok(services)) => {
                self.services = Some(services);
                news.adopt("services");
            }
            Some(Err(report)) => news.refuse("services", report),
            None => {}
        }
        match poll(&mut self.keys_file, parse_keys) {
            Some(Ok(keys)) => {
                self.keys = Some(keys);
                news.adopt("keys");
            }
            Some(Err(report)) => news.refuse("keys", report),
            None => {}
        }
        news
    }

    fn poll_release(&mut self) -> Result<Option<Plan>, Report> {
        if let Err(report) = self.poll_trusted() {
            self.trusted_refused = true;
            return Err(report);
        }
        match self.read_release() {
            Ok(found) => {
                if self.release_is_good() {
                    self.told = None;
                }
                Ok(found)
            }
            Err(report) if self.told.as_ref() == Some(&report) => Ok(None),
            Err(report) => {
                self.told = Some(report.clone());
                Err(report)
            }
        }
    }

    /// A key file that becomes rubbish leaves the keys before in force.
    fn poll_trusted(&mut self) -> Result<(), Report> {
        let path = self.config.trusted_key.clone();
        match self.trusted_file.poll() {
            Ok(None) => {}
            Ok(Some(_)) => {
                let trusted = keys::read_public_keys(&path);
                self.trusted = Some(trusted.map_err(|error| key_report(&path, error))?);
                self.trusted_refused = false;
                self.reader = None;
            }
            Err(error) => return Err(unreadable(&path, &error)),
        }
        Ok(())
    }

    fn read_release(&mut self) -> Result<Option<Plan>, Report> {
        let Some(trusted) = &self.trusted else {
            return Ok(None);
        };
        let Config {
            releases,
            state,
            default_region,
            ..
        } = &self.config;
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(
                release::Reader::open(releases, trusted.clone(), state)
                    .map_err(|refused| release_report(&refused))?,
            ),
        };
        let found = reader.poll_checked(|release| plan(release, default_region.as_deref()));
        let found = found.map_err(|refused| release_report(&refused))?;
        Ok(found.map(|(_, plan)| plan))
    }

    /// The zones and the tokens in them that follow from the good versions, and what is odd about them together.
    pub(crate) fn tokens(
        &mut self,
        view: &Arc<View>,
        counters: &Arc<Counters>,
        in_force: &InForce,
    ) -> (Zones, Arc<Tokens>, Report) {
        let mut report = Report::default();
        let zones = self.zones.zones(&mut report);
        let mut token_zones = Vec::new();
        for zone in zones.iter() {
            let text = name::text(zone.origin());
            let Some(ttl) = self.token_ttl(&text) else {
                report.push(warning(
                    &self.config.services,
                    format!("zone {text} is loaded, and no service has its tokens there"),
                ));
                continue;
            };
            let keys = self.keys.as_ref().map(|ring| ring.zone(&text));
            token_zones.push(TokenZone::new(zone, keys, ttl));
        }
        let services = self.services.iter().flat_map(|services| &services.services);
        for service in services.clone() {
            if !token_zones
                .iter()
                .any(|zone| name::text(&zone.origin) == service.tokens)
            {
                let (service, zone) = (&service.name, &service.tokens);
                let message =
                    format!("service `{service}` has its tokens in {zone}, which is not loaded");
                report.push(warning(&self.config.services, message));
            }
        }
        let facts = services.map(|service| ServiceFacts {
            id: service.id,
            class: service.class,
            profile: service.profile.clone(),
        });
        let tokens = Arc::new(Tokens::new(
            token_zones,
            facts.collect(),
            self.config.answer_count(),
            view.clone(),
            counters.clone(),
            in_force.clone(),
        ));
        (zones, tokens, report)
    }

    /// The TTL of a token zone; `None` for a zone that is none. While the services are unknown, every zone is one.
    fn token_ttl(&self, zone: &str) -> Option<u32> {
        let Some(services) = &self.services else {
            return Some(self.config.ttl);
        };
        let table = services.token_zones.iter().find(|table| table.zone == zone);
        let used = services
            .services
            .iter()
            .any(|service| service.tokens == zone);
        match table {
            Some(table) => Some(table.ttl.unwrap_or(self.config.ttl)),
            None if used => Some(self.config.ttl),
            None => None,
        }
    }

    /// The file of a zone that is served, for findings.
    pub(crate) fn zone_file(&self, origin: &[u8]) -> String {
        let file = self.zones.file_of(origin);
        file.map_or_else(|| name::text(origin), |path| path.display().to_string())
    }

    /// How many zone files and folders are refused as they are now.
    pub(crate) fn refused_zones(&self) -> usize {
        self.zones.refused()
    }

    /// True if nothing is wrong with the newest release and the keys to trust, as of the last poll.
    pub(crate) fn release_is_good(&self) -> bool {
        let reader = self.reader.as_ref();
        !self.trusted_refused && reader.is_some_and(|reader| reader.refused().is_none())
    }

    /// The file of the token keys.
    pub(crate) fn keys_file(&self) -> &Path {
        self.keys_file.path()
    }

    /// The services, for names in `explain`.
    pub(crate) fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }
}

impl News {
    fn adopt(&mut self, source: &'static str) {
        self.adopted.push(source);
        self.snapshot = true;
    }

    fn refuse(&mut self, source: &'static str, report: Report) {
        if !report.is_empty() {
            self.refused.push((source, report));
        }
    }

    fn release(&mut self, outcome: Result<Option<Plan>, Report>) {
        match outcome {
            Ok(plan) => {
                if plan.is_some() {
                    self.adopted.push("release");
                }
                self.plan = plan;
            }
            Err(report) => self.refuse("release", report),
        }
    }
}

fn plan(release: &release::Release, default_region: Option<&str>) -> Result<Plan, String> {
    let bytes = release.blob(MAP_BLOB).ok_or("it has no map")?;
    let map = Map::decode(bytes).map_err(|error| format!("its map cannot be used: {error}"))?;
    if map.edges().is_empty() {
        return Err("its map has no edge at all".to_owned());
    }
    Ok(Plan::new(
        release.generation,
        release.built_at,
        map,
        default_region,
    ))
}

fn poll<T>(
    file: &mut watch::File,
    parse: impl FnOnce(&str, &str) -> Result<T, Report>,
) -> Option<Result<T, Report>> {
    match file.poll() {
        Ok(None) => None,
        Ok(Some(text)) => Some(parse(&file.path().display().to_string(), &text)),
        Err(error) => Some(Err(unreadable(file.path(), &error))),
    }
}

fn parse_services(file: &str, text: &str) -> Result<Services, Report> {
    services::parse(file, text).map_err(|findings| Report {
        findings: findings
            .into_iter()
            .map(|finding| Diagnostic {
                file: finding.file,
                line: finding.line,
                column: finding.column,
                severity: match finding.severity {
                    traffic_map::Severity::Error => Severity::Error,
                    traffic_map::Severity::Warning => Severity::Warning,
                },
                message: finding.message,
                hint: finding.hint,
            })
            .collect(),
    })
}

fn parse_keys(file: &str, text: &str) -> Result<KeyRing, Report> {
    KeyRing::from_toml(text)
        .map_err(|error| Diagnostic::error(file, error.line, error.column, error.message).into())
}

fn key_report(path: &Path, error: KeyError) -> Report {
    let (line, message) = match error {
        KeyError::Io { error, .. } => return unreadable(path, &error),
        KeyError::Line { line, reason, .. } => (line, reason.to_owned()),
        KeyError::Count {
            found, expected, ..
        } => (0, format!("{found} keys where {expected} expected")),
        other => (0, other.to_string()),
    };
    Diagnostic::error(path.display().to_string(), line, line.min(1), message).into()
}

fn release_report(refused: &release::Refused) -> Report {
    let message = match refused.generation {
        Some(generation) => format!("release {generation} refused: {}", refused.reason),
        None => refused.reason.to_string(),
    };
    whole(&refused.dir, message)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Report {
    whole(path, format!("cannot be read: {error}"))
}

fn whole(path: &Path, message: String) -> Report {
    Diagnostic::error(path.display().to_string(), 0, 0, message).into()
}

fn warning(path: &Path, message: String) -> Diagnostic {
    Diagnostic::warning(path.display().to_string(), message)
}
