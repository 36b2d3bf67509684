//! RFC 1996, NOTIFY: secondaries are told of new versions, and primaries are believed.

use conformance::{
    decode::Message, exchange::Client, exchange::PATIENCE, peer::Kind, question::Question,
};
use signpost_tests::port;

use crate::{
    partner::{Partner, Role},
    scene::{KEY, Level, Ours, Place, SOA, metric, until, until_serial, zone},
};

const ZONE: &str = "a.test.";
const NOTIFY: u16 = 4 << 11;

/// §3.3, §3.7: who is listed is told of every new version, signed, and fetches it long before REFRESH.
#[test]
fn secondaries_are_told_of_new_versions() {
    for kind in Kind::ALL {
        let place = Place::new(Level::Second);
        place.write_zone(ZONE, &zone(1, &["192.0.2.1"]));
        let other = port::free().unwrap();
        let provided = format!(
            "[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\nnotify = [\"{other}\"]\n"
        );
        let ours = place.start(&provided);
        let zones = [(ZONE, "")];
        let Some(theirs) = Partner::start_at(kind, Role::Secondary, &zones, ours.dns, other) else {
            continue;
        };
        until_serial(theirs.dns, ZONE, 1);
        for serial in 2..5 {
            place.write_zone(ZONE, &zone(serial, &["192.0.2.1"]));
            until_serial(theirs.dns, ZONE, serial);
        }
        until("answers to NOTIFY", || {
            (metric(
                &ours,
                "signpost_notify_sent_total{zone=\"a.test.\",result=\"heard\"}",
            ) >= 3.0)
                .then_some(())
        });
    }
}

/// §3.11: a NOTIFY of the primary makes a secondary ask at once.
#[test]
fn ours_asks_when_a_primary_says_so() {
    for kind in Kind::ALL {
        let place = Place::new(Level::First);
        let first = zone(1, &["192.0.2.1"]);
        let Some(theirs) = Partner::start(kind, Role::Primary, &[(ZONE, &first)], place.dns) else {
            continue;
        };
        until_serial(theirs.dns, ZONE, 1);
        let ours = follow(&place, &theirs);
        until_serial(ours.dns, ZONE, 1);
        theirs.write_zone(ZONE, &zone(2, &["192.0.2.2"]));
        until_serial(ours.dns, ZONE, 2);
        let heard = metric(&ours, "signpost_notify_received_total{zone=\"a.test.\"}");
        assert!(heard >= 1.0, "{kind:?}");
    }
}

fn follow(place: &Place, theirs: &Partner) -> Ours {
    place.start(&format!(
        "[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"{}\", key = {KEY:?} }}]\n",
        theirs.dns
    ))
}

/// §3.10: nobody else is believed; and a server without secondary zones does not know NOTIFY.
#[test]
fn only_primaries_are_believed() {
    let said = |ours: &Ours, zone: &str, rtype: u16| {
        let mut question = Question::new(zone, rtype);
        question.flags = NOTIFY;
        let query = question.octets(3);
        let reply = Client::new(ours.dns).udp_within(&query, PATIENCE).unwrap();
        let message = Message::read(&reply).unwrap();
        assert_eq!(message.opcode, 4);
        message.rcode
    };
    let place = Place::new(Level::First);
    let ours = place.start("");
    assert_eq!(said(&ours, ZONE, SOA), 4, "NOTIMP");
    drop(ours);
    let secondary = |key: &str| {
        format!(
            "[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"127.0.0.1:9\"{key} }}]\n"
        )
    };
    let ours = place.start(&secondary(&format!(", key = {KEY:?}")));
    assert_eq!(said(&ours, ZONE, SOA), 5, "REFUSED: it is not signed");
    assert_eq!(said(&ours, "b.test.", SOA), 9, "NOTAUTH: not followed");
    drop(ours);
    let ours = place.start(&secondary(""));
    assert_eq!(said(&ours, ZONE, SOA), 0);
    assert_eq!(said(&ours, ZONE, 1), 1, "FORMERR: not about the SOA record");
}
