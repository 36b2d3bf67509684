//! RFC 9432, catalog zones: the members of a catalog are served as long as it lists them.

use std::net::SocketAddr;

use conformance::peer::Kind;

use crate::{
    partner::{Partner, Role},
    scene::{KEY, Level, Ours, Place, rcode, serial, until, until_serial, zone},
};

const CATALOG: &str = "catalog.test.";
const REFUSED: u16 = 5;

/// A catalog with these members: label and zone.
fn catalog(serial: u32, version: u8, members: &[(&str, &str)]) -> String {
    let mut text = format!(
        "$TTL 0\n@ IN SOA invalid. invalid. {serial} 3600 600 86400 0\n@ IN NS invalid.\nversion IN TXT \"{version}\"\n"
    );
    for (label, member) in members {
        text += &format!("{label}.zones IN PTR {member}\n");
    }
    text
}

fn consumer(place: &Place, primary: SocketAddr) -> Ours {
    place.start(&format!(
        "[[transfer.catalog]]\nzone = {CATALOG:?}\nprimaries = [{{ address = \"{primary}\", key = {KEY:?} }}]\n"
    ))
}

fn until_refused(ours: &Ours, zone: &str) {
    until(&format!("{zone} to be refused"), || {
        (rcode(ours.dns, zone)? == REFUSED).then_some(())
    });
}

/// §5.1, §5.2: members are followed and served; one that is taken off the list is not any more, nor kept; a broken catalog
/// changes nothing; the catalog itself is nobody's to ask (§7).
#[test]
fn members_come_and_go_with_the_catalog() {
    for (kind, level) in [(Kind::Knot, Level::First), (Kind::Bind, Level::Second)] {
        let place = Place::new(level);
        let (one, two) = (zone(1, &["192.0.2.1"]), zone(2, &["192.0.2.2"]));
        let both = [("m1", "one.test."), ("m2", "two.test.")];
        let zones = [
            (CATALOG, &*catalog(1, 2, &both[..1])),
            ("one.test.", &*one),
            ("two.test.", &*two),
        ];
        let Some(theirs) = Partner::start(kind, Role::Primary, &zones, place.dns) else {
            continue;
        };
        until_serial(theirs.dns, CATALOG, 1);
        until_serial(theirs.dns, "two.test.", 2);
        let ours = consumer(&place, theirs.dns);
        until_serial(ours.dns, "one.test.", 1);
        assert_eq!(rcode(ours.dns, "two.test."), Some(REFUSED), "not listed");
        assert_eq!(rcode(ours.dns, CATALOG), Some(REFUSED));

        theirs.write_zone(CATALOG, &catalog(2, 2, &both));
        until_serial(ours.dns, "two.test.", 2);
        assert!(place.path("kept/two.test.zone").exists());
        // Members are zones like others: a NOTIFY brings their new version.
        theirs.write_zone("two.test.", &zone(3, &["192.0.2.3"]));
        until_serial(ours.dns, "two.test.", 3);

        // §4.2.1: a version that is not ours to know.
        theirs.write_zone(CATALOG, &catalog(3, 9, &[]));
        until_failed(&ours);
        assert_eq!(serial(ours.dns, "one.test."), Some(1));

        theirs.write_zone(CATALOG, &catalog(4, 2, &both[1..]));
        until_refused(&ours, "one.test.");
        assert!(!place.path("kept/one.test.zone").exists());
        assert_eq!(serial(ours.dns, "two.test."), Some(3));

        // A restart without the primary: the members that were.
        let gone = theirs.dns;
        drop((ours, theirs));
        let ours = consumer(&place, gone);
        assert_eq!(serial(ours.dns, "two.test."), Some(3));
        assert_eq!(rcode(ours.dns, "one.test."), Some(REFUSED));
    }
}

fn until_failed(ours: &Ours) {
    until("the broken catalog to be refused", || {
        let name = "signpost_transfers_in_total{zone=\"catalog.test.\",result=\"failed\"}";
        (crate::scene::metric(ours, name) >= 1.0).then_some(())
    });
}

/// §5.4: under another label a member begins anew, even with an older serial.
#[test]
fn a_member_with_another_label_begins_anew() {
    let place = Place::new(Level::First);
    let first = zone(9, &["192.0.2.9"]);
    let listed = catalog(1, 2, &[("m1", "one.test.")]);
    let zones = [(CATALOG, &*listed), ("one.test.", &*first)];
    let Some(theirs) = Partner::start(Kind::Bind, Role::Primary, &zones, place.dns) else {
        return;
    };
    until_serial(theirs.dns, CATALOG, 1);
    let ours = consumer(&place, theirs.dns);
    until_serial(ours.dns, "one.test.", 9);
    let address = theirs.dns;
    drop(theirs);
    // Another primary at the same address, where the zone's serial has begun again.
    let again = zone(1, &["192.0.2.1"]);
    let listed = catalog(2, 2, &[("m2", "one.test.")]);
    let zones = [(CATALOG, &*listed), ("one.test.", &*again)];
    let _theirs = Partner::start_at(Kind::Bind, Role::Primary, &zones, place.dns, address).unwrap();
    until_serial(ours.dns, "one.test.", 1);
}
