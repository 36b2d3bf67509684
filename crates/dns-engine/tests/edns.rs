//! Headers, EDNS (RFC 6891) and client subnets (RFC 7871).

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Query, ask_wire, example, example_with, meta};
use dns_engine::{
    Client, DropReason, Outcome, Question, Scratch, Tailor, Tailored, Transport, Verdict, respond,
};

#[test]
fn answers_with_opt_only_to_queries_with_opt() {
    let plain = Query::new("mail.example", "A").ask(&example());
    assert_eq!(plain.opt, None);
    for qname in ["mail.example", "nothing.example", "sub.example"] {
        let answer = Query::new(qname, "A").edns(4096).ask(&example());
        assert_eq!(answer.opt, Some((1232, 0, Vec::new())), "{qname}");
    }
    let refused = Query::new("other.test", "A").edns(4096).ask(&example());
    assert_eq!(refused.extended_error(), Some((20, String::new())));
}

#[test]
fn echoes_the_do_flag_and_clears_the_others() {
    let answer = Query::new("mail.example", "A")
        .edns_flags(0xFFFF)
        .ask(&example());
    assert_eq!(answer.opt, Some((1232, 0x8000, Vec::new())));
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn unknown_versions_are_badvers_with_our_version() {
    let answer = Query::new("mail.example", "A")
        .edns_flags(0x0001_8000)
        .ask(&example());
    assert_eq!((answer.rcode, answer.answers.len()), (16, 0));
    assert_eq!(answer.opt, Some((1232, 0x0100_8000, Vec::new())));
}

#[test]
fn unknown_options_are_ignored_and_cut_ones_are_malformed() {
    let query = Query::new("mail.example", "A")
        .option(65_001, b"whatever")
        .option(10, &[1; 8]);
    let answer = query.ask(&example());
    assert_eq!((answer.rcode, answer.answers.len()), (0, 1));
    assert_eq!(answer.opt, Some((1232, 0, Vec::new())));
    let mut query = query;
    query.edns.as_mut().unwrap().2.pop();
    let answer = query.ask(&example());
    assert_eq!((answer.rcode, answer.answers.len()), (1, 0));
    assert!(answer.opt.is_some());
}

#[test]
fn the_server_identifier_is_off_until_set() {
    let query = Query::new("mail.example", "A").option(3, b"");
    assert_eq!(query.ask(&example()).opt, Some((1232, 0, Vec::new())));
    let mut named = example();
    named.identity.nsid = Some(b"ns7".as_slice().into());
    assert_eq!(
        query.ask(&named).opt,
        Some((1232, 0, b"\0\x03\0\x03ns7".to_vec()))
    );
    let without = Query::new("mail.example", "A").edns(1232).ask(&named);
    assert_eq!(without.opt, Some((1232, 0, Vec::new())));
}

#[test]
fn static_answers_hold_for_everyone() {
    let query = Query::new("mail.example", "A").subnet(&[0, 1, 24, 0, 198, 51, 100]);
    assert_eq!(
        query.ask(&example()).subnet(),
        Some(&[0, 1, 24, 0, 198, 51, 100][..])
    );
    let refused = Query::new("other.test", "A").subnet(&[0, 1, 24, 0, 198, 51, 100]);
    assert_eq!(
        refused.ask(&example()).subnet(),
        Some(&[0, 1, 24, 0, 198, 51, 100][..])
    );
}

/// Sets a scope whatever it decides.
struct Scoped(u8, Verdict);

impl Tailor for Scoped {
    fn tailor(&self, _: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        assert!(client.subnet.is_none_or(|subnet| subnet.source_len > 0));
        answer.set_scope(self.0);
        self.1
    }
}

#[test]
fn the_scope_of_the_tailor_goes_with_every_verdict() {
    let verdicts = [
        Verdict::Zone,
        Verdict::NoData,
        Verdict::NxDomain,
        Verdict::Refused,
    ];
    for verdict in verdicts {
        let snapshot = example_with(Scoped(20, verdict));
        let ask = |data: &[u8]| Query::new("mail.example", "A").subnet(data).ask(&snapshot);
        assert_eq!(
            ask(&[0, 1, 24, 0, 9, 9, 9]).subnet(),
            Some(&[0, 1, 24, 20, 9, 9, 9][..])
        );
        assert_eq!(
            ask(&[0, 2, 8, 0, 32]).subnet(),
            Some(&[0, 2, 8, 20, 32][..])
        );
        // Who discloses nothing gets an answer for everyone.
        assert_eq!(ask(&[0, 1, 0, 0]).subnet(), Some(&[0, 1, 0, 0][..]));
        assert_eq!(ask(&[0, 2, 0, 0]).subnet(), Some(&[0, 2, 0, 0][..]));
    }
    // Never longer than the family's addresses.
    let snapshot = example_with(Scoped(56, Verdict::Zone));
    let answer = Query::new("mail.example", "A")
        .subnet(&[0, 1, 24, 0, 9, 9, 9])
        .ask(&snapshot);
    assert_eq!(answer.subnet(), Some(&[0, 1, 24, 32, 9, 9, 9][..]));
}

#[test]
fn a_subnet_of_no_family_is_echoed() {
    // By hand: hickory's decoder does not know family 0, which some resolvers send for "nobody".
    let query = Query::new("mail.example", "A").subnet(&[0, 0, 0, 0]).wire();
    let (mut scratch, mut out) = (Scratch::new(), [0; 512]);
    let outcome = respond(
        &example(),
        &query,
        &meta(Transport::Udp),
        &mut scratch,
        &mut out,
    );
    let Outcome::Send(length) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((out[3], out[7]), (0, 1));
    assert!(out[..length].ends_with(&[0, 8, 0, 8, 0, 4, 0, 0, 0, 0]));
}

#[test]
fn malformed_subnets_are_formerr_with_question_and_opt() {
    for data in [
        &[0, 1, 24, 0, 9, 9][..],
        &[0, 1, 24, 0, 9, 9, 9, 0],
        &[0, 1, 23, 0, 9, 9, 9],
        &[0, 1, 24, 8, 9, 9, 9],
        &[0, 1, 40, 0, 9, 9, 9, 9, 9],
        &[0, 5, 8, 0, 9],
        &[0, 0, 8, 0, 9],
        &[],
    ] {
        let answer = Query::new("mail.example", "A").subnet(data).ask(&example());
        assert_eq!((answer.rcode, answer.answers.len()), (1, 0), "{data:?}");
        assert!(answer.opt.is_some());
        assert_eq!(answer.octets[5], 1);
    }
    let twice = Query::new("mail.example", "A")
        .subnet(&[0, 1, 0, 0])
        .subnet(&[0, 1, 0, 0]);
    assert_eq!(twice.ask(&example()).rcode, 1);
}

#[test]
fn drops_answers_and_scraps() {
    let mut scratch = Scratch::new();
    let mut out = [0; 1232];
    let mut check = |wire: &[u8], expected| {
        let outcome = respond(
            &example(),
            wire,
            &meta(Transport::Udp),
            &mut scratch,
            &mut out,
        );
        assert!(matches!(outcome, Outcome::Drop(reason) if reason == expected));
    };
    let mut wire = Query::new("mail.example", "A").wire();
    for length in 0..12 {
        check(&wire[..length], DropReason::TooShort);
    }
    wire[2] |= 0x80;
    check(&wire, DropReason::IsResponse);
    wire[2] = 0xF8;
    check(&wire[..12], DropReason::IsResponse);
}

#[test]
fn our_own_socket_and_services_that_answer_everything_get_no_answer() {
    let wire = Query::new("mail.example", "A").wire();
    let check = |source: &str, transport, expected: bool| {
        let mut meta = meta(transport);
        meta.source = source.parse().unwrap();
        let (mut scratch, mut out) = (Scratch::new(), [0; 1232]);
        let outcome = respond(&example(), &wire, &meta, &mut scratch, &mut out);
        let dropped = matches!(outcome, Outcome::Drop(DropReason::NoClient));
        assert_eq!(dropped, expected, "{source}");
    };
    for port in [0, 7, 13, 17, 19, 37] {
        check(&format!("192.0.2.1:{port}"), Transport::Udp, true);
        check(&format!("[2001:db8::1]:{port}"), Transport::Udp, true);
        check(&format!("192.0.2.1:{port}"), Transport::Tcp, false);
    }
    // `meta` has 192.0.2.53:53 as the address that was asked.
    check("192.0.2.53:53", Transport::Udp, true);
    check("192.0.2.53:54", Transport::Udp, false);
    check("192.0.2.54:53", Transport::Udp, false);
    check("192.0.2.53:53", Transport::Tcp, false);
}

#[test]
fn other_operations_are_not_implemented() {
    for opcode in 1..16 {
        let mut query = Query::new("mail.example", "A").edns(1232);
        query.head[2] = opcode << 3 | 1;
        let answer = query.ask(&example());
        assert_eq!((answer.rcode, answer.octets[2] >> 3 & 0xF), (4, opcode));
        assert!(answer.opt.is_some() && answer.octets[5] == 1);
        // Their messages may look different; a bare header is enough for an answer.
        let bare = [0, 7, opcode << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let answer = ask_wire(&example(), &bare, Transport::Udp);
        assert_eq!((answer.rcode, answer.octets.len()), (4, 12));
    }
}

#[test]
fn malformed_messages_are_formerr() {
    let good = Query::new("mail.example", "A").edns(1232).wire();
    let check = |wire: &[u8]| {
        assert_eq!(
            ask_wire(&example(), wire, Transport::Udp).rcode,
            1,
            "{wire:?}"
        );
    };
    for length in 12..good.len() {
        check(&good[..length]);
    }
    let changed = |at: usize, octet: u8| {
        let mut wire = good.clone();
        wire[at] = octet;
        wire
    };
    check(&changed(5, 0)); // no question
    check(&changed(5, 2)); // two
    check(&changed(12, 0xC0)); // a pointer as question
    check(&changed(12, 0x40)); // an unknown label type
    check(&[&good[..], &[0]].concat()); // octets behind the end
    let opt = &good[good.len() - 11..];
    check(&[&changed(11, 2)[..], opt].concat()); // two OPT
    let mut answer = changed(11, 0);
    answer[7] = 1;
    check(&answer); // OPT in the answer section
    let mut named = good[..good.len() - 11].to_vec();
    named.extend(b"\x01x");
    named.extend(opt);
    check(&named); // OPT with a name
}

#[test]
fn several_questions_are_malformed_but_the_opt_record_behind_them_is_read() {
    // RFC 9619 §4; RFC 6891 §7.
    let one = Query::new("mail.example", "A");
    for more in [&b"\x01x\0\0\x01\0\x01"[..], b"\xC0\x0C\0\x1C\0\x01"] {
        let mut wire = one.clone().edns_flags(0x8000).wire();
        wire[5] = 2;
        wire.splice(
            12 + one.question.len()..12 + one.question.len(),
            more.iter().copied(),
        );
        let answer = ask_wire(&example(), &wire, Transport::Udp);
        assert_eq!((answer.rcode, answer.octets[5]), (1, 0));
        assert_eq!(answer.opt, Some((1232, 0x8000, Vec::new())));
    }
}

#[test]
fn other_records_in_a_query_do_no_harm() {
    let mut wire = Query::new("mail.example", "A").wire();
    wire[11] = 1;
    wire.extend(b"\x01x\0\0\x10\0\x01\0\0\0\0\0\x02\x01x");
    assert_eq!(ask_wire(&example(), &wire, Transport::Udp).answers.len(), 1);
}

#[test]
fn too_small_an_output_is_said_and_not_written_over() {
    let mut scratch = Scratch::new();
    let query = Query::new("mail.example", "A").wire();
    let mut out = [0; 100];
    let outcome = respond(
        &example(),
        &query,
        &meta(Transport::Tcp),
        &mut scratch,
        &mut out,
    );
    assert!(matches!(outcome, Outcome::Drop(DropReason::NoRoom)));
}
