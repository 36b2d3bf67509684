//! A session on its way to another edge, seen from the first edge: what was told, what is confirmed, when to give up.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rtsp::handoff::{self, Outcome};
use rtsp::locator::Locator;
use rtsp::message;
use rtsp::peer::{Message, Offer, Secret};
use rtsp::range::Npt;
use rtsp::ticket::{LIFETIME_MS_MAX, Ticket};
use rtsp::{Method, Request, Url};

use super::play::Play;
use super::schedule::Sending;
use crate::edge::{Edge, unix_ms};
use crate::handoff::first::{Negotiation, negotiate};
use crate::sessions::Reason;

/// The first IDR moved lies at least this far ahead (90 kHz ticks): what a player needs to connect on a short path.
/// A player that is later gets the frames in between in a burst, so nothing depends on it.
const LEAD_TICKS: u64 = 90_000 / 5;
/// Longest wait for an edge that takes the session.
const OFFER_DEADLINE: Duration = Duration::from_secs(8);
/// Longest wait for the player's answer to PLAY_NOTIFY.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// A description has to be confirmed this long after its first frame was due.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(3);
/// After the last confirmation the player may say TEARDOWN itself; then it is dropped.
const GRACE: Duration = Duration::from_secs(1);
/// How long the second edge keeps its place.
const LEASE_MS: u64 = 10_000;
/// Most edges remembered as having failed: more than are asked in a minute, so those forgotten may be better by now.
const AVOID_MAX: usize = 100;
/// Pause after a failed move.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// One handoff.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) id: String,
    /// The second edge, once there is one.
    pub(super) to: Option<String>,
    pub(super) negotiation: Negotiation,
    /// Where each description starts at the second edge, first moved first.
    starts: Vec<(u8, u64)>,
    confirmed: BTreeSet<u8>,
    /// `CSeq` of our PLAY_NOTIFY while it is unanswered.
    pub(super) asked: Option<u32>,
    pub(super) deadline: Instant,
}

/// Where a handoff stands after news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// On its way.
    Going,
    /// Every description is confirmed: the client can be dropped when the deadline comes.
    Done,
    /// Off: take back what was held.
    Off(&'static str),
}

impl Play {
    /// Starts looking for another edge; false if the session cannot move now.
    pub(super) fn start_moving(
        &mut self,
        edge: &Arc<Edge>,
        client: SocketAddr,
        reason: Reason,
        now: Instant,
    ) -> bool {
        let (Some(clock), Some(client_key), None) = (
            self.schedule.clock,
            self.client_key.clone(),
            self.moving.as_ref(),
        ) else {
            return false;
        };
        let Some(starts) = self.starts(now) else {
            return false;
        };
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>());
        let kbit_per_second = starts
            .iter()
            .map(|(description, _)| self.title.kbit_per_second(*description))
            .sum();
        let offer = Offer {
            handoff: id.clone(),
            from: edge.config.name.clone(),
            to: String::new(),
            title: self.title.manifest.name.clone(),
            title_digest: self.title.digest.clone(),
            repeat: self.repeat,
            starts: starts.clone(),
            position: 0,
            session_secret: Secret(URL_SAFE_NO_PAD.encode(self.secret.0)),
            client_key,
            client_address: client.ip(),
            kbit_per_second,
            lease_ms: LEASE_MS,
            reason: match reason {
                Reason::Drain => "drain".to_owned(),
                Reason::Load => "load".to_owned(),
            },
        };
        let negotiation = negotiate(Arc::clone(edge), offer, clock, self.avoid.clone());
        self.moving = Some(Moving {
            id,
            to: None,
            negotiation,
            starts,
            confirmed: BTreeSet::new(),
            asked: None,
            deadline: now + OFFER_DEADLINE,
        });
        self.show();
        true
    }

    /// The last description first, at its next IDR, then the others at theirs, each at or after the one before.
    fn starts(&self, now: Instant) -> Option<Vec<(u8, u64)>> {
        let mut from = self.schedule.position(now).saturating_add(LEAD_TICKS);
        let mut starts = Vec::new();
        let mut descriptions = self.descriptions(Sending::On);
        descriptions.sort_unstable_by(|a, b| b.cmp(a));
        for description in descriptions {
            let (_, frame) = self.title.idr_after(description, from, self.repeat)?;
            starts.push((description, frame.rtp_time));
            from = frame.rtp_time;
        }
        (!starts.is_empty()).then_some(starts)
    }

    /// The PLAY_NOTIFY for an edge that is prepared.
    pub(super) fn notify(
        &mut self,
        edge: &Edge,
        second: (&str, SocketAddr),
        url: &Url,
        cseq: u32,
        now: Instant,
    ) -> Option<Request> {
        self.schedule.clock?; // paused meanwhile: nothing to hand on
        let client_key = self.client_key.clone()?;
        let (name, authority) = second;
        let moving = self.moving.as_mut()?;
        moving.to = Some(name.to_owned());
        moving.asked = Some(cseq);
        moving.deadline = now + ANSWER_DEADLINE;
        let (_, first_npt) = *moving.starts.first()?;
        // SETUP of the first description needs the ticket, later ones do not: its life need not cover them.
        let ticket = Ticket {
            handoff: moving.id.clone(),
            issuer: edge.config.name.clone(),
            audience: name.to_owned(),
            title: self.title.manifest.name.clone(),
            descriptions: moving
                .starts
                .iter()
                .map(|(description, _)| *description)
                .collect(),
            client_key,
            first_npt,
            expires_ms: unix_ms() + LIFETIME_MS_MAX - 1_000,
            nonce: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()),
        };
        let locator = Locator {
            title: self.title.manifest.name.clone(),
            description: None,
            grouped: self.schedule.cursors.len() > 1,
        };
        let starts: Vec<(u8, Npt)> = moving.starts.iter().map(|(d, t)| (*d, Npt(*t))).collect();
        let headers = [
            ("Session", self.id.0.clone()),
            ("Notify-Reason", handoff::REASON.to_owned()),
            (handoff::ID, moving.id.clone()),
            ("Location", format!("rtsp://{authority}{}", locator.path())),
            (handoff::TICKET, ticket.seal(&edge.key)),
            (handoff::START, handoff::start_to_header(&starts)),
        ];
        self.show();
        Some(message::request(
            Method::PlayNotify,
            url,
            cseq,
            &headers,
            b"",
        ))
    }

    /// The player has answered PLAY_NOTIFY.
    pub(super) fn answered(&mut self, willing: bool) -> Outlook {
        let Some(clock) = self.schedule.clock else {
            return Outlook::Off("paused");
        };
        let Some(moving) = self.moving.as_mut() else {
            return Outlook::Going;
        };
        moving.asked = None;
        if !willing {
            return Outlook::Off("unwilling");
        }
        let last = moving
            .starts
            .iter()
            .map(|(_, start)| *start)
            .max()
            .unwrap_or(0);
        moving.deadline = clock.due(last).max(Instant::now()) + CONFIRM_DEADLINE;
        Outlook::Going
    }

    /// The player says how a description fares at the second edge.
    pub(super) fn confirm(&mut self, description: u8, outcome: Outcome) -> Outlook {
        let Some(moving) = self.moving.as_mut() else {
            return Outlook::Going;
        };
        if !moving.starts.iter().any(|(moved, _)| *moved == description) {
            return Outlook::Going;
        }
        if outcome == Outcome::Failed {
            return Outlook::Off("failed");
        }
        moving.confirmed.insert(description);
        let done = moving.confirmed.len() == moving.starts.len();
        if done {
            moving.deadline = Instant::now() + GRACE;
        }
        if let Some(cursor) = self.schedule.cursor_mut(description)
            && cursor.sending == Sending::On
        {
            cursor.sending = Sending::Held;
        }
        self.stalled = None;
        self.show();
        if done { Outlook::Done } else { Outlook::Going }
    }

    /// Something arrived from the second edge, or the link to it is gone.
    pub(super) fn heard(&mut self, message: &Message) -> Outlook {
        match message {
            Message::Aborted { reason, .. } => {
                tracing::info!(reason, "the second edge gives a handoff up");
                if self.all_confirmed() {
                    Outlook::Done
                } else {
                    Outlook::Off("aborted")
                }
            }
            _ => Outlook::Going,
        }
    }

    /// Whether the client has every description from the second edge.
    pub(super) fn all_confirmed(&self) -> bool {
        self.moving
            .as_ref()
            .is_some_and(|moving| moving.confirmed.len() == moving.starts.len())
    }

    /// The handoff is off: the second edge is told, held descriptions are sent again.
    pub(super) fn give_up_moving(&mut self, reason: &'static str, now: Instant) {
        let Some(moving) = self.moving.take() else {
            return;
        };
        tracing::info!(
            reason,
            to = moving.to,
            "a handoff is off; this edge carries on"
        );
        let handoff = moving.id.clone();
        moving.negotiation.tell(Message::Aborted {
            handoff,
            reason: reason.to_owned(),
        });
        // All that were asked, not only the last one: those that are dead or full must not be asked first again.
        let asked = moving.negotiation.asked();
        self.avoid.retain(|edge| !asked.contains(edge));
        self.avoid.extend(asked);
        let too_many = self.avoid.len().saturating_sub(AVOID_MAX);
        self.avoid.drain(..too_many);
        self.take_back(now);
    }
}
