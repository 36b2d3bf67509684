//! The zone files on disk, watched: a changed one is parsed aside, and takes the place of the old one only if it is right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dns_engine::{Zone, Zones, name, zonefile};
use service::diagnostic::{Diagnostic, Report};
use service::watch;

/// All zone files of a configuration.
#[derive(Debug)]
pub(crate) struct ZoneFiles {
    places: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Watched>,
    /// Folders that cannot be listed; said already.
    unlisted: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Watched {
    file: watch::File,
    zone: Option<Arc<Zone>>,
    /// The newest version is not the zone.
    refused: bool,
    missing: u8,
}

/// Polls that a file of a folder has to be missing for until it counts as removed: some editors move it away first.
const MISSING_POLLS: u8 = 2;

impl ZoneFiles {
    /// `places` are files, or folders of `*.zone` files. Nothing is read yet.
    pub(crate) fn new(places: Vec<PathBuf>) -> ZoneFiles {
        ZoneFiles {
            places,
            files: BTreeMap::new(),
            unlisted: BTreeSet::new(),
        }
    }

    /// Looks for changes: true when some zone was added, replaced or removed. What is wrong goes to `report`; a zone whose
    /// new file is wrong stays as it was.
    pub(crate) fn poll(&mut self, report: &mut Report) -> bool {
        let found = self.find(report);
        let mut changed = false;
        for path in &found {
            let watched = self.files.entry(path.clone()).or_insert_with(|| Watched {
                file: watch::File::new(path),
                zone: None,
                refused: false,
                missing: 0,
            });
            watched.missing = 0;
            match watched.file.poll() {
                Ok(None) => {}
                Ok(Some(text)) => match parse(path, &text) {
                    Ok(zone) => {
                        watched.zone = Some(Arc::new(zone));
                        watched.refused = false;
                        changed = true;
                    }
                    Err(findings) => {
                        watched.refused = true;
                        report.extend(findings);
                    }
                },
                Err(error) => {
                    watched.refused = true;
                    report.push(whole(path, format!("cannot be read: {error}")));
                }
            }
        }
        self.files.retain(|path, watched| {
            watched.missing += u8::from(!found.contains(path));
            let keep = watched.missing < MISSING_POLLS;
            changed |= !keep && watched.zone.is_some();
            keep
        });
        changed
    }

    /// How many files and folders are refused as they are now.
    pub(crate) fn refused(&self) -> usize {
        let files = self.files.values().filter(|watched| watched.refused);
        files.count() + self.unlisted.len()
    }

    /// The files of all places.
    fn find(&mut self, report: &mut Report) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for place in &self.places {
            let mut known = self.files.keys();
            let was_folder = known.any(|file| file != place && file.starts_with(place));
            if !was_folder && !place.is_dir() {
                found.push(place.clone());
                continue;
            }
            match list(place) {
                Ok(files) => {
                    self.unlisted.remove(place);
                    found.extend(files);
                }
                // Which files are there is unknown, so none is given up.
                Err(error) => {
                    if self.unlisted.insert(place.clone()) {
                        report.push(whole(place, format!("cannot be listed: {error}")));
                    }
                    found.extend(
                        self.files
                            .keys()
                            .filter(|file| file.starts_with(place))
                            .cloned(),
                    );
                }
            }
        }
        found
    }

    /// The zones as they are now. Two files for one zone are a finding; the first one by file name serves.
    pub(crate) fn zones(&self, report: &mut Report) -> Zones {
        let mut zones = Zones::new();
        for (path, watched) in &self.files {
            let Some(zone) = &watched.zone else { continue };
            if let Err(zone) = zones.insert(zone.clone()) {
                let message = format!("another file holds the zone {}", name::text(zone.origin()));
                report.push(whole(path, message));
            }
        }
        zones
    }
}

fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Editors keep their own files beside, whose names start with a dot.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        if !hidden && path.extension().is_some_and(|end| end == "zone") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn parse(path: &Path, text: &str) -> Result<Zone, Vec<Diagnostic>> {
    zonefile::parse(&path.display().to_string(), text, None).map_err(|findings| {
        let diagnostic = |finding: zonefile::Finding| {
            let (line, column) = (finding.line as usize, finding.column as usize);
            let diagnostic = Diagnostic::error(finding.file, line, column, finding.message);
            if finding.hint.is_empty() {
                diagnostic
            } else {
                diagnostic.with_hint(finding.hint)
            }
        };
        findings.into_iter().map(diagnostic).collect()
    })
}

fn whole(path: &Path, message: String) -> Diagnostic {
    Diagnostic::error(path.display().to_string(), 0, 0, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(origin: &str) -> String {
        format!(
            "$ORIGIN {origin}\n$TTL 1\n@ SOA ns h.example. 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n"
        )
    }

    /// Polls once; the zones' names, whether something changed, and the findings.
    fn poll(files: &mut ZoneFiles) -> (Vec<String>, bool, String) {
        let mut report = Report::default();
        let changed = files.poll(&mut report);
        let zones = files.zones(&mut report);
        let mut names: Vec<String> = zones.iter().map(|zone| name::text(zone.origin())).collect();
        names.sort();
        (names, changed, report.to_string())
    }

    #[test]
    fn zones_of_a_folder_come_and_go_and_broken_ones_stay_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let mut files = ZoneFiles::new(vec![folder.path().to_owned()]);
        assert_eq!(poll(&mut files), (vec![], false, String::new()));
        std::fs::write(path("a.zone"), text("a.example.")).unwrap();
        std::fs::write(path("notes.txt"), "no zone").unwrap();
        std::os::unix::fs::symlink("nobody@nowhere:1", path(".#a.zone")).unwrap();
        assert_eq!(
            poll(&mut files),
            (vec!["a.example.".to_owned()], true, String::new())
        );
        assert!(!poll(&mut files).1);

        std::fs::write(path("b.zone"), text("b.example.")).unwrap();
        std::fs::write(path("a.zone"), "rubbish").unwrap();
        let (names, changed, report) = poll(&mut files);
        assert_eq!((names.len(), changed), (2, true));
        assert!(report.contains("a.zone:1:1: error"), "{report}");
        assert_eq!(poll(&mut files).2, "", "told once");

        std::fs::remove_file(path("b.zone")).unwrap();
        assert_eq!(
            poll(&mut files).0.len(),
            2,
            "an editor may be about to put it back"
        );
        let (names, changed, _) = poll(&mut files);
        assert_eq!((names, changed), (vec!["a.example.".to_owned()], true));
    }

    #[test]
    fn a_folder_that_goes_away_takes_no_zone_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("zones"), parent.path().join("away"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.zone"), text("a.example.")).unwrap();
        let mut files = ZoneFiles::new(vec![folder.clone()]);
        assert_eq!(poll(&mut files).0, ["a.example."]);
        std::fs::rename(&folder, &away).unwrap();
        let reports: Vec<String> = (0..3)
            .map(|_| {
                let (names, changed, report) = poll(&mut files);
                assert_eq!((names, changed), (vec!["a.example.".to_owned()], false));
                report
            })
            .collect();
        assert!(reports[0].contains("cannot be listed"), "{reports:?}");
        std::fs::rename(&away, &folder).unwrap();
        std::fs::remove_file(folder.join("a.zone")).unwrap();
        poll(&mut files);
        assert_eq!(
            poll(&mut files).0,
            Vec::<String>::new(),
            "a removed file still does"
        );
    }

    #[test]
    fn two_files_for_one_zone_are_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["1.zone", "2.zone"] {
            std::fs::write(folder.path().join(file), text("a.example.")).unwrap();
        }
        let (names, _, report) = poll(&mut ZoneFiles::new(vec![folder.path().to_owned()]));
        assert_eq!(names, ["a.example."]);
        assert!(
            report.ends_with("2.zone: error: another file holds the zone a.example."),
            "{report}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_once() {
        let mut files = ZoneFiles::new(vec!["/nonexistent/zones".into()]);
        assert!(
            poll(&mut files)
                .2
                .contains("/nonexistent/zones: error: cannot be read")
        );
        assert_eq!(poll(&mut files).2, "");
    }
}
