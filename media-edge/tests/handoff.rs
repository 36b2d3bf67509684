//! Sessions move from edge to edge without a frame lost; what should not move, does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
mod scripted;
mod support;

use std::collections::BTreeSet;

use media_edge::edge::Mode;
use rtsp::StatusCode;
use rtsp::handoff::{self, Confirmation, Outcome};
use rtsp::message::header;
use rtsp::range::NptRange;
use scripted::{Leg, Player, authority, claim, count, pair};
use support::{TestEdge, acquaint, edge, until};

/// Moves a session to and fro and plays on a little after each move.
async fn to_and_fro(a: &TestEdge, b: &TestEdge, times: u64) -> Player {
    let mut player = Player::start(a.rtsp(), 7).await;
    player.play_until_asked(5).await;
    for round in 0..times {
        let (from, to) = if round % 2 == 0 { (a, b) } else { (b, a) };
        to.running.edge.set_mode(Mode::Serving);
        from.running.edge.set_mode(Mode::Draining);
        let notify = player
            .play_until_asked(300)
            .await
            .expect("never asked to move");
        player.follow(&notify).await;
        assert!(player.play_until_asked(3).await.is_none());
        until("the first edge is empty", || {
            from.running.edge.sessions.is_empty()
        })
        .await;
        assert_eq!(to.running.edge.sessions.len(), 1);
    }
    assert!(
        player.early.iter().all(BTreeSet::is_empty),
        "a gap: {:?}",
        player.early
    );
    assert!(
        player.duplicates > 0,
        "both edges never sent at once: that was break before make"
    );
    player
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_handoffs_to_and_fro_lose_and_repeat_nothing() {
    let (a, b) = pair(None).await;
    let player = to_and_fro(&a, &b, 20).await;
    assert_eq!(count(&a, "released") + count(&b, "released"), 20);
    println!(
        "frames up to {:?}, {} duplicates",
        player.next, player.duplicates
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_edge_may_pull_the_title_from_the_first() {
    let empty = tempfile::tempdir().unwrap();
    let (a, b) = pair(Some(empty.path())).await;
    to_and_fro(&a, &b, 4).await;
    assert!(
        b.running
            .edge
            .metrics
            .fetches
            .with_label_values(&["ok"])
            .get()
            > 3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_above_its_soft_limit_moves_sessions_to_one_with_room() {
    let (a, b) = {
        let a = edge("a", |config| {
            config.repeat_titles = true;
            config.limits.sessions_soft = 0;
            config.limits.handoff_min_stay_seconds = 0;
        })
        .await;
        let b = edge("b", |config| config.repeat_titles = true).await;
        acquaint(&[&a, &b]);
        (a, b)
    };
    let mut player = Player::start(a.rtsp(), 3).await;
    let notify = player
        .play_until_asked(300)
        .await
        .expect("never asked to move");
    player.follow(&notify).await;
    until("it has moved", || a.running.edge.sessions.is_empty()).await;
    assert_eq!(
        b.running.edge.sessions.list()[0]
            .view()
            .came_from
            .as_deref(),
        Some("a")
    );
    assert!(player.play_until_asked(10).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_session_does_not_keep_the_others_from_moving_for_load() {
    let a = edge("a", |config| {
        config.repeat_titles = true;
        config.limits.sessions_soft = 1;
        config.limits.handoff_min_stay_seconds = 0;
    })
    .await;
    let b = edge("b", |config| config.repeat_titles = true).await;
    acquaint(&[&a, &b]);
    let mut paused = Player::start(a.rtsp(), 3).await;
    paused.leg.client.expect(200, "PAUSE", "/quick", &[]).await;
    let mut player = Player::start(a.rtsp(), 4).await;
    let notify = player.play_until_asked(300).await;
    player.follow(&notify.expect("never asked to move")).await;
    until("one is left", || a.running.edge.sessions.len() == 1).await;
    // The load is gone: the paused one goes on here.
    paused.leg.client.expect(200, "PLAY", "/quick", &[]).await;
    assert!(paused.play_until_asked(40).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_second_edge_dies_half_way_the_first_carries_on_without_a_gap() {
    let (a, b) = pair(None).await;
    let mut player = Player::start(a.rtsp(), 5).await;
    player.play_until_asked(5).await;
    a.running.edge.set_mode(Mode::Draining);
    let notify = player
        .play_until_asked(300)
        .await
        .expect("never asked to move");
    player.leg.client.reply(&notify, StatusCode::Ok).await;
    let id = header(&notify, handoff::ID).unwrap().to_owned();
    let starts = handoff::parse_start(header(&notify, handoff::START).unwrap()).unwrap();
    let mut second = Leg::connect(authority(&notify)).await;
    claim(&mut second, &notify, &player.key).await;
    second
        .play(&[1], &NptRange::from(starts[0].1).to_header())
        .await;
    player.play_both_until(&mut second, 1).await;
    let body = Confirmation::new(&id, 1, Outcome::Ok).to_body();
    player
        .leg
        .client
        .request("SET_PARAMETER", "/quick", &[], &body)
        .await;
    // The first edge now sends d0 only; the second one is gone from one moment to the next.
    b.running.edge.peers.close();
    drop(second);
    b.trigger.fire();
    // Both descriptions come from the first edge again, and nothing is missing.
    a.running.edge.set_mode(Mode::Serving);
    assert!(player.play_until_asked(60).await.is_none());
    assert!(
        player.early.iter().all(|early| early.len() < 3),
        "a gap: {:?}",
        player.early
    );
    assert!(
        player.next[1] + 20 > player.next[0],
        "description 1 did not come back"
    );
    assert_eq!(count(&a, "second_edge_lost"), 1);
    assert_eq!(a.running.edge.sessions.list()[0].view().sending, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_declines_or_never_comes_stays() {
    let (a, b) = pair(None).await;
    let mut player = Player::start(a.rtsp(), 5).await;
    a.running.edge.set_mode(Mode::Draining);
    let first = player
        .play_until_asked(300)
        .await
        .expect("never asked to move");
    player
        .leg
        .client
        .reply(&first, StatusCode::NotEnoughBandwidth)
        .await;
    // It asks again later; this time the player says yes and does nothing.
    let second = player.play_until_asked(300).await.expect("not asked again");
    assert_eq!(count(&a, "unwilling"), 1);
    player.leg.client.reply(&second, StatusCode::Ok).await;
    a.running.edge.set_mode(Mode::Serving);
    assert!(player.play_until_asked(100).await.is_none());
    assert!(player.early.iter().all(BTreeSet::is_empty));
    assert_eq!(count(&a, "late"), 1);
    until("the place is given back", || {
        b.running.edge.incoming.reserved() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_that_refuse_do_not_keep_a_session_from_one_that_takes_it() {
    let a = edge("a", |config| config.repeat_titles = true).await;
    let mut edges = Vec::new();
    // As many as are asked at one go, all of them before the last one by name.
    for name in ["b", "c", "d", "e", "f"] {
        let refusing = edge(name, |config| config.repeat_titles = true).await;
        refusing.running.edge.set_mode(Mode::Draining);
        edges.push(refusing);
    }
    edges.push(edge("z", |config| config.repeat_titles = true).await);
    let mut all: Vec<&TestEdge> = edges.iter().collect();
    all.push(&a);
    acquaint(&all);
    let mut player = Player::start(a.rtsp(), 5).await;
    a.running.edge.set_mode(Mode::Draining);
    let notify = player
        .play_until_asked(300)
        .await
        .expect("never asked to move");
    assert_eq!(count(&a, "no_taker"), 1);
    assert_eq!(authority(&notify), edges[5].rtsp());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_during_a_handoff_ends_it_and_a_drain_asks_again() {
    let (a, b) = pair(None).await;
    let mut player = Player::start(a.rtsp(), 5).await;
    player.play_until_asked(5).await;
    a.running.edge.set_mode(Mode::Draining);
    let notify = player
        .play_until_asked(300)
        .await
        .expect("never asked to move");
    player.leg.client.reply(&notify, StatusCode::Ok).await;
    let mut second = Leg::connect(authority(&notify)).await;
    claim(&mut second, &notify, &player.key).await;
    let id = header(&notify, handoff::ID).unwrap().to_owned();
    let body = Confirmation::new(&id, 1, Outcome::Ok).to_body();
    let client = &mut player.leg.client;
    client.request("SET_PARAMETER", "/quick", &[], &body).await;
    player.leg.streams.clear();
    player.leg.play(&[0, 1], "npt=2-").await;
    player.leg.client.packets.clear(); // what came before the answer
    assert_eq!(count(&a, "seek"), 1);
    assert_eq!(a.running.edge.sessions.list()[0].view().sending, [0, 1]);
    let answer = player
        .leg
        .client
        .request("SET_PARAMETER", "/quick", &[], &body)
        .await;
    assert_eq!(answer.status(), StatusCode::PreconditionFailed);
    until("the place is given back", || {
        b.running.edge.incoming.reserved() == 0
    })
    .await;
    player.next = [60, 61];
    player.early = [BTreeSet::new(), BTreeSet::new()];
    let again = player.play_until_asked(300).await.expect("not asked again");
    assert_ne!(header(&again, handoff::ID).unwrap(), id);
}
