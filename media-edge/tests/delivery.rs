//! Every frame arrives as it lies in the file: over TCP and UDP, from the folder and from another edge.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mdc::rtp::Depacketizer;
use rtsp::message::header;
use rtsp::transport::Agreed;
use support::{Client, PATIENCE, Receiver, acquaint, clock, edge, is_goodbye, reference};
use tokio::net::UdpSocket;

/// Plays both descriptions of a title over TCP to the end.
async fn play_tcp(authority: std::net::SocketAddr, title: &str) -> Receiver {
    let mut client = Client::connect(authority).await;
    let path = format!("/{title}");
    client
        .expect(200, "DESCRIBE", &format!("{path}?mdc=1"), &[])
        .await;
    for (control, channels) in [("d0", "0-1"), ("d1", "2-3")] {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
        let path = format!("{path}/{control}");
        client
            .expect(200, "SETUP", &path, &[("Transport", &transport)])
            .await;
    }
    let played = client
        .expect(200, "PLAY", &path, &[("Range", "npt=0-")])
        .await;
    let mut receiver = Receiver::new([(0, clock(&played, 0)), (2, clock(&played, 1))]);
    let mut goodbyes = 0;
    while goodbyes < 2 {
        while let Some((channel, packet)) = client.packets.pop_front() {
            receiver.push(channel, &packet);
            goodbyes += usize::from(channel % 2 == 1 && is_goodbye(&packet));
        }
        assert!(goodbyes == 2 || client.turn().await);
    }
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_delivers_both_descriptions_bit_exact() {
    let edge = edge("a", |_| {}).await;
    let received = play_tcp(edge.rtsp(), "clip").await;
    let reference = reference("clip");
    for (channel, description) in [(0, 0), (2, 1)] {
        let frames = reference.numbered(received.units(channel));
        assert_eq!(frames.len(), 45);
        assert!(
            frames == reference.frames(description),
            "description {description} differs"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_missing_here_is_pulled_from_a_source_and_bit_exact() {
    let empty = tempfile::tempdir().unwrap();
    let source = edge("source", |_| {}).await;
    let puller = edge("puller", |config| {
        config.titles = empty.path().to_owned();
        config.sources = vec!["gone".to_owned(), "source".to_owned()];
        config.limits.pulled_octets = 40_000; // less than the title: groups come and go
    })
    .await;
    acquaint(&[&source, &puller]);
    let received = play_tcp(puller.rtsp(), "clip").await;
    let reference = reference("clip");
    for (channel, description) in [(0, 0), (2, 1)] {
        assert!(reference.numbered(received.units(channel)) == reference.frames(description));
    }
    let mut client = Client::connect(puller.rtsp()).await;
    client.expect(404, "DESCRIBE", "/nowhere", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_that_name_each_other_do_not_go_round_in_circles() {
    let empty = tempfile::tempdir().unwrap();
    let one = edge("one", |config| {
        config.titles = empty.path().to_owned();
        config.sources = vec!["two".to_owned()];
    })
    .await;
    let two = edge("two", |config| {
        config.titles = empty.path().to_owned();
        config.sources = vec!["one".to_owned()];
    })
    .await;
    acquaint(&[&one, &two]);
    let mut client = Client::connect(one.rtsp()).await;
    client.expect(404, "DESCRIBE", "/clip", &[]).await;
}

/// A pair of neighbouring ports.
async fn udp_pair() -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1)).await
        {
            return (rtp, rtcp);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_delivers_a_description_bit_exact_and_hears_reports() {
    let edge = edge("a", |_| {}).await;
    let mut client = Client::connect(edge.rtsp()).await;
    let (rtp, rtcp) = udp_pair().await;
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let set_up = client
        .expect(200, "SETUP", "/clip/d1", &[("Transport", &transport)])
        .await;
    let agreed = Agreed::parse(header(&set_up, "Transport").unwrap()).unwrap();
    let (server_rtp, server_rtcp) = agreed.server_ports.unwrap();
    assert_eq!(server_rtp + 1, server_rtcp);
    let played = client.expect(200, "PLAY", "/clip", &[]).await;
    let mut depacketizer = Depacketizer::new(Some(clock(&played, 1)));
    let (mut units, mut packet, mut control) = (Vec::new(), [0; 2_000], [0; 2_000]);
    let (mut reports, mut over) = (0, false);
    while !over {
        tokio::select! {
            received = rtp.recv_from(&mut packet) => {
                let (octets, from) = received.unwrap();
                assert_eq!(from.port(), server_rtp);
                depacketizer.push(&packet[..octets], 0).unwrap();
                while let Some(unit) = depacketizer.pop() {
                    units.push(unit);
                }
            }
            received = rtcp.recv_from(&mut control) => {
                let (octets, from) = received.unwrap();
                assert_eq!(from.port(), server_rtcp);
                reports += 1;
                over = is_goodbye(&control[..octets]);
                let answer = [0x80, 201, 0, 1, 0, 0, 0, 9]; // an empty receiver report
                rtcp.send_to(&answer, from).await.unwrap();
            }
            () = tokio::time::sleep(PATIENCE) => panic!("silence"),
        }
    }
    // The goodbye has its own port and may overtake the last frame.
    while let Ok(octets) = rtp.try_recv(&mut packet) {
        depacketizer.push(&packet[..octets], 0).unwrap();
        units.extend(depacketizer.pop());
    }
    let reference = reference("clip");
    assert!(reference.numbered(&units) == reference.frames(1));
    assert!(
        reports >= 2,
        "a report at the start and one with the goodbye"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_differ_in_every_number_but_not_in_their_frames() {
    let edge = edge("a", |_| {}).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(edge.rtsp()).await;
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let set_up = client.expect(200, "SETUP", "/clip/d0", &transport).await;
        let agreed = Agreed::parse(header(&set_up, "Transport").unwrap()).unwrap();
        let played = client.expect(200, "PLAY", "/clip", &[]).await;
        let start = clock(&played, 0);
        seen.push((agreed.ssrc, start.sequence, start.rtptime));
    }
    assert_ne!(seen[0], seen[1]);
}
