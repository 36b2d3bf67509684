//! RFC 8484, DNS over HTTPS: GET and POST, media types, status codes and freshness, by `curl`; and programs of others that
//! ask over it.

use std::{net::SocketAddr, process::Command};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use conformance::{
    case::{Transport, check_over},
    certificate::{NAME, shown},
    decode::Message,
    question::Question,
    samples::SAMPLES,
    site::servers,
};
use signpost_tests::{dig::kdig, tools};

const MESSAGE: &str = "content-type: application/dns-message";

/// What curl was told.
struct Told {
    /// Status, version of HTTP, media type, Cache-Control, Allow.
    status: String,
    version: String,
    kind: String,
    cache: String,
    allow: String,
    body: Vec<u8>,
}

/// Runs curl; `None`, after saying so, where it is not installed.
fn curl(server: SocketAddr, path: &str, arguments: &[&str], body: Option<&[u8]>) -> Option<Told> {
    if !tools::available("curl", "curl") {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--verbose",
        "--show-error",
        "--max-time",
        "20",
        "--cacert",
    ])
    .arg(&shown().chain);
    let port = server.port();
    curl.args(["--resolve", &format!("{NAME}:{port}:{}", server.ip())]);
    curl.args(["--write-out", WANTED, "--output"]).arg(&got);
    if let Some(body) = body {
        std::fs::write(&sent, body).expect("a file");
        curl.args(["--data-binary", &format!("@{}", sent.display())]);
    }
    curl.args(arguments)
        .arg(format!("https://{NAME}:{port}{path}"));
    let output = curl.output().expect("curl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.split('\n').map(str::to_owned);
    let mut next = || lines.next().expect("as many as were wanted");
    Some(Told {
        status: next(),
        version: next(),
        kind: next(),
        cache: next(),
        allow: next(),
        body: std::fs::read(&got).unwrap_or_default(),
    })
}

const WANTED: &str =
    "%{http_code}\n%{http_version}\n%{content_type}\n%header{cache-control}\n%header{allow}";

fn query(name: &str, rtype: u16) -> Vec<u8> {
    Question::new(name, rtype).edns(1232, 0).octets(0)
}

fn by_get(query: &[u8]) -> String {
    format!("/dns-query?dns={}", BASE64_URL_SAFE_NO_PAD.encode(query))
}

/// Asks both servers.
fn told(path: &str, arguments: &[&str], body: Option<&[u8]>, at: impl Fn(Told)) {
    for server in servers() {
        let https = server.encrypted.expect("it listens").https;
        if let Some(told) = curl(https, path, arguments, body) {
            at(told);
        }
    }
}

#[test]
fn get_and_post_bring_the_same_message() {
    let www = query("www.rfc6891.test.", 1);
    let good = |told: &Told| {
        assert_eq!(
            (&*told.status, &*told.kind),
            ("200", "application/dns-message"),
            "§4.2"
        );
        let message = Message::read(&told.body).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (message.id, message.rcode, message.sections[0].len()),
            (0, 0, 1),
            "§4.1"
        );
    };
    for version in ["--http2", "--http1.1"] {
        told(&by_get(&www), &[version], None, |get| {
            good(&get);
            told(
                "/dns-query",
                &[version, "-H", MESSAGE],
                Some(&www),
                |post| {
                    good(&post);
                    assert_eq!(post.body, get.body, "§4.1");
                    assert_eq!(post.version, get.version);
                },
            );
        });
    }
    told(&by_get(&www), &["--http2"], None, |told| {
        assert_eq!(told.version, "2", "§5.2")
    });
}

#[test]
fn an_answer_is_fresh_for_its_smallest_ttl() {
    for (name, rtype, seconds) in [
        ("www.rfc6891.test.", 1, 300),
        ("short.signed.test.", 1, 30),
        ("ttl.rfc1035.test.", 1, 0),
        ("missing.rfc6891.test.", 1, 60),
        ("www.rfc6891.test.", 28, 60),
        ("www.elsewhere.example.", 1, 0),
    ] {
        told(&by_get(&query(name, rtype)), &[], None, |told| {
            // Whatever the response code, HTTP has done its part (§4.2.1).
            assert_eq!(told.status, "200");
            let fresh = format!("max-age={seconds}");
            let fields: Vec<&str> = told.cache.split(", ").collect();
            assert!(
                fields.contains(&&*fresh),
                "§5.1: {name} {rtype}: {}",
                told.cache
            );
            assert!(
                fields.contains(&"private"),
                "it may depend on who asks: {}",
                told.cache
            );
        });
    }
}

#[test]
fn what_is_no_query_is_told_so_by_http() {
    let www = query("www.rfc6891.test.", 1);
    let is = |section: &str, path: &str, arguments: &[&str], body: Option<&[u8]>, status: &str| {
        for version in ["--http1.1", "--http2"] {
            told(path, &[&[version], arguments].concat(), body, |told| {
                assert_eq!(
                    told.status, status,
                    "§{section}: {path} {arguments:?} {version}"
                );
                assert!(told.kind.is_empty(), "{}", told.kind);
            });
        }
    };
    is("4.1", "/dns-query", &[], None, "400");
    is("4.1", "/dns-query?dns=", &[], None, "400");
    is("4.1", "/dns-query?dns=a*b", &[], None, "400");
    // Base 64 as in mails, or padded, is not it.
    is("6", "/dns-query?dns=AAAB/+==", &[], None, "400");
    is(
        "4.1",
        &by_get(&www).replace("/dns-query", "/other"),
        &[],
        None,
        "404",
    );
    is(
        "4.1",
        "/dns-query",
        &["-H", "content-type: text/plain"],
        Some(&www),
        "415",
    );
    is(
        "4.1",
        "/dns-query",
        &["-H", "content-type:"],
        Some(&www),
        "415",
    );
    is(
        "4.1",
        "/dns-query",
        &["-H", MESSAGE],
        Some(&[0; 65_536]),
        "413",
    );
    // An answer is no question.
    let mut response = www.clone();
    response[2] |= 0x80;
    is(
        "4.1",
        "/dns-query",
        &["-H", MESSAGE],
        Some(&response),
        "400",
    );
    told(
        "/dns-query",
        &["-X", "PUT", "-H", MESSAGE],
        Some(&www),
        |told| {
            assert_eq!((&*told.status, &*told.allow), ("405", "GET, POST"), "§4.1");
        },
    );
}

#[test]
fn a_message_that_cannot_be_read_is_answered_by_dns() {
    // A header that promises a question, and nothing behind it.
    let half = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    told("/dns-query", &["-H", MESSAGE], Some(&half), |told| {
        assert_eq!(
            (&*told.status, told.body[3] & 0xF),
            ("200", 1),
            "§4.2.1: FORMERR"
        );
    });
}

#[test]
fn parameters_of_the_media_type_and_other_fields_change_nothing() {
    let www = query("www.rfc6891.test.", 1);
    let with = "content-type: Application/DNS-Message; charset=x";
    told("/dns-query", &["-H", with], Some(&www), |told| {
        assert_eq!(told.status, "200")
    });
    let more = by_get(&www).replace("?dns=", "?other=1&dns=") + "&ct";
    told(&more, &[], None, |told| assert_eq!(told.status, "200"));
}

#[test]
fn dig_is_answered_as_over_tcp() {
    for (question, expected) in SAMPLES {
        check_over(
            &[Transport::Https, Transport::HttpsGet],
            "4.2",
            question,
            expected,
        );
    }
}

#[test]
fn kdig_is_answered() {
    if !tools::available("kdig", "knot-dnsutils") {
        return;
    }
    let authority = format!("+tls-ca={}", shown().chain.display());
    let name = format!("+tls-hostname={NAME}");
    for server in servers() {
        let at = server.encrypted.expect("it listens").https;
        for how in [&["+https"][..], &["+https", "+https-get"]] {
            let arguments = [how, &[&authority, &name, "www.rfc6891.test", "A"]].concat();
            let answer = kdig(at, &arguments);
            assert_eq!(answer.data("A"), ["192.0.2.2"], "{}", answer.text);
        }
    }
}
