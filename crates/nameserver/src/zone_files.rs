//! The zone files on disk, watched with all that they include: a changed one is parsed aside. Whether the new version is
//! taken up is for others to decide; see [`LoadedZones`] for the plain way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dns_engine::{Zone, Zones, name, zonefile};
use service::diagnostic::{Diagnostic, Report, Severity};
use service::watch;

use crate::included::place;
use crate::transfer::Inbox;

/// Polls that a file of a folder has to be missing for until it counts as removed: some editors move it away first.
const MISSING_POLLS: u8 = 2;

/// What a poll found new about a file or folder: its zone, or everything that is wrong with it.
pub type Arrival = (PathBuf, Result<Version, Report>);

/// A new version of a zone file.
#[derive(Clone, Debug)]
pub enum Version {
    /// The zone in it.
    Zone(Arc<Zone>),
    /// The file is gone; of a folder that could not be listed: there is nothing wrong with it any more.
    Gone,
}

/// Where the name of a zone comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The file's own name, without `.zone`.
    File,
    /// The owner of the SOA record in it.
    Soa,
}

/// All zone files of a configuration.
#[derive(Debug)]
pub struct ZoneFiles {
    places: Vec<PathBuf>,
    naming: Naming,
    files: BTreeMap<PathBuf, Watched>,
    /// Folders that cannot be listed; said already.
    unlisted: BTreeSet<PathBuf>,
    /// About zones that can be served.
    warnings: Report,
    /// Zones of other servers, which come the same way.
    transferred: Inbox,
}

/// A zone file with those it includes.
#[derive(Debug)]
struct Watched {
    main: watch::File,
    /// Those that the last version included, also those that could not be read.
    included: BTreeMap<PathBuf, watch::File>,
    missing: u8,
}

impl ZoneFiles {
    /// `places` are files, or folders of `*.zone` files. Nothing is read yet.
    pub fn new(places: Vec<PathBuf>, naming: Naming) -> Self {
        Self {
            places,
            naming,
            files: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            warnings: Report::default(),
            transferred: Inbox::default(),
        }
    }

    /// Polls give the zones of this inbox as well.
    pub fn and_transferred(mut self, transferred: Inbox) -> Self {
        self.transferred = transferred;
        self
    }

    /// Looks for changes; each is told once.
    pub fn poll(&mut self) -> Vec<Arrival> {
        let mut arrivals = self.transferred.take();
        let found = self.find(&mut arrivals);
        for path in &found {
            let watched = self.files.entry(path.clone());
            watched.or_insert_with(|| Watched::new(path)).missing = 0;
        }
        for (path, watched) in &mut self.files {
            if !found.contains(path) {
                watched.missing += 1;
                continue;
            }
            if self.unlisted.iter().any(|folder| path.starts_with(folder)) {
                continue; // said about the folder
            }
            if let Some(version) = watched.poll(self.naming, &mut self.warnings) {
                arrivals.push((path.clone(), version));
            }
        }
        let gone = self
            .files
            .extract_if(.., |_, watched| watched.missing >= MISSING_POLLS);
        arrivals.extend(gone.map(|(path, _)| (path, Ok(Version::Gone))));
        arrivals
    }

    /// What is odd about the zones that came with polls since the last call, although they can be served.
    pub fn take_warnings(&mut self) -> Report {
        std::mem::take(&mut self.warnings)
    }

    /// The files of all places.
    fn find(&mut self, arrivals: &mut Vec<Arrival>) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for place in &self.places {
            let mut known = self.files.keys();
            let was_folder = known.any(|file| file != place && file.starts_with(place));
            if !was_folder && !place.is_dir() {
                found.insert(place.clone());
                continue;
            }
            match list(place) {
                Ok(files) => {
                    if self.unlisted.remove(place) {
                        arrivals.push((place.clone(), Ok(Version::Gone)));
                    }
                    found.extend(files);
                }
                // Which files are there is unknown, so none is given up.
                Err(error) => {
                    if self.unlisted.insert(place.clone()) {
                        let finding = whole(place, format!("cannot be listed: {error}"));
                        arrivals.push((place.clone(), Err(finding.into())));
                    }
                    let known = self.files.keys();
                    found.extend(known.filter(|file| file.starts_with(place)).cloned());
                }
            }
        }
        found
    }
}

impl Watched {
    fn new(path: &Path) -> Self {
        Self {
            main: watch::File::new(path),
            included: BTreeMap::new(),
            missing: 0,
        }
    }

    /// The zone anew, if the file or one that it includes has changed.
    fn poll(&mut self, naming: Naming, warnings: &mut Report) -> Option<Result<Version, Report>> {
        let changed = match self.main.poll() {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                return Some(Err(whole(self.main.path(), message).into()));
            }
        };
        let mut changed_below = false;
        for file in self.included.values_mut() {
            // One that goes away has changed as well; the zone that includes it is then wrong.
            changed_below |= file.poll().map_or(true, |text| text.is_some());
        }
        let text = match changed {
            None if changed_below => self.main.read().ok(), // it was told that it cannot be read
            changed => changed,
        };
        let path = self.main.path().to_owned();
        Some(self.parse(&path, &text?, naming, warnings))
    }

    fn parse(
        &mut self,
        path: &Path,
        text: &str,
        naming: Naming,
        warnings: &mut Report,
    ) -> Result<Version, Report> {
        let origin = name_of(path).filter(|_| naming == Naming::File);
        let root = path.parent().unwrap_or(Path::new(""));
        self.included.clear();
        let included = &mut self.included;
        let mut open = |written: &str, including: &str| {
            let path = place(root, Path::new(including), Path::new(written))?;
            let file = included.entry(path.clone());
            let file = file.or_insert_with(|| watch::File::new(&path));
            let text = file.read().map_err(|error| error.to_string())?;
            Ok((path.display().to_string(), text))
        };
        let name = path.display().to_string();
        let loaded = zonefile::parse_with(&name, text, origin.as_deref(), &mut open);
        match loaded {
            Ok(loaded) => {
                warnings.extend(loaded.warnings.into_iter().map(diagnostic));
                Ok(Version::Zone(Arc::new(loaded.zone)))
            }
            Err(findings) => Err(Report {
                findings: findings.into_iter().map(diagnostic).collect(),
            }),
        }
    }
}

/// The name of the zone that a file should hold: its own, without the ending.
pub fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".zone")?;
    Some(format!("{}.", stem.trim_end_matches('.')))
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Editors keep their own files beside, whose names start with a dot. Whether the others can be read shows
        // when they are: a file that only cannot be looked at just now is not gone.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && name_of(&entry.path()).is_some() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// The engine's finding as everyone's.
fn diagnostic(finding: zonefile::Finding) -> Diagnostic {
    Diagnostic {
        file: finding.file,
        line: finding.line as usize,
        column: finding.column as usize,
        severity: match finding.severity {
            zonefile::Severity::Error => Severity::Error,
            zonefile::Severity::Warning => Severity::Warning,
        },
        message: finding.message,
        hint: Some(finding.hint),
    }
}

fn whole(path: &Path, message: String) -> Diagnostic {
    Diagnostic::error(path.display().to_string(), 0, 0, message)
}

/// The last good version of every zone file, each file by itself: a new version takes the place of the old one if it is
/// right, and a wrong one leaves the old one.
#[derive(Debug, Default)]
pub struct LoadedZones {
    zones: BTreeMap<PathBuf, Arc<Zone>>,
    refused: BTreeSet<PathBuf>,
}

impl LoadedZones {
    /// Takes up what is right: true when some zone was added, replaced or removed, or is to be withheld. What is wrong
    /// goes to `report`.
    pub fn take(&mut self, arrivals: Vec<Arrival>, report: &mut Report) -> bool {
        let mut changed = false;
        for (path, version) in arrivals {
            match version {
                Ok(version) => {
                    let withheld = self.refused.remove(&path) && self.withholds(&path);
                    changed |= match version {
                        Version::Zone(zone) => {
                            self.zones.insert(path, zone);
                            true
                        }
                        Version::Gone => self.zones.remove(&path).is_some() || withheld,
                    };
                }
                Err(findings) => {
                    changed |= self.withholds(&path);
                    self.refused.insert(path);
                    report.extend(findings.findings);
                }
            }
        }
        changed
    }

    /// The file of a zone (lower-cased wire name) that is served.
    pub fn file_of(&self, origin: &[u8]) -> Option<&Path> {
        let mut zones = self.zones.iter();
        let found = zones.find(|(_, zone)| zone.origin() == origin)?;
        Some(found.0)
    }

    /// How many files and folders are refused as they are now.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// The zones as they are now. Two files for one zone are a finding; the first one by file name serves. A zone whose
    /// file was never right is withheld, if the file's name tells which one it is: to refuse it would tell resolvers
    /// that it is somebody else's.
    pub fn zones(&self, report: &mut Report) -> Zones {
        let mut zones = Zones::new();
        for (path, zone) in &self.zones {
            if let Err(zone) = zones.insert(Arc::clone(zone)) {
                let message = format!("another file holds the zone {}", name::text(zone.origin()));
                report.push(whole(path, message));
            }
        }
        for path in self.refused.iter().filter(|path| self.withholds(path)) {
            let origin = name_of(path).and_then(|name| name::parse(&name, None).ok());
            if let Some(origin) = origin.map(|origin| name::lowered(&origin))
                && zones.exact(&origin).is_none()
            {
                zones.withhold(&origin);
            }
        }
        zones
    }

    /// True if a wrong file leaves a zone unserved that its name tells.
    fn withholds(&self, path: &Path) -> bool {
        name_of(path).is_some() && !self.zones.contains_key(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(origin: &str) -> String {
        format!(
            "$ORIGIN {origin}\n$TTL 1\n@ SOA ns h.example. 1 9 3 99 1\n@ NS ns\nns A 192.0.2.1\n"
        )
    }

    struct Followed {
        files: ZoneFiles,
        loaded: LoadedZones,
    }

    fn follow(place: impl Into<PathBuf>) -> Followed {
        Followed {
            files: ZoneFiles::new(vec![place.into()], Naming::Soa),
            loaded: LoadedZones::default(),
        }
    }

    impl Followed {
        /// Polls once; the zones' names, whether something changed, and the findings.
        fn poll(&mut self) -> (Vec<String>, bool, String) {
            let mut report = Report::default();
            let changed = self.loaded.take(self.files.poll(), &mut report);
            let zones = self.loaded.zones(&mut report);
            let mut names: Vec<String> =
                zones.iter().map(|zone| name::text(zone.origin())).collect();
            names.sort();
            (names, changed, report.to_string())
        }
    }

    #[test]
    fn zones_of_a_folder_come_and_go_and_broken_ones_stay_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let mut files = follow(folder.path());
        assert_eq!(files.poll(), (vec![], false, String::new()));
        std::fs::write(path("a.zone"), text("a.example.")).unwrap();
        std::fs::write(path("notes.txt"), "no zone").unwrap();
        std::os::unix::fs::symlink("nobody@nowhere:1", path(".#a.zone")).unwrap();
        assert_eq!(
            files.poll(),
            (vec!["a.example.".to_owned()], true, String::new())
        );
        assert!(!files.poll().1);

        std::fs::write(path("b.zone"), text("b.example.")).unwrap();
        std::fs::write(path("a.zone"), "rubbish").unwrap();
        let (names, changed, report) = files.poll();
        assert_eq!((names.len(), changed), (2, true));
        assert!(report.contains("a.zone:1:1: error"), "{report}");
        assert_eq!(files.loaded.refused(), 1);
        assert_eq!(files.poll().2, "", "told once");

        std::fs::remove_file(path("b.zone")).unwrap();
        assert_eq!(
            files.poll().0.len(),
            2,
            "an editor may be about to put it back"
        );
        let (names, changed, _) = files.poll();
        assert_eq!((names, changed), (vec!["a.example.".to_owned()], true));
    }

    #[test]
    fn a_zone_whose_file_was_never_right_is_withheld_if_the_file_s_name_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = follow(folder.path());
        let origin = name::parse("a.example.", None).unwrap();
        let mut check = |text: Option<&str>, changes: bool, withheld: bool| {
            let path = folder.path().join("a.example.zone");
            match text {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            let mut report = Report::default();
            let mut changed = false;
            for _ in 0..MISSING_POLLS {
                let arrivals = files.files.poll();
                changed |= files.loaded.take(arrivals, &mut report);
            }
            let zones = files.loaded.zones(&mut report);
            assert_eq!((changed, zones.is_withheld(&origin)), (changes, withheld));
        };
        check(Some("rubbish"), true, true);
        check(Some(&text("a.example.")), true, false);
        check(Some("rubbish"), false, false);
        check(None, true, false);
        check(Some("rubbish"), true, true);
        check(None, true, false);
    }

    #[test]
    fn a_folder_that_goes_away_takes_no_zone_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("zones"), parent.path().join("away"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.zone"), text("a.example.")).unwrap();
        let mut files = follow(&folder);
        assert_eq!(files.poll().0, ["a.example."]);
        std::fs::rename(&folder, &away).unwrap();
        let reports: Vec<String> = (0..3)
            .map(|_| {
                let (names, changed, report) = files.poll();
                assert_eq!((names, changed), (vec!["a.example.".to_owned()], false));
                report
            })
            .collect();
        assert!(reports[0].contains("cannot be listed"), "{reports:?}");
        assert_eq!(files.loaded.refused(), 1);
        std::fs::rename(&away, &folder).unwrap();
        std::fs::remove_file(folder.join("a.zone")).unwrap();
        files.poll();
        assert_eq!(
            files.poll().0,
            Vec::<String>::new(),
            "a removed file still does"
        );
        assert_eq!(files.loaded.refused(), 0);
    }

    #[test]
    fn two_files_for_one_zone_are_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["1.zone", "2.zone"] {
            std::fs::write(folder.path().join(file), text("a.example.")).unwrap();
        }
        let (names, _, report) = follow(folder.path()).poll();
        assert_eq!(names, ["a.example."]);
        assert!(
            report.ends_with("2.zone: error: another file holds the zone a.example."),
            "{report}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_once_and_found_when_it_comes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("zones");
        let mut files = follow(&folder);
        assert!(files.poll().2.contains("zones: error: cannot be read"));
        assert_eq!(files.poll().2, "");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.zone"), text("a.example.")).unwrap();
        assert_eq!(files.poll().0, ["a.example."]);
        files.poll();
        assert_eq!(files.loaded.refused(), 0);
    }

    #[test]
    fn a_file_that_names_its_zone_holds_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for (file, origin) in [
            ("a.example.zone", "a.example."),
            ("b.example.zone", "a.example."),
        ] {
            std::fs::write(folder.path().join(file), text(origin)).unwrap();
        }
        let mut files = ZoneFiles::new(vec![folder.path().into()], Naming::File);
        let arrivals = files.poll();
        let good: Vec<bool> = arrivals
            .iter()
            .map(|(_, version)| version.is_ok())
            .collect();
        assert_eq!(good, [true, false], "{arrivals:?}");
    }

    /// A zone that includes `hosts.inc`.
    const INCLUDING: &str = "$ORIGIN a.example.\n$TTL 1\n@ SOA ns h.example. 1 9 3 99 1\n@ NS ns\n\
                             ns A 192.0.2.1\n$INCLUDE hosts.inc\n";

    #[test]
    fn a_change_of_an_included_file_is_a_change_of_the_zone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        std::fs::write(path("a.zone"), INCLUDING).unwrap();
        let mut files = follow(folder.path());
        let (_, _, report) = files.poll();
        assert!(report.contains("a.zone:6:"), "not there yet: {report}");
        assert_eq!(files.poll(), (vec![], false, String::new()), "told once");
        std::fs::write(path("hosts.inc"), "www A 192.0.2.7\n").unwrap();
        let (names, changed, report) = files.poll();
        assert_eq!((names.len(), changed), (1, true), "{report}");
        assert!(!files.poll().1);
        std::fs::write(path("hosts.inc"), "www A 192.0.2.777\n").unwrap();
        let (names, changed, report) = files.poll();
        assert_eq!((names.len(), changed), (1, false));
        assert!(report.contains("hosts.inc:1:7: error"), "{report}");
        std::fs::remove_file(path("hosts.inc")).unwrap();
        assert!(files.poll().2.contains("a.zone:6:"));
        assert_eq!(files.poll().2, "");
    }

    #[test]
    fn nothing_outside_of_the_folder_is_included() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("zones");
        std::fs::create_dir_all(folder.join("below")).unwrap();
        std::fs::write(parent.path().join("secret"), "x A 192.0.2.7\n").unwrap();
        std::fs::write(folder.join("below/fine.inc"), "x A 192.0.2.7\n").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link.inc")).unwrap();
        let absolute = parent.path().join("secret").display().to_string();
        for (include, expected) in [
            ("below/fine.inc", None),
            ("./below/../below/fine.inc", None),
            ("../secret", Some("outside")),
            ("below/../../secret", Some("outside")),
            (&absolute, Some("outside")),
            ("link.inc", Some("outside")),
        ] {
            let text = INCLUDING.replace("hosts.inc", include);
            std::fs::write(folder.join("a.zone"), text).unwrap();
            let (_, _, report) = follow(&folder).poll();
            match expected {
                None => assert_eq!(report, "", "{include}"),
                Some(expected) => assert!(report.contains(expected), "{include}: {report}"),
            }
        }
    }

    #[test]
    fn what_is_only_odd_is_told_apart_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let odd = INCLUDING.replace("$INCLUDE hosts.inc", "www CNAME nowhere");
        std::fs::write(folder.path().join("a.zone"), odd).unwrap();
        let mut files = follow(folder.path());
        let (names, changed, report) = files.poll();
        assert_eq!((names.len(), changed, report.as_str()), (1, true, ""));
        let warnings = files.files.take_warnings();
        assert_eq!(warnings.errors(), 0);
        assert!(warnings.to_string().contains("a.zone:6:"), "{warnings}");
        assert!(files.files.take_warnings().is_empty());
    }
}
