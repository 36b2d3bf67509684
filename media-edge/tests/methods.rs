//! Every RTSP method and status, asked by a scripted client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use media_edge::edge::Mode;
use rtsp::message::{header, session_id, session_timeout_seconds};
use rtsp::sdp::Description;
use support::{Client, PATIENCE, acquaint, clock, edge};

const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";
const TCP_2: &str = "RTP/AVP/TCP;unicast;interleaved=2-3";

#[tokio::test(flavor = "multi_thread")]
async fn options_tells_methods_and_features() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    let answer = client.expect(200, "OPTIONS", "/", &[]).await;
    for method in [
        "DESCRIBE",
        "SETUP",
        "PLAY",
        "PAUSE",
        "TEARDOWN",
        "SET_PARAMETER",
    ] {
        assert!(
            header(&answer, "Public").unwrap().contains(method),
            "{method}"
        );
    }
    assert_eq!(
        header(&answer, "Supported"),
        Some("mdc.media-edge, handoff.media-edge")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_offers_one_line_unless_the_group_is_asked_for() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    for (path, controls) in [
        ("/clip", vec!["d0"]),
        ("/clip/d0", vec!["d0"]),
        ("/clip/d1", vec!["d1"]),
        ("/clip?mdc=1", vec!["d0", "d1"]),
    ] {
        let answer = client.expect(200, "DESCRIBE", path, &[]).await;
        assert_eq!(header(&answer, "Content-Type"), Some("application/sdp"));
        let base = format!("rtsp://{}/clip/", edge.rtsp());
        assert_eq!(header(&answer, "Content-Base"), Some(base.as_str()));
        let described = Description::parse(answer.body()).unwrap();
        let found: Vec<&str> = described
            .streams
            .iter()
            .map(|s| s.control.as_str())
            .collect();
        assert_eq!(found, controls, "{path}");
        assert!(
            described.streams.iter().all(|s| s.frame_rate == (15, 1)),
            "{described:?}"
        );
        assert_eq!(described.duration.unwrap().0, 3 * 90_000);
    }
    client.expect(404, "DESCRIBE", "/nothing", &[]).await;
    client.expect(404, "DESCRIBE", "/clip/d2", &[]).await;
    client.expect(404, "DESCRIBE", "/../clip/x/y", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_out_of_turn_are_refused() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    client.expect(455, "PLAY", "/clip", &[]).await;
    client
        .expect(454, "PLAY", "/clip", &[("Session", "unknown")])
        .await;
    client
        .expect(454, "TEARDOWN", "/clip", &[("Session", "unknown")])
        .await;
    client.expect(501, "BREW", "/clip", &[]).await;
    client.expect(405, "ANNOUNCE", "/clip", &[]).await;
    client
        .expect(551, "OPTIONS", "/clip", &[("Require", "funky")])
        .await;
    client
        .expect(404, "SETUP", "/clip/d7", &[("Transport", TCP)])
        .await;
    client.expect(400, "SETUP", "/clip/d0", &[]).await;
    client
        .expect(
            461,
            "SETUP",
            "/clip/d0",
            &[("Transport", "RTP/SAVP;unicast")],
        )
        .await;
    let aimed = "RTP/AVP;unicast;client_port=9000-9001;destination=203.0.113.5";
    client
        .expect(461, "SETUP", "/clip/d0", &[("Transport", aimed)])
        .await;
    client
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    client
        .expect(455, "SETUP", "/clip/d0", &[("Transport", TCP_2)])
        .await;
    client
        .expect(459, "SETUP", "/quick/d1", &[("Transport", TCP_2)])
        .await;
    client
        .expect(457, "PLAY", "/clip", &[("Range", "npt=100-")])
        .await;
    client
        .expect(457, "PLAY", "/clip", &[("Range", "smpte=0-")])
        .await;
    let asked = client
        .request("GET_PARAMETER", "/clip", &[], "packets_received\r\n")
        .await;
    assert_eq!(u16::from(asked.status()), 451);
    let told = client
        .request("SET_PARAMETER", "/clip", &[], "colour: blue\r\n")
        .await;
    assert_eq!(u16::from(told.status()), 451);
    client.expect(200, "GET_PARAMETER", "/clip", &[]).await;
    client.expect(200, "SET_PARAMETER", "/clip", &[]).await;
    client.expect(200, "TEARDOWN", "/clip", &[]).await;
    assert!(edge.running.edge.sessions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_an_answer_and_the_end() {
    let edge = edge("a", |_| {}).await;
    for (bytes, status) in [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), 400),
        (b"OPTIONS * RTSP/9.0\r\nCSeq: 1\r\n\r\n", 505),
        (
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999\r\n\r\n",
            413,
        ),
    ] {
        let mut client = Client::connect(edge.rtsp()).await;
        client.send(bytes).await;
        let Some(rtsp::Event::Response(answer)) = client.event().await else {
            panic!()
        };
        assert_eq!(u16::from(answer.status()), status);
        assert!(client.event().await.is_none());
    }
    let mut client = Client::connect(edge.rtsp()).await;
    client.send(b"OPTIONS rtsp://x/ RTSP/1.0\r\n\r\n").await;
    let Some(rtsp::Event::Response(answer)) = client.event().await else {
        panic!()
    };
    assert_eq!(u16::from(answer.status()), 400, "no CSeq");
    // A binary frame on a channel that nobody agreed on.
    client.send(b"$\x07\x00\x01x").await;
    assert!(client.event().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_keeps_the_place_and_play_goes_on_from_there() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    let set_up = client
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    assert_eq!(session_timeout_seconds(&set_up), 60);
    assert!(session_id(&set_up).unwrap().len() >= 22, "128 random bits");
    let played = client
        .expect(200, "PLAY", "/clip", &[("Range", "npt=0-")])
        .await;
    assert_eq!(header(&played, "Range"), Some("npt=0.000000-3.000000"));
    while client.packets.len() < 6 {
        assert!(client.turn().await);
    }
    client.expect(200, "PAUSE", "/clip", &[]).await;
    let last = client
        .packets
        .iter()
        .rfind(|(channel, _)| *channel == 0)
        .unwrap();
    let last = u16::from_be_bytes([last.1[2], last.1[3]]);
    client.packets.clear();
    // Whatever is sent while paused would come before this answer.
    client.expect(200, "GET_PARAMETER", "/clip", &[]).await;
    assert!(client.packets.is_empty());
    let resumed = client.expect(200, "PLAY", "/clip", &[]).await;
    assert_eq!(clock(&resumed, 0).sequence, Some(last.wrapping_add(1)));
    while client.packets.iter().all(|(channel, _)| *channel != 0) {
        assert!(client.turn().await);
    }
    let next = client
        .packets
        .iter()
        .find(|(channel, _)| *channel == 0)
        .unwrap();
    assert_eq!(
        u16::from_be_bytes([next.1[2], next.1[3]]),
        last.wrapping_add(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn play_seeks_to_the_key_frame_before_and_stops_at_the_range_s_end() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    client
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    let played = client
        .expect(200, "PLAY", "/clip", &[("Range", "npt=1.3-1.6")])
        .await;
    assert_eq!(header(&played, "Range"), Some("npt=1.000000-1.600000"));
    let start = clock(&played, 0);
    let mut receiver = support::Receiver::new([(0, start)]);
    let mut over = false;
    while !over && client.turn().await {
        while let Some((channel, packet)) = client.packets.pop_front() {
            receiver.push(channel, &packet);
            over |= channel == 1 && support::is_goodbye(&packet);
        }
    }
    let times: Vec<u64> = receiver.units(0).iter().map(|unit| unit.rtp_time).collect();
    let expected: Vec<u64> = (0..9).map(|frame| 90_000 + frame * 6_000).collect();
    assert_eq!(times, expected, "frames of 1.0 s up to before 1.6 s");
    // After its end the session can be played again.
    client
        .expect(200, "PLAY", "/clip", &[("Range", "npt=0-")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_session_is_ended_and_a_living_one_is_not() {
    let edge = edge("a", |config| config.limits.session_timeout_seconds = 5).await;
    let mut silent = Client::connect(edge.rtsp()).await;
    silent
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    let mut living = Client::connect(edge.rtsp()).await;
    let set_up = living
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    assert_eq!(session_timeout_seconds(&set_up), 5);
    let keep_alive = async {
        loop {
            living.expect(200, "GET_PARAMETER", "/clip", &[]).await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        end = silent.event() => assert!(end.is_none()),
        () = keep_alive => {}
    }
    living.expect(200, "GET_PARAMETER", "/clip", &[]).await;
    assert_eq!(edge.running.edge.metrics.timeouts.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_draining_edge_sends_players_to_another() {
    let full = edge("full", |config| {
        config.limits.sessions = 1;
        config.limits.sessions_soft = 1;
    })
    .await;
    let other = edge("other", |_| {}).await;
    let mut first = Client::connect(full.rtsp()).await;
    first
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    let mut second = Client::connect(full.rtsp()).await;
    second.expect(453, "DESCRIBE", "/clip", &[]).await;
    second
        .expect(453, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    acquaint(&[&full, &other]);
    let moved = second.expect(302, "DESCRIBE", "/clip?mdc=1", &[]).await;
    let location = format!("rtsp://{}/clip?mdc=1", other.rtsp());
    assert_eq!(header(&moved, "Location"), Some(location.as_str()));
    // The other one drains: nobody is sent there, once a second has passed or another map has come.
    other.running.edge.set_mode(Mode::Draining);
    acquaint(&[&full, &other]);
    second.expect(453, "DESCRIBE", "/clip", &[]).await;
    let mut third = Client::connect(other.rtsp()).await;
    third.expect(503, "DESCRIBE", "/clip", &[]).await;
    other.running.edge.set_mode(Mode::Serving);
    third.expect(200, "DESCRIBE", "/clip", &[]).await;
    assert_eq!(full.running.edge.metrics.redirects.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_gets_so_many_connections() {
    let edge = edge("a", |config| config.limits.connections_per_source = 2).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(edge.rtsp()).await;
        client.expect(200, "OPTIONS", "/", &[]).await;
        clients.push(client);
    }
    let mut refused = Client::connect(edge.rtsp()).await;
    assert!(refused.event().await.is_none());
    drop(clients.pop());
    let connections = &edge.running.edge.metrics.connections;
    support::until("a connection is given back", || connections.get() == 1).await;
    Client::connect(edge.rtsp())
        .await
        .expect(200, "OPTIONS", "/", &[])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_report_becomes_measurement_lines() {
    let spool = tempfile::tempdir().unwrap();
    let path = spool.path().join("measurements.csv");
    let edge = edge("a", |config| config.reports = Some(path.clone())).await;
    acquaint(&[&edge]);
    let mut client = Client::connect(edge.rtsp()).await;
    let body = "client: 198.51.100.0/24\r\nrace: 127.0.0.1 1234 ok\r\nrace: 192.0.2.1 9 ok\r\n";
    let answer = client
        .request(
            "SET_PARAMETER",
            "/clip",
            &[("Content-Type", "text/parameters")],
            body,
        )
        .await;
    assert!(answer.status().is_success());
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    support::until("the line is written", || text().ends_with("player\n")).await;
    let text = text();
    let line = text.lines().nth(1).unwrap();
    assert!(
        line.ends_with(",198.51.100.0/24,here,1234,0,1,player"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_lists_drains_and_resumes() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    client
        .expect(
            200,
            "SETUP",
            "/clip/d1",
            &[("Transport", TCP), ("User-Agent", "scripted/1")],
        )
        .await;
    let page = get(edge.running.admin, "GET", "/sessions").await;
    for part in [
        "\"title\":\"clip\"",
        "\"descriptions\":[1]",
        "scripted/1",
        "\"draining\":false",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(
        !page.contains(client.session.as_deref().unwrap()),
        "the session's id is a secret"
    );
    get(edge.running.admin, "POST", "/drain").await;
    assert!(edge.running.edge.is_draining());
    get(edge.running.admin, "POST", "/resume").await;
    assert!(!edge.running.edge.is_draining());
    let metrics = get(edge.running.admin, "GET", "/metrics").await;
    assert!(metrics.contains("signpost_edge_sessions 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_says_goodbye_and_ends() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    client
        .expect(200, "SETUP", "/clip/d0", &[("Transport", TCP)])
        .await;
    client.expect(200, "PLAY", "/clip", &[]).await;
    client.turn().await;
    edge.trigger.fire();
    while client.turn().await {}
    assert!(
        client
            .packets
            .iter()
            .any(|(channel, p)| *channel == 1 && support::is_goodbye(p))
    );
    tokio::time::timeout(PATIENCE, edge.running.wait())
        .await
        .unwrap()
        .unwrap();
}

async fn get(admin: std::net::SocketAddr, method: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    page
}
