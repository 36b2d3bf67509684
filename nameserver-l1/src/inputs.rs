//! Watches every file the server is told things by, and reads what is new. Nothing here decides whether
//! it is taken up: see `adoption`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use distribution::{VerifyingKey, keys, release};
use nameserver::{
    ZoneFiles,
    transfer::{self, Inbox},
    zone_files::{self, Naming},
};
use route_token::KeyRing;
use service::{
    diagnostic::{Diagnostic, Report},
    watch::File,
};
use traffic_map::Map;

use crate::{
    checks::check_map,
    config::Config,
    routing::Release,
    world::{self, Source, Version, World},
};

/// What was found new: a version that can be read, or why it cannot.
pub type Arrival = (Source, Result<Version, Report>);

/// The blob of a release that holds the map.
const MAP_BLOB: &str = "map";

/// Polls after a start for which a release that lacks some service's class is not taken, so that the one before the
/// restart, which has it, comes first. If there is none, routing the other services is better than routing nothing.
const PATIENCE_POLLS: u32 = 4;

/// The files, and what was seen of them.
pub struct Inputs {
    keys: File,
    services: File,
    zones: ZoneFiles,
    releases: Releases,
}

impl Inputs {
    /// Starts watching what the configuration names, and the zones of other servers; nothing is read yet.
    pub fn new(config: &Config, transferred: Inbox) -> Self {
        Self {
            keys: File::new(&config.token_keys),
            services: File::new(&config.services),
            zones: ZoneFiles::new(config.zones.clone(), Naming::File).and_transferred(transferred),
            releases: Releases {
                folder: config.releases.clone(),
                trusted: File::new(&config.trusted_key),
                state: config.state.clone(),
                keys: None,
                keys_refused: false,
                reader: None,
                told: None,
                polls_without: 0,
            },
        }
    }

    /// The release, if it has changed since the last call. One that does not fit what is in force is refused here,
    /// before it is remembered: else there would be no way back from it.
    pub fn poll_release(&mut self, in_force: &World) -> Vec<Arrival> {
        let version = self.releases.poll(in_force);
        let arrival = version.map(|version| (Source::Release, version));
        arrival.into_iter().collect()
    }

    /// Everything as it is now and what is odd about it, for a single look: leaves alone what a running server remembers.
    pub fn look(config: &Config) -> (Vec<Arrival>, Report) {
        let mut inputs = Self::new(config, transfer::look(&config.transfer));
        let mut arrivals = inputs.poll_texts();
        let release = match keys::read_public_keys(&config.trusted_key) {
            Ok(trusted) => load(&config.releases, &trusted),
            Err(error) => Some(Err(whole(&config.trusted_key, error.to_string()))),
        };
        arrivals.extend(release.map(|version| (Source::Release, version)));
        (arrivals, inputs.take_warnings())
    }

    /// True if nothing is wrong with the newest release and the keys to trust, as of the last poll.
    pub fn release_is_good(&self) -> bool {
        self.releases.is_good()
    }

    /// What is odd about zones that came since the last call, although they can be served.
    pub fn take_warnings(&mut self) -> Report {
        self.zones.take_warnings()
    }

    /// Keys, zones and services that have changed since the last call.
    pub fn poll_texts(&mut self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let keys = poll(&mut self.keys, |file, text| {
            Ok(Version::Keys(Arc::new(read_keys(file, &text)?)))
        });
        arrivals.extend(keys.map(|version| (Source::Keys, version)));
        let zones = self.zones.poll().into_iter();
        arrivals.extend(zones.map(|(path, version)| {
            let version = version.map(|version| match version {
                zone_files::Version::Zone(zone) => Version::Zone(zone),
                zone_files::Version::Gone => Version::ZoneGone,
            });
            (Source::Zone(path), version)
        }));
        let services = poll(&mut self.services, |file, text| {
            Ok(Version::Services(Arc::new(world::read_services(
                file, text,
            )?)))
        });
        arrivals.extend(services.map(|version| (Source::Services, version)));
        arrivals
    }
}

/// The release in force, if one has been published.
fn load(folder: &Path, trusted: &[VerifyingKey]) -> Option<Result<Version, Report>> {
    let release = match release::load(folder, trusted) {
        Ok(release) => release,
        Err(refused) if refused.reason == release::Reason::Missing => return None,
        Err(refused) => return Some(Err(release_report(&refused))),
    };
    let (generation, built_at) = (release.generation, release.built_at);
    Some(match decode(&release) {
        Ok(map) => Ok(Version::Release(Arc::new(Release {
            generation,
            built_at,
            map,
        }))),
        Err(error) => Err(whole(
            folder,
            format!("release {generation} refused: {error}"),
        )),
    })
}

fn poll(
    file: &mut File,
    read: impl FnOnce(&str, String) -> Result<Version, Report>,
) -> Option<Result<Version, Report>> {
    let text = match file.poll() {
        Ok(text) => text?,
        Err(error) => return Some(Err(unreadable(file.path(), &error))),
    };
    Some(read(&file.path().display().to_string(), text))
}

fn read_keys(file: &str, text: &str) -> Result<KeyRing, Report> {
    KeyRing::from_toml(text)
        .map_err(|error| Diagnostic::error(file, error.line, error.column, error.message).into())
}

/// A finding about a file or folder as a whole.
pub fn unreadable(path: &Path, error: &io::Error) -> Report {
    whole(path, format!("cannot be read: {error}"))
}

fn whole(path: &Path, message: String) -> Report {
    Diagnostic::error(path.display().to_string(), 0, 0, message).into()
}

/// The folder of releases, with the keys that they have to be signed by.
struct Releases {
    folder: PathBuf,
    trusted: File,
    state: PathBuf,
    keys: Option<Vec<VerifyingKey>>,
    /// The newest version of the key file is refused.
    keys_refused: bool,
    /// None until there are keys, and while the state file makes no sense.
    reader: Option<release::Reader>,
    /// The last refusal told, so that one that lasts is told once.
    told: Option<String>,
    /// Polls since the start during which no release was in force.
    polls_without: u32,
}

impl Releases {
    fn poll(&mut self, in_force: &World) -> Option<Result<Version, Report>> {
        if let Err(report) = self.poll_trusted() {
            self.keys_refused = true;
            return Some(Err(report));
        }
        match self.poll_releases(in_force) {
            Ok(release) => {
                if self.is_good() {
                    self.told = None;
                }
                Some(Ok(Version::Release(Arc::new(release?))))
            }
            Err(refused) if self.told.as_ref() == Some(&refused.to_string()) => None,
            Err(refused) => {
                self.told = Some(refused.to_string());
                Some(Err(release_report(&refused)))
            }
        }
    }

    fn is_good(&self) -> bool {
        let reader = self.reader.as_ref();
        !self.keys_refused && reader.is_some_and(|reader| reader.refused().is_none())
    }

    /// A key file that goes missing or becomes rubbish leaves the keys before in force.
    fn poll_trusted(&mut self) -> Result<(), Report> {
        let path = self.trusted.path().to_owned();
        match self.trusted.poll() {
            Ok(None) => {}
            Ok(Some(_)) => {
                let keys = keys::read_public_keys(&path);
                self.keys = Some(keys.map_err(|error| whole(&path, error.to_string()))?);
                self.keys_refused = false;
                self.reader = None;
            }
            Err(error) => return Err(unreadable(&path, &error)),
        }
        Ok(())
    }

    fn poll_releases(
        &mut self,
        in_force: &World,
    ) -> Result<Option<Release>, Box<release::Refused>> {
        let Some(keys) = &self.keys else {
            return Ok(None);
        };
        self.polls_without = match in_force.release {
            Some(_) => 0,
            None => self.polls_without.saturating_add(1),
        };
        if self.polls_without == PATIENCE_POLLS {
            self.reader = None; // it would let what it refused rest for some seconds
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(release::Reader::open(
                &self.folder,
                keys.clone(),
                &self.state,
            )?),
        };
        let (remembered, patient) = (reader.generation(), self.polls_without < PATIENCE_POLLS);
        let found = reader.poll_checked(|release| {
            let map = decode(release)?;
            let first = in_force.release.is_none();
            if first && (!patient || remembered == Some(release.generation)) {
                return Ok(map);
            }
            let misfits = check_map(in_force, &map);
            misfits
                .is_empty()
                .then_some(map)
                .ok_or_else(|| misfits.to_string())
        })?;
        Ok(found.map(|(release, map)| Release {
            generation: release.generation,
            built_at: release.built_at,
            map,
        }))
    }
}

/// A refused release as a finding about its folder.
pub fn release_report(refused: &release::Refused) -> Report {
    let message = match refused.generation {
        Some(generation) => format!("release {generation} refused: {}", refused.reason),
        None => refused.reason.to_string(),
    };
    whole(&refused.dir, message)
}

/// The map in a release.
///
/// # Errors
/// When it is missing or is no map.
pub fn decode(release: &release::Release) -> Result<Map, String> {
    let bytes = release.blob(MAP_BLOB).ok_or("it has no map")?;
    Map::decode(bytes).map_err(|error| format!("its map cannot be used: {error}"))
}
