//! Whole plays against a small server of the test's own: everything shown, faults survived or named.

use std::time::{Duration, Instant};

use crate::edge::{Edge, Fault, World};
use player::events::deaf;
use player::session::Carrier;
use player::{Options, Report, Source, play};
use service::shutdown;

/// Two seconds.
const FRAMES: u32 = 60;

async fn play_url(url: String, change: impl FnOnce(&mut Options)) -> Report {
    let mut options = Options::new(url.parse::<Source>().unwrap());
    change(&mut options);
    let (_keep, shutdown) = shutdown::channel();
    play(options, deaf(), shutdown).await
}

fn whole(report: &Report, frames: u64) {
    assert!(report.ok, "{report:?}");
    let counts = (
        report.frames_expected,
        report.frames_shown,
        report.frames_lost,
    );
    assert_eq!(counts, (frames, frames, 0), "{report:?}");
    assert_eq!((report.frames_repeated, report.frames_out_of_order), (0, 0));
    let stamps = report.stamps.unwrap();
    let faults = (
        stamps.stamps_lost,
        stamps.stamps_repeated,
        stamps.stamps_out_of_order,
    );
    assert_eq!(
        (stamps.stamps_read, faults),
        (frames, (0, 0, 0)),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_descriptions_are_merged_and_every_frame_is_shown() {
    let edge = Edge::start(&World::new(FRAMES), Fault::None).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.y4m");
    let report = play_url(edge.url("live?mdc=1"), |o| o.out = Some(out.clone())).await;
    whole(&report, u64::from(FRAMES));
    assert_eq!(report.descriptions.len(), 2);
    assert_eq!(report.fps, Some((30, 1)));
    let file = std::io::BufReader::new(std::fs::File::open(out).unwrap());
    let mut reader = mdc::y4m::Reader::new(file).unwrap();
    let pictures = std::iter::from_fn(|| reader.read().unwrap());
    let stamps: Vec<_> = pictures.map(|p| mdc::stamp::read(&p).unwrap()).collect();
    assert_eq!(stamps, (0..FRAMES).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_descriptions_come_by_udp_as_well() {
    let edge = Edge::start(&World::new(FRAMES), Fault::None).await;
    let report = play_url(edge.url("live?mdc=1"), |o| o.carrier = Carrier::Udp).await;
    whole(&report, u64::from(FRAMES));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_description_is_a_plain_video_of_half_the_rate() {
    let world = World::new(FRAMES);
    for path in ["live", "live/d0", "live/d1"] {
        let edge = Edge::start(&World::of(world.loaded.clone()), Fault::None).await;
        let report = play_url(edge.url(path), |_| {}).await;
        whole(&report, u64::from(FRAMES) / 2);
        assert_eq!(report.fps, Some((15, 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seconds_end_the_play_early() {
    let edge = Edge::start(&World::new(FRAMES), Fault::None).await;
    let report = play_url(edge.url("live?mdc=1"), |o| o.seconds = Some(0.5)).await;
    whole(&report, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_frames_of_one_description_are_interpolated() {
    let edge = Edge::start(&World::new(FRAMES), Fault::Loses(1, 11, 21)).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.y4m");
    let report = play_url(edge.url("live?mdc=1"), |o| o.out = Some(out.clone())).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.frames_expected, u64::from(FRAMES));
    // 11..=19 are gone; the chain is hidden until its IDR, which half a GOP's stagger puts at 15 + 30 k.
    assert!(report.frames_lost >= 5, "{report:?}");
    assert_eq!(report.frames_shown + report.frames_lost, u64::from(FRAMES));
    assert_eq!(report.frames_interpolated, report.frames_lost);
    assert_eq!(report.stamps.unwrap().stamps_lost, report.frames_lost);
    let file = std::io::BufReader::new(std::fs::File::open(out).unwrap());
    let mut reader = mdc::y4m::Reader::new(file).unwrap();
    assert_eq!(
        std::iter::from_fn(|| reader.read().unwrap()).count(),
        FRAMES as usize
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_loses_repeats_and_reorders_nothing() {
    let world = World::new(150);
    let first = Edge::start(&world, Fault::None).await;
    let second = Edge::start(&world, Fault::None).await;
    let playing = tokio::spawn(play_url(first.url("live?mdc=1"), |_| {}));
    first.played().await;
    first.hand_over(second.address, "h1", (45, 60)).await;
    let report = playing.await.unwrap();
    whole(&report, 150);
    assert_eq!(report.handoffs.len(), 1);
    let handoff = &report.handoffs[0];
    assert!(handoff.ok && handoff.frames_lost == 0, "{handoff:?}");
    assert_eq!(report.server, Some(second.address.to_string()));
    let told = world.told.lock().unwrap().clone();
    let port = first.address.port();
    let confirmations = ["d1: ok", "d0: ok"].map(|o| (port, format!("handoff: h1\r\n{o}\r\n")));
    assert_eq!(told, confirmations);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_handoffs_in_one_play_lose_nothing_by_udp() {
    let world = World::new(240);
    let edges = [
        Edge::start(&world, Fault::None).await,
        Edge::start(&world, Fault::None).await,
    ];
    let url = edges[0].url("live?mdc=1");
    let playing = tokio::spawn(play_url(url, |o| o.carrier = Carrier::Udp));
    edges[0].played().await;
    edges[0].hand_over(edges[1].address, "h1", (45, 60)).await;
    edges[1].played().await;
    edges[0].left().await;
    edges[1].hand_over(edges[0].address, "h2", (165, 180)).await;
    let report = playing.await.unwrap();
    whole(&report, 240);
    assert_eq!(
        report.handoffs.iter().filter(|handoff| handoff.ok).count(),
        2,
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handoff_leaves_the_first_server_playing() {
    for fault in [
        Fault::RefusesPlay,
        Fault::SendsNothing(1),
        Fault::WrongSource,
        Fault::Floods,
        Fault::Dies(45),
    ] {
        let world = World::new(120);
        let first = Edge::start(&world, Fault::None).await;
        let second = Edge::start(&world, fault).await;
        let playing = tokio::spawn(play_url(first.url("live?mdc=1"), |_| {}));
        first.played().await;
        first.hand_over(second.address, "h1", (45, 60)).await;
        let report = playing.await.unwrap();
        whole(&report, 120);
        let handoff = &report.handoffs[0];
        assert!(!handoff.ok, "{fault:?}: {report:?}");
        assert_eq!(report.server, Some(first.address.to_string()));
        // A server that is of no use is noticed before its time is up, and the first one is told.
        if matches!(fault, Fault::Floods | Fault::Dies(_)) {
            assert_eq!(handoff.error.as_deref(), Some("the new server went away"));
            let told = world.told.lock().unwrap().clone();
            let failed = "handoff: h1\r\nd1: failed\r\n".to_owned();
            assert_eq!(told, [(first.address.port(), failed)], "{fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_to_nobody_leaves_the_first_server_playing() {
    let world = World::new(90);
    let first = Edge::start(&world, Fault::None).await;
    let playing = tokio::spawn(play_url(first.url("live?mdc=1"), |_| {}));
    first.played().await;
    first
        .hand_over("127.0.0.1:1".parse().unwrap(), "h1", (45, 60))
        .await; // port of another service
    first
        .hand_over("127.0.0.1:65000".parse().unwrap(), "h2", (45, 60))
        .await; // nobody there
    let report = playing.await.unwrap();
    whole(&report, 90);
    assert_eq!(report.handoffs.len(), 1, "{report:?}");
    let told = world.told.lock().unwrap().clone();
    assert_eq!(
        told,
        [(
            first.address.port(),
            "handoff: h2\r\nd1: failed\r\n".to_owned()
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_handoff_plays_on_from_both_servers() {
    let world = World::new(120);
    let first = Edge::start(&world, Fault::None).await;
    let second = Edge::start(&world, Fault::SendsNothing(0)).await;
    let playing = tokio::spawn(play_url(first.url("live?mdc=1"), |_| {}));
    first.played().await;
    first.hand_over(second.address, "h1", (45, 60)).await;
    let report = playing.await.unwrap();
    whole(&report, 120);
    assert!(!report.handoffs[0].ok);
}

/// The error a hostile or dying server leads to, and soon.
async fn failure(fault: Fault) -> (Report, Duration) {
    let edge = Edge::start(&World::new(FRAMES), fault).await;
    let began = Instant::now();
    let report = play_url(edge.url("live?mdc=1"), |_| {}).await;
    assert!(!report.ok, "{fault:?}: {report:?}");
    (report, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_end_in_a_clear_error() {
    const NO_VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\n";
    const ABSURD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=framerate:999\r\na=control:d0\r\n\
        m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=framerate:999\r\na=control:d1\r\n";
    for (fault, expected) in [
        (Fault::Redirects, "more than 3 redirects"),
        (Fault::Describes("no sdp at all"), "not SDP"),
        (Fault::Describes(NO_VIDEO), "no H.264 video"),
        (Fault::Describes(ABSURD), "frame rate"),
        (Fault::Babbles, "closed the connection"),
        (Fault::Drips, "no answer to"),
        (Fault::Dies(20), "closed the connection"),
    ] {
        let (report, took) = failure(fault).await;
        let error = report.error.unwrap_or_default();
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert!(took < Duration::from_secs(10), "{fault:?} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_given_up() {
    let (report, took) = failure(Fault::FallsSilent(20)).await;
    assert!(report.error.unwrap().contains("nothing came"));
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(report.frames_shown, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_another_source_are_not_played() {
    let (report, took) = failure(Fault::WrongSource).await;
    assert_eq!(report.frames_shown, 0);
    assert!(took < Duration::from_secs(12), "{took:?}");
}
