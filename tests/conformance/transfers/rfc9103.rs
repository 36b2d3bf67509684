//! RFC 9103, transfers over TLS: ours gives a zone, and takes one from who proves to be the primary.

use std::fs;

use signpost_tests::port;

use crate::scene::{KEY, Level, Place, metric, rcode, records, serial, until, until_serial, zone};

const ZONE: &str = "a.test.";
const NAME: &str = "primary.test";

/// §7.1, §9.3.1: everything, the question for the serial too, goes over TLS, to a primary that has the name it should have.
#[test]
fn a_zone_is_taken_over_tls_from_who_proves_to_be_the_primary() {
    let (primary, secondary) = (Place::new(Level::Second), Place::new(Level::First));
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(primary.path("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(primary.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    primary.write_zone(ZONE, &zone(1, &["192.0.2.1"]));
    let (tls, certificate) = (port::free().unwrap(), primary.path("certificate.pem"));
    let provided = format!("[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\n");
    let _theirs = primary.start(&format!(
        "{provided}[tls]\nlisten_tls = [\"{tls}\"]\ncertificate = {certificate:?}\nkey = {:?}\n",
        primary.path("key.pem")
    ));
    until_serial(primary.dns, ZONE, 1);
    let follow = |name: &str| {
        secondary.start(&format!(
            "{provided}[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"{tls}\", key = {KEY:?}, \
             tls_name = {name:?}, tls_authorities = {certificate:?} }}]\nnotify_from = [\"127.0.0.1\"]\n"
        ))
    };
    let ours = follow("somebody.else");
    until("a failure", || {
        let failed = "signpost_transfers_in_total{zone=\"a.test.\",result=\"failed\"}";
        (metric(&ours, failed) >= 1.0).then_some(())
    });
    assert_eq!(rcode(ours.dns, ZONE), Some(2), "SERVFAIL");
    drop(ours);
    let ours = follow(NAME);
    until_serial(ours.dns, ZONE, 1);
    assert_eq!(records(ours.dns, ZONE), records(primary.dns, ZONE));
    // A restart, and a newer version meanwhile: the serial is asked for, then the differences.
    drop(ours);
    primary.write_zone(ZONE, &zone(2, &["192.0.2.2"]));
    until_serial(primary.dns, ZONE, 2);
    let ours = follow(NAME);
    assert!(serial(ours.dns, ZONE) >= Some(1));
    until_serial(ours.dns, ZONE, 2);
    let differences = "signpost_transfers_in_total{zone=\"a.test.\",result=\"differences\"}";
    assert_eq!(metric(&ours, differences), 1.0);
}
