//! Other people's players against a media edge: ffmpeg and GStreamer play the default URL and each description
//! alone, over TCP and UDP, and follow a 302 to another edge. Every decoded frame is counted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use media_edge::edge::Mode;
use media_edge::fleet::{Edge, Fleet};
use media_edge::{Config, Running, title};
use service::shutdown::{self, Trigger};
use signpost_tests::tools;
use tokio::process::Command;

/// Size of the test title's pictures, pixels.
const WIDTH: usize = 128;
const HEIGHT: usize = 96;
/// Its 3 seconds have 90 frames, 45 in each description.
const SECONDS: u32 = 3;
const FRAMES_OF_ONE_DESCRIPTION: usize = 45;
/// A player that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(40);

struct TestEdge {
    running: Running,
    _stop: Trigger,
    _folder: tempfile::TempDir,
}

fn titles() -> &'static Path {
    static TITLES: OnceLock<PathBuf> = OnceLock::new();
    TITLES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let settings = title::Settings {
            name: Some("clip".to_owned()),
            gop_ms: 1_000,
            ..title::Settings::default()
        };
        let input = format!("pattern:{WIDTH}x{HEIGHT}@30:{SECONDS}s");
        title::create(&input, &folder, &settings, |_| {}).unwrap();
        folder
    })
}

async fn start(name: &str) -> TestEdge {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        name: name.to_owned(),
        listen: vec![any],
        handoff: any,
        admin: any,
        titles: titles().to_owned(),
        identity: folder.path().join("identity.key"),
        ..Config::default()
    };
    let (stop, shutdown) = shutdown::channel();
    let running = media_edge::start(config, shutdown).await.unwrap();
    TestEdge {
        running,
        _stop: stop,
        _folder: folder,
    }
}

fn url(edge: &TestEdge, path: &str) -> String {
    format!("rtsp://{}{path}", edge.running.rtsp[0])
}

/// Frames that ffmpeg decodes.
async fn ffmpeg(url: &str, transport: &str) -> usize {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-rtsp_transport",
        transport,
        "-i",
        url,
    ]);
    command.args(["-fps_mode", "passthrough", "-f", "framecrc", "-"]);
    let output = run(command).await;
    output.lines().filter(|line| !line.starts_with('#')).count()
}

/// Frames that ffprobe counts.
async fn ffprobe(url: &str, transport: &str) -> usize {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-rtsp_transport", transport, "-count_frames"]);
    command.args([
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
        url,
    ]);
    run(command).await.trim().parse().unwrap()
}

/// Frames that GStreamer's rtspsrc and decoder write as raw pictures.
async fn gstreamer(url: &str, transport: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pictures.i420");
    let mut command = Command::new("gst-launch-1.0");
    command.args([
        "-q",
        "rtspsrc",
        &format!("location={url}"),
        &format!("protocols={transport}"),
    ]);
    command.args([
        "latency=200",
        "!",
        "rtph264depay",
        "!",
        "h264parse",
        "!",
        "avdec_h264",
        "!",
    ]);
    command.args([
        "videoconvert",
        "!",
        "video/x-raw,format=I420",
        "!",
        "filesink",
    ]);
    command.arg(format!("location={}", file.display()));
    run(command).await;
    let octets = std::fs::metadata(&file).unwrap().len() as usize;
    octets / (WIDTH * HEIGHT * 3 / 2)
}

async fn run(mut command: Command) -> String {
    command.kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("hangs: {command:?}"))
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn has_gstreamer() -> bool {
    tools::available(
        "gst-launch-1.0",
        "gstreamer1.0-tools (with gstreamer1.0-plugins-base, -good, -bad and gstreamer1.0-libav)",
    )
}

const PATHS: [&str; 3] = ["/clip", "/clip/d0", "/clip/d1"];

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_every_url_over_tcp_and_udp() {
    if !tools::available("ffmpeg", "ffmpeg") {
        return;
    }
    let edge = start("a").await;
    for path in PATHS {
        for transport in ["tcp", "udp"] {
            let frames = ffmpeg(&url(&edge, path), transport).await;
            assert_eq!(frames, FRAMES_OF_ONE_DESCRIPTION, "{path} over {transport}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ffprobe_counts_every_frame() {
    if !tools::available("ffprobe", "ffmpeg") {
        return;
    }
    let edge = start("a").await;
    let frames = ffprobe(&url(&edge, "/clip"), "tcp").await;
    assert_eq!(frames, FRAMES_OF_ONE_DESCRIPTION);
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamer_plays_every_url_over_tcp_and_udp() {
    if !has_gstreamer() {
        return;
    }
    let edge = start("a").await;
    for path in PATHS {
        for transport in ["tcp", "udp"] {
            let frames = gstreamer(&url(&edge, path), transport).await;
            assert_eq!(frames, FRAMES_OF_ONE_DESCRIPTION, "{path} over {transport}");
        }
    }
}

/// One edge that drains, and another that takes its players.
async fn draining_and_other() -> (TestEdge, TestEdge) {
    let (draining, other) = (start("draining").await, start("other").await);
    let fleet_edge = |edge: &TestEdge| Edge {
        name: edge.running.edge.config.name.clone(),
        region: "here".to_owned(),
        at: None,
        addresses: vec![edge.running.rtsp[0].ip()],
        rtsp_port: edge.running.rtsp[0].port(),
        handoff: Some(edge.running.handoff),
        public_key: Some(edge.running.public_key),
    };
    let fleet = Arc::new(Fleet::new(vec![fleet_edge(&draining), fleet_edge(&other)]));
    for edge in [&draining, &other] {
        edge.running.edge.fleet.store(Arc::clone(&fleet));
    }
    draining.running.edge.set_mode(Mode::Draining);
    (draining, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_follows_a_redirect_to_another_edge() {
    if !tools::available("ffmpeg", "ffmpeg") {
        return;
    }
    let (draining, _other) = draining_and_other().await;
    let frames = ffmpeg(&url(&draining, "/clip/d1"), "tcp").await;
    assert_eq!(frames, FRAMES_OF_ONE_DESCRIPTION);
    assert_eq!(draining.running.edge.metrics.redirects.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamer_follows_a_redirect_to_another_edge() {
    if !has_gstreamer() {
        return;
    }
    let (draining, _other) = draining_and_other().await;
    let frames = gstreamer(&url(&draining, "/clip"), "udp").await;
    assert_eq!(frames, FRAMES_OF_ONE_DESCRIPTION);
    assert_eq!(draining.running.edge.metrics.redirects.get(), 1);
}
