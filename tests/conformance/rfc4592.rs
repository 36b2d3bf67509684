//! RFC 4592, wildcards: its own example zone and what it says about it (§2.2.1), and the types of §4.

use conformance::case::check;

const SOA: &str =
    "authority rfc4592.test. 60 SOA ns.example.com. hostmaster.rfc4592.test. 1 3600 900 1209600 60";

fn answered(section: &str, question: &str, lines: &str) {
    check(section, question, &format!("NOERROR aa\n{lines}"));
}

fn no_data(section: &str, question: &str) {
    check(section, question, &format!("NOERROR aa\n{SOA}"));
}

fn no_name(section: &str, question: &str) {
    check(section, question, &format!("NXDOMAIN aa\n{SOA}"));
}

#[test]
fn the_examples_that_are_synthesized() {
    answered(
        "2.2.1",
        "host3.rfc4592.test MX",
        "answer host3.rfc4592.test. 3600 MX 10 host1.rfc4592.test.
         additional host1.rfc4592.test. 3600 A 192.0.2.1",
    );
    no_data("2.2.1", "host3.rfc4592.test A");
    answered(
        "2.2.1",
        "foo.bar.rfc4592.test TXT",
        "answer foo.bar.rfc4592.test. 3600 TXT \"this is a wildcard\"",
    );
}

#[test]
fn the_examples_that_are_not() {
    no_data("2.2.1", "host1.rfc4592.test MX");
    no_data("2.2.1", "sub.*.rfc4592.test MX");
    no_name("2.2.1", "_telnet._tcp.host1.rfc4592.test SRV");
    no_name("2.2.1", "ghost.*.rfc4592.test MX");
    check(
        "2.2.1",
        "host.subdel.rfc4592.test A",
        "NOERROR
         authority subdel.rfc4592.test. 3600 NS ns.example.com.
         authority subdel.rfc4592.test. 3600 NS ns.example.net.",
    );
}

#[test]
fn names_without_records_block_wildcards() {
    no_data("2.2.2", "_tcp.host1.rfc4592.test TXT");
    no_data("2.2.2", "host2.rfc4592.test TXT");
    no_name("2.2.3", "x.host2.rfc4592.test TXT");
}

#[test]
fn a_wildcard_may_be_asked_for_by_its_own_name() {
    answered(
        "2.3",
        "*.rfc4592.test TXT",
        "answer *.rfc4592.test. 3600 TXT \"this is a wildcard\"",
    );
    answered(
        "2.3",
        "sub.*.rfc4592.test TXT",
        "answer sub.*.rfc4592.test. 3600 TXT \"this is not a wildcard\"",
    );
    // The asterisk stands for one label or more, but not in the middle of what is asked.
    no_name("2.3", "*.*.rfc4592.test TXT");
    answered(
        "2.1.1",
        "\\042x.rfc4592.test TXT",
        "answer *x.rfc4592.test. 3600 TXT \"this is a wildcard\"",
    );
}

#[test]
fn the_closest_encloser_decides() {
    answered(
        "3.3.1",
        "x.deep.rfc4592.test TXT",
        "answer x.deep.rfc4592.test. 3600 TXT \"shallow\"",
    );
    answered(
        "3.3.1",
        "y.x.deep.rfc4592.test TXT",
        "answer y.x.deep.rfc4592.test. 3600 TXT \"shallow\"",
    );
    answered(
        "3.3.1",
        "x.b.a.deep.rfc4592.test TXT",
        "answer x.b.a.deep.rfc4592.test. 3600 TXT \"deep\"",
    );
    no_name("3.3.1", "x.a.deep.rfc4592.test TXT");
    no_data("3.3.1", "a.deep.rfc4592.test TXT");
}

#[test]
fn an_alias_may_be_a_wildcard() {
    answered(
        "4.4",
        "x.alias.rfc4592.test A",
        "answer x.alias.rfc4592.test. 3600 CNAME host1.rfc4592.test.
         answer host1.rfc4592.test. 3600 A 192.0.2.1",
    );
}

#[test]
fn srv_records_may_be_a_wildcard() {
    answered(
        "4.5",
        "_rtsp._tcp.srv.rfc4592.test SRV",
        "answer _rtsp._tcp.srv.rfc4592.test. 3600 SRV 0 0 8554 host1.rfc4592.test.
         additional host1.rfc4592.test. 3600 A 192.0.2.1",
    );
}

#[test]
fn a_wildcard_without_records_gives_no_data() {
    no_data("4.9", "y.empty.rfc4592.test TXT");
}
