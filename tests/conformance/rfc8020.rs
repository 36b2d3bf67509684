//! RFC 8020 and RFC 9156, what NXDOMAIN means: nothing below either. So a name that has something below it
//! exists, also if it has no record itself; resolvers that minimise names rely on it.

use conformance::case::check;

const SOA: &str = "authority rfc8020.test. 60 SOA ns1.rfc8020.test. hostmaster.rfc8020.test. 1 3600 900 1209600 60";

#[test]
fn a_name_above_another_exists() {
    for name in [
        "d",
        "c.d",
        "b.c.d",
        "_tcp.live",
        "_udp.live",
        "glue",
        "wild",
    ] {
        for rtype in ["A", "NS", "TXT", "TYPE65000"] {
            check(
                "3",
                &format!("{name}.rfc8020.test {rtype}"),
                &format!("NOERROR aa\n{SOA}"),
            );
        }
    }
}

#[test]
fn a_name_with_nothing_below_it_does_not() {
    for name in ["x.d", "x.b.c.d", "_sctp.live", "e", "a.b.c.e"] {
        check(
            "2",
            &format!("{name}.rfc8020.test A"),
            &format!("NXDOMAIN aa\n{SOA}"),
        );
    }
}

#[test]
fn a_name_above_a_cut_exists() {
    check("3", "cut.rfc8020.test A", &format!("NOERROR aa\n{SOA}"));
    check(
        "3",
        "deep.cut.rfc8020.test A",
        "NOERROR
         authority deep.cut.rfc8020.test. 300 NS ns.elsewhere.example.",
    );
}
