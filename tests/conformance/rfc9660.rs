//! RFC 9660, zone version: the serial of the zone that answered, for who asks.

use conformance::case::{check, look};

/// Labels of the zone, the type of its version, and the serial.
fn version(labels: u8, serial: u32) -> String {
    let octets = [&[labels, 0][..], &serial.to_be_bytes()].concat();
    let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("OPT=19: {}", octets.join(" "))
}

fn check_version(section: &str, question: &str, expected: Option<String>) {
    look(section, &format!("{question} +ednsopt=19"), |answer| {
        let found = answer
            .options
            .iter()
            .find(|option| option.starts_with("OPT=19"));
        // dig shows the octets once more as text behind them.
        let found = found.map(|option| option.split(" (").next().unwrap_or_default().to_owned());
        assert_eq!(found, expected, "{}", answer.text);
    });
}

#[test]
fn the_serial_of_the_zone_is_told_to_who_asks() {
    check_version("3.2", "www.rfc1034.test A", Some(version(2, 7)));
    check_version("3.2", "www.in.rfc1034.test TXT", Some(version(3, 3)));
    check_version("3.2", "missing.rfc1034.test A", Some(version(2, 7)));
    check_version("3.2", "www.rfc1034.test AAAA", Some(version(2, 7)));
}

#[test]
fn outside_of_all_zones_there_is_none() {
    check_version("3.2", "www.elsewhere.example A", None);
}

#[test]
fn who_does_not_ask_is_not_told() {
    check(
        "3.1",
        "www.rfc1034.test TXT",
        "NOERROR aa
         answer www.rfc1034.test. 300 TXT \"a host\"",
    );
}
