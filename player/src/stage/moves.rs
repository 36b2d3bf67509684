//! What servers ask of us, handoffs above all: the play loop's part of them.

use std::sync::Arc;
use std::time::Instant;

use mdc::merge::Merger;
use mdc::title::Timing;
use rtsp::message::header;
use rtsp::{Method, Request, StatusCode, handoff as wire};
use tokio::sync::oneshot;

use super::{Seat, Stage};
use crate::events::Happening;
use crate::flow::Flow;
use crate::handoff::{Handoff, Offer, Step};
use crate::report::HandoffReport;
use crate::resolve::millis;
use crate::session::Session;

/// A handoff under way.
pub(super) struct Moving {
    id: String,
    began: Instant,
    from: Arc<Session>,
    to: Option<Arc<Session>>,
    pub(super) arrivals: Vec<Arrival>,
    /// Its place in the report.
    entry: usize,
}

/// Where the first frame of one description from the new server is waited for.
pub(super) struct Arrival {
    pub(super) description: u8,
    pub(super) connection: u64,
    /// The first frame from there.
    pub(super) first: Option<u32>,
    tell: Option<oneshot::Sender<()>>,
}

/// Two servers send; one is left as soon as the other has caught up with it.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    /// The connection that will not be needed.
    pub(super) old: u64,
    /// The one that stays.
    pub(super) new: u64,
    /// A switch of our own, as opposed to a handoff that failed.
    pub(super) switched: bool,
}

impl Stage {
    /// Answers a server's request, in a task of its own.
    pub(super) fn request(&mut self, connection: u64, request: Request) {
        let Some(seat) = self
            .seats
            .iter()
            .find(|s| s.session.connection.id == connection)
        else {
            return;
        };
        let session = seat.session.clone();
        let status = match request.method() {
            Method::PlayNotify => self.notice(&session, &request),
            Method::Options | Method::GetParameter | Method::SetParameter => StatusCode::Ok,
            Method::Teardown => {
                self.end_of(connection);
                StatusCode::Ok
            }
            _ => StatusCode::NotImplemented,
        };
        tokio::spawn(async move { session.connection.answer(&request, status).await });
    }

    pub(super) fn notice(&mut self, session: &Arc<Session>, request: &Request) -> StatusCode {
        match header(request, "Notify-Reason").map(str::trim) {
            Some(wire::REASON) => {}
            Some("end-of-stream") => {
                self.end_of(session.connection.id);
                return StatusCode::Ok;
            }
            _ => return StatusCode::NotificationReasonUnknown,
        }
        let descriptions = self.manner.timing.as_ref().map_or(1, Timing::descriptions);
        let peer = session.connection.peer.ip();
        match Offer::read(request, peer, &session.url, descriptions) {
            Err((status, reason)) => {
                tracing::warn!(%reason, "a handoff was refused");
                status
            }
            // The same notice twice is one handoff; another one has to wait its turn.
            Ok(_) if self.leaving.is_some() || self.is_switching() => {
                StatusCode::MethodNotValidInThisState
            }
            Ok(offer) => match &self.moving {
                Some(moving) if moving.id == offer.id => StatusCode::Ok,
                Some(_) => StatusCode::MethodNotValidInThisState,
                None => {
                    self.begin_handoff(session.clone(), offer);
                    StatusCode::Ok
                }
            },
        }
    }

    pub(super) fn begin_handoff(&mut self, from: Arc<Session>, offer: Offer) {
        (self.listener)(Happening::HandoffBegun {
            id: offer.id.clone(),
            to: offer.to,
        });
        let first = self.merger.as_ref().map_or(0, Merger::next_frame);
        self.report.handoffs.push(HandoffReport {
            id: offer.id.clone(),
            from: from.connection.peer.to_string(),
            to: offer.to.to_string(),
            ok: false,
            error: Some("the play ended first".into()),
            duration_ms: 0.0,
            frames_lost: 0,
            frames: (first, u32::MAX),
        });
        self.moving = Some(Moving {
            id: offer.id.clone(),
            began: Instant::now(),
            from: from.clone(),
            to: None,
            arrivals: Vec::new(),
            entry: self.report.handoffs.len() - 1,
        });
        let sources = self
            .flows
            .iter()
            .filter_map(|flow| Some((flow.description, flow.ssrc()?)));
        let handoff = Handoff {
            offer,
            from,
            key: self.key.clone(),
            carrier: self.manner.carrier,
            sources: sources.collect(),
            events: self.events_in.clone(),
            steps: self.steps_in.clone(),
        };
        tokio::spawn(handoff.run());
    }

    pub(super) fn handoff_step(&mut self, id: &str, step: Step) {
        let Some(moving) = self.moving.as_mut().filter(|moving| moving.id == id) else {
            return;
        };
        match step {
            Step::SetUp(session, set_up, tell) => {
                let connection = session.connection.id;
                moving.arrivals.push(Arrival {
                    description: set_up.description,
                    connection,
                    first: None,
                    tell: Some(tell),
                });
                if moving.to.is_none() {
                    moving.to = Some(session.clone());
                    self.seat(session);
                }
                self.add_flow(Flow::new(connection, &set_up, self.started));
            }
            Step::Started(connection, description, clock) => {
                let mut flows = self.flows.iter_mut();
                let fits =
                    |f: &&mut Flow| f.connection == connection && f.description == description;
                if let Some(flow) = flows.find(fits) {
                    flow.start(clock);
                }
            }
            Step::Moved(description) => {
                // The old flow stays until the end: after a failure its server sends what it held back.
                let id = id.to_owned();
                (self.listener)(Happening::HandoffMoved { id, description });
            }
            Step::Over(outcome) => self.end_handoff(outcome),
        }
    }

    pub(super) fn end_handoff(&mut self, outcome: Result<(), String>) {
        let Some(moving) = self.moving.take() else {
            return;
        };
        let duration_ms = millis(moving.began.elapsed());
        let highest = self.flows.iter().filter_map(|flow| flow.highest).max();
        let last = highest.map_or(0, |highest| highest.saturating_add(1));
        let id = moving.id;
        if let Some(entry) = self.report.handoffs.get_mut(moving.entry) {
            entry.ok = outcome.is_ok();
            entry.error = outcome.as_ref().err().cloned();
            entry.duration_ms = duration_ms;
            entry.frames.1 = last;
        }
        match outcome {
            Ok(()) => {
                let from = moving.from.connection.id;
                self.retire(|flow| flow.connection == from);
                self.seats.retain(|seat| seat.session.connection.id != from);
                if let Some(to) = moving.to {
                    self.report.server = Some(to.connection.peer.to_string());
                }
                (self.listener)(Happening::HandoffDone { id, duration_ms });
            }
            Err(reason) => {
                // What had moved comes from the new server until the old one has caught up with it; the
                // rest never left.
                let arrived = |flow: &Flow| {
                    let mut arrivals = moving.arrivals.iter();
                    let here = arrivals.find(|a| {
                        a.connection == flow.connection && a.description == flow.description
                    });
                    here.is_none_or(|arrival| arrival.tell.is_none())
                };
                self.retire(|flow| !arrived(flow));
                self.leaving = moving.to.map(|to| Leaving {
                    old: to.connection.id,
                    new: moving.from.connection.id,
                    switched: false,
                });
                self.leave_unused_seats();
                (self.listener)(Happening::HandoffFailed { id, reason });
            }
        }
    }

    /// The connection of the server we were moving to is of no use any more: nothing will arrive there.
    pub(super) fn handoff_lost(&mut self, connection: u64) {
        if let Some(moving) = &mut self.moving {
            moving.arrivals.retain(|a| a.connection != connection);
        }
    }

    /// Tells the handoff of a description that has arrived: its first frame is here, and the old server's
    /// frames reach up to it, so that nothing is missing in between when the old one stops.
    pub(super) fn arrivals(&mut self) {
        let (Some(moving), Some(timing)) = (&mut self.moving, &self.manner.timing) else {
            return;
        };
        for arrival in &mut moving.arrivals {
            let Some(first) = arrival.first else { continue };
            let from = moving.from.connection.id;
            let old = |flow: &Flow| {
                flow.connection == from && flow.description == arrival.description && !flow.ended
            };
            let reached = match self.flows.iter().find(|flow| old(flow)) {
                None => true, // the old server has stopped by itself
                Some(flow) => flow
                    .highest
                    .is_some_and(|highest| timing.successor(highest) >= first),
            };
            if reached && let Some(tell) = arrival.tell.take() {
                tell.send(()).ok();
            }
        }
    }

    /// Leaves the server that is not needed once the other one has caught up with it: after a failed
    /// handoff the new one, after a switch the old one. A server switched to may stay a little behind, as
    /// both send in real time; what it sends has no gap, and play-out waits for it if it has to.
    pub(super) fn leave(&mut self) {
        let Some(Leaving { old, new, switched }) = self.leaving else {
            return;
        };
        let (num, den) = self.manner.timing.as_ref().map_or((0, 1), Timing::fps);
        let behind = if switched { num / den.max(1) } else { 0 };
        let of = |connection| move |flow: &&Flow| flow.connection == connection;
        let caught_up = |gone: &Flow| {
            let mut staying = self.flows.iter().filter(of(new));
            let reached = |f: &Flow| f.highest.map(|highest| highest.saturating_add(behind));
            staying.any(|f| f.description == gone.description && reached(f) >= gone.highest)
        };
        let playing = self
            .flows
            .iter()
            .filter(of(new))
            .all(|flow| flow.highest.is_some());
        if !playing || !self.flows.iter().filter(of(old)).all(caught_up) {
            return;
        }
        self.leaving = None;
        self.retire(|flow| flow.connection == old);
        self.leave_unused_seats();
        if switched {
            self.switched(new);
        }
    }

    /// Sessions that carry nothing are torn down.
    pub(super) fn leave_unused_seats(&mut self) {
        let flows = &self.flows;
        let used = |seat: &Seat| {
            let id = seat.session.connection.id;
            flows.iter().any(|flow| flow.connection == id)
        };
        let (used, unused): (Vec<_>, Vec<_>) = self.seats.drain(..).partition(used);
        self.seats = used;
        for seat in unused {
            tokio::spawn(async move { seat.session.tear_down().await });
        }
    }
}
