//! RFC 1035, implementation and specification: the types, the header, sizes and both transports.

use conformance::case::{Transport, check, check_over, look_over};

#[test]
fn every_type_comes_as_it_was_written() {
    let cases = [
        ("3.3.5", "ptr.rfc1035.test", "PTR", "a.rfc1035.test."),
        (
            "3.3.2",
            "hinfo.rfc1035.test",
            "HINFO",
            "\"CPU\" \"OS with blanks\"",
        ),
        (
            "3.3.14",
            "txt.rfc1035.test",
            "TXT",
            "\"one\" \"two words\" \"\"",
        ),
    ];
    for (section, name, rtype, data) in cases {
        check(
            section,
            &format!("{name} {rtype}"),
            &format!("NOERROR aa\nanswer {name}. 3600 {rtype} {data}"),
        );
    }
    check(
        "3.3.9",
        "mx.rfc1035.test MX",
        "NOERROR aa
         answer mx.rfc1035.test. 3600 MX 10 a.rfc1035.test.
         additional a.rfc1035.test. 3600 A 192.0.2.2",
    );
    check(
        "3.2.1",
        "ttl.rfc1035.test A",
        "NOERROR aa
         answer ttl.rfc1035.test. 0 A 192.0.2.3",
    );
}

#[test]
fn the_longest_label_and_the_longest_name_are_found() {
    let label = "a".repeat(63);
    check(
        "2.3.4",
        &format!("{label}.rfc1035.test TXT"),
        &format!("NOERROR aa\nanswer {label}.rfc1035.test. 3600 TXT \"63\""),
    );
    let labels = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(48),
    ];
    let name = format!("{}.rfc1035.test", labels.join("."));
    check(
        "2.3.4",
        &format!("{name} TXT"),
        &format!("NOERROR aa\nanswer {name}. 3600 TXT \"255\""),
    );
}

#[test]
fn other_kinds_of_query_are_not_implemented() {
    for opcode in ["1", "2", "3", "6", "7", "8", "15"] {
        check(
            "4.1.1",
            &format!("a.rfc1035.test A +opcode={opcode}"),
            "NOTIMP",
        );
    }
}

#[test]
fn other_classes_are_not_served() {
    for class in ["CH", "HS", "CLASS17"] {
        check("3.2.4", &format!("a.rfc1035.test A -c {class}"), "REFUSED");
    }
}

#[test]
fn what_does_not_fit_into_512_octets_is_cut_and_whole_over_tcp() {
    let question = "medium.rfc1035.test TXT +noedns";
    check_over(&[Transport::Udp], "4.2.1", question, "NOERROR aa tc");
    look_over(&[Transport::Tcp], "4.2.2", question, |answer| {
        assert_eq!(
            (answer.status.as_str(), answer.has("tc")),
            ("NOERROR", false)
        );
        assert_eq!(answer.data("TXT").len(), 6, "{}", answer.text);
    });
}

#[test]
fn without_a_question_there_is_no_answer() {
    check("4.1.2", ". A +header-only +noedns", "FORMERR");
}
