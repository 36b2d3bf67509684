//! RFC 5936, whole zones (AXFR): who gets them, in how many messages, and that they are of one version.

use std::{collections::BTreeSet, fmt::Write, net::TcpStream};

use conformance::{
    decode::Message,
    peer::Kind,
    question::Question,
    routed::{self, HERE, OWNER, Routed, Rules, TOKENS},
    tap::{read_message, write_message},
};
use signpost_tests::dig::dig;

use crate::{
    partner::{Partner, Role},
    scene::{
        KEY, Level, PATIENCE, Place, SOA, dig_transfer, metric, records, until, until_serial,
        with_key, zone,
    },
};

const AXFR: u16 = 252;
const ZONE: &str = "a.test.";
const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;

/// The answer to a request for a zone, over TCP: its first message.
fn asked(place: &Place, name: &str) -> Message {
    let stream = TcpStream::connect(place.dns).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write_message(&stream, &Question::new(name, AXFR).octets(9)).unwrap();
    Message::read(&read_message(&stream).unwrap()).unwrap()
}

/// §5: nobody gets a zone unless the configuration says so.
#[test]
fn by_default_nobody_gets_a_zone() {
    for level in [Level::First, Level::Second] {
        let place = Place::new(level);
        place.write_zone(ZONE, &zone(1, &["192.0.2.1"]));
        let ours = place.start("");
        until_serial(ours.dns, ZONE, 1);
        assert_eq!(asked(&place, ZONE).rcode, REFUSED);
        // §2.2.1: not authoritative for the zone.
        assert_eq!(asked(&place, "b.test.").rcode, NOTAUTH);
        drop(ours);
        let others =
            format!("[[transfer.provide]]\nzones = [{ZONE:?}]\nnetworks = [\"192.0.2.0/24\"]");
        let ours = place.start(&others);
        until_serial(ours.dns, ZONE, 1);
        assert_eq!(asked(&place, ZONE).rcode, REFUSED, "not these addresses");
    }
}

fn provided() -> String {
    format!("[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\n")
}

/// §2.2: as many messages as it takes; the SOA record is the first and the last.
#[test]
fn a_zone_of_a_hundred_thousand_records_takes_many_messages() {
    const COUNT: usize = 100_000;
    let place = Place::new(Level::First);
    let mut text = zone(1, &[]);
    for number in 0..COUNT {
        writeln!(
            text,
            "host{number} A 10.{}.{}.{}",
            number >> 16,
            number >> 8 & 255,
            number & 255
        )
        .unwrap();
    }
    place.write_zone(ZONE, &text);
    let ours = place.start(&provided());
    until_serial(ours.dns, ZONE, 1);
    let said = dig_transfer(ours.dns, ZONE, "AXFR", Some(&with_key()));
    let size = said.lines().find(|line| line.starts_with(";; XFR size:"));
    let size: Vec<usize> = size
        .unwrap_or_else(|| {
            panic!(
                "{}",
                said.lines().rev().take(5).collect::<Vec<_>>().join("\n")
            )
        })
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    // With the zone's six own records, and the SOA record once more.
    let [count, messages, ..] = size[..] else {
        panic!("{size:?}")
    };
    assert!(messages > 50, "{size:?}");
    assert_eq!(count, COUNT + 7, "{size:?}");
    assert_eq!(records(ours.dns, ZONE).len(), COUNT + 6);
    until("both transfers to be counted", || {
        let out = "signpost_transfers_out_total{zone=\"a.test.\",result=\"whole\"}";
        (metric(&ours, out) == 2.0).then_some(())
    });
}

/// §6: the zone is of one version, whatever happens to it meanwhile.
#[test]
fn a_zone_edited_while_it_is_sent_is_of_one_version() {
    const COUNT: u32 = 200_000;
    let place = Place::new(Level::First);
    let version = |serial: u32| {
        let mut text = zone(serial, &[]);
        for number in 0..COUNT {
            writeln!(text, "host{number} TXT \"version {serial}\"").unwrap();
        }
        text
    };
    place.write_zone(ZONE, &version(1));
    let networks =
        format!("[[transfer.provide]]\nzones = [{ZONE:?}]\nnetworks = [\"127.0.0.1\"]\n");
    let ours = place.start(&networks);
    until_serial(ours.dns, ZONE, 1);
    let stream = TcpStream::connect(ours.dns).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write_message(&stream, &Question::new(ZONE, AXFR).octets(9)).unwrap();
    let mut message = Message::read(&read_message(&stream).unwrap()).unwrap();
    // A small zone is read sooner; the write deadline of the server is five seconds.
    place.write_zone(ZONE, &zone(2, &["192.0.2.2"]));
    until_serial(ours.dns, ZONE, 2);
    let (mut soas, mut texts) = (0, BTreeSet::new());
    while soas < 2 {
        for record in &message.sections[0] {
            soas += usize::from(record.rtype == SOA);
            if record.rtype == 16 && record.owner.starts_with(b"\x05host") {
                texts.insert(record.data.clone());
            }
        }
        if soas < 2 {
            message = Message::read(&read_message(&stream).unwrap()).unwrap();
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

/// §2, §3: what other servers get is the zone record for record; and what they give is served like that.
#[test]
fn zones_come_and_go_record_for_record() {
    for kind in Kind::ALL {
        let place = Place::new(Level::First);
        place.write_zone(ZONE, &zone(1, &["192.0.2.1", "192.0.2.2"]));
        let ours = place.start(&provided());
        let Some(theirs) = Partner::start(kind, Role::Secondary, &[(ZONE, "")], ours.dns) else {
            continue;
        };
        until_serial(theirs.dns, ZONE, 1);
        assert_eq!(
            records(theirs.dns, ZONE),
            records(ours.dns, ZONE),
            "{kind:?}"
        );
    }
    for (kind, level) in Kind::ALL
        .into_iter()
        .zip([Level::First, Level::Second, Level::First])
    {
        let place = Place::new(level);
        let text = zone(7, &["192.0.2.1", "192.0.2.2"]);
        let Some(theirs) = Partner::start(kind, Role::Primary, &[(ZONE, &text)], place.dns) else {
            continue;
        };
        let secondary = format!(
            "{}[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"{}\", key = {KEY:?} }}]\n",
            provided(),
            theirs.dns
        );
        until_serial(theirs.dns, ZONE, 7);
        let ours = place.start(&secondary);
        until_serial(ours.dns, ZONE, 7);
        assert_eq!(
            records(ours.dns, ZONE),
            records(theirs.dns, ZONE),
            "{kind:?}"
        );
    }
}

/// §3: what leaves are the zone's own records. Tokens and the addresses behind them are made for one client and stay here,
/// although this very client gets them when it asks.
#[test]
fn what_is_made_for_one_client_never_leaves() {
    let rules = Rules {
        networks: vec![(HERE.0.parse().unwrap(), HERE.1)],
        ecs: (24, 56),
    };
    let zones = format!(
        "[[transfer.provide]]\nzones = [{:?}, {TOKENS:?}]\nnetworks = [\"127.0.0.1\"]\n",
        routed::ZONE
    );
    let routed = Routed::configured(&rules.map(), &zones);
    let [first, second] = &routed.site.servers;
    let tokens = until("tokens for this client", || {
        let answer = dig(first.dns, &[OWNER, "SRV"]);
        let targets: Vec<String> = answer
            .data("SRV")
            .iter()
            .map(|srv| (*srv).to_owned())
            .collect();
        targets
            .iter()
            .any(|srv| srv.ends_with(TOKENS))
            .then_some(targets)
    });
    let token = tokens[0].rsplit(' ').next().unwrap();
    assert_eq!(dig(second.dns, &[token, "A"]).data("A").len(), 1);

    let text = dig_transfer(first.dns, routed::ZONE, "AXFR", None);
    let services = text.lines().filter(|line| line.contains("\tSRV\t"));
    let services: Vec<&str> = services
        .filter_map(|line| line.rsplit([' ', '\t']).next())
        .collect();
    assert_eq!(services, ["origin.stream.test."; 3], "{text}");
    assert!(!text.contains(token.split('.').next().unwrap()), "{text}");
    let text = dig_transfer(second.dns, TOKENS, "AXFR", None);
    let addresses = text.lines().filter(|line| line.contains("\tA\t"));
    assert_eq!(addresses.count(), 1, "the name server's alone: {text}");
}
