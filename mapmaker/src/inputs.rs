//! Reads everything a map is made from. Errors of the operator's files are collected, all in one run; a
//! malformed line of a data table is remarked on and skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use distribution::measurement;
use service::config::beside;
use service::diagnostic::{Diagnostic, Report, Severity};
use traffic_map::build::{self, Measurement};
use traffic_map::finding::Finding;
use traffic_map::prefixes::{self, Demand, Prefix};
use traffic_map::services::{self, Services};
use traffic_map::world::{self, World};
use traffic_map::{Map, Subnet};

use crate::pattern;

/// Which files to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `world.toml`; it names the data tables.
    pub world: PathBuf,
    /// `services.toml`.
    pub services: PathBuf,
    /// Measurement tables besides those that `world.toml` names; one that is not there yet is no error.
    /// A `*` in a name stands for any characters.
    pub measurements: Vec<PathBuf>,
}

/// Everything, read and checked.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `world.toml`, with the edges' keys filled in.
    pub world: World,
    /// `services.toml`.
    pub services: Services,
    /// Rows of all prefix tables.
    pub prefixes: Vec<Prefix>,
    /// Names of the prefix tables; a row's `file` is its place here.
    pub prefix_files: Vec<PathBuf>,
    /// Rows of the demand table.
    pub demand: Option<Vec<Demand>>,
    /// Lines of all measurement tables, ready for the builder.
    pub measurements: Vec<Measurement>,
    /// The same lines as they stand in the files, with the file: for `explain`.
    pub lines: Vec<(PathBuf, measurement::Measurement)>,
    /// Everything that was read, for `run` to watch.
    pub watched: Vec<PathBuf>,
    /// What is odd but accepted.
    pub report: Report,
}

impl Inputs {
    /// Reads all files. `now` is in Unix seconds and decides which overrides are past.
    ///
    /// # Errors
    /// Every finding of every file, if one of them is an error.
    pub fn read(files: &Files, now: u64) -> Result<Inputs, Report> {
        let mut reading = Reading::default();
        let world = reading
            .text(&files.world)
            .and_then(|text| reading.parsed(world::parse(&name(&files.world), &text, now)));
        let services = reading
            .text(&files.services)
            .and_then(|text| reading.parsed(services::parse(&name(&files.services), &text)));
        let (Some(mut world), Some(services)) = (world, services) else {
            return Err(reading.report);
        };
        reading.accept(&world.warnings);
        reading.accept(&services.warnings);
        reading.cross_check(&files.services, &world, &services);
        reading.identities(&files.world, &mut world);
        let prefix_files: Vec<PathBuf> = world
            .prefixes
            .iter()
            .map(|path| beside(&files.world, Path::new(path)))
            .collect();
        let prefixes = reading.prefixes(&files.world, &prefix_files);
        let demand = reading.demand(&files.world, &world);
        let lines = reading.measurements(files, &world);
        let measurements = reading.attributed(&lines, &world);
        if reading.report.errors() > 0 {
            return Err(reading.report);
        }
        Ok(Inputs {
            world,
            services,
            prefixes,
            prefix_files,
            demand,
            measurements: measurements
                .iter()
                .map(|(_, measurement)| *measurement)
                .collect(),
            lines: measurements
                .into_iter()
                .filter_map(|(i, _)| lines.get(i).cloned())
                .collect(),
            watched: reading.watched,
            report: reading.report,
        })
    }

    /// As the builder takes them.
    pub fn for_build<'a>(&'a self, previous: Option<&'a Map>) -> build::Inputs<'a> {
        build::Inputs {
            world: &self.world,
            services: &self.services,
            prefixes: &self.prefixes,
            demand: self.demand.as_deref(),
            measurements: &self.measurements,
            previous,
        }
    }
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[derive(Default)]
struct Reading {
    report: Report,
    watched: Vec<PathBuf>,
}

impl Reading {
    fn bytes(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.watched.push(path.to_owned());
        match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.report.push(Diagnostic::error(
                    name(path),
                    0,
                    0,
                    format!("cannot be read: {error}"),
                ));
                None
            }
        }
    }

    /// The file as text, unpacked if its name ends in `.zst`.
    fn text(&mut self, path: &Path) -> Option<String> {
        let mut bytes = self.bytes(path)?;
        if path.extension().is_some_and(|extension| extension == "zst") {
            match zstd::decode_all(bytes.as_slice()) {
                Ok(unpacked) => bytes = unpacked,
                Err(error) => {
                    let message = format!("cannot be unpacked: {error}");
                    self.report
                        .push(Diagnostic::error(name(path), 0, 0, message));
                    return None;
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(_) => {
                self.report
                    .push(Diagnostic::error(name(path), 0, 0, "is not UTF-8 text"));
                None
            }
        }
    }

    fn parsed<T>(&mut self, parsed: Result<T, Vec<Finding>>) -> Option<T> {
        parsed.map_err(|findings| self.accept(&findings)).ok()
    }

    fn accept(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.report.push(Diagnostic {
                file: finding.file.clone(),
                line: finding.line,
                column: finding.column,
                severity: match finding.severity {
                    traffic_map::Severity::Error => Severity::Error,
                    traffic_map::Severity::Warning => Severity::Warning,
                },
                message: finding.message.clone(),
                hint: finding.hint.clone(),
            });
        }
    }

    /// What neither file can know alone.
    fn cross_check(&mut self, file: &Path, world: &World, services: &Services) {
        for service in &services.services {
            let mut error = |message: String| {
                self.report
                    .push(Diagnostic::error(name(file), 0, 0, message));
            };
            if service.map.as_ref().is_some_and(|map| *map != world.map) {
                let map = service.map.as_deref().unwrap_or("");
                error(format!(
                    "service {} wants map {map}, this world makes {}",
                    service.name, world.map
                ));
            }
            if !world
                .edges
                .iter()
                .any(|edge| edge.serves(service.profile.as_deref()))
            {
                let profile = service.profile.as_deref().unwrap_or("any profile");
                error(format!(
                    "no edge serves {profile}, which service {} wants",
                    service.name
                ));
            }
        }
        if services.services.is_empty() {
            self.report.push(Diagnostic::error(
                name(file),
                0,
                0,
                "there is no [service.…]",
            ));
        }
    }

    fn identities(&mut self, world_file: &Path, world: &mut World) {
        let Some(path) = world
            .identities
            .as_ref()
            .map(|path| beside(world_file, Path::new(path)))
        else {
            return;
        };
        let text = self.text(&path);
        let keys = text.and_then(|text| self.parsed(world::parse_identities(&name(&path), &text)));
        if let Some(keys) = keys {
            world.set_identities(&keys);
        }
    }

    fn prefixes(&mut self, world_file: &Path, files: &[PathBuf]) -> Vec<Prefix> {
        if files.is_empty() {
            let message = "[map.…] names no `prefixes`: nothing to map".to_owned();
            self.report
                .push(Diagnostic::error(name(world_file), 0, 0, message));
        }
        let mut all = Vec::new();
        for (number, file) in (0..).zip(files) {
            if let Some(text) = self.text(file) {
                let (rows, findings) = prefixes::parse_prefixes(&name(file), number, &text);
                self.accept(&findings);
                all.extend(rows);
            }
        }
        all
    }

    fn demand(&mut self, world_file: &Path, world: &World) -> Option<Vec<Demand>> {
        let path = beside(world_file, Path::new(world.demand.as_ref()?));
        let (rows, findings) = prefixes::parse_demand(&name(&path), &self.text(&path)?);
        self.accept(&findings);
        Some(rows)
    }

    fn measurements(
        &mut self,
        files: &Files,
        world: &World,
    ) -> Vec<(PathBuf, measurement::Measurement)> {
        let named = world
            .measurements
            .iter()
            .map(|path| beside(&files.world, Path::new(path)));
        let named: Vec<_> = named
            .flat_map(|path| pattern::files(&path))
            .map(|p| (p, true))
            .collect();
        let extra = files
            .measurements
            .iter()
            .flat_map(|path| pattern::files(path));
        let extra = extra.map(|path| (path, false));
        let mut lines = Vec::new();
        for (path, required) in named.into_iter().chain(extra) {
            if !required && !path.exists() {
                self.watched.push(path);
                continue;
            }
            let Some(bytes) = self.bytes(&path) else {
                continue;
            };
            let parsed = measurement::parse(&name(&path), bytes.as_slice());
            for finding in &parsed.findings {
                self.report.push(Diagnostic {
                    severity: Severity::Warning,
                    ..Diagnostic::error(
                        &finding.file,
                        finding.line,
                        finding.column,
                        &finding.message,
                    )
                });
            }
            lines.extend(
                parsed
                    .measurements
                    .into_iter()
                    .map(|line| (path.clone(), line)),
            );
        }
        lines
    }

    /// The lines of known regions, with their place among all; one finding for each unknown region.
    fn attributed(
        &mut self,
        lines: &[(PathBuf, measurement::Measurement)],
        world: &World,
    ) -> Vec<(usize, Measurement)> {
        let mut unknown: BTreeMap<(&Path, &str), usize> = BTreeMap::new();
        let mut known = Vec::new();
        for (place, (file, line)) in lines.iter().enumerate() {
            let region = world.region(&line.region);
            let net = line.prefix.parse::<Subnet>();
            let (Some(region), Ok(net)) = (region, net) else {
                *unknown.entry((file, &line.region)).or_default() += 1;
                continue;
            };
            let region = region.id;
            let measurement::Measurement {
                ts,
                rtt_us,
                loss,
                n,
                ..
            } = *line;
            known.push((
                place,
                Measurement {
                    ts,
                    net,
                    region,
                    rtt_us,
                    loss,
                    n,
                },
            ));
        }
        for ((file, region), count) in unknown {
            self.report.push(Diagnostic {
                severity: Severity::Warning,
                ..Diagnostic::error(
                    name(file),
                    0,
                    0,
                    format!("{count} lines of unknown region {region}"),
                )
            });
        }
        known
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
