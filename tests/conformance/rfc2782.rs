//! RFC 2782, SRV records; the zone is the example of its last pages.

use conformance::{
    case::{Transport, check, dig},
    site::servers,
};

#[test]
fn the_addresses_of_targets_come_along() {
    check(
        "Additional section",
        "_foobar._tcp.rfc2782.test SRV",
        "NOERROR aa
         answer _foobar._tcp.rfc2782.test. 300 SRV 0 1 9 old-slow-box.rfc2782.test.
         answer _foobar._tcp.rfc2782.test. 300 SRV 0 3 9 new-fast-box.rfc2782.test.
         answer _foobar._tcp.rfc2782.test. 300 SRV 1 0 9 sysadmins-box.rfc2782.test.
         answer _foobar._tcp.rfc2782.test. 300 SRV 1 0 9 server.elsewhere.example.
         additional old-slow-box.rfc2782.test. 300 A 172.30.79.11
         additional new-fast-box.rfc2782.test. 300 A 172.30.79.13
         additional new-fast-box.rfc2782.test. 300 AAAA 2001:db8::13
         additional sysadmins-box.rfc2782.test. 300 A 172.30.79.12",
    );
}

#[test]
fn a_target_of_the_root_says_that_there_is_no_such_service() {
    check(
        "Target",
        "_other._tcp.rfc2782.test SRV",
        "NOERROR aa
         answer _other._tcp.rfc2782.test. 300 SRV 0 0 0 .",
    );
}

#[test]
fn a_target_is_written_in_full() {
    for server in servers() {
        let arguments = ["_foobar._tcp.rfc2782.test", "SRV"];
        let (_, heard) = dig(server, Transport::Udp, &arguments);
        let target = b"\x0cold-slow-box\x07rfc2782\x04test\0";
        let answer = &heard.replies[0];
        let found = answer.windows(target.len()).any(|octets| octets == target);
        assert!(found, "no name in full in {answer:02x?}");
    }
}
