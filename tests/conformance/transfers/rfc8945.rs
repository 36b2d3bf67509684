//! RFC 8945, transaction signatures: who lacks the secret gets no zone, and is told what is wrong.

use std::net::SocketAddr;

use conformance::peer::Kind;

use crate::{
    partner::{Partner, Role},
    scene::{
        KEY, Level, Place, SECRET, dig_transfer, metric, rcode, records, until, until_serial,
        with_key, zone,
    },
};

const ZONE: &str = "a.test.";
/// 32 octets, and not those of the shared secret.
const OTHER_SECRET: &str = "b3RoZXIgc2VjcmV0IG9mIDMyIG9jdGV0cyBpbiBpdCE=";

fn start(place: &Place) -> crate::scene::Ours {
    place.write_zone(ZONE, &zone(1, &["192.0.2.1"]));
    let ours = place.start(&format!(
        "[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\n"
    ));
    until_serial(ours.dns, ZONE, 1);
    ours
}

fn said(server: SocketAddr, key: &str) -> String {
    dig_transfer(server, ZONE, "AXFR", Some(key))
}

/// §5.2.2: the signature is wrong; §5.2.1: the key is not known, by this name or with this algorithm.
#[test]
fn a_wrong_signature_or_key_is_told() {
    let place = Place::new(Level::First);
    let ours = start(&place);
    let check = |key: &str, expected: &str| {
        let said = said(ours.dns, key);
        assert!(said.contains(expected), "{key}: {said}");
        assert!(!said.contains("192.0.2.1"), "{said}");
    };
    check(&format!("hmac-sha256:{KEY}:{OTHER_SECRET}"), "BADSIG");
    check(&format!("hmac-sha256:unknown.key.:{SECRET}"), "BADKEY");
    check(&format!("hmac-sha512:{KEY}:{SECRET}"), "BADKEY");
    assert!(said(ours.dns, &with_key()).contains("192.0.2.1"));
    let unsigned = dig_transfer(ours.dns, ZONE, "AXFR", None);
    assert!(unsigned.contains("Transfer failed"), "{unsigned}");
}

/// §5.2.3: a time of signature too far from ours is told, with our time.
#[test]
fn a_wrong_time_is_told() {
    use domain::{
        base::{Message, MessageBuilder, Name, Rtype, iana::TsigRcode},
        rdata::tsig::Time48,
        tsig::{Algorithm, ClientTransaction, Key, KeyName},
    };
    let place = Place::new(Level::Second);
    let ours = start(&place);
    let key = {
        let name: Name<Vec<u8>> = KEY.parse().unwrap();
        let name = KeyName::from_octets(name.as_slice().try_into().unwrap()).unwrap();
        let secret = b"secret of 32 octets for the test";
        Key::new(Algorithm::Sha256, secret, name, None, None).unwrap()
    };
    let signed_at = |seconds: u64| {
        let mut query = MessageBuilder::new_vec().question();
        query
            .push((ZONE.parse::<Name<Vec<u8>>>().unwrap(), Rtype::AXFR))
            .unwrap();
        let mut query = query.additional();
        let time = Time48::from_u64(seconds);
        ClientTransaction::request_with_fudge(&key, &mut query, time, 300).unwrap();
        let reply = conformance::exchange::Client::new(ours.dns)
            .tcp(&query.finish())
            .unwrap();
        let reply = Message::from_octets(reply).unwrap();
        let records = reply.additional().unwrap();
        let mut signatures = records.limit_to::<domain::rdata::tsig::Tsig<_, _>>();
        let signature = signatures.next().unwrap().unwrap();
        (reply.header().rcode().to_int(), signature.data().error())
    };
    let now = Time48::now().into();
    assert_eq!(signed_at(now), (0, TsigRcode::NOERROR));
    for wrong in [now - 1_000, now + 1_000] {
        assert_eq!(signed_at(wrong), (9, TsigRcode::BADTIME));
    }
}

/// §5.4: a secondary takes nothing from a primary that does not share the secret, and goes on when it does.
#[test]
fn a_secondary_takes_nothing_that_is_not_signed_as_it_should_be() {
    let place = Place::new(Level::First);
    let text = zone(1, &["192.0.2.1"]);
    let Some(theirs) = Partner::start(Kind::Knot, Role::Primary, &[(ZONE, &text)], place.dns)
    else {
        return;
    };
    until_serial(theirs.dns, ZONE, 1);
    place.write("secret", OTHER_SECRET);
    let ours = place.start(&format!(
        "[[transfer.provide]]\nzones = [{ZONE:?}]\nkey = {KEY:?}\n\
         [[transfer.secondary]]\nzone = {ZONE:?}\nprimaries = [{{ address = \"{}\", key = {KEY:?} }}]\n",
        theirs.dns
    ));
    until("a failure", || {
        let failed = "signpost_transfers_in_total{zone=\"a.test.\",result=\"failed\"}";
        (metric(&ours, failed) >= 1.0).then_some(())
    });
    assert_eq!(rcode(ours.dns, ZONE), Some(2), "SERVFAIL");
    // The file is followed.
    place.write("secret", SECRET);
    until_serial(ours.dns, ZONE, 1);
    assert_eq!(records(ours.dns, ZONE), records(theirs.dns, ZONE));
}
