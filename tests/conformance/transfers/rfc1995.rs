//! RFC 1995, differences (IXFR): sent after an edit, and taken from other servers.

use conformance::peer::Kind;
use signpost_tests::port;

use crate::{
    partner::{Partner, Role},
    scene::{
        KEY, Level, Place, dig_transfer, metric, records, until, until_serial, with_key, zone,
    },
};

const ZONE: &str = "a.test.";

fn provided(notify: &str) -> String {
    format!("[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\nnotify = [{notify}]\n")
}

/// §4: what went, then what came, between SOA records.
#[test]
fn after_an_edit_the_differences_are_sent() {
    let place = Place::new(Level::Second);
    place.write_zone(ZONE, &zone(1, &["192.0.2.1", "192.0.2.2"]));
    let ours = place.start(&provided(""));
    until_serial(ours.dns, ZONE, 1);
    for (serial, address) in [(2, "192.0.2.3"), (3, "192.0.2.4")] {
        place.write_zone(ZONE, &zone(serial, &["192.0.2.1", address]));
        until_serial(ours.dns, ZONE, serial);
    }
    let said = |since: u32| {
        let kind = format!("IXFR={since}");
        let mut text = dig_transfer(ours.dns, ZONE, &kind, Some(&with_key()));
        text.retain(|letter| letter != '\r');
        let records = text.lines().filter(|line| line.contains("\tIN\t"));
        let data = records.map(|line| {
            line.split_whitespace()
                .skip(3)
                .collect::<Vec<_>>()
                .join(" ")
        });
        data.map(|data| {
            data.replace("ns.example. host.example. ", "")
                .replace(" 3600 600 86400 60", "")
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(
        said(1),
        [
            "SOA 3",
            "SOA 1",
            "A 192.0.2.2",
            "SOA 2",
            "A 192.0.2.3",
            "SOA 2",
            "A 192.0.2.3",
            "SOA 3",
            "A 192.0.2.4",
            "SOA 3"
        ]
    );
    assert_eq!(
        said(2),
        [
            "SOA 3",
            "SOA 2",
            "A 192.0.2.3",
            "SOA 3",
            "A 192.0.2.4",
            "SOA 3"
        ]
    );
    // §2: the newest version needs nothing; §4: of a version before the history began, everything is sent.
    assert_eq!(said(3), ["SOA 3"]);
    assert_eq!(said(0).len(), 9);
}

/// §3, §4: Knot, NSD and BIND take our differences.
#[test]
fn other_servers_take_differences_from_ours() {
    for kind in Kind::ALL {
        let place = Place::new(Level::First);
        place.write_zone(ZONE, &zone(1, &["192.0.2.1"]));
        let other = port::free().unwrap();
        let ours = place.start(&provided(&format!("\"{other}\"")));
        let zones = [(ZONE, "")];
        let Some(theirs) = Partner::start_at(kind, Role::Secondary, &zones, ours.dns, other) else {
            continue;
        };
        until_serial(theirs.dns, ZONE, 1);
        place.write_zone(ZONE, &zone(2, &["192.0.2.1", "192.0.2.2"]));
        until_serial(theirs.dns, ZONE, 2);
        assert_eq!(
            records(theirs.dns, ZONE),
            records(ours.dns, ZONE),
            "{kind:?}"
        );
        until("the differences to be counted", || {
            let out = "signpost_transfers_out_total{zone=\"a.test.\",result=\"differences\"}";
            (metric(&ours, out) >= 1.0).then_some(())
        });
    }
}

/// §3, §4: ours takes the differences of Knot and BIND, and a whole zone where a primary has no differences.
#[test]
fn ours_takes_differences_from_other_servers() {
    for kind in Kind::ALL {
        let place = Place::new(Level::First);
        let first = zone(1, &["192.0.2.1"]);
        let Some(theirs) = Partner::start(kind, Role::Primary, &[(ZONE, &first)], place.dns) else {
            continue;
        };
        until_serial(theirs.dns, ZONE, 1);
        let secondary = format!(
            "{}[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"{}\", key = {KEY:?} }}]\n",
            provided(""),
            theirs.dns
        );
        let ours = place.start(&secondary);
        until_serial(ours.dns, ZONE, 1);
        theirs.write_zone(ZONE, &zone(2, &["192.0.2.1", "192.0.2.2"]));
        until_serial(ours.dns, ZONE, 2);
        assert_eq!(
            records(ours.dns, ZONE),
            records(theirs.dns, ZONE),
            "{kind:?}"
        );
        let came = |how: &str| {
            let name = format!("signpost_transfers_in_total{{zone=\"a.test.\",result=\"{how}\"}}");
            metric(&ours, &name)
        };
        if kind != Kind::Nsd {
            assert_eq!((came("whole"), came("differences")), (1.0, 1.0), "{kind:?}");
        }
        assert_eq!(came("failed"), 0.0, "{kind:?}");
    }
}
