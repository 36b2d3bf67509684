//! Checks that need the whole zone. Errors are what no server should serve; warnings are what probably says something
//! else than was meant.

mod apex;
mod company;
mod digest;
mod owners;
mod sets;
mod targets;

use super::place::{Faults, Place};
use super::records::Records;
use crate::gather::{Gathered, Has};
use crate::name::{self, Text};
use crate::rtype;
use crate::zone::{Entry, Zone};
use owners::Owners;

/// Reports everything that is wrong with the zone as a whole, and builds it as far as it goes; `None` without a SOA
/// record. `configured` is the zone's name; else the first SOA record has it.
pub(super) fn zone(
    configured: Option<Vec<u8>>,
    records: &Records,
    faults: &mut Faults,
) -> Option<Zone> {
    let mut items = records.items.iter();
    let first_soa = items.find(|item| item.rtype == rtype::SOA);
    let apex = configured.or_else(|| first_soa.map(|item| records.owner_of(item).to_vec()));
    let Some(apex) = apex.map(|apex| name::lowered(&apex)) else {
        let message = "no SOA record, so the zone has no name";
        let hint = "begin the file with `$ORIGIN zone.` and `@ SOA …`";
        faults.error(Place::START, message, hint);
        return None;
    };
    let entry = |place: u32| {
        let item = &records.items[place as usize];
        Entry {
            owner: records.owner_of(item),
            rtype: item.rtype,
            ttl: item.ttl,
            data: records.data(item),
        }
    };
    let gathered = Gathered::of(&apex, records.items.len(), |place| {
        let entry = entry(place);
        (entry.owner, entry.rtype)
    })?;
    check_outside(&apex, records, &gathered, faults);
    let own = gathered.names.find_plain(&apex);
    let owners = Owners {
        apex: &apex,
        records,
        gathered: &gathered,
        apex_is_renamed: own.is_some_and(|own| gathered.has(own).any(Has::DNAME)),
    };
    apex::check(owners, faults);
    sets::check(owners, faults);
    let zone = Zone::freeze(&apex, &gathered, entry)?;
    targets::check(&zone, owners, faults);
    digest::check(&zone, owners, faults);
    Some(zone)
}

fn check_outside(apex: &[u8], records: &Records, gathered: &Gathered, faults: &mut Faults) {
    let outside = gathered.outside.iter();
    for item in outside.filter_map(|place| records.items.get(*place as usize)) {
        let (owner, apex) = (Text(records.owner_of(item)), Text(apex));
        let message = format!("{owner} is outside the zone {apex}");
        let hint = "a name without a final dot is completed by $ORIGIN; move others to their zone";
        faults.error(item.owner_place(), message, hint);
    }
}

/// A name that ends with the zone's name twice: most likely its final dot was forgotten.
fn check_final_dot(name: &[u8], apex: &[u8], place: Place, faults: &mut Faults) {
    // `a.a.` may well be meant; `a.example.example.` may not.
    let (own, twice) = (apex.len() - 1, 2 * apex.len() - 1);
    let mut suffixes = name::suffixes(name);
    let inner = suffixes.find(|suffix| suffix.len() <= twice);
    let repeated = inner
        .filter(|inner| inner.len() == twice)
        .is_some_and(|inner| {
            let (front, back) = inner.split_at(own);
            front.eq_ignore_ascii_case(&apex[..own]) && back.eq_ignore_ascii_case(apex)
        });
    if repeated && name::label_count(apex) > 1 {
        let message = format!("{} has the zone's name twice", Text(name));
        faults.warning(place, message, "end a name that is complete with a dot");
    }
}
