//! Handoff, tier A: a server asks us to go on at another one. Make before break, description by
//! description; the old server keeps sending until we say that the new one's frames are here.
//!
//! ```text
//!  notice ─► OPTIONS+ticket ─► SETUP+proof ─► PLAY ─► first frame ─► "d1: ok" ─┐
//!                              SETUP ◄──────── the next description ◄──────────┘ … ─► TEARDOWN
//!  any failure before a confirmation: "d1: failed", the old server carries on
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use mdc::rtp::Clock;
use rtsp::handoff::{self, Confirmation, Outcome};
use rtsp::locator::{self, Locator};
use rtsp::message::header;
use rtsp::range::Npt;
use rtsp::ticket::{self, proof};
use rtsp::{Method, Request, StatusCode, Url, capabilities};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::connection::{Connection, Event, RtspError, request};
use crate::location;
use crate::session::{Carrier, Session, SetUp, Started, control_url};
use crate::stage;

/// The first frame after PLAY: its IDR may be a whole GOP of two descriptions away.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(12);
/// Longest id believed.
const ID_OCTETS_MAX: usize = 128;

/// A server's notice, read and found acceptable.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The handoff's id.
    pub id: String,
    /// The new server.
    pub to: SocketAddr,
    /// The title there.
    pub url: Url,
    /// The permission, to be shown there.
    pub ticket: String,
    /// First moment of each description, in the order in which they move.
    pub starts: Vec<(u8, Npt)>,
}

impl Offer {
    /// Reads a PLAY_NOTIFY that came from `from`, where `title` is played in `descriptions` descriptions.
    ///
    /// # Errors
    /// The status to answer with, and why; the old server then keeps us.
    pub fn read(
        notice: &Request,
        from: IpAddr,
        title: &Url,
        descriptions: u8,
    ) -> Result<Offer, (StatusCode, String)> {
        let refuse = |what: &str| (StatusCode::BadRequest, what.to_owned());
        let id = header(notice, handoff::ID)
            .unwrap_or_default()
            .trim()
            .to_owned();
        if id.is_empty() || id.len() > ID_OCTETS_MAX || id.chars().any(char::is_control) {
            return Err(refuse("no usable Handoff-Id"));
        }
        let ticket = header(notice, handoff::TICKET)
            .unwrap_or_default()
            .trim()
            .to_owned();
        if ticket.is_empty() || ticket.len() > ticket::TEXT_OCTETS_MAX {
            return Err(refuse("no usable Ticket"));
        }
        let starts = header(notice, handoff::START).and_then(handoff::parse_start);
        let starts = starts.ok_or_else(|| refuse("no usable Handoff-Start"))?;
        let mut named: Vec<u8> = starts.iter().map(|(description, _)| *description).collect();
        named.sort_unstable();
        if named != (0..descriptions).collect::<Vec<_>>() {
            return Err(refuse("Handoff-Start does not name every description once"));
        }
        let location = header(notice, "Location").ok_or_else(|| refuse("no Location"))?;
        let mut url = Url::parse(location.trim()).map_err(|_| refuse("Location is no URL"))?;
        let to = location::literal(from, &url)
            .map_err(|reason| (StatusCode::Forbidden, format!("Location refused: {reason}")))?;
        let named = |url: &Url| Locator::parse(url).map(|locator| locator.title);
        if named(&url).is_none() || named(&url) != named(title) {
            return Err(refuse("Location names another title"));
        }
        url.set_query(None);
        Ok(Offer {
            id,
            to,
            url,
            ticket,
            starts,
        })
    }
}

/// What the play loop has to do on the way.
pub enum Step {
    /// Packets of this description will come on the new session; tell when its first frame is here
    /// *and* the old server's frames reach up to it.
    SetUp(Arc<Session>, SetUp, oneshot::Sender<()>),
    /// PLAY is answered; the clock is the new server's, or else the old one goes on.
    Started(u64, u8, Option<Clock>),
    /// The old server has been told that this description is here.
    Moved(u8),
    /// All over.
    Over(Result<(), String>),
}

/// Why a handoff came to nothing.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Rtsp(#[from] RtspError),
    #[error("{0} gave no challenge")]
    NoChallenge(SocketAddr),
    #[error("the new server's source is not the old one's (d{0})")]
    Source(u8),
    #[error("no frame of d{0} came in time")]
    NoFrame(u8),
    #[error("the new server went away")]
    Gone,
    #[error("the play has ended")]
    Ended,
}

/// All that a handoff needs to know.
pub struct Handoff {
    /// The notice.
    pub offer: Offer,
    /// The session that is to be left.
    pub from: Arc<Session>,
    /// The key whose public half the first SETUP carried.
    pub key: SigningKey,
    /// Transport.
    pub carrier: Carrier,
    /// Synchronisation source of each description so far: it must stay the same.
    pub sources: Vec<(u8, u32)>,
    /// What connections say.
    pub events: mpsc::Sender<Event>,
    /// To the play loop.
    pub steps: mpsc::Sender<stage::Step>,
}

impl Handoff {
    /// Runs to its end; the last step says how it went.
    pub async fn run(self) {
        let mut moved = Vec::new();
        let outcome = self.take_over(&mut moved).await;
        if outcome.is_err() {
            let failed = self.offer.starts.iter().find(|(d, _)| !moved.contains(d));
            if let Some((description, _)) = failed {
                let body = Confirmation::new(&self.offer.id, *description, Outcome::Failed);
                // The old server finds out by its own deadline, should it not hear this.
                self.from.tell(&body.to_body()).await.ok();
            }
        }
        self.step(Step::Over(outcome.map_err(|failure| failure.to_string())))
            .await
            .ok();
    }

    async fn take_over(&self, moved: &mut Vec<u8>) -> Result<(), Failure> {
        let offer = &self.offer;
        let connection = Connection::open(offer.to, self.events.clone()).await?;
        let challenge = challenge(&connection, offer).await?;
        let session = Session::new(
            connection,
            offer.url.clone(),
            self.carrier,
            self.events.clone(),
        );
        let session = Arc::new(session);
        let proof = proof::sign(&self.key, &challenge, &offer.ticket);
        let admission = [
            (handoff::TICKET, offer.ticket.clone()),
            (handoff::PROOF, proof),
            (handoff::KEY, proof::key_text(&self.key.verifying_key())),
        ];
        for (index, (description, start)) in offer.starts.iter().enumerate() {
            let extra: &[_] = if index == 0 { &admission } else { &[] };
            self.move_one(&session, *description, *start, extra).await?;
            moved.push(*description);
        }
        self.from.tear_down().await.ok();
        Ok(())
    }

    async fn move_one(
        &self,
        session: &Arc<Session>,
        description: u8,
        start: Npt,
        extra: &[(&'static str, String)],
    ) -> Result<(), Failure> {
        let control = locator::control(description);
        let url = control_url(&self.offer.url, &control)?;
        let set_up = session.set_up(&url, description, extra).await?;
        let before = self
            .sources
            .iter()
            .find(|(d, _)| *d == description)
            .map(|(_, ssrc)| *ssrc);
        let set_up = SetUp {
            ssrc: set_up.ssrc.or(before),
            ..set_up
        };
        if set_up.ssrc != before {
            return Err(Failure::Source(description));
        }
        let (arrived, arrival) = oneshot::channel();
        self.step(Step::SetUp(session.clone(), set_up, arrived))
            .await?;
        let started = session.play(Some(start)).await?;
        let clock = clock(&started, &control, start);
        self.step(Step::Started(session.connection.id, description, clock))
            .await?;
        match timeout(FIRST_FRAME_TIMEOUT, arrival).await {
            Err(_) => return Err(Failure::NoFrame(description)),
            Ok(Err(_)) => return Err(Failure::Gone),
            Ok(Ok(())) => {}
        }
        let body = Confirmation::new(&self.offer.id, description, Outcome::Ok).to_body();
        // A server that has gone by now has nothing left to be told: its frames come from the new one.
        self.from.tell(&body).await.ok();
        self.step(Step::Moved(description)).await
    }

    async fn step(&self, step: Step) -> Result<(), Failure> {
        let step = stage::Step::Handoff(self.offer.id.clone(), step);
        let sent = self.steps.send(step).await;
        sent.map_err(|_| Failure::Ended)
    }
}

async fn challenge(connection: &Connection, offer: &Offer) -> Result<String, Failure> {
    let headers = [
        ("Supported", capabilities::supported()),
        (handoff::TICKET, offer.ticket.clone()),
    ];
    let answer = connection
        .request(request(Method::Options, &offer.url, &headers))
        .await?;
    let challenge = header(&answer, handoff::CHALLENGE).map(str::trim);
    let challenge = challenge.filter(|text| !text.is_empty());
    Ok(challenge.ok_or(Failure::NoChallenge(offer.to))?.to_owned())
}

/// What a stream's timestamps mean after PLAY: RTP-Info's `rtptime` is the answered range's start
/// (RFC 2326 §12.33).
pub fn clock(started: &Started, control: &str, asked: Npt) -> Option<Clock> {
    let info = started.stream(control)?;
    let rtptime = info.rtptime?;
    let rtp_time = started.start.unwrap_or(asked).0;
    Some(Clock {
        rtptime,
        rtp_time,
        sequence: info.seq,
    })
}

#[cfg(test)]
mod tests {
    use rtsp::message;

    use super::*;

    fn notice(changes: &[(&'static str, &str)]) -> Request {
        let usual = [
            ("Notify-Reason", handoff::REASON),
            (handoff::ID, "h1"),
            ("Location", "rtsp://127.0.1.2:8554/live?mdc=1"),
            (handoff::TICKET, "dGlja2V0"),
            (handoff::START, "d1=2.033333, d0=3.000000"),
        ];
        let header = |(name, value): &(&'static str, &str)| {
            let changed = changes.iter().find(|(n, _)| n == name);
            (*name, changed.map_or(*value, |(_, v)| v).to_owned())
        };
        let headers: Vec<_> = usual.iter().map(header).collect();
        let url = Url::parse("rtsp://127.0.1.1:8554/live").unwrap();
        message::request(Method::PlayNotify, &url, 1, &headers, b"")
    }

    fn read(changes: &[(&'static str, &str)]) -> Result<Offer, (StatusCode, String)> {
        let title = Url::parse("rtsp://127.0.1.1:8554/live").unwrap();
        Offer::read(&notice(changes), "127.0.1.1".parse().unwrap(), &title, 2)
    }

    #[test]
    fn a_notice_says_where_when_and_with_what_permission() {
        let offer = read(&[]).unwrap();
        assert_eq!(offer.to, "127.0.1.2:8554".parse().unwrap());
        assert_eq!(offer.url.as_str(), "rtsp://127.0.1.2:8554/live");
        assert_eq!(offer.starts, [(1, Npt(183_000)), (0, Npt(270_000))]);
    }

    #[test]
    fn notices_that_lead_astray_are_refused() {
        for change in [
            ("Location", "rtsp://127.0.1.2:8554/other?mdc=1"),
            ("Location", "rtsp://edge.example:8554/live"),
            ("Location", "http://127.0.1.2:8554/live"),
            ("Location", "rtsp://127.0.1.2:22/live"),
            (handoff::START, "d1=2.0"),
            (handoff::START, "d1=2.0, d1=3.0"),
            (handoff::START, "d1=2.0, d0=3.0, d2=4.0"),
            (handoff::ID, ""),
            (handoff::TICKET, ""),
        ] {
            assert!(read(&[change]).is_err(), "{change:?}");
        }
    }

    #[test]
    fn the_clock_is_the_range_start_at_rtptime() {
        let info = rtsp::rtp_info::RtpInfo {
            url: "rtsp://127.0.1.2:8554/live/d1".into(),
            seq: Some(7),
            rtptime: Some(99),
        };
        let started = Started {
            start: Some(Npt(183_000)),
            streams: vec![info],
        };
        let clock = clock(&started, "d1", Npt(0)).unwrap();
        assert_eq!(
            (clock.rtptime, clock.rtp_time, clock.sequence),
            (99, 183_000, Some(7))
        );
    }
}
