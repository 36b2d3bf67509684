//! Sessions move from edge to edge without a frame lost; what should not move, does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use mdc::rtp::Depacketizer;
use media_edge::edge::{Mode, unix_ms};
use rtsp::handoff::{self, Confirmation, Outcome};
use rtsp::message::header;
use rtsp::peer::{Offer, Secret};
use rtsp::range::NptRange;
use rtsp::ticket::{Ticket, proof};
use rtsp::{Request, Response, StatusCode, Url};
use support::{Client, PATIENCE, TestEdge, acquaint, client_key, clock, edge, reference, until};

/// One description from one edge.
struct Stream {
    channel: u8,
    depacketizer: Depacketizer,
}

/// A connection to one edge, with what it sends.
struct Leg {
    client: Client,
    streams: Vec<(u8, Stream)>,
}

impl Leg {
    async fn connect(authority: SocketAddr) -> Leg {
        Leg {
            client: Client::connect(authority).await,
            streams: Vec::new(),
        }
    }

    async fn set_up(&mut self, description: u8, headers: &[(&'static str, &str)]) -> Response {
        let (rtp, rtcp) = (description * 2, description * 2 + 1);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}");
        let mut all = vec![("Transport", transport.as_str())];
        all.extend_from_slice(headers);
        self.client
            .expect(200, "SETUP", &format!("/quick/d{description}"), &all)
            .await
    }

    async fn play(&mut self, descriptions: &[u8], range: &str) -> Response {
        let answer = self
            .client
            .expect(200, "PLAY", "/quick", &[("Range", range)])
            .await;
        for description in descriptions {
            let depacketizer = Depacketizer::new(Some(clock(&answer, *description)));
            let stream = Stream {
                channel: description * 2,
                depacketizer,
            };
            self.streams.push((*description, stream));
        }
        answer
    }

    /// Frames in what has arrived, by description; every one whole.
    fn frames(&mut self) -> Vec<(u8, u64, Vec<u8>)> {
        let mut frames = Vec::new();
        for (channel, packet) in self.client.packets.drain(..) {
            let stream = self.streams.iter_mut().find(|(_, s)| s.channel == channel);
            let Some((description, stream)) = stream else {
                continue;
            };
            stream.depacketizer.push(&packet, 0).unwrap();
            while let Some(unit) = stream.depacketizer.pop() {
                assert!(
                    unit.complete && unit.lost_before == 0,
                    "a gap within one edge's stream"
                );
                frames.push((*description, unit.rtp_time, unit.data));
            }
        }
        frames
    }
}

/// A player that follows handoffs and writes down every frame it gets for the first time.
struct Player {
    key: SigningKey,
    leg: Leg,
    /// Per description: the next frame expected of the title repeated for ever.
    next: [u32; 2],
    /// Frames that came before their predecessor, waiting for it.
    early: [BTreeSet<u32>; 2],
    duplicates: u32,
    title: support::Reference,
    frames: [Vec<(u32, Vec<u8>)>; 2],
}

impl Player {
    async fn start(authority: SocketAddr, seed: u8) -> Player {
        let (key, text) = client_key(seed);
        let mut leg = Leg::connect(authority).await;
        let headers = [
            ("Supported", "mdc.media-edge, handoff.media-edge"),
            (handoff::KEY, &*text),
        ];
        leg.set_up(0, &headers).await;
        leg.set_up(1, &headers).await;
        leg.play(&[0, 1], "npt=0-").await;
        let title = reference("quick");
        let frames = [title.frames(0), title.frames(1)];
        Player {
            key,
            leg,
            next: [0, 1],
            early: [BTreeSet::new(), BTreeSet::new()],
            duplicates: 0,
            title,
            frames,
        }
    }

    /// Takes what a leg has; every frame has to be the file's, octet by octet.
    fn take(&mut self, frames: Vec<(u8, u64, Vec<u8>)>) -> BTreeSet<u8> {
        let mut seen = BTreeSet::new();
        for (description, rtp_time, data) in frames {
            let number = self
                .title
                .manifest
                .timing()
                .unwrap()
                .frame_at(rtp_time)
                .unwrap();
            let d = usize::from(description);
            let all = &self.frames[d];
            let original = &all[(number as usize / 2) % all.len()];
            assert!(original.1 == data, "frame {number} differs");
            seen.insert(description);
            if number < self.next[d] || !self.early[d].insert(number) {
                self.duplicates += 1;
                continue;
            }
            while self.early[d].remove(&self.next[d]) {
                self.next[d] += 2;
            }
        }
        seen
    }

    /// Plays on the present edge up to its request to move; None if `frames` more have come without one.
    async fn play_until_asked(&mut self, frames: u32) -> Option<Request> {
        let until = self.next[0] + 2 * frames;
        while self.next[0] < until {
            let frames = self.leg.frames();
            self.take(frames);
            if let Some(request) = self.leg.client.asked.pop_front() {
                return Some(request);
            }
            assert!(self.leg.client.turn().await, "the edge dropped the client");
        }
        None
    }

    /// Follows a PLAY_NOTIFY to the second edge and leaves the first.
    async fn follow(&mut self, notify: &Request) {
        assert_eq!(header(notify, "Notify-Reason"), Some(handoff::REASON));
        self.leg.client.reply(notify, StatusCode::Ok).await;
        let id = header(notify, handoff::ID).unwrap().to_owned();
        let starts = handoff::parse_start(header(notify, handoff::START).unwrap()).unwrap();
        assert_eq!(starts.iter().map(|(d, _)| *d).collect::<Vec<_>>(), [1, 0]);
        let mut second = Leg::connect(authority(notify)).await;
        claim(&mut second, notify, &self.key).await;
        for (position, (description, start)) in starts.into_iter().enumerate() {
            if position > 0 {
                second.set_up(description, &[]).await;
            }
            second
                .play(&[description], &NptRange::from(start).to_header())
                .await;
            self.play_both_until(&mut second, description).await;
            let body = Confirmation::new(&id, description, Outcome::Ok).to_body();
            let told = self
                .leg
                .client
                .request("SET_PARAMETER", "/quick", &[], &body)
                .await;
            assert!(told.status().is_success(), "{told:?}");
        }
        self.leg.client.expect(200, "TEARDOWN", "/quick", &[]).await;
        // Whatever the first edge had sent before is still worth having.
        let frames = self.leg.frames();
        self.take(frames);
        self.leg = second;
    }

    /// Takes frames from both edges until the second one has sent a frame of that description.
    async fn play_both_until(&mut self, second: &mut Leg, description: u8) {
        loop {
            let frames = self.leg.frames();
            self.take(frames);
            let frames = second.frames();
            if self.take(frames).contains(&description) {
                return;
            }
            tokio::select! {
                open = self.leg.client.turn() => assert!(open, "the first edge gave up"),
                open = second.client.turn() => assert!(open, "the second edge gave up"),
            }
        }
    }
}

fn authority(notify: &Request) -> SocketAddr {
    let location = Url::parse(header(notify, "Location").unwrap()).unwrap();
    assert_eq!(location.path(), "/quick");
    let host: std::net::IpAddr = location.host_str().unwrap().parse().unwrap();
    SocketAddr::new(host, location.port().unwrap())
}

/// OPTIONS with the ticket, then SETUP of description 1 with the proof.
async fn claim(second: &mut Leg, notify: &Request, key: &SigningKey) {
    let ticket = header(notify, handoff::TICKET).unwrap();
    let options = second
        .client
        .expect(200, "OPTIONS", "/quick", &[(handoff::TICKET, ticket)])
        .await;
    let challenge = header(&options, handoff::CHALLENGE).unwrap();
    let proof = proof::sign(key, challenge, ticket);
    second
        .set_up(1, &[(handoff::TICKET, ticket), (handoff::PROOF, &proof)])
        .await;
}

async fn pair(second_titles: Option<&std::path::Path>) -> (TestEdge, TestEdge) {
    let a = edge("a", |config| config.repeat_titles = true).await;
    let b = edge("b", |config| {
        config.repeat_titles = true;
        if let Some(titles) = second_titles {
            config.titles = titles.to_owned();
        }
    })
    .await;
    acquaint(&[&a, &b]);
    (a, b)
}

fn count(edge: &TestEdge, result: &str) -> u64 {
    edge.running
        .edge
        .metrics
        .handoffs
        .with_label_values(&[result])
        .get()
}

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

#[tokio::test(flavor = "multi_thread")]
async fn players_without_a_key_are_left_alone() {
    let (a, _b) = pair(None).await;
    let mut leg = Leg::connect(a.rtsp()).await;
    leg.set_up(0, &[]).await;
    leg.play(&[0], "npt=0-").await;
    a.running.edge.set_mode(Mode::Draining);
    while leg.client.packets.len() < 40 {
        assert!(leg.client.turn().await);
    }
    assert!(leg.client.asked.is_empty());
}

/// An offer from `a` to `b` that `b` accepts, kept open by the link returned.
async fn prepared(a: &TestEdge, b: &TestEdge, id: &str, key: &str) -> media_edge::peers::Link {
    let title = a
        .running
        .edge
        .library
        .title("quick", None, 0)
        .await
        .unwrap();
    let offer = Offer {
        handoff: id.to_owned(),
        from: a.name.clone(),
        to: b.name.clone(),
        title: "quick".to_owned(),
        title_digest: title.digest.clone(),
        repeat: true,
        starts: vec![(1, title.idr_after(1, 0, true).unwrap().1.rtp_time), (0, 0)],
        position: 0,
        session_secret: Secret(URL_SAFE_NO_PAD.encode([7; 32])),
        client_key: key.to_owned(),
        client_address: a.rtsp().ip(),
        kbit_per_second: 300,
        lease_ms: 10_000,
        reason: "drain".to_owned(),
    };
    let peers = &a.running.edge.peers;
    peers.offer(&b.name, &offer, |_| 0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_offered_is_taken_when_the_connection_stands() {
    let (a, b) = pair(None).await;
    let (_, key) = client_key(7);
    let link = prepared(&a, &b, "h1", &key).await;
    let sealed = ticket(&a, &b, "h1", &key).seal(&a.running.edge.key);
    let session = b.running.edge.incoming.check(&sealed, &b.running.edge);
    let mut offer = session.unwrap().offer.clone();
    drop(link);
    // An offer with one position in it and another one given later: the later one counts.
    offer.handoff = "h2".to_owned();
    offer.position = 90_000;
    let mut travel = None;
    let position = |expected| {
        travel = Some(expected);
        45_000
    };
    let peers = &a.running.edge.peers;
    let _link = peers.offer("b", &offer, position).await.unwrap();
    let sealed = ticket(&a, &b, "h2", &key).seal(&a.running.edge.key);
    let session = b.running.edge.incoming.check(&sealed, &b.running.edge);
    let session = session.unwrap();
    assert_eq!(session.clock.npt, 45_000);
    let shown = format!("{session:?}");
    assert!(
        shown.contains("h2") && !shown.contains("7, 7, 7"),
        "{shown}"
    );
    let secret = &session.offer.session_secret.0;
    assert!(!shown.contains(secret), "the secret is shown");
    let travel = travel.unwrap();
    assert!(!travel.is_zero() && travel < PATIENCE, "{travel:?}");
    // Without a connection nobody asks for a position.
    b.running.edge.peers.close();
    a.running.edge.fleet.store(std::sync::Arc::default());
    let answer = peers.offer("b", &offer, |_| panic!("asked too early"));
    assert!(answer.await.is_err());
}

fn ticket(a: &TestEdge, b: &TestEdge, id: &str, key: &str) -> Ticket {
    Ticket {
        handoff: id.to_owned(),
        issuer: a.name.clone(),
        audience: b.name.clone(),
        title: "quick".to_owned(),
        descriptions: vec![1, 0],
        client_key: key.to_owned(),
        first_npt: 0,
        expires_ms: unix_ms() + 9_000,
        nonce: "once".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_ticket_in_the_right_hands_opens_and_only_once() {
    let (a, b) = pair(None).await;
    let (key, text) = client_key(7);
    let (thief, thief_text) = client_key(8);
    let _link = prepared(&a, &b, "h1", &text).await;
    let signer = &a.running.edge.key;
    let good = ticket(&a, &b, "h1", &text);
    let refused = async |ticket: String| {
        let mut client = Client::connect(b.rtsp()).await;
        client
            .expect(403, "OPTIONS", "/quick", &[(handoff::TICKET, &ticket)])
            .await;
    };
    refused("garbage".to_owned()).await;
    refused(
        Ticket {
            audience: "a".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            expires_ms: unix_ms() - 1,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            expires_ms: unix_ms() + 60_000,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            handoff: "h2".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            client_key: thief_text,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            title: "clip".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            issuer: "stranger".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(good.seal(&b.running.edge.key)).await;

    let sealed = good.seal(signer);
    let with = |proof: &str| {
        vec![
            (handoff::PROOF, proof.to_owned()),
            (handoff::TICKET, sealed.clone()),
        ]
    };
    let set_up = async |client: &mut Client, status: u16, extra: Vec<(&'static str, String)>| {
        let mut headers = vec![("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")];
        headers.extend(extra.iter().map(|(name, value)| (*name, value.as_str())));
        client.expect(status, "SETUP", "/quick/d1", &headers).await;
    };
    let challenge = async |client: &mut Client| {
        let options = client
            .expect(200, "OPTIONS", "/quick", &[(handoff::TICKET, &sealed)])
            .await;
        header(&options, handoff::CHALLENGE).unwrap().to_owned()
    };
    // A stolen ticket is useless without the key, and so is a proof for another connection's challenge.
    let mut client = Client::connect(b.rtsp()).await;
    set_up(&mut client, 403, vec![(handoff::TICKET, sealed.clone())]).await;
    let asked = challenge(&mut client).await;
    set_up(
        &mut client,
        403,
        with(&proof::sign(&thief, &asked, &sealed)),
    )
    .await;
    set_up(&mut client, 403, with(&proof::sign(&key, &asked, &sealed))).await; // a challenge serves once
    let mut other = Client::connect(b.rtsp()).await;
    let others = challenge(&mut other).await;
    challenge(&mut client).await;
    set_up(&mut client, 403, with(&proof::sign(&key, &others, &sealed))).await;
    // The right one opens, once.
    let asked = challenge(&mut client).await;
    set_up(&mut client, 200, with(&proof::sign(&key, &asked, &sealed))).await;
    let asked = challenge(&mut other).await;
    set_up(&mut other, 403, with(&proof::sign(&key, &asked, &sealed))).await;
    let refusals = &b.running.edge.metrics.tickets_refused;
    assert_eq!(refusals.with_label_values(&["replayed"]).get(), 1);
    assert_eq!(refusals.with_label_values(&["audience"]).get(), 1);
    assert_eq!(refusals.with_label_values(&["expired"]).get(), 2);
    assert_eq!(refusals.with_label_values(&["proof"]).get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_outside_the_map_gets_no_connection() {
    let (a, b) = pair(None).await;
    let rogue = edge("rogue", |_| {}).await;
    // The stranger knows where everybody is; they do not know it.
    let mut known = vec![a.as_fleet_edge(), b.as_fleet_edge()];
    known.push(rogue.as_fleet_edge());
    rogue
        .running
        .edge
        .fleet
        .store(std::sync::Arc::new(media_edge::fleet::Fleet::new(known)));
    assert!(rogue.running.edge.peers.probe("b").await.is_err());
    assert!(a.running.edge.peers.probe("b").await.is_ok());
    // Nor does an edge pass as another: the key is checked in both directions.
    let mut posing = b.as_fleet_edge();
    posing.handoff = Some(rogue.running.handoff);
    let fleet = media_edge::fleet::Fleet::new(vec![a.as_fleet_edge(), posing]);
    a.running.edge.fleet.store(std::sync::Arc::new(fleet));
    assert!(a.running.edge.peers.probe("b").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_do_not_add_up_are_refused() {
    let (a, b) = pair(None).await;
    let (_, key) = client_key(7);
    drop(prepared(&a, &b, "fine", &key).await);
    let title = a
        .running
        .edge
        .library
        .title("quick", None, 0)
        .await
        .unwrap();
    let good = Offer {
        handoff: "h".to_owned(),
        from: "a".to_owned(),
        to: "b".to_owned(),
        title: "quick".to_owned(),
        title_digest: title.digest.clone(),
        repeat: true,
        starts: vec![(0, 0)],
        position: 0,
        session_secret: Secret(URL_SAFE_NO_PAD.encode([7; 32])),
        client_key: key,
        client_address: a.rtsp().ip(),
        kbit_per_second: 300,
        lease_ms: 10_000,
        reason: "drain".to_owned(),
    };
    let offers = [
        (
            "malformed",
            Offer {
                from: "c".into(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                to: "c".into(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![(0, 3_000)],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![(9, 0)],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                session_secret: Secret("AA".into()),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                client_key: String::new(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                position: 90_000 * 3_600,
                ..good.clone()
            },
        ),
        (
            "no_title",
            Offer {
                title: "nothing".into(),
                ..good.clone()
            },
        ),
        (
            "no_title",
            Offer {
                title: "../clip".into(),
                ..good.clone()
            },
        ),
        (
            "other_title",
            Offer {
                title: "clip".into(),
                ..good.clone()
            },
        ),
    ];
    for (reason, offer) in offers {
        let position = offer.position;
        let answer = a.running.edge.peers.offer("b", &offer, |_| position).await;
        let Err(media_edge::peers::OfferError::Refused(given)) = answer else {
            panic!("{reason}: {answer:?}")
        };
        assert_eq!(given, reason);
    }
    b.running.edge.set_mode(Mode::Draining);
    let answer = a.running.edge.peers.offer("b", &good, |_| 0).await;
    assert!(answer.unwrap_err().to_string().contains("draining"));
}
