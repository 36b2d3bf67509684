//! Catalog zones (RFC 9432): a zone that lists the zones a secondary has to serve.
//!
//! ```text
//! version.CATZ         TXT  "2"
//! ID.zones.CATZ        PTR  member.
//! group.ID.zones.CATZ  TXT  "a hint how to serve it"
//! coo.ID.zones.CATZ    PTR  the catalog the member is about to move to
//! ```
//!
//! A catalog that breaks a rule is not processed at all (§5.1), so its members stay as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::name::{self, Text};
use crate::rtype;
use crate::zone::{Node, Zone};

/// The only version there is (RFC 9432 §4.2.1).
const VERSION: &[u8] = b"\x012";

/// The member zones of one catalog, by lower-cased wire name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Each member and what the catalog says about it.
    pub members: BTreeMap<Box<[u8]>, Member>,
}

/// What a catalog says about a member zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The label that stands for this membership; with another one the zone begins anew (§5.4).
    pub id: Box<[u8]>,
    /// The catalog that may take the member over (§4.3.1), a lower-cased wire name.
    pub next_catalog: Option<Box<[u8]>>,
    /// Hints how to serve the member (§4.3.2), in the order of the records.
    pub groups: Vec<String>,
}

/// Why a catalog is not processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// No TXT record `version`, more than one, or another version than 2.
    Version,
    /// More than one PTR record at this member node.
    TwoMembers(Box<[u8]>),
    /// More than one PTR record at this `coo` node.
    TwoCatalogs(Box<[u8]>),
    /// This zone is listed twice.
    Twice(Box<[u8]>),
}

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("it has no single TXT record `version` that says 2"),
            Self::TwoMembers(owner) => write!(f, "{} has more than one PTR record", Text(owner)),
            Self::TwoCatalogs(owner) => {
                write!(f, "{} names more than one catalog", Text(owner))
            }
            Self::Twice(member) => write!(f, "it lists {} twice", Text(member)),
        }
    }
}

impl Catalog {
    /// Reads the members of a catalog zone.
    pub fn read(zone: &Zone) -> Result<Self, Broken> {
        let below = |label: &[u8], parent: &[u8]| [label, parent].concat();
        let version = zone.rrset(&below(b"\x07version", zone.origin()), rtype::TXT);
        let version = version.filter(|set| set.count() == 1);
        if version.and_then(|set| set.rdatas().next()) != Some(VERSION) {
            return Err(Broken::Version);
        }
        let list = below(b"\x05zones", zone.origin());
        let mut catalog = Self::default();
        for (owner, node) in zone.ordered() {
            if name::parent(owner) != Some(&list) {
                continue;
            }
            let Some(member) = one_name(node).map_err(|()| Broken::TwoMembers(owner.into()))?
            else {
                continue;
            };
            let next_owner = below(b"\x03coo", owner);
            let next = zone.exact(&next_owner).map(one_name).transpose();
            let next = next.map_err(|()| Broken::TwoCatalogs(next_owner.into()))?;
            let groups = zone.rrset(&below(b"\x05group", owner), rtype::TXT);
            let entry = Member {
                id: owner
                    .get(..owner.len() - list.len())
                    .unwrap_or_default()
                    .into(),
                next_catalog: next.flatten(),
                groups: groups
                    .into_iter()
                    .flat_map(|set| set.rdatas().map(text))
                    .collect(),
            };
            if catalog.members.insert(member.clone(), entry).is_some() {
                return Err(Broken::Twice(member));
            }
        }
        Ok(catalog)
    }
}

/// The lower-cased target of the one PTR record of a node; `Err` if there are more.
fn one_name(node: &Node) -> Result<Option<Box<[u8]>>, ()> {
    let Some(set) = node.rrset(rtype::PTR) else {
        return Ok(None);
    };
    if set.count() != 1 {
        return Err(());
    }
    Ok(set.rdatas().next().map(|name| name::lowered(name).into()))
}

/// The character-strings of a TXT record, joined.
fn text(data: &[u8]) -> String {
    let mut octets = Vec::new();
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        let (string, after) = after.split_at(after.len().min(length.into()));
        octets.extend_from_slice(string);
        rest = after;
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// Which catalog each member zone belongs to, by lower-cased wire names.
pub type Owners = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A zone that more than one catalog wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The zone.
    pub member: Box<[u8]>,
    /// The catalog that has it.
    pub owner: Box<[u8]>,
    /// The catalog that does not get it.
    pub other: Box<[u8]>,
}

/// Settles which catalog each member belongs to (RFC 9432 §5.2, §5.3).
///
/// A member stays with the catalog that has it while that one lists it, and moves only where that one's
/// `coo` names a catalog that lists it too. Among new ones the first catalog of the list wins. `taken`
/// are zones that are configured by themselves: those no catalog gets.
pub fn settle(
    catalogs: &[(&[u8], &Catalog)],
    before: &Owners,
    taken: &BTreeSet<Box<[u8]>>,
) -> (Owners, Vec<Clash>) {
    let (mut owners, mut clashes) = (Owners::new(), Vec::new());
    let listing = |catalog: &[u8], member: &[u8]| {
        let (_, catalog) = catalogs.iter().find(|(origin, _)| *origin == catalog)?;
        catalog.members.get(member)
    };
    for (origin, catalog) in catalogs {
        for member in catalog.members.keys() {
            let clash = |owner: &[u8]| Clash {
                member: member.clone(),
                owner: owner.into(),
                other: (*origin).into(),
            };
            if taken.contains(member) {
                clashes.push(clash(member));
                continue;
            }
            let held = before.get(member).and_then(|owner| {
                let entry = listing(owner, member)?;
                let next = entry.next_catalog.as_deref();
                Some(
                    next.filter(|next| listing(next, member).is_some())
                        .unwrap_or(owner),
                )
            });
            let owner = held.or_else(|| owners.get(member).map(|owner| &**owner));
            match owner.unwrap_or(origin) {
                owner if owner == *origin => {
                    owners.insert(member.clone(), (*origin).into());
                }
                owner => clashes.push(clash(owner)),
            }
        }
    }
    (owners, clashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zonefile;

    fn name(text: &str) -> Box<[u8]> {
        name::parse(text, None).unwrap().into()
    }

    fn read(records: &str) -> Result<Catalog, Broken> {
        let head = "$ORIGIN catz.\n$TTL 0\n@ SOA invalid. invalid. 1 2 3 4 5\n@ NS invalid.\n";
        let zone = zonefile::parse("catz", &format!("{head}{records}"), None).unwrap();
        Catalog::read(&zone)
    }

    #[test]
    fn reads_members_and_their_properties() {
        let catalog = read(
            "version TXT 2\n\
             a.zones PTR One.example.\n\
             b.zones PTR two.example.\n\
             group.b.zones TXT no\\ dnssec\n\
             coo.b.zones PTR Other.\n\
             unknown.ext.b.zones TXT whatever\n\
             x.y.zones PTR not-a-member.example.\n\
             somewhere PTR else.\n",
        )
        .unwrap();
        let texts: Vec<String> = catalog
            .members
            .keys()
            .map(|name| name::text(name))
            .collect();
        assert_eq!(texts, ["one.example.", "two.example."]);
        let two = &catalog.members[&name("two.example.")];
        assert_eq!(*two.id, *b"\x01b");
        assert_eq!(two.next_catalog, Some(name("other.")));
        assert_eq!(two.groups, ["no dnssec"]);
        let one = &catalog.members[&name("one.example.")];
        assert_eq!((&one.next_catalog, one.groups.len()), (&None, 0));
    }

    #[test]
    fn refuses_a_broken_catalog() {
        let check = |records: &str, expected: Broken| assert_eq!(read(records), Err(expected));
        check("a.zones PTR one.\n", Broken::Version);
        check("version TXT 1\n", Broken::Version);
        check("version TXT 2\nversion TXT 3\n", Broken::Version);
        check("version TXT 2 2\n", Broken::Version);
        check(
            "version TXT 2\na.zones PTR one.\na.zones PTR two.\n",
            Broken::TwoMembers(name("a.zones.catz.")),
        );
        check(
            "version TXT 2\na.zones PTR one.\ncoo.a.zones PTR o.\ncoo.a.zones PTR p.\n",
            Broken::TwoCatalogs(name("coo.a.zones.catz.")),
        );
        check(
            "version TXT 2\na.zones PTR one.\nb.zones PTR ONE.\n",
            Broken::Twice(name("one.")),
        );
    }

    #[test]
    fn a_member_stays_with_its_catalog_until_that_one_lets_it_go() {
        let listing = read("version TXT 2\na.zones PTR m.\n").unwrap();
        let leaving = read("version TXT 2\na.zones PTR m.\ncoo.a.zones PTR two.\n").unwrap();
        let empty = read("version TXT 2\n").unwrap();
        let check = |one: &Catalog, two: &Catalog, before: Option<&str>, after: Option<&str>| {
            let (first, second) = (name("one."), name("two."));
            let before = before.map(|owner| (name("m."), name(owner)));
            let (owners, clashes) = settle(
                &[(&first, one), (&second, two)],
                &before.into_iter().collect(),
                &BTreeSet::new(),
            );
            assert_eq!(owners.get(&name("m.")).cloned(), after.map(name));
            let both = !one.members.is_empty() && !two.members.is_empty();
            assert_eq!(clashes.len(), usize::from(both));
        };
        check(&listing, &listing, None, Some("one."));
        check(&listing, &listing, Some("two."), Some("two."));
        check(&listing, &listing, Some("one."), Some("one."));
        check(&leaving, &listing, Some("one."), Some("two."));
        // The other catalog does not want it yet.
        check(&leaving, &empty, Some("one."), Some("one."));
        check(&empty, &listing, Some("one."), Some("two."));
        check(&empty, &empty, Some("one."), None);
    }

    #[test]
    fn a_zone_configured_by_itself_is_no_catalogs() {
        let listing = read("version TXT 2\na.zones PTR m.\n").unwrap();
        let catz = name("catz.");
        let taken = BTreeSet::from([name("m.")]);
        let (owners, clashes) = settle(&[(&catz, &listing)], &Owners::new(), &taken);
        assert!(owners.is_empty());
        assert_eq!(clashes.len(), 1);
    }
}
