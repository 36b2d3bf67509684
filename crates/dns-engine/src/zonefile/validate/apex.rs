//! The zone's own name: one SOA record that makes sense, name servers, and types that belong there alone.

use super::super::place::{Faults, Place};
use super::super::records::Item;
use super::owners::Owners;
use crate::name::{self, Text};
use crate::rtype;

/// Longer negative answers outlive most mistakes (RFC 2308 §5).
const NEGATIVE_SECONDS_MAX: u32 = 86_400;

pub(super) fn check(owners: Owners<'_>, faults: &mut Faults) {
    let (apex, mut items) = (owners.apex, owners.at_apex());
    let mut soas = owners.at_apex().filter(|item| item.rtype == rtype::SOA);
    match soas.next() {
        Some(soa) => check_timers(soa, owners.records.data(soa), faults),
        None => {
            let message = format!("no SOA record for {}", Text(apex));
            let hint = "write `@ SOA primary mailbox serial refresh retry expire minimum`";
            faults.error(Place::START, message, hint);
        }
    }
    for extra in soas {
        let hint = "a zone has exactly one: remove the other";
        faults.error(extra.place(), "a second SOA record", hint);
    }
    if !owners.at_apex().any(|item| item.rtype == rtype::NS) {
        let place = items.next().map_or(Place::START, Item::owner_place);
        let message = format!("the zone {} has no NS record of its own", Text(apex));
        faults.error(place, message, "write `@ NS ns1`, one line a name server");
    }
    for item in owners.at_apex().filter(|item| item.rtype == rtype::DS) {
        let message = "a DS record at the zone's own name";
        let hint = "it belongs to the zone above, at the delegation (RFC 4035 §2.4)";
        faults.error(item.place(), message, hint);
    }
}

fn check_timers(soa: &Item, data: &[u8], faults: &mut Faults) {
    let mut warn = |message: String, hint: &str| faults.warning(soa.place(), message, hint);
    let Some((names, numbers)) = data.split_last_chunk::<20>() else {
        return;
    };
    let primary = name::read(names).map_or(0, <[u8]>::len);
    let mailbox = names.get(primary..).unwrap_or_default();
    if mailbox.contains(&b'@') {
        let message = format!("the mailbox {} has an `@`", Text(mailbox));
        warn(
            message,
            "write a dot instead: `hostmaster.example.` (RFC 1035 §3.3.13)",
        );
    }
    let (numbers, _) = numbers.as_chunks::<4>();
    let &[_, refresh, retry, expire, minimum] = numbers else {
        return;
    };
    let [refresh, retry, expire, minimum] =
        [refresh, retry, expire, minimum].map(u32::from_be_bytes);
    if retry >= refresh {
        let message = format!("retry ({retry}) is not below refresh ({refresh})");
        warn(
            message,
            "a secondary tries again sooner than it looks for news",
        );
    }
    if u64::from(expire) <= u64::from(refresh) + u64::from(retry) {
        let message = format!("expire ({expire}) is not above refresh and retry together");
        warn(
            message,
            "one failed look would take the zone away: use weeks",
        );
    }
    if minimum > NEGATIVE_SECONDS_MAX {
        let message = format!("negative answers are kept for {minimum} seconds");
        warn(
            message,
            "the last number is no default TTL; use minutes or hours (RFC 2308 §5)",
        );
    }
}
