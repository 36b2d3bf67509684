//! RFC 1034 §4.3.5, how a zone is kept: what a secondary does while no primary answers, and after a restart.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use conformance::peer::Kind;
use signpost_tests::port;

use crate::{
    partner::{Partner, Role},
    scene::{KEY, Level, Ours, Place, metric, rcode, serial, timed, until, until_serial},
};

const ZONE: &str = "a.test.";
const SERVFAIL: u16 = 2;
/// REFRESH, RETRY and EXPIRE in seconds; less than this no server believes.
const HASTY: (u32, u32, u32) = (2, 2, 5);

fn secondary(place: &Place, primaries: &[std::net::SocketAddr]) -> Ours {
    let primaries: Vec<String> = primaries
        .iter()
        .map(|address| format!("{{ address = \"{address}\", key = {KEY:?} }}"))
        .collect();
    place.start(&format!(
        "[[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{}]\n",
        primaries.join(", ")
    ))
}

/// A zone that has not come yet fails and is not refused, as it is ours to serve; one whose primaries are gone is served
/// until EXPIRE, fails then, and comes back with the primary.
#[test]
fn a_zone_expires_with_its_primary_and_comes_back_with_it() {
    for level in [Level::First, Level::Second] {
        let (place, primary) = (Place::new(level), port::free().unwrap());
        let ours = secondary(&place, &[primary]);
        assert_eq!(rcode(ours.dns, ZONE), Some(SERVFAIL));
        let text = timed(1, HASTY, &["192.0.2.1"]);
        let zones = [(ZONE, &*text)];
        let start = || Partner::start_at(Kind::Knot, Role::Primary, &zones, place.dns, primary);
        let Some(theirs) = start() else {
            return;
        };
        until_serial(ours.dns, ZONE, 1);
        drop(theirs);
        until("the zone to expire", || {
            (rcode(ours.dns, ZONE)? == SERVFAIL).then_some(())
        });
        assert!(
            metric(
                &ours,
                "signpost_secondary_expires_seconds{zone=\"a.test.\"}"
            ) <= 0.0
        );
        assert!(
            metric(
                &ours,
                "signpost_transfers_in_total{zone=\"a.test.\",result=\"failed\"}"
            ) >= 1.0
        );
        let _theirs = start();
        until_serial(ours.dns, ZONE, 1);
    }
}

/// One primary that does not answer is no reason to wait for RETRY.
#[test]
fn the_next_primary_is_asked_when_one_is_silent() {
    let place = Place::new(Level::First);
    let text = timed(1, HASTY, &["192.0.2.1"]);
    let Some(theirs) = Partner::start(Kind::Nsd, Role::Primary, &[(ZONE, &text)], place.dns) else {
        return;
    };
    until_serial(theirs.dns, ZONE, 1);
    let ours = secondary(&place, &[port::free().unwrap(), theirs.dns]);
    until_serial(ours.dns, ZONE, 1);
}

/// What was transferred is there again after a restart, at once and without any primary, until it expires.
#[test]
fn a_restarted_secondary_answers_from_its_disk() {
    for level in [Level::First, Level::Second] {
        let place = Place::new(level);
        let text = timed(5, (3600, 600, 86_400), &["192.0.2.1"]);
        let zones = [(ZONE, &*text)];
        let Some(theirs) = Partner::start(Kind::Knot, Role::Primary, &zones, place.dns) else {
            return;
        };
        until_serial(theirs.dns, ZONE, 5);
        let gone = theirs.dns;
        let ours = secondary(&place, &[gone]);
        until_serial(ours.dns, ZONE, 5);
        drop((theirs, ours));
        let ours = secondary(&place, &[gone]);
        assert_eq!(serial(ours.dns, ZONE), Some(5));
        drop(ours);
        // As if the last word of a primary were older than EXPIRE.
        let kept = fs::File::options()
            .write(true)
            .open(place.path("kept/a.test.zone"))
            .unwrap();
        kept.set_modified(SystemTime::now() - Duration::from_secs(86_401))
            .unwrap();
        let ours = secondary(&place, &[gone]);
        assert_eq!(rcode(ours.dns, ZONE), Some(SERVFAIL));
    }
}
