//! Checks that need the whole zone: one SOA, name servers, aliases alone, owners inside, glue.

use std::collections::{HashMap, HashSet};

use super::{Fault, Place, Placed};
use crate::answer::CHAIN_MAX;
use crate::hash::NameMap;
use crate::name::{self, Text};
use crate::rtype;

type Owners<'r> = NameMap<Vec<&'r Placed>>;

/// The zone's name: as configured, or the owner of the first SOA record.
pub(super) fn apex(
    configured: Option<Vec<u8>>,
    records: &[Placed],
    faults: &mut Vec<Fault>,
) -> Option<Vec<u8>> {
    let first_soa = records
        .iter()
        .find(|placed| placed.record.rtype == rtype::SOA);
    let apex = configured.or_else(|| first_soa.map(|placed| placed.record.owner.clone()));
    if apex.is_none() {
        let message = "no SOA record, so the zone has no name";
        let hint = "begin the file with `$ORIGIN zone.` and `@ SOA …`";
        faults.push(Fault::new(START, message, hint));
    }
    apex.map(|apex| name::lowered(&apex))
}

pub(super) fn no_soa(apex: &[u8]) -> Fault {
    let message = format!("no SOA record for {}", Text(apex));
    Fault::new(
        START,
        message,
        "write `@ SOA primary mailbox serial refresh retry expire minimum`",
    )
}

const START: Place = Place { line: 1, column: 1 };

/// Reports everything that is wrong with the zone as a whole.
pub(super) fn zone(apex: &[u8], records: &[Placed], faults: &mut Vec<Fault>) {
    let mut owners = Owners::default();
    for placed in records {
        let owner = name::lowered(&placed.record.owner);
        if name::is_within(&owner, apex) {
            owners.entry(owner.into()).or_default().push(placed);
        } else {
            let message = format!(
                "{} is outside the zone {}",
                Text(&placed.record.owner),
                Text(apex)
            );
            let hint =
                "a name without a final dot is completed by $ORIGIN; move others to their zone";
            faults.push(Fault::new(placed.owner, message, hint));
        }
    }
    check_apex(apex, &owners, faults);
    for (owner, records) in &owners {
        check_owner(owner, apex, records, faults);
        check_position(owner, apex, &owners, records, faults);
    }
    for records in owners.values() {
        for placed in records
            .iter()
            .filter(|placed| placed.record.rtype == rtype::CNAME)
        {
            check_chain(placed, &owners, faults);
        }
    }
    check_glue(&owners, faults);
}

fn check_apex(apex: &[u8], owners: &Owners<'_>, faults: &mut Vec<Fault>) {
    let records = owners.get(apex).map_or(&[][..], Vec::as_slice);
    let mut soas = records
        .iter()
        .filter(|placed| placed.record.rtype == rtype::SOA);
    if soas.next().is_none() {
        faults.push(no_soa(apex));
    }
    for extra in soas {
        let message = "a second SOA record";
        faults.push(Fault::new(
            extra.data,
            message,
            "a zone has exactly one: remove the other",
        ));
    }
    if !records
        .iter()
        .any(|placed| placed.record.rtype == rtype::NS)
    {
        let place = records.first().map_or(START, |placed| placed.owner);
        let message = format!("the zone {} has no NS record of its own", Text(apex));
        faults.push(Fault::new(
            place,
            message,
            "write `@ NS ns1`, one line a name server",
        ));
    }
}

/// Rules for the records of one owner.
fn check_owner(owner: &[u8], apex: &[u8], records: &[&Placed], faults: &mut Vec<Fault>) {
    let mut ttls = HashMap::new();
    let others = records
        .iter()
        .any(|placed| placed.record.rtype != rtype::CNAME);
    let mut singles = HashMap::new();
    for placed in records {
        let record = &placed.record;
        if *ttls.entry(record.rtype).or_insert(record.ttl) != record.ttl {
            let message = format!(
                "{} records of one name differ in TTL",
                rtype::text(record.rtype)
            );
            faults.push(Fault::new(
                placed.data,
                message,
                "give them the same TTL (RFC 2181 §5.2)",
            ));
        }
        if others && record.rtype == rtype::CNAME {
            let message = format!("{} has other records beside its CNAME", Text(&record.owner));
            let hint = "an alias stands alone (RFC 1034 §3.6.2): remove it or the other records";
            faults.push(Fault::new(placed.data, message, hint));
        }
        let single = matches!(record.rtype, rtype::CNAME | rtype::DNAME);
        if single && *singles.entry(record.rtype).or_insert(&record.data) != &record.data {
            let message = format!("a second {} record", rtype::text(record.rtype));
            faults.push(Fault::new(
                placed.data,
                message,
                "a name has at most one: remove the other",
            ));
        }
        if record.rtype == rtype::SOA && owner != apex {
            let message = format!("a SOA record below the zone's own name {}", Text(apex));
            faults.push(Fault::new(
                placed.data,
                message,
                "each zone has a file of its own",
            ));
        }
        let wild = owner.starts_with(b"\x01*");
        if wild && matches!(record.rtype, rtype::NS | rtype::DNAME | rtype::SOA) {
            let message = format!("a wildcard with a {} record", rtype::text(record.rtype));
            let hint = "its meaning is undefined (RFC 4592 §4): name the owners one by one";
            faults.push(Fault::new(placed.data, message, hint));
        }
    }
}

/// Rules for what may stand below delegations and renamed names.
fn check_position(
    owner: &[u8],
    apex: &[u8],
    owners: &Owners<'_>,
    records: &[&Placed],
    faults: &mut Vec<Fault>,
) {
    let has = |name: &[u8], rtype| {
        owners
            .get(name)
            .is_some_and(|records| records.iter().any(|p| p.record.rtype == rtype))
    };
    let above = || {
        name::suffixes(owner)
            .skip(1)
            .take_while(|name| name.len() >= apex.len())
    };
    if let Some(renamed) = above().find(|name| has(name, rtype::DNAME)) {
        for placed in records {
            let message = format!("{} is hidden by the DNAME record above it", Text(owner));
            let hint = format!("nothing may stand below {} (RFC 6672 §2.4)", Text(renamed));
            faults.push(Fault::new(placed.owner, message, hint));
        }
    }
    let Some(cut) = above().find(|name| *name != apex && has(name, rtype::NS)) else {
        return;
    };
    for placed in records {
        if !matches!(placed.record.rtype, rtype::A | rtype::AAAA) {
            let message = format!(
                "{} belongs to the delegated zone {}",
                Text(owner),
                Text(cut)
            );
            let hint = "below a delegation only addresses of its name servers may stand";
            faults.push(Fault::new(placed.owner, message, hint));
        }
    }
}

/// An alias must end after a few steps, as the answer follows it.
fn check_chain(first: &Placed, owners: &Owners<'_>, faults: &mut Vec<Fault>) {
    let mut target = name::lowered(&first.record.data);
    let mut seen = HashSet::from([name::lowered(&first.record.owner)]);
    while seen.insert(target.clone()) {
        let alias = owners
            .get(&*target)
            .and_then(|records| records.iter().find(|p| p.record.rtype == rtype::CNAME));
        let Some(alias) = alias else {
            if seen.len() > CHAIN_MAX {
                let message = format!("a chain of more than {CHAIN_MAX} aliases");
                faults.push(Fault::new(
                    first.data,
                    message,
                    "point this one closer to its end",
                ));
            }
            return;
        };
        target = name::lowered(&alias.record.data);
    }
    let message = format!("the alias {} leads into a loop", Text(&first.record.owner));
    faults.push(Fault::new(
        first.data,
        message,
        "point one of its aliases at a name with records",
    ));
}

/// A name server inside the zone needs an address, or nobody finds the way (RFC 1034 §4.2.1).
fn check_glue(owners: &Owners<'_>, faults: &mut Vec<Fault>) {
    let name_servers = owners
        .values()
        .flatten()
        .filter(|p| p.record.rtype == rtype::NS);
    for placed in name_servers {
        let server = name::lowered(&placed.record.data);
        let owner = name::lowered(&placed.record.owner);
        if !name::is_within(&server, &owner) {
            continue;
        }
        let address = owners.get(&*server).is_some_and(|records| {
            records
                .iter()
                .any(|p| matches!(p.record.rtype, rtype::A | rtype::AAAA))
        });
        if !address {
            let message = format!("the name server {} has no address here", Text(&server));
            let hint = format!("add `{} A …` or `AAAA …` to this file", Text(&server));
            faults.push(Fault::new(placed.data, message, hint));
        }
    }
}
