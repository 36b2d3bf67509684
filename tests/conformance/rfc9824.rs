//! RFC 9824, compact denial of existence: one NSEC record at the name that was asked for says which types it has; a name
//! that does not exist has the type NXNAME (128) alone.

use std::collections::BTreeSet;

use conformance::{
    case::{check, look},
    decode::Message,
    exchange::Client,
    question::{DNSSEC_OK, Question},
    signed::verify,
    site::{servers, signed},
};

const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const SOA: &str =
    "authority signed.test. 60 SOA ns1.signed.test. hostmaster.signed.test. 3 3600 900 1209600 60
                   authority signed.test. 60 RRSIG SOA 13 2 300 signed.test.";

/// A denial with this NSEC record, whose owner has so many labels.
fn denied(section: &str, question: &str, status: &str, owner: &str, types: &str) {
    let labels = owner
        .split_terminator('.')
        .filter(|label| *label != "*")
        .count();
    check(
        section,
        question,
        &format!(
            "{status} aa
             {SOA}
             authority {owner} 60 NSEC \\000.{owner} {types}
             authority {owner} 60 RRSIG NSEC 13 {labels} 60 signed.test."
        ),
    );
}

#[test]
fn a_name_that_does_not_exist_is_noerror_with_nxname() {
    for name in ["nothing", "x.y.z", "x.www", "*.nothing", "x.b.deep"] {
        denied(
            "3.1",
            &format!("{name}.signed.test A +dnssec"),
            "NOERROR",
            &format!("{name}.signed.test."),
            "RRSIG NSEC TYPE128",
        );
    }
}

#[test]
fn a_name_without_the_type_lists_those_it_has() {
    let of = |name: &str, rtype: &str, types: &str| {
        denied(
            "3.2",
            &format!("{name}.signed.test {rtype} +dnssec"),
            "NOERROR",
            &format!("{name}.signed.test."),
            types,
        );
    };
    of("www", "AAAA", "A TXT RRSIG NSEC");
    of("mail", "A", "MX RRSIG NSEC");
    of("old", "TXT", "DNAME RRSIG NSEC");
    of("www", "TYPE65280", "A TXT RRSIG NSEC");
}

#[test]
fn an_empty_non_terminal_exists() {
    for name in ["deep", "b.deep"] {
        denied(
            "3.2",
            &format!("{name}.signed.test A +dnssec"),
            "NOERROR",
            &format!("{name}.signed.test."),
            "RRSIG NSEC",
        );
    }
}

#[test]
fn a_wildcard_without_the_type_is_denied_at_the_name_itself() {
    denied(
        "3.3",
        "x.wild.signed.test A +dnssec",
        "NOERROR",
        "x.wild.signed.test.",
        "TXT RRSIG NSEC",
    );
    denied(
        "3.3",
        "*.wild.signed.test A +dnssec",
        "NOERROR",
        "*.wild.signed.test.",
        "TXT RRSIG NSEC",
    );
}

#[test]
fn an_answer_from_a_wildcard_is_signed_as_the_name_that_was_asked_for() {
    // As if that name existed, which no denial beside it has to tell apart.
    check(
        "3.3",
        "x.y.wild.signed.test TXT +dnssec",
        "NOERROR aa
         answer x.y.wild.signed.test. 300 TXT \"any\"
         answer x.y.wild.signed.test. 300 RRSIG TXT 13 5 300 signed.test.",
    );
    check(
        "3.3",
        "x.aliases.signed.test TXT +dnssec",
        "NOERROR aa
         answer x.aliases.signed.test. 300 CNAME www.signed.test.
         answer x.aliases.signed.test. 300 RRSIG CNAME 13 4 300 signed.test.
         answer www.signed.test. 300 TXT \"a host\"
         answer www.signed.test. 300 RRSIG TXT 13 3 300 signed.test.",
    );
    // A name that is there hides the wildcard, and below it there is nothing.
    denied(
        "3.2",
        "below.wild.signed.test TXT +dnssec",
        "NOERROR",
        "below.wild.signed.test.",
        "A RRSIG NSEC",
    );
    denied(
        "3.1",
        "x.below.wild.signed.test TXT +dnssec",
        "NOERROR",
        "x.below.wild.signed.test.",
        "RRSIG NSEC TYPE128",
    );
}

#[test]
fn an_unsigned_referral_is_proven_at_the_cut() {
    check(
        "3.4",
        "x.plain.signed.test A +dnssec",
        "NOERROR
         authority plain.signed.test. 300 NS ns.plain.signed.test.
         authority plain.signed.test. 60 NSEC \\000.plain.signed.test. NS RRSIG NSEC
         authority plain.signed.test. 60 RRSIG NSEC 13 3 60 signed.test.
         additional ns.plain.signed.test. 300 A 192.0.2.54",
    );
}

#[test]
fn nxname_cannot_be_asked_for() {
    look("3.5", "www.signed.test TYPE128 +dnssec", |answer| {
        assert_eq!(answer.status, "FORMERR", "{}", answer.text);
        assert!(answer.options[0].starts_with("EDE: 30"), "{}", answer.text);
    });
}

/// Response code and OPT flags of an answer to a question with these flags; dig cannot set CO.
fn with_flags(name: &str, rtype: u16, flags: u32) -> BTreeSet<(u16, u16, usize)> {
    let query = Question::new(name, rtype).edns(1232, flags).octets(3);
    let mut seen = BTreeSet::new();
    for server in servers() {
        let mut client = Client::new(server.dns);
        for reply in [client.udp(&query), client.tcp(&query).ok()] {
            let reply = reply.expect("an answer");
            let message = Message::read(&reply).unwrap_or_else(|error| panic!("{error}"));
            let verified = verify(server.dns, signed(), &reply);
            assert!(verified == message.sections[1].len() / 2, "{message:?}");
            let opt = message.opt.expect("EDNS for EDNS");
            seen.insert((message.rcode, opt.flags, message.sections[1].len()));
        }
    }
    seen
}

#[test]
fn co_brings_the_response_code_back() {
    const CO: u32 = 0x4000;
    let (nothing, www) = ("nothing.signed.test.", "www.signed.test.");
    // Two signed records; CO comes back beside DO where it has been heeded.
    let seen = with_flags(nothing, 1, DNSSEC_OK | CO);
    assert_eq!(seen, [(NXDOMAIN, 0xC000, 4)].into());
    let seen = with_flags(nothing, 1, DNSSEC_OK);
    assert_eq!(seen, [(NOERROR, 0x8000, 4)].into());
    // What is no NXDOMAIN stays as it is, and so does what is not signed for whom it is not.
    let seen = with_flags(www, 28, DNSSEC_OK | CO);
    assert_eq!(seen, [(NOERROR, 0xC000, 4)].into());
    let seen = with_flags("b.deep.signed.test.", 1, DNSSEC_OK | CO);
    assert_eq!(seen, [(NOERROR, 0xC000, 4)].into());
    let unsigned = with_flags("missing.rfc6891.test.", 1, DNSSEC_OK | CO);
    assert_eq!(unsigned.first().map(|seen| seen.0), Some(NXDOMAIN));
}

#[test]
fn an_alias_to_nothing_is_denied_at_its_target() {
    check(
        "3.1",
        "dangling.signed.test A +dnssec",
        &format!(
            "NOERROR aa
             answer dangling.signed.test. 300 CNAME nothing.signed.test.
             answer dangling.signed.test. 300 RRSIG CNAME 13 3 300 signed.test.
             {SOA}
             authority nothing.signed.test. 60 NSEC \\000.nothing.signed.test. RRSIG NSEC TYPE128
             authority nothing.signed.test. 60 RRSIG NSEC 13 3 60 signed.test."
        ),
    );
}
