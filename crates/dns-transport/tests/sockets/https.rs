//! DNS over HTTPS through real sockets.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dns_transport::{StreamLimits, https};
use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::running::{PATIENCE, Running, answered_by, is_closed};
use crate::telling::{NEGATIVE, TTLS, Telling};
use crate::tools::{dig, kdig, run};
use crate::trust::{NAME, certificate, client, made};

struct Server {
    running: Running,
    trusted: CertificateDer<'static>,
}

/// Whose answers do not depend on what the query is.
fn start_echo(limits: StreamLimits) -> Server {
    let (certificate, trusted) = certificate();
    let running = Running::start(limits, |listener, server, shutdown| async move {
        https::serve(listener, server, &certificate, https::PATH, shutdown).await
    });
    Server { running, trusted }
}

fn start() -> Server {
    let (certificate, trusted) = certificate();
    let limits = StreamLimits::default();
    let running = Running::start(limits, |listener, server, shutdown| async move {
        let server = answered_by(server, Telling);
        https::serve(listener, server, &certificate, "/queries", shutdown).await
    });
    Server { running, trusted }
}

impl Server {
    async fn shake(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let config = client(&self.trusted, rustls::ALL_VERSIONS, &[protocol]);
        let connector = TlsConnector::from(Arc::new(config));
        let stream = self.running.connect().await;
        connector
            .connect(NAME.try_into().unwrap(), stream)
            .await
            .unwrap()
    }

    async fn http_2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.shake(b"h2").await);
        let shaken = http2::handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http_1(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.shake(b"http/1.1").await);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn request(method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("https://{NAME}{path}");
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", NAME);
    if !kind.is_empty() {
        request = request.header(CONTENT_TYPE, kind);
    }
    request.body(Full::new(body.into())).unwrap()
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request(Method::POST, path, "application/dns-message", body)
}

fn get(path: &str, query: &[u8]) -> Request<Full<Bytes>> {
    let path = format!("{path}?dns={}", URL_SAFE_NO_PAD.encode(query));
    request(Method::GET, &path, "", "")
}

async fn octets(reply: Response<Incoming>) -> Bytes {
    reply.into_body().collect().await.unwrap().to_bytes()
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    let mut message = Message::new(0, hickory_proto::op::MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, kind));
    message.to_vec().unwrap()
}

/// The status, how long the answer may be kept, and the answer.
async fn take(reply: Response<Incoming>) -> (StatusCode, String, Message) {
    let headers = reply.headers();
    assert_eq!(headers[CONTENT_TYPE], "application/dns-message");
    let kept = headers[CACHE_CONTROL].to_str().unwrap().to_owned();
    let status = reply.status();
    let message = Message::from_vec(&octets(reply).await).unwrap();
    (status, kept, message)
}

#[tokio::test]
async fn get_and_post_are_answered_alike_by_both_versions_of_http() {
    let server = start();
    let (mut two, mut one) = (server.http_2().await, server.http_1().await);
    let told = format!("127.0.0.1|{}|https", server.running.local);
    for (name, kept, expected) in [
        ("who.test.", TTLS[1], Some(&told)),
        ("nothing.test.", NEGATIVE.1, None),
        ("broken.test.", 0, None),
    ] {
        let octets = query(name, RecordType::TXT);
        let mut seen = Vec::new();
        for asked in [get("/queries", &octets), post("/queries", octets.clone())] {
            seen.push(take(two.send_request(asked.clone()).await.unwrap()).await);
            seen.push(take(one.send_request(asked).await.unwrap()).await);
        }
        let (status, cache, message) = &seen[0];
        assert_eq!(*status, StatusCode::OK);
        assert_eq!(cache, &format!("private, max-age={kept}"), "{name}");
        assert_eq!(message.metadata.id, 0);
        assert!(seen.iter().all(|one| one == &seen[0]));
        if let Some(expected) = expected {
            let text = message.answers[0].data.to_string();
            assert_eq!(text.trim_matches('"'), expected);
        }
    }
    drop((one, two));
    let totals = server.running.stop().await;
    assert_eq!(
        (totals.queries, totals.answered, totals.accepted),
        (12, 12, 2)
    );
}

#[tokio::test]
async fn what_is_no_query_is_told_so_by_its_status() {
    let server = start();
    let mut sender = server.http_2().await;
    let good = query("who.test.", RecordType::TXT);
    let base = URL_SAFE_NO_PAD.encode(&good);
    let dns = "application/dns-message";
    let cases = [
        (get("/dns-query", &good), 404),
        (get("/", &good), 404),
        (post("/queries/", good.clone()), 404),
        (request(Method::PUT, "/queries", dns, good.clone()), 405),
        (request(Method::DELETE, "/queries", "", ""), 405),
        (request(Method::POST, "/queries", "", good.clone()), 415),
        (
            request(Method::POST, "/queries", "application/json", good.clone()),
            415,
        ),
        (request(Method::GET, "/queries", "", ""), 400),
        (
            request(Method::GET, "/queries?name=who.test&type=TXT", "", ""),
            400,
        ),
        (request(Method::GET, "/queries?dns=", "", ""), 400),
        (request(Method::GET, "/queries?dns=a+b/", "", ""), 400),
        // An answer, half a header, nothing.
        (
            get("/queries", &[&good[..2], &[0x80], &good[3..]].concat()),
            400,
        ),
        (post("/queries", good[..7].to_vec()), 400),
        (post("/queries", ""), 400),
        (post("/queries", vec![0; 65_536]), 413),
        // One message cannot carry a zone.
        (get("/queries", &query("zone.test.", RecordType::AXFR)), 501),
        (
            request(Method::GET, &format!("/queries?a=b&dns={base}"), "", ""),
            200,
        ),
        (
            request(
                Method::POST,
                "/queries",
                "Application/DNS-Message; a=b",
                good.clone(),
            ),
            200,
        ),
    ];
    let mut refused = 0;
    for (asked, expected) in cases {
        let shown = format!("{} {}", asked.method(), asked.uri());
        let reply = sender.send_request(asked).await.unwrap();
        assert_eq!(reply.status(), expected, "{shown}");
        let allowed = reply
            .headers()
            .get(ALLOW)
            .map(|value| value.to_str().unwrap());
        assert_eq!(allowed, (expected == 405).then_some("GET, POST"));
        refused += u64::from(expected != 200);
    }
    assert_eq!(server.running.counters.totals().malformed, refused);
}

#[tokio::test]
async fn many_requests_of_a_connection_are_under_way_together_long_ones_too() {
    let server = start_echo(StreamLimits::default());
    let sender = server.http_2().await;
    let mut asked = JoinSet::new();
    for number in 0..400 {
        let mut sender = sender.clone();
        asked.spawn(async move {
            let length = if number % 4 == 0 { 60_000 } else { 5 };
            let query = format!("{number:0length$}");
            sender.ready().await.unwrap();
            let reply = sender
                .send_request(post(https::PATH, query.clone()))
                .await
                .unwrap();
            assert_eq!(reply.status(), 200);
            assert!(octets(reply).await == format!("{query}|127.0.0.1|https"));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    let mut sender = sender;
    let reply = sender.send_request(post(https::PATH, "big")).await.unwrap();
    assert_eq!(octets(reply).await.len(), 65_535);
}

/// Frames of HTTP/2 (RFC 9113 §4.1), for what a good client does not do.
fn http_2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

const HTTP_2_START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// POST to the usual path, the body to come (RFC 7541: three names of the static table, a path and a type spelled out).
fn http_2_post(stream: u32) -> Vec<u8> {
    let mut block = b"\x83\x87\x04\x0a/dns-query\x41\x07ns.test".to_vec();
    block.extend(b"\x5f\x17application/dns-message");
    http_2_frame(1, 4, stream, &block)
}

#[tokio::test]
async fn a_client_that_resets_its_requests_as_fast_as_it_makes_them_is_sent_away() {
    let server = start_echo(StreamLimits::default());
    let mut stream = server.shake(b"h2").await;
    let mut flood = [HTTP_2_START, &http_2_frame(4, 0, 0, &[])].concat();
    for number in 0..2000 {
        flood.extend(http_2_post(2 * number + 1));
        flood.extend(http_2_frame(3, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&flood).await;
    assert!(goes_away(&mut stream).await);
    assert!(
        server
            .http_2()
            .await
            .send_request(post(https::PATH, "x"))
            .await
            .is_ok()
    );
}

/// The next frame: its kind, flags and payload; `None` at the end.
async fn read_http_2_frame(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u8, Vec<u8>)> {
    let read = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [l2, l1, l0, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l2, l1, l0]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        Some((kind, flags, payload))
    };
    timeout(PATIENCE, read).await.expect("a frame in time")
}

/// True if a GOAWAY frame with an error comes before the end.
async fn goes_away(stream: &mut TlsStream<TcpStream>) -> bool {
    while let Some((kind, _, payload)) = read_http_2_frame(stream).await {
        if kind == 7 && payload[4..8] != [0; 4] {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn slow_requests_and_idle_connections_end() {
    let short = Duration::from_millis(100);
    let server = start_echo(StreamLimits {
        idle: short,
        write: short,
        ..StreamLimits::default()
    });
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut idle = server.shake(protocol).await;
        let mut rest = Vec::new();
        let _ = idle.read_to_end(&mut rest).await;
        // A head that never ends is no activity.
        let mut slow = server.shake(protocol).await;
        let head = if protocol == b"h2" {
            HTTP_2_START
        } else {
            b"GET /dns"
        };
        slow.write_all(head).await.unwrap();
        let _ = slow.read_to_end(&mut rest).await;
    }
    server
        .running
        .until("four late", |totals| totals.timed_out == 4)
        .await;

    let server = start_echo(StreamLimits {
        message: short,
        ..StreamLimits::default()
    });
    let mut slow = server.shake(b"http/1.1").await;
    let head = "POST /dns-query HTTP/1.1\r\nhost: ns.test\r\ncontent-length: 9\r\n\
                content-type: application/dns-message\r\n\r\nhalf";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut reply = [0; 12];
    slow.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
}

#[tokio::test]
async fn shutdown_finishes_what_has_begun() {
    let server = start_echo(StreamLimits::default());
    let mut idle = server.shake(b"http/1.1").await;
    let mut stream = server.shake(b"h2").await;
    let body = http_2_frame(0, 0, 1, b"half");
    let begun = [
        HTTP_2_START,
        &http_2_frame(4, 0, 0, &[]),
        &http_2_post(1),
        &body,
    ]
    .concat();
    stream.write_all(&begun).await.unwrap();
    server
        .running
        .until("both open", |totals| totals.accepted == 2)
        .await;
    // The acknowledged settings show that it has read what came with them.
    while read_http_2_frame(&mut stream).await.unwrap() != (4, 1, Vec::new()) {}
    let rest = async {
        assert!(is_closed(&mut idle).await);
        stream
            .write_all(&http_2_frame(0, 1, 1, b" rest"))
            .await
            .unwrap();
        let mut answer = Vec::new();
        while let Some((kind, flags, payload)) = read_http_2_frame(&mut stream).await {
            match (kind, flags) {
                (0, _) => answer.extend(payload),
                // The server asks whether we have heard that it goes.
                (6, 0) => {
                    let heard = http_2_frame(6, 1, 0, &payload);
                    stream.write_all(&heard).await.unwrap();
                }
                _ => {}
            }
        }
        assert_eq!(answer, b"half rest|127.0.0.1|https");
    };
    let (totals, ()) = tokio::join!(server.running.stop(), rest);
    assert_eq!((totals.answered, totals.closed), (1, 2));
}

#[tokio::test]
async fn dig_kdig_and_curl_ask() {
    let server = start();
    let local = server.running.local;
    let expected = format!("\"127.0.0.1|{local}|https\"");
    for arguments in [["+https=/queries", "TXT"], ["+https-get=/queries", "TXT"]] {
        let Some(said) = dig(local, &[&arguments[..], &["who.test"]].concat()).await else {
            return;
        };
        assert!(said.contains(&expected), "{said}");
    }
    for arguments in [&["+https=/queries"][..], &["+https=/queries", "+https-get"]] {
        let Some(said) = kdig(local, &[arguments, &["TXT", "who.test"]].concat()).await else {
            return;
        };
        assert!(said.contains(&expected), "{said}");
    }
    let encoded = URL_SAFE_NO_PAD.encode(query("who.test.", RecordType::TXT));
    let url = format!("https://{local}/queries?dns={encoded}");
    for version in ["--http2", "--http1.1"] {
        let arguments = [
            version,
            "-sk",
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
            &url,
        ];
        let Some(said) = run("curl", "curl", &arguments).await else {
            return;
        };
        let number = if version == "--http2" { "2" } else { "1.1" };
        assert_eq!(said, format!("{number} 200"));
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_here_as_well() {
    let (certificate, _) = certificate();
    let served = certificate.clone();
    let running = Running::start(
        StreamLimits::default(),
        |listener, server, shutdown| async move {
            https::serve(listener, server, &served, https::PATH, shutdown).await
        },
    );
    let (chain, key, trusted) = made();
    certificate
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    let server = Server { running, trusted };
    let reply = server
        .http_2()
        .await
        .send_request(post(https::PATH, "x"))
        .await;
    assert_eq!(octets(reply.unwrap()).await, "x|127.0.0.1|https");
}
