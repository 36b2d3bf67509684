//! A player by script: it follows handoffs and writes down every frame, octet by octet.
#![allow(
    missing_docs,
    dead_code,
    reason = "part of two tests, each of which uses its own half"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use mdc::rtp::Depacketizer;
use rtsp::handoff::{self, Confirmation, Outcome};
use rtsp::message::header;
use rtsp::range::NptRange;
use rtsp::ticket::proof;
use rtsp::{Request, Response, StatusCode, Url};

use crate::support::{self, Client, TestEdge, acquaint, client_key, clock, edge, reference};

/// One description from one edge.
pub(crate) struct Stream {
    pub channel: u8,
    pub depacketizer: Depacketizer,
}

/// A connection to one edge, with what it sends.
pub(crate) struct Leg {
    pub client: Client,
    pub streams: Vec<(u8, Stream)>,
}

impl Leg {
    pub(crate) async fn connect(authority: SocketAddr) -> Leg {
        Leg {
            client: Client::connect(authority).await,
            streams: Vec::new(),
        }
    }

    pub(crate) async fn set_up(
        &mut self,
        description: u8,
        headers: &[(&'static str, &str)],
    ) -> Response {
        let (rtp, rtcp) = (description * 2, description * 2 + 1);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}");
        let mut all = vec![("Transport", transport.as_str())];
        all.extend_from_slice(headers);
        self.client
            .expect(200, "SETUP", &format!("/quick/d{description}"), &all)
            .await
    }

    pub(crate) async fn play(&mut self, descriptions: &[u8], range: &str) -> Response {
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
    pub(crate) fn frames(&mut self) -> Vec<(u8, u64, Vec<u8>)> {
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
pub(crate) struct Player {
    pub key: SigningKey,
    pub leg: Leg,
    /// Per description: the next frame expected of the title repeated for ever.
    pub next: [u32; 2],
    /// Frames that came before their predecessor, waiting for it.
    pub early: [BTreeSet<u32>; 2],
    pub duplicates: u32,
    pub title: support::Reference,
    pub frames: [Vec<(u32, Vec<u8>)>; 2],
}

impl Player {
    pub(crate) async fn start(authority: SocketAddr, seed: u8) -> Player {
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
    pub(crate) fn take(&mut self, frames: Vec<(u8, u64, Vec<u8>)>) -> BTreeSet<u8> {
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
    pub(crate) async fn play_until_asked(&mut self, frames: u32) -> Option<Request> {
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
    pub(crate) async fn follow(&mut self, notify: &Request) {
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
    pub(crate) async fn play_both_until(&mut self, second: &mut Leg, description: u8) {
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

pub(crate) fn authority(notify: &Request) -> SocketAddr {
    let location = Url::parse(header(notify, "Location").unwrap()).unwrap();
    assert_eq!(location.path(), "/quick");
    let host: std::net::IpAddr = location.host_str().unwrap().parse().unwrap();
    SocketAddr::new(host, location.port().unwrap())
}

/// OPTIONS with the ticket, then SETUP of description 1 with the proof.
pub(crate) async fn claim(second: &mut Leg, notify: &Request, key: &SigningKey) {
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

/// Two edges that know each other and repeat their titles; the second may have a folder of its own.
pub(crate) async fn pair(second_titles: Option<&std::path::Path>) -> (TestEdge, TestEdge) {
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

/// Handoffs of one outcome, as the edge counts them.
pub(crate) fn count(edge: &TestEdge, result: &str) -> u64 {
    edge.running
        .edge
        .metrics
        .handoffs
        .with_label_values(&[result])
        .get()
}
