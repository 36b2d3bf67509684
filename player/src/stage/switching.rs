//! The play loop's part of a switch to another server of our own accord (C9, C10).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use super::moves::Leaving;
use super::{SILENCE_MAX, Stage};
use crate::events::Happening;
use crate::flow::Flow;
use crate::report::SwitchReport;
use crate::resolve::millis;
use crate::session::Carrier;
use crate::switch::{Step, Switch};
use crate::watch::{Complaint, Totals};

/// Between two attempts; while nothing plays at all there is no time for more.
const PAUSE: Duration = Duration::from_secs(2);
/// A server taken is given this long before it is complained about.
const PATIENCE: Duration = Duration::from_secs(3);
/// Servers remembered as unsatisfactory.
const AVOIDED_MAX: usize = 8;

/// What is known of switches.
#[derive(Default)]
pub(super) struct Switching {
    /// The one under way.
    now: Option<Attempt>,
    not_before: Option<Instant>,
    avoid: Vec<SocketAddr>,
}

struct Attempt {
    began: Instant,
    reason: String,
    from: SocketAddr,
    token: String,
    /// The new session's connection, once there is one.
    connection: Option<u64>,
}

impl Stage {
    /// Looks whether service is acceptable, and does something about it if not.
    pub(super) fn judge(&mut self, now: Instant) {
        if self.finder.is_none() || self.moving.is_some() || self.switching.now.is_some() {
            self.watch.reset();
            return;
        }
        let Some(complaint) = self.complaint(now) else {
            return;
        };
        let rested = self.switching.not_before.is_none_or(|at| now >= at);
        if rested && self.leaving.is_none() {
            self.switch(complaint, now);
        }
    }

    fn complaint(&mut self, now: Instant) -> Option<Complaint> {
        let (merger, timing) = (self.merger.as_ref()?, self.manner.timing.as_ref()?);
        if !self.manner.merged || self.flows.iter().any(|flow| flow.ended) || self.ended {
            return None;
        }
        // Near the end there is nothing to be had from anybody.
        let reached = merger.highest().unwrap_or(0).max(merger.next_frame());
        let (num, den) = timing.fps();
        let second = num / den.max(1);
        if self
            .end()
            .is_some_and(|end| reached.saturating_add(second) >= end)
        {
            return None;
        }
        if self.flows.is_empty() {
            return Some(Complaint::Outage);
        }
        if !self.watch.due(now) {
            return None;
        }
        let rate = f64::from(num) / f64::from(den) / f64::from(timing.descriptions());
        // Inside a connection nothing gets lost: numbers missing there are of frames that were left out.
        let lost = |flow: &Flow| match self.manner.carrier {
            Carrier::Tcp => 0,
            Carrier::Udp => flow.counts().lost,
        };
        let totals = |flow: &Flow| Totals {
            description: flow.description,
            frames: flow.units,
            packets_lost: lost(flow),
        };
        let mut totals: Vec<_> = self.flows.iter().map(totals).collect();
        totals.sort_by_key(|totals| totals.description);
        let silence = now.saturating_duration_since(self.last_packet);
        self.watch.look(now, totals, rate, silence)
    }

    /// Whether another server may still turn up, so that an empty stage is no end yet.
    pub(super) fn may_switch(&self) -> bool {
        let recent = self.last_packet.elapsed() <= SILENCE_MAX;
        self.finder.is_some() && self.manner.merged && recent
    }

    fn switch(&mut self, complaint: Complaint, now: Instant) {
        let (Some(finder), Some(timing)) = (self.finder.clone(), self.manner.timing.clone()) else {
            return;
        };
        let Some(from) = self
            .report
            .server
            .as_ref()
            .and_then(|server| server.parse().ok())
        else {
            return;
        };
        let reason = complaint.to_string();
        (self.listener)(Happening::Unhappy(reason.clone()));
        if !self.switching.avoid.contains(&from) {
            self.switching.avoid.push(from);
        }
        let excess = self.switching.avoid.len().saturating_sub(AVOIDED_MAX);
        self.switching.avoid.drain(..excess);
        // The next parts: from the first frame that is not here if nothing comes any more; otherwise from
        // where the old server is by then, or the new one would stay behind it, and every frame be late.
        let next = self.merger.as_ref().map_or(0, |merger| merger.next_frame());
        let first = match complaint {
            Complaint::Outage => Arc::new(AtomicU32::new(next)),
            Complaint::Thinned(..) | Complaint::Lossy(..) => self.reached.clone(),
        };
        let switch = Switch {
            finder,
            avoid: self.switching.avoid.clone(),
            first,
            timing,
            key: self.key.clone(),
            carrier: self.manner.carrier,
            steps: self.steps_in.clone(),
        };
        self.switching.now = Some(Attempt {
            began: now,
            reason,
            from,
            token: String::new(),
            connection: None,
        });
        tokio::spawn(switch.run());
    }

    pub(super) fn switch_step(&mut self, step: Step) {
        match step {
            Step::SetUp(session, set_ups) => {
                let connection = session.connection.id;
                if let Some(attempt) = &mut self.switching.now {
                    attempt.connection = Some(connection);
                }
                self.seat(session);
                for set_up in &set_ups {
                    self.add_flow(Flow::new(connection, set_up, self.started));
                }
            }
            Step::Started(connection, clocks) => {
                for (description, clock) in clocks {
                    let mut flows = self.flows.iter_mut();
                    let flow =
                        flows.find(|f| f.connection == connection && f.description == description);
                    if let Some(flow) = flow {
                        flow.start(clock);
                    }
                }
            }
            Step::Over(Ok(token)) => self.switch_joined(token),
            Step::Over(Err(reason)) => self.switch_failed(&reason),
        }
    }

    /// The new server plays: the old one is left when the new one has caught up.
    fn switch_joined(&mut self, token: String) {
        let Some(attempt) = &mut self.switching.now else {
            return;
        };
        attempt.token = token;
        let Some(new) = attempt.connection else {
            return;
        };
        let mut others = self.seats.iter().map(|seat| seat.session.connection.id);
        let old = others.find(|id| *id != new).unwrap_or(0); // 0: nobody's; the old one is gone
        self.leaving = Some(Leaving {
            old,
            new,
            switched: true,
        });
    }

    fn switch_failed(&mut self, reason: &str) {
        tracing::info!(reason, "no switch");
        let attempt = self.switching.now.take();
        self.switching.not_before = Some(Instant::now() + PAUSE);
        if let Some(connection) = attempt.and_then(|attempt| attempt.connection) {
            self.retire(|flow| flow.connection == connection);
            self.leave_unused_seats();
        }
    }

    /// The connection of the server we were switching to has closed.
    pub(super) fn switch_lost(&mut self, connection: u64) {
        if self
            .leaving
            .is_some_and(|leaving| leaving.new == connection)
        {
            self.leaving = None;
        }
        let attempt = self.switching.now.as_ref();
        if attempt.is_some_and(|attempt| attempt.connection == Some(connection)) {
            self.switch_failed("the other server closed the connection");
        }
    }

    /// Whether an attempt is under way.
    pub(super) fn is_switching(&self) -> bool {
        self.switching.now.is_some()
    }

    /// The old server is left: the switch is complete.
    pub(super) fn switched(&mut self, new: u64) {
        let Some(attempt) = self.switching.now.take() else {
            return;
        };
        let now = Instant::now();
        self.switching.not_before = Some(now + PATIENCE);
        let mut seats = self.seats.iter();
        let Some(seat) = seats.find(|seat| seat.session.connection.id == new) else {
            return;
        };
        let to = seat.session.connection.peer;
        (self.listener)(Happening::Switched {
            from: attempt.from,
            to,
        });
        self.report.server = Some(to.to_string());
        self.report.token = Some(attempt.token.clone());
        self.report.switches.push(SwitchReport {
            reason: attempt.reason,
            from: attempt.from.to_string(),
            to: to.to_string(),
            token: attempt.token,
            duration_ms: millis(now.saturating_duration_since(attempt.began)),
        });
    }
}
