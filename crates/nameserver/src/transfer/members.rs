//! The members of catalog zones (RFC 9432): which zone belongs to which catalog, also over a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use dns_engine::catalog::{self, Catalog, Member, Owners};
use dns_engine::name;

use super::kept;
use super::roster::Origin;
use super::settings::{Transfer, shown};

/// Most members of a catalog: more zones than one server should have to follow.
pub(super) const MEMBERS_MAX: usize = 10_000;
/// The file in the folder that remembers them.
const FILE: &str = "members";

/// All catalogs and their members.
#[derive(Debug)]
pub(super) struct Members {
    catalogs: Vec<Listed>,
    entries: BTreeMap<Box<[u8]>, Entry>,
    file: PathBuf,
}

/// A catalog as it was read last.
#[derive(Debug)]
struct Listed {
    zone: Box<[u8]>,
    catalog: Catalog,
    /// Where its members come from.
    from: Arc<Origin>,
}

/// How a zone is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    catalog: Box<[u8]>,
    /// The label that stands for this membership.
    id: Box<[u8]>,
}

/// A member zone for which a new version of a catalog means something.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) member: Box<[u8]>,
    pub(super) change: Change,
    /// Where it comes from now; `None` if it leaves.
    pub(super) from: Option<Arc<Origin>>,
}

/// What that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is to be followed from now on.
    Follow,
    /// It goes on, and comes from another catalog's primaries.
    Move,
    /// It begins anew, without what is known of it (RFC 9432 §5.4).
    Reset,
    /// It is not to be followed any more.
    Leave,
}

impl Members {
    /// The catalogs of the configuration, with the members they had before a restart.
    pub(super) fn new(settings: &Transfer) -> Self {
        let listed = settings.catalogs.iter().map(|catalog| {
            let from = catalog.member_primaries.as_ref();
            Listed {
                zone: catalog.zone.wire().into(),
                catalog: Catalog::default(),
                from: Origin::new(from.unwrap_or(&catalog.primaries), &catalog.notify_from),
            }
        });
        let mut members = Self {
            catalogs: listed.collect(),
            entries: BTreeMap::new(),
            file: settings.folder.join(FILE),
        };
        members.remember();
        members
    }

    /// Reads the file. A catalog has the members that are remembered until it has been read itself.
    fn remember(&mut self) {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::error!(file = %self.file.display(), %error, "members cannot be read");
                }
                return;
            }
        };
        for line in text.lines() {
            let Some((member, entry)) = read_line(line) else {
                tracing::error!(file = %self.file.display(), line, "no member; left out");
                continue;
            };
            let mut catalogs = self.catalogs.iter_mut();
            let Some(listed) = catalogs.find(|listed| listed.zone == entry.catalog) else {
                continue; // not in the configuration any more
            };
            let listing = Member {
                id: entry.id.clone(),
                next_catalog: None,
                groups: Vec::new(),
            };
            listed.catalog.members.insert(member.clone(), listing);
            self.entries.insert(member, entry);
        }
    }

    /// Every member and where it comes from.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &Arc<Origin>)> {
        let entries = self.entries.iter();
        entries.filter_map(|(member, entry)| Some((&**member, self.from(&entry.catalog)?)))
    }

    /// Where the members of a catalog come from.
    fn from(&self, catalog: &[u8]) -> Option<&Arc<Origin>> {
        let mut catalogs = self.catalogs.iter();
        let listed = catalogs.find(|listed| *listed.zone == *catalog)?;
        Some(&listed.from)
    }

    /// Takes up a new version of a catalog: what changes for which zone. `taken` are zones that are here by themselves,
    /// which no catalog gets.
    pub(super) fn take(
        &mut self,
        zone: &[u8],
        catalog: Catalog,
        taken: &BTreeSet<Box<[u8]>>,
    ) -> Vec<Changed> {
        let mut catalogs = self.catalogs.iter_mut();
        if let Some(listed) = catalogs.find(|listed| *listed.zone == *zone) {
            listed.catalog = catalog;
        }
        let next = self.settle(taken);
        let before = std::mem::replace(&mut self.entries, next);
        let mut changes = Vec::new();
        for (member, entry) in &self.entries {
            let change = match before.get(member) {
                None => Change::Follow,
                Some(old) if old.id != entry.id => Change::Reset,
                Some(old) if old.catalog != entry.catalog => Change::Move,
                Some(_) => continue,
            };
            let from = self.from(&entry.catalog).cloned();
            changes.push(Changed {
                member: member.clone(),
                change,
                from,
            });
        }
        let left = before
            .keys()
            .filter(|member| !self.entries.contains_key(*member));
        changes.extend(left.map(|member| Changed {
            member: member.clone(),
            change: Change::Leave,
            from: None,
        }));
        if before != self.entries
            && let Err(error) = self.write()
        {
            tracing::error!(file = %self.file.display(), %error, "members cannot be written");
        }
        changes
    }

    /// Who gets whom.
    fn settle(&self, taken: &BTreeSet<Box<[u8]>>) -> BTreeMap<Box<[u8]>, Entry> {
        let entries = self.entries.iter();
        let before: Owners = entries
            .map(|(member, entry)| (member.clone(), entry.catalog.clone()))
            .collect();
        let catalogs = self.catalogs.iter();
        let catalogs: Vec<(&[u8], &Catalog)> = catalogs
            .map(|listed| (&*listed.zone, &listed.catalog))
            .collect();
        let (owners, clashes) = catalog::settle(&catalogs, &before, taken);
        for clash in clashes {
            let (member, catalog) = (shown(&clash.member), shown(&clash.other));
            if clash.owner == clash.member {
                tracing::warn!(
                    member,
                    catalog,
                    "the zone is here by itself; the catalog does not get it"
                );
            } else {
                let owner = shown(&clash.owner);
                tracing::warn!(
                    member,
                    catalog,
                    owner,
                    "another catalog has the zone already"
                );
            }
        }
        let id = |member: &[u8], catalog: &[u8]| {
            let (_, catalog) = catalogs.iter().find(|(zone, _)| *zone == catalog)?;
            Some(catalog.members.get(member)?.id.clone())
        };
        let entries = owners.into_iter().filter_map(|(member, catalog)| {
            let id = id(&member, &catalog)?;
            Some((member, Entry { catalog, id }))
        });
        entries.collect()
    }

    fn write(&self) -> io::Result<()> {
        let aside = kept::prepare_text(&self.file, |file| {
            for (member, entry) in &self.entries {
                let id = [&*entry.id, &[0]].concat();
                let names = [&**member, &*entry.catalog, &id].map(name::text);
                writeln!(file, "{}", names.join(" "))?;
            }
            Ok(())
        })?;
        aside.place()
    }
}

/// A member, its catalog and its id: three names.
fn read_line(line: &str) -> Option<(Box<[u8]>, Entry)> {
    let mut names = line.split(' ').map(|text| name::parse(text, None).ok());
    let (member, catalog, mut id) = (names.next()??, names.next()??, names.next()??);
    id.pop(); // the root label
    let entry = Entry {
        catalog: catalog.into(),
        id: id.into(),
    };
    names.next().is_none().then(|| (member.into(), entry))
}

#[cfg(test)]
mod tests {
    use dns_engine::zonefile;

    use super::*;

    fn catalog(zone: &str, members: &str) -> Catalog {
        let head = "$TTL 0\n@ SOA invalid. invalid. 1 2 3 4 5\n@ NS invalid.\nversion TXT 2\n";
        let zone = zonefile::parse("c", &format!("{head}{members}"), Some(zone)).unwrap();
        Catalog::read(&zone).unwrap()
    }

    fn wire(text: &str) -> Box<[u8]> {
        name::parse(text, None).unwrap().into()
    }

    #[test]
    fn members_come_move_begin_anew_and_leave_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let primary = "primaries = [{ address = \"192.0.2.1:53\" }]";
        let text = format!(
            "[[catalog]]\nzone = \"one.\"\n{primary}\n[[catalog]]\nzone = \"two.\"\n{primary}"
        );
        let mut settings: Transfer = service::config::parse("x.toml", &text).unwrap();
        settings.folder = folder.path().to_owned();
        let own = BTreeSet::from([wire("own.")]);
        let check = |zone: &str, members: &str, expected: &[(&str, Change)]| {
            // Each time after a restart.
            let mut listed = Members::new(&settings);
            let changes = listed.take(&wire(zone), catalog(zone, members), &own);
            let changes: Vec<_> = changes
                .into_iter()
                .map(|changed| (changed.member, changed.change))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(zone, change)| (wire(zone), *change))
                .collect();
            assert_eq!(changes, expected, "{members}");
            listed.all().count()
        };
        let both = "a.zones PTR a.\nb.zones PTR b\\032c.\no.zones PTR own.\n";
        let follow = [("a.", Change::Follow), ("b\\032c.", Change::Follow)];
        assert_eq!(check("one.", both, &follow), 2);
        assert_eq!(check("one.", both, &[]), 2);
        // Another catalog wants one, and gets it when the first one says so.
        assert_eq!(check("two.", "a.zones PTR a.\n", &[]), 2);
        let other_id = "x.zones PTR a.\nb.zones PTR b\\032c.\n";
        assert_eq!(check("one.", other_id, &[("a.", Change::Reset)]), 2);
        assert_eq!(
            check("one.", "x.zones PTR a.\n", &[("b\\032c.", Change::Leave)]),
            1
        );
        assert_eq!(check("one.", "", &[("a.", Change::Leave)]), 0);
    }

    #[test]
    fn a_member_moves_with_what_is_known_of_it_if_it_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let primary = "primaries = [{ address = \"192.0.2.1:53\" }]";
        let text = format!(
            "[[catalog]]\nzone = \"one.\"\n{primary}\n[[catalog]]\nzone = \"two.\"\n{primary}"
        );
        let mut settings: Transfer = service::config::parse("x.toml", &text).unwrap();
        settings.folder = folder.path().to_owned();
        let (mut members, none) = (Members::new(&settings), BTreeSet::new());
        let mut take = |zone: &str, text: &str| {
            let changes = members.take(&wire(zone), catalog(zone, text), &none);
            changes
                .into_iter()
                .map(|changed| changed.change)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            take("one.", "a.zones PTR a.\nb.zones PTR b.\n"),
            [Change::Follow, Change::Follow]
        );
        assert_eq!(take("two.", "a.zones PTR a.\nx.zones PTR b.\n"), []);
        let leaving =
            "a.zones PTR a.\ncoo.a.zones PTR two.\nb.zones PTR b.\ncoo.b.zones PTR two.\n";
        assert_eq!(take("one.", leaving), [Change::Move, Change::Reset]);
    }
}
