//! RFC 9460, service bindings: SVCB and HTTPS records, and what goes along with them.

use conformance::case::check;

#[test]
fn an_alias_is_answered_with_what_it_stands_for() {
    check(
        "4.1",
        "rfc9460.test HTTPS",
        "NOERROR aa
         answer rfc9460.test. 300 HTTPS 0 svc.rfc9460.test.
         additional svc.rfc9460.test. 300 HTTPS 1 . alpn=\"h2,h3\" port=8443
         additional svc.rfc9460.test. 300 A 192.0.2.2
         additional svc.rfc9460.test. 300 AAAA 2001:db8::2",
    );
}

#[test]
fn addresses_of_targets_come_along() {
    check(
        "4.1",
        "_dns.rfc9460.test SVCB",
        "NOERROR aa
         answer _dns.rfc9460.test. 300 SVCB 1 svc.rfc9460.test. alpn=\"dot\" ipv4hint=192.0.2.2 ipv6hint=2001:db8::2
         answer _dns.rfc9460.test. 300 SVCB 2 svc.elsewhere.example. mandatory=port port=853 key65333=\"ex\"
         additional svc.rfc9460.test. 300 A 192.0.2.2
         additional svc.rfc9460.test. 300 AAAA 2001:db8::2",
    );
}

#[test]
fn a_target_of_the_root_is_the_owner_itself() {
    check(
        "2.5",
        "svc.rfc9460.test HTTPS",
        "NOERROR aa
         answer svc.rfc9460.test. 300 HTTPS 1 . alpn=\"h2,h3\" port=8443",
    );
}

#[test]
fn aliases_of_names_are_followed_as_for_any_type() {
    check(
        "2.4.2",
        "alias.rfc9460.test HTTPS",
        "NOERROR aa
         answer alias.rfc9460.test. 300 CNAME svc.rfc9460.test.
         answer svc.rfc9460.test. 300 HTTPS 1 . alpn=\"h2,h3\" port=8443",
    );
    check(
        "2.4.2",
        "alias.rfc9460.test SVCB",
        "NOERROR aa
         answer alias.rfc9460.test. 300 CNAME svc.rfc9460.test.
         authority rfc9460.test. 60 SOA ns1.rfc9460.test. hostmaster.rfc9460.test. 1 3600 900 1209600 60",
    );
}
