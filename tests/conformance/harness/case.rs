//! One case: what `dig` is to ask and what it has to be told, by both servers and through every transport.

use std::{collections::BTreeSet, fmt::Write, net::SocketAddr};

use signpost_tests::{
    dig::{self, Answer, Record},
    tools,
};

use crate::{
    certificate,
    decode::Message,
    everywhere::same_everywhere,
    signed,
    site::{self, Server, servers},
    tap::{self, Overheard},
};

/// How a question travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams; an answer may be cut.
    Udp,
    /// A stream.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS, by POST.
    Https,
    /// DNS over HTTPS, by GET.
    HttpsGet,
    /// DNS over QUIC.
    Quic,
}

/// The transports over which `dig` asks every case. What it sends over TCP goes over the encrypted ones as well, where
/// the answer has to be the same.
pub const ALL: &[Transport] = &[Transport::Udp, Transport::Tcp];

/// Asks both servers through every transport and compares all that is said.
///
/// The question is what a user would type behind `dig`. What is expected is its status and flags (QR is always
/// wanted), then a line for each record: `answer`, `authority` or `additional`, owner, TTL, type and data; and
/// `option` with the text dig has for an EDNS option. Authority, additional and options may come in any order; an
/// extended error (EDE), which changes nothing, counts only where one is expected. Of RRSIG and DNSKEY records that is left
/// out which keys and times make: an RRSIG is the type that it covers, algorithm, labels, original TTL and signer, a
/// DNSKEY flags, protocol and algorithm. Every signature is verified anyway.
///
/// # Panics
/// When something else is said.
pub fn check(section: &str, question: &str, expected: &str) {
    check_over(ALL, section, question, expected);
}

/// The same through some transports.
///
/// # Panics
/// When something else is said.
pub fn check_over(transports: &[Transport], section: &str, question: &str, expected: &str) {
    check_at(servers(), transports, section, question, expected);
}

/// The same at servers of the test's own.
///
/// # Panics
/// When something else is said.
pub fn check_at(
    servers: &[Server],
    transports: &[Transport],
    section: &str,
    question: &str,
    expected: &str,
) {
    let expected: Vec<String> = expected
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    let wants_error = expected.iter().any(|line| line.starts_with(EXTENDED_ERROR));
    look_at(servers, transports, section, question, |_, answer| {
        let mut said = said(answer);
        said.retain(|line| wants_error || !line.starts_with(EXTENDED_ERROR));
        assert!(
            in_order(&said) == in_order(&expected),
            "wanted\n{}\nbut was told\n{}\n{}",
            expected.join("\n"),
            said.join("\n"),
            answer.text
        );
    });
}

const EXTENDED_ERROR: &str = "option EDE: ";

/// Asks both servers through every transport and lets the caller look at what dig understood.
///
/// # Panics
/// When the answer is no lawful answer to the question.
pub fn look(section: &str, question: &str, at: impl Fn(&Answer)) {
    look_over(ALL, section, question, at);
}

/// The same through some transports.
///
/// # Panics
/// When the answer is no lawful answer to the question.
pub fn look_over(transports: &[Transport], section: &str, question: &str, at: impl Fn(&Answer)) {
    look_at(servers(), transports, section, question, |_, answer| {
        at(answer);
    });
}

/// The same at servers of the test's own, of which the caller is told.
///
/// # Panics
/// When the answer is no lawful answer to the question.
pub fn look_at(
    servers: &[Server],
    transports: &[Transport],
    section: &str,
    question: &str,
    at: impl Fn(&Server, &Answer),
) {
    if !tools::available("dig", "bind9-dnsutils") {
        return;
    }
    let arguments: Vec<&str> = question.split_whitespace().collect();
    for server in servers {
        for transport in transports {
            println!("§{section}: {} over {transport:?}: {question}", server.name);
            let (answer, heard) = dig(server, *transport, &arguments);
            heard.replies.iter().for_each(|reply| {
                lawful(reply);
                signed::verify(server.dns, site::signed(), reply);
            });
            if let (Transport::Tcp, Some(at)) = (transport, server.encrypted) {
                for (query, reply) in heard.queries.iter().zip(&heard.replies) {
                    same_everywhere(at, query, reply);
                }
            }
            if *transport != Transport::Quic {
                // kdig, which asks over QUIC, shows it in another way.
                edns_is_as_asked(&arguments, &answer);
            }
            no_warnings(&answer);
            at(server, &answer);
        }
    }
}

/// Runs dig once, or kdig over QUIC, overhearing what is sent where that is not encrypted.
///
/// # Panics
/// When dig cannot be run, or the server does not listen.
pub fn dig(server: &Server, transport: Transport, arguments: &[&str]) -> (Answer, Overheard) {
    // One question, one answer: what is cut or refused stays so.
    let once = ["+ignore", "+nobadcookie", "+noednsneg"];
    let ask =
        |address: SocketAddr, how: &[&str]| dig::dig(address, &[&once, arguments, how].concat());
    let overheard = "sockets of loopback";
    let at = match transport {
        Transport::Udp => {
            return tap::udp(server.dns, |address| ask(address, &["+notcp"])).expect(overheard);
        }
        Transport::Tcp => {
            return tap::tcp(server.dns, |address| ask(address, &["+tcp"])).expect(overheard);
        }
        _ => server.encrypted.expect("it listens"),
    };
    let authority = format!("+tls-ca={}", certificate::shown().chain.display());
    let name = format!("+tls-hostname={}", certificate::NAME);
    let secure = [&*authority, &*name];
    let answer = match transport {
        Transport::Https => ask(at.https, &[&["+https"], &secure[..]].concat()),
        Transport::HttpsGet => ask(at.https, &[&["+https-get"], &secure[..]].concat()),
        Transport::Quic => {
            // The options of TLS choose TCP, and the last choice counts.
            dig::kdig(at.quic, &[&secure[..], &["+quic"], arguments].concat())
        }
        _ => ask(at.tls, &[&["+tls"], &secure[..]].concat()),
    };
    (answer, Overheard::default())
}

/// Both decoders read the answer, and it is one: QR is set, RA, Z, AD and CD are clear.
pub(crate) fn lawful(reply: &[u8]) {
    let message = Message::read(reply).unwrap_or_else(|error| panic!("{error}\n{reply:02x?}"));
    assert_eq!(message.flags & 0b1000_1111, 0b1000_0000, "{message:?}");
    for section in &message.sections {
        let sets: BTreeSet<_> = section.iter().collect();
        assert_eq!(sets.len(), section.len(), "a record twice: {message:?}");
    }
}

/// dig finds nothing odd, but for a server that does not recurse.
fn no_warnings(answer: &Answer) {
    let mut warnings = answer.warnings.iter();
    let odd = warnings.find(|line| !line.ends_with("recursion requested but not available"));
    assert_eq!(odd, None, "{}", answer.text);
}

/// An answer has OPT if the query had it, and DO if the query had it (RFC 6891 §6.1.1, RFC 3225 §3).
fn edns_is_as_asked(arguments: &[&str], answer: &Answer) {
    let expected = match arguments {
        _ if arguments.contains(&"+noedns") => None,
        _ if arguments.contains(&"+dnssec") => Some("version: 0, flags: do; udp: 1232"),
        _ => Some("version: 0, flags:; udp: 1232"),
    };
    assert_eq!(answer.edns.as_deref(), expected, "{}", answer.text);
}

/// An answer in the words of [`check`].
fn said(answer: &Answer) -> Vec<String> {
    let flags = answer.flags.iter().filter(|flag| *flag != "qr");
    let mut head = answer.status.clone();
    flags.for_each(|flag| write!(head, " {flag}").expect("a string takes all"));
    let sections = [
        ("answer", &answer.answer),
        ("authority", &answer.authority),
        ("additional", &answer.additional),
    ];
    let records = sections.into_iter().flat_map(|(section, records)| {
        let line = move |record: &Record| {
            let Record {
                owner, ttl, rtype, ..
            } = record;
            let data = foreseeable(record);
            format!("{section} {owner} {ttl} {rtype} {data}")
                .trim_end()
                .to_owned()
        };
        records.iter().map(line)
    });
    let options = answer
        .options
        .iter()
        .map(|option| format!("option {option}"));
    std::iter::once(head)
        .chain(records)
        .chain(options)
        .collect()
}

/// A record's data without what keys and times make.
fn foreseeable(record: &Record) -> String {
    let places: &[usize] = match record.rtype.as_str() {
        "RRSIG" => &[0, 1, 2, 3, 7],
        "DNSKEY" | "CDNSKEY" => &[0, 1, 2],
        _ => return record.data.clone(),
    };
    let words: Vec<&str> = record.data.split(' ').collect();
    let words = places.iter().filter_map(|place| words.get(*place).copied());
    words.collect::<Vec<_>>().join(" ")
}

/// The lines whose order matters, and the others.
fn in_order(lines: &[String]) -> (Vec<&String>, BTreeSet<&String>) {
    let any_order = ["authority ", "additional ", "option "];
    let matters = |line: &&String| !any_order.iter().any(|word| line.starts_with(word));
    let others = lines.iter().filter(|line| !matters(line)).collect();
    (lines.iter().filter(matters).collect(), others)
}
