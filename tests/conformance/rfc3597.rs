//! RFC 3597, unknown types: kept, compared and sent as octets.

use conformance::case::check;

const SOA: &str = "authority rfc3597.test. 60 SOA ns1.rfc3597.test. hostmaster.rfc3597.test. 1 3600 900 1209600 60";

#[test]
fn data_of_an_unknown_type_is_sent_as_it_is() {
    check(
        "3",
        "a.rfc3597.test TYPE731",
        "NOERROR aa
         answer a.rfc3597.test. 300 TYPE731 \\# 6 ABCDEF012345",
    );
    check(
        "5",
        "empty.rfc3597.test TYPE62347",
        "NOERROR aa
         answer empty.rfc3597.test. 300 TYPE62347 \\# 0",
    );
    // A name in it is not one: nothing is compressed, nothing is looked up for it.
    check(
        "4",
        "name.rfc3597.test TYPE65280",
        "NOERROR aa
         answer name.rfc3597.test. 300 TYPE65280 \\# 14 0772666333353937047465737400",
    );
}

#[test]
fn a_known_type_may_be_written_as_an_unknown_one() {
    check(
        "5",
        "known.rfc3597.test A",
        "NOERROR aa
         answer known.rfc3597.test. 300 A 192.0.2.32",
    );
}

#[test]
fn a_type_that_is_not_there_is_no_data_whatever_its_number() {
    for rtype in ["TYPE731", "TYPE62347", "TYPE1234", "TYPE65534"] {
        check(
            "3",
            &format!("ns1.rfc3597.test {rtype}"),
            &format!("NOERROR aa\n{SOA}"),
        );
    }
}
