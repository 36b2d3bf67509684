//! Where records point to within the zone: name servers need addresses, some targets must be no aliases, and
//! aliases must end.

use super::super::place::Faults;
use super::super::records::Item;
use super::check_final_dot;
use super::owners::{Owner, Owners};
use crate::answer::CHAIN_MAX;
use crate::name::{self, NameBuffer, Text};
use crate::rdata;
use crate::rtype;
use crate::zone::{Found, Node, Zone};

/// Steps after which a chain of aliases that has not come back is only called long.
const WALK_MAX: usize = 16;

pub(super) fn check(zone: &Zone, owners: Owners<'_>, faults: &mut Faults) {
    for owner in owners.iter() {
        for item in owner.items() {
            let data = owners.records.data(item);
            let Some(target) = target(item.rtype, data) else {
                continue;
            };
            if !name::is_within(target, zone.origin()) {
                continue;
            }
            check_final_dot(target, zone.origin(), item.place(), faults);
            let mut lowered = NameBuffer::new();
            lowered.set(target);
            lowered.lower();
            let check = Check {
                zone,
                item,
                target: lowered.as_slice(),
            };
            match item.rtype {
                rtype::NS => check.name_server(&owner, faults),
                rtype::CNAME | rtype::DNAME => check.alias(&owner, faults),
                rtype::MX | rtype::SRV | rtype::SVCB | rtype::HTTPS => check.host(faults),
                _ => {}
            }
        }
    }
}

/// The name that a record points to.
fn target(rtype: u16, data: &[u8]) -> Option<&[u8]> {
    match rtype {
        rtype::CNAME | rtype::DNAME | rtype::PTR => name::read(data),
        // The target of an alias form is any name (RFC 9460 §2.4.2).
        rtype::SVCB | rtype::HTTPS if data.starts_with(&[0, 0]) => None,
        _ => rdata::additional_target(rtype, data),
    }
}

struct Check<'a> {
    zone: &'a Zone,
    item: &'a Item,
    /// Lower-cased, in the zone.
    target: &'a [u8],
}

/// What the zone knows about a target.
enum Target {
    Addressed,
    Bare,
    Alias,
    Delegated,
}

impl Check<'_> {
    fn target(&self) -> Target {
        let addressed = |node: &Node| {
            let mut types = [rtype::A, rtype::AAAA].into_iter();
            types.any(|rtype| node.rrset(rtype).is_some())
        };
        match self.zone.find_plain(self.target) {
            Found::Node(node) if node.rrset(rtype::CNAME).is_some() => Target::Alias,
            Found::Node(node) if addressed(node) => Target::Addressed,
            Found::Delegated(_) => match self.zone.exact(self.target) {
                Some(glue) if addressed(glue) => Target::Addressed,
                _ => Target::Delegated,
            },
            Found::Renamed(..) => Target::Alias,
            Found::Node(_) | Found::Missing => Target::Bare,
        }
    }

    /// A name server needs an address, or nobody finds the way (RFC 1034 §4.2.1).
    fn name_server(&self, owner: &Owner<'_>, faults: &mut Faults) {
        let (place, server) = (self.item.place(), Text(self.target));
        let missing = format!("the name server {server} has no address here");
        let hint = format!("add `{server} A …` or `AAAA …` to this file");
        match self.target() {
            Target::Addressed => {}
            Target::Alias => {
                let message = format!("the name server {server} is an alias");
                let hint = "name the host that it leads to (RFC 2181 §10.3)";
                faults.error(place, message, hint);
            }
            // A server in another delegated zone is found by way of that zone.
            Target::Delegated if !name::is_within(self.target, owner.name) => {
                faults.warning(place, missing, hint);
            }
            Target::Bare | Target::Delegated => faults.error(place, missing, hint),
        }
    }

    /// The host of a service.
    fn host(&self, faults: &mut Faults) {
        let (place, host) = (self.item.place(), Text(self.target));
        let rtype = self.item.rtype;
        match self.target() {
            Target::Alias if matches!(rtype, rtype::MX | rtype::SRV) => {
                let message = format!("the host {host} is an alias");
                let hint = "name the host that it leads to (RFC 2181 §10.3, RFC 2782)";
                faults.warning(place, message, hint);
            }
            Target::Bare => {
                let message = format!("the host {host} has no address here");
                faults.warning(place, message, format!("add `{host} A …` or `AAAA …`"));
            }
            Target::Addressed | Target::Alias | Target::Delegated => {}
        }
    }

    /// An alias must end after a few steps, as the answer follows it.
    fn alias(&self, owner: &Owner<'_>, faults: &mut Faults) {
        let place = self.item.place();
        let name = Text(owner.name);
        if self.item.rtype == rtype::DNAME && name::is_within(self.target, owner.name) {
            let message = format!("the DNAME record of {name} leads to names below itself");
            let hint = "point it at another part of the tree (RFC 6672 §2.4)";
            return faults.error(place, message, hint);
        }
        let mut seen = vec![owner.name.to_vec()];
        let mut next = Some(self.target.to_vec());
        while let Some(name) = next.filter(|_| seen.len() <= WALK_MAX) {
            if seen.contains(&name) {
                let message = format!("the alias {} leads into a loop", Text(owner.name));
                let hint = "point one of its aliases at a name with records";
                return faults.error(place, message, hint);
            }
            next = self.step(&name);
            seen.push(name);
        }
        if seen.len() > CHAIN_MAX + 1 {
            let message = format!("a chain of more than {CHAIN_MAX} aliases");
            let hint = "an answer follows no further: point this one closer to its end";
            faults.warning(place, message, hint);
        }
        let missing = self.item.rtype == rtype::CNAME
            && matches!(self.zone.find_plain(self.target), Found::Missing);
        if missing {
            let target = Text(self.target);
            let message = format!("the alias {name} leads to {target}, which is not there");
            faults.warning(place, message, "correct it, or add the name");
        }
    }

    /// Where the next alias leads, lower-cased.
    fn step(&self, name: &[u8]) -> Option<Vec<u8>> {
        if !name::is_within(name, self.zone.origin()) {
            return None;
        }
        match self.zone.find_plain(name) {
            Found::Node(node) => {
                let alias = match self.item.rtype {
                    // A subtree that is renamed to a renamed one goes on with that.
                    rtype::DNAME => node.rrset(rtype::DNAME),
                    _ => node.rrset(rtype::CNAME),
                };
                alias?.rdatas().next().map(name::lowered)
            }
            Found::Renamed(node, set) => {
                let front = name.len().checked_sub(node.owner().len())?;
                let target = set.rdatas().next()?;
                let renamed = [name.get(..front)?, target].concat();
                (renamed.len() <= name::NAME_MAX).then(|| name::lowered(&renamed))
            }
            Found::Delegated(_) | Found::Missing => None,
        }
    }
}
