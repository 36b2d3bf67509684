//! What a collector gets to see, and what happens without one.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nameserver::Settings;
use nameserver::dnstap::Dnstap;
use service::shutdown;

use crate::encrypted::{Files, TRANSPORTS, ask, connect};
use crate::scene::{blocking, open, over_tcp, over_udp, start, until};

fn settings(socket: &Path) -> Settings {
    Settings {
        workers: 1,
        dnstap: Dnstap {
            socket: Some(socket.to_owned()),
            identity: Some("cdg1".to_owned()),
            version: Some("test 1".to_owned()),
            ..Dnstap::default()
        },
        ..Settings::default()
    }
}

/// True if both programs are there; with SIGNPOST_REQUIRE_TOOLS=1 they have to be.
fn tools() -> bool {
    let there = |program: &str| Path::new("/usr/bin").join(program).is_file();
    let missing: Vec<_> = [
        ("fstrm_capture", "fstrm-bin"),
        ("dnstap-read", "bind9-dnsutils"),
    ]
    .into_iter()
    .filter(|(program, _)| !there(program))
    .collect();
    let required = std::env::var("SIGNPOST_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!required || missing.is_empty(), "missing: {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: (program, Debian package) {missing:?} are missing");
    }
    missing.is_empty()
}

/// The reference implementation's collector; ends with the test.
struct Capture(Child);

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What BIND's reader makes of a file.
fn read(file: &Path, form: &str) -> String {
    let read = Command::new("dnstap-read").arg(form).arg(file).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{read:?} {:?}", std::fs::read(file));
    String::from_utf8(read.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_collector_and_binds_reader_understand_every_message() {
    if !tools() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("socket"), folder.path().join("tap"));
    let mut capture = Capture(
        Command::new("fstrm_capture")
            .args(["-t", "protobuf:dnstap.Dnstap", "-u"])
            .arg(&socket)
            .arg("-w")
            .arg(&file)
            .spawn()
            .unwrap(),
    );
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings(&socket), shutdown);
    let running = open(server);
    let address = running.dns[0];
    until(&registry, "signpost_dnstap_connected 1").await;
    blocking(move || (over_udp(address), over_tcp(address))).await;
    trigger.fire();
    running.wait().await.unwrap();
    // Asked to end, it writes out what it has.
    let pid = capture.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    capture.0.wait().unwrap();

    let text = read(&file, "-p");
    let port = address.port();
    for (kind, arrow, transport) in [
        ("AQ", "->", "UDP"),
        ("AR", "<-", "UDP"),
        ("AQ", "->", "TCP"),
        ("AR", "<-", "TCP"),
    ] {
        let line = text.lines().find(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&kind) && words.contains(&transport)
        });
        let line = line.unwrap_or_else(|| panic!("no {kind} over {transport} in\n{text}"));
        let server = format!("{arrow} 127.0.0.1:{port} {transport}");
        assert!(line.contains(&server), "{line}");
        assert!(line.ends_with("www.example/IN/A"), "{line}");
    }
    assert_eq!(text.matches("192.0.2.2").count(), 2, "the answers: {text}");
    assert_eq!(text.matches("status: NOERROR").count(), 4, "{text}");
    let text = read(&file, "-y");
    assert_eq!(text.matches("identity: cdg1").count(), 4, "{text}");
    assert_eq!(text.matches("version: test 1").count(), 4, "{text}");
    let zones = text.matches("query_zone: example").count();
    assert_eq!(zones, 4, "{text}");
}

/// A collector of our own: does the handshake and reads this many data frames.
fn collect(listener: &UnixListener, count: usize) -> (UnixStream, Vec<Vec<u8>>) {
    let (mut stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut ready = read_control(&mut stream);
    assert_eq!(ready[..4], [0, 0, 0, 4], "READY");
    ready[3] = 1; // ACCEPT of what was offered
    let mut accept = vec![0; 4];
    accept.extend((ready.len() as u32).to_be_bytes());
    accept.extend(&ready);
    stream.write_all(&accept).unwrap();
    assert_eq!(read_control(&mut stream)[..4], [0, 0, 0, 2], "START");
    let frames = (0..count).map(|_| read_sized(&mut stream)).collect();
    (stream, frames)
}

fn read_control(stream: &mut UnixStream) -> Vec<u8> {
    assert_eq!(read_sized(stream), [0; 0], "the escape of a control frame");
    read_sized(stream)
}

fn read_sized(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut octets).unwrap();
    octets
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_messages_wait_and_are_dropped_beyond_the_queue_and_answers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings(&socket), shutdown);
    let running = open(server);
    let address = running.dns[0];
    blocking(move || (0..5000).for_each(|_| drop(over_udp(address)))).await;
    until(
        &registry,
        "signpost_dnstap_messages_total{result=\"dropped\"} 1808",
    )
    .await;

    // One that comes late gets what waits; one that goes away is followed by the next.
    let listener = UnixListener::bind(&socket).unwrap();
    let (listener, frames) = blocking(move || {
        let (stream, frames) = collect(&listener, 8192);
        drop(stream);
        (listener, frames)
    })
    .await;
    assert!(frames[0].windows(4).any(|octets| octets == b"cdg1"));
    until(&registry, "signpost_dnstap_connected 0").await;
    let second = blocking(move || {
        over_udp(address);
        collect(&listener, 2).1
    });
    assert_eq!(second.await.len(), 2);
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_encrypted_transports_have_their_own_names() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let files = Files::new();
    let chain = files.renew();
    let (trigger, shutdown) = shutdown::channel();
    let settings = Settings {
        dnstap: settings(&socket).dnstap,
        ..files.settings()
    };
    let (server, _, _) = start(settings, shutdown);
    let running = open(server);
    for transport in TRANSPORTS {
        let client = connect(transport, &running.encrypted, &chain).await;
        ask(&client.unwrap()).await;
    }
    let (_stream, frames) = blocking(move || collect(&listener, 6)).await;
    // In the `Message`: type (AUTH_QUERY, AUTH_RESPONSE), family (INET), and the protocol: DOT, DOH, DOQ.
    let expected = [3, 4, 7].map(|protocol| [1, 2].map(|kind| [8, kind, 16, 1, 24, protocol]));
    for (frame, expected) in frames.iter().zip(expected.as_flattened()) {
        let found = frame.windows(expected.len()).any(|part| part == expected);
        assert!(found, "no {expected:?} in {frame:?}");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_the_answers_alone_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut settings = settings(&socket);
    settings.dnstap.queries = false;
    settings.dnstap.sample = 10.try_into().unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, _) = start(settings, shutdown);
    let running = open(server);
    let address = running.dns[0];
    blocking(move || (0..39).for_each(|_| drop(over_udp(address)))).await;
    trigger.fire();
    let ended = tokio::spawn(running.wait());
    let stop = blocking(move || {
        let (mut stream, _) = collect(&listener, 3);
        let stop = read_control(&mut stream);
        stream
            .write_all(&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5])
            .unwrap();
        stop
    })
    .await;
    assert_eq!(stop, [0, 0, 0, 3], "STOP after one in ten of 39");
    ended.await.unwrap().unwrap();
}
