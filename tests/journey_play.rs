//! The player against real edges: a title whole, over both transports, and moved from edge to edge.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mdc::pattern;
use mdc::split::{Settings, encode_title};
use media_edge::edge::Mode;
use media_edge::fleet::{self, Fleet};
use media_edge::{Config, Running};
use player::events::{Happening, Listener, deaf};
use player::session::Carrier;
use player::{Options, Report, Source, play};
use service::shutdown::{self, Shutdown};
use tokio::sync::mpsc;

/// A drain waits for at most two GOPs of the title (2 s each); the rest is patience with a busy machine.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// Writes a stamped title of `seconds` seconds, 320x180 at 30 frames per second, in two descriptions.
fn create_title(titles: &Path, seconds: u32) {
    let mut settings = Settings::new("live", 320, 180, (30, 1)).unwrap();
    settings.stamp = true;
    let pictures = (0..seconds * 30).map(|n| Ok::<_, ()>(pattern::picture(n, 320, 180)));
    let title = encode_title(pictures, settings, None)
        .map_err(|_| "no title")
        .unwrap();
    let folder = titles.join("live");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("title.toml"), title.manifest.to_toml()).unwrap();
    for (entry, file) in title.manifest.descriptions.iter().zip(&title.files) {
        std::fs::write(folder.join(&entry.file), file).unwrap();
    }
}

/// Starts an edge on free ports of loopback, with the titles in `folder`.
async fn start_edge(name: &str, folder: &Path, shutdown: &Shutdown) -> Running {
    start_edge_with(name, folder, shutdown, |_| {}).await
}

/// The same, with something changed.
async fn start_edge_with(
    name: &str,
    folder: &Path,
    shutdown: &Shutdown,
    change: impl FnOnce(&mut Config),
) -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        name: name.into(),
        listen: vec![any],
        handoff: any,
        admin: any,
        titles: folder.join("titles"),
        identity: folder.join(format!("{name}.key")),
        ..Config::default()
    };
    config.limits.handoff_min_stay_seconds = 0;
    change(&mut config);
    media_edge::start(config, shutdown.clone()).await.unwrap()
}

/// Lets the edges know each other, as a release of the map would.
fn introduce(edges: &[&Running]) {
    let known = |edge: &&Running| fleet::Edge {
        name: edge.edge.config.name.clone(),
        region: "here".into(),
        at: None,
        addresses: vec![edge.rtsp[0].ip()],
        rtsp_port: edge.rtsp[0].port(),
        handoff: Some(edge.handoff),
        public_key: Some(edge.public_key),
    };
    let all: Vec<_> = edges.iter().map(known).collect();
    edges
        .iter()
        .for_each(|edge| edge.edge.fleet.store(Arc::new(Fleet::new(all.clone()))));
}

async fn play_at(
    edge: &Running,
    path: &str,
    listener: Listener,
    change: impl FnOnce(&mut Options),
) -> Report {
    let url = format!("rtsp://{}/{path}", edge.rtsp[0]);
    let mut options = Options::new(url.parse::<Source>().unwrap());
    change(&mut options);
    let (_keep, shutdown) = shutdown::channel();
    play(options, listener, shutdown).await
}

/// Every frame shown once and in order: by the player's count, and as read from the decoded pixels.
fn whole(report: &Report, frames: u64) {
    let text = serde_json::to_string(report).unwrap();
    assert!(report.ok, "{text}");
    let counts = (
        report.frames_expected,
        report.frames_shown,
        report.frames_lost,
    );
    assert_eq!(counts, (frames, frames, 0), "{text}");
    assert_eq!(
        (report.frames_repeated, report.frames_out_of_order),
        (0, 0),
        "{text}"
    );
    let stamps = report.stamps.unwrap();
    let faults = (
        stamps.stamps_lost,
        stamps.stamps_repeated,
        stamps.stamps_out_of_order,
    );
    assert_eq!((stamps.stamps_read, faults), (frames, (0, 0, 0)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_is_played_whole_over_tcp_and_udp() {
    let folder = tempfile::tempdir().unwrap();
    create_title(&folder.path().join("titles"), 6);
    let (_trigger, shutdown) = shutdown::channel();
    let edge = start_edge("e1", folder.path(), &shutdown).await;
    let tcp = play_at(&edge, "live?mdc=1", deaf(), |_| {});
    let udp = play_at(&edge, "live?mdc=1", deaf(), |options| {
        options.carrier = Carrier::Udp
    });
    let (tcp, udp) = tokio::join!(tcp, udp);
    whole(&tcp, 180);
    whole(&udp, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_description_plays_alone() {
    let folder = tempfile::tempdir().unwrap();
    create_title(&folder.path().join("titles"), 2);
    let (_trigger, shutdown) = shutdown::channel();
    let edge = start_edge("e1", folder.path(), &shutdown).await;
    for path in ["live", "live/d0", "live/d1"] {
        whole(&play_at(&edge, path, deaf(), |_| {}).await, 30);
    }
}

/// Plays at the first edge and drains edges in turn: each drain starts when the move before is done.
async fn drained(edges: &[&Running], carrier: Carrier, drains: &[usize], resume: bool) -> Report {
    let (sender, mut happenings) = mpsc::unbounded_channel();
    let listener: Listener = Arc::new(move |happening| {
        sender.send(happening).ok();
    });
    let playing = play_at(edges[0], "live?mdc=1", listener, |options| {
        options.carrier = carrier
    });
    let draining = async {
        wait_for(&mut happenings, |h| matches!(h, Happening::Joined(_))).await;
        for index in drains {
            edges[*index].edge.set_mode(Mode::Draining);
            wait_for(&mut happenings, |h| {
                matches!(h, Happening::HandoffDone { .. })
            })
            .await;
            if resume {
                edges[*index].edge.set_mode(Mode::Serving);
            }
        }
    };
    let (report, drained) = tokio::join!(
        playing,
        tokio::time::timeout(DRAIN_DEADLINE * drains.len() as u32, draining)
    );
    assert!(
        drained.is_ok(),
        "a drain did not end: {}",
        serde_json::to_string(&report).unwrap()
    );
    report
}

async fn wait_for(
    happenings: &mut mpsc::UnboundedReceiver<Happening>,
    fits: impl Fn(&Happening) -> bool,
) {
    while let Some(happening) = happenings.recv().await {
        if fits(&happening) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_edge_hands_the_player_over_and_no_frame_is_lost() {
    for carrier in [Carrier::Tcp, Carrier::Udp] {
        let folder = tempfile::tempdir().unwrap();
        create_title(&folder.path().join("titles"), 8);
        let (_trigger, shutdown) = shutdown::channel();
        let first = start_edge("e1", folder.path(), &shutdown).await;
        let second = start_edge("e2", folder.path(), &shutdown).await;
        introduce(&[&first, &second]);
        let report = drained(&[&first, &second], carrier, &[0], false).await;
        whole(&report, 240);
        assert_eq!(report.handoffs.len(), 1);
        let handoff = &report.handoffs[0];
        assert!(handoff.ok && handoff.frames_lost == 0, "{handoff:?}");
        assert_eq!(report.server, Some(second.rtsp[0].to_string()));
        assert_eq!(first.edge.sessions.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_edge_dies_half_way_and_the_first_carries_on() {
    let folder = tempfile::tempdir().unwrap();
    create_title(&folder.path().join("titles"), 8);
    let (_trigger, shutdown) = shutdown::channel();
    let (end_of_second, second_shutdown) = shutdown::channel();
    let first = start_edge("e1", folder.path(), &shutdown).await;
    let second = start_edge("e2", folder.path(), &second_shutdown).await;
    introduce(&[&first, &second]);
    let (sender, mut happenings) = mpsc::unbounded_channel();
    let listener: Listener = Arc::new(move |happening| {
        sender.send(happening).ok();
    });
    let playing = play_at(&first, "live?mdc=1", listener, |_| {});
    let killing = async {
        wait_for(&mut happenings, |h| matches!(h, Happening::Joined(_))).await;
        first.edge.set_mode(Mode::Draining);
        wait_for(&mut happenings, |h| {
            matches!(h, Happening::HandoffMoved { .. })
        })
        .await;
        first.edge.set_mode(Mode::Serving);
        end_of_second.fire();
    };
    let (report, ()) = tokio::join!(playing, killing);
    whole(&report, 240);
    assert!(!report.handoffs[0].ok, "{:?}", report.handoffs);
    assert_eq!(report.handoffs[0].frames_lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_is_handed_on_from_edge_to_edge_and_back() {
    let folder = tempfile::tempdir().unwrap();
    create_title(&folder.path().join("titles"), 14);
    let (_trigger, shutdown) = shutdown::channel();
    let first = start_edge("e1", folder.path(), &shutdown).await;
    let second = start_edge("e2", folder.path(), &shutdown).await;
    introduce(&[&first, &second]);
    let report = drained(&[&first, &second], Carrier::Tcp, &[0, 1, 0], true).await;
    whole(&report, 420);
    assert_eq!(
        report.handoffs.iter().filter(|handoff| handoff.ok).count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_handoffs_in_a_row_lose_no_frame_though_one_edge_has_to_fetch_the_title() {
    const HANDOFFS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    // A move takes up to one GOP and a half: from the offer to the IDR of D1, then to that of D0.
    let seconds = 4 * HANDOFFS as u32;
    create_title(&folder.path().join("titles"), seconds);
    let (_trigger, shutdown) = shutdown::channel();
    let first = start_edge("e1", folder.path(), &shutdown).await;
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let second = start_edge("e2", &elsewhere, &shutdown).await;
    introduce(&[&first, &second]);
    let drains: Vec<usize> = (0..HANDOFFS).map(|number| number % 2).collect();
    let report = drained(&[&first, &second], Carrier::Tcp, &drains, true).await;
    whole(&report, u64::from(seconds) * 30);
    let done: Vec<_> = report
        .handoffs
        .iter()
        .filter(|handoff| handoff.ok)
        .collect();
    assert_eq!(done.len(), HANDOFFS, "{:?}", report.handoffs);
    assert!(
        done.iter().all(|handoff| handoff.frames_lost == 0),
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_above_its_limit_hands_a_session_on_and_nobody_loses_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    create_title(&folder.path().join("titles"), 8);
    let (_trigger, shutdown) = shutdown::channel();
    let limited = |config: &mut Config| config.limits.sessions_soft = 2;
    let first = start_edge_with("e1", folder.path(), &shutdown, limited).await;
    let second = start_edge("e2", folder.path(), &shutdown).await;
    introduce(&[&first, &second]);
    let play = || play_at(&first, "live?mdc=1", deaf(), |_| {});
    let reports: [Report; 3] = tokio::join!(play(), play(), play()).into();
    for report in &reports {
        whole(report, 240);
    }
    let moved: Vec<_> = reports.iter().flat_map(|report| &report.handoffs).collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(
        moved[0].ok && moved[0].to == second.rtsp[0].to_string(),
        "{moved:?}"
    );
}
