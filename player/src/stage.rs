//! The play loop: packets of all servers in, frames in order out to the screen, at their time.
//!
//! ```text
//!  connections ─► events ─┐                    ┌─► flows ─► merger ─► pace ─► shots ─► screen (thread)
//!  handoffs ────► steps ──┴─► Stage::run ──────┤
//!  clock ─────────────────┘                    └─► receiver reports, keep-alives, answers (own tasks)
//! ```
//! The loop itself never waits for a server: whatever talks to one runs in a task and reports back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use mdc::merge::{self, Merger};
use mdc::rtp::AccessUnit;
use mdc::title::Timing;
use rtsp::{Method, Request, StatusCode, handoff as wire, message::header};
use service::shutdown::Shutdown;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use crate::connection::{Event, Incoming};
use crate::events::{Happening, Listener};
use crate::flow::Flow;
use crate::handoff::{Handoff, Offer, Step};
use crate::pace::Pace;
use crate::report::{DescriptionReport, HandoffReport, Report};
use crate::resolve::millis;
use crate::screen::{self, Shot, Shown};
use crate::session::{Carrier, Session};

/// Longest time without any packet before the play is given up.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// Silence after which a title that has all but its last frames is taken as ended.
const TAIL_SILENCE: Duration = Duration::from_millis(1500);
/// Receiver reports go out this often (RFC 3550 §6.2: five seconds).
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The loop wakes at least this often, to give up gaps and notice silence.
const TICK: Duration = Duration::from_millis(20);
/// Frames on their way to the screen: about a second.
const SHOTS: usize = 64;
/// Units kept while the frame rate is being learnt: two suffice, damaged ones apart.
const UNITS_EARLY_MAX: usize = 64;
/// Events handled before the clock is looked at again.
const BATCH: usize = 256;
/// Missing frame numbers remembered, to say which handoff lost them.
const MISSING_MAX: usize = 100_000;
/// A first frame farther than this from the announced start is believed, not the announcement.
const START_SECONDS_MAX: u32 = 8;

/// Why a play ended early.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StageError {
    /// Packets stopped coming.
    #[error("nothing came for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The only server left has closed the connection.
    #[error("the server closed the connection before the end ({0})")]
    Closed(String),
    /// The stream is not what was announced.
    #[error("the stream is broken: {0}")]
    Broken(String),
    /// No decoder, or the file cannot be written.
    #[error("{0}")]
    Screen(String),
}

/// How to play.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Several descriptions of one title, as opposed to one plain stream.
    pub merged: bool,
    /// Full frame rate, if announced.
    pub timing: Option<Timing>,
    /// First frame as announced by PLAY.
    pub start: Option<u32>,
    /// Frames of the whole title, if it has an end.
    pub frames: Option<u32>,
    /// Stop after so many seconds of the title.
    pub seconds: Option<f64>,
    /// Jitter buffer.
    pub buffer: Duration,
    /// Transport of further sessions.
    pub carrier: Carrier,
    /// Where to write pictures.
    pub out: Option<PathBuf>,
}

/// A session with the time of its next keep-alive.
struct Seat {
    session: Arc<Session>,
    alive_at: Instant,
}

/// A handoff under way.
struct Moving {
    id: String,
    began: Instant,
    from: Arc<Session>,
    to: Option<Arc<Session>>,
    arrivals: Vec<Arrival>,
    entry: usize,
}

/// The task that waits for the first frame of one description from the new server.
struct Arrival {
    description: u8,
    connection: u64,
    /// The first frame from there.
    first: Option<u32>,
    tell: Option<oneshot::Sender<()>>,
}

/// The play loop's state.
pub struct Stage {
    manner: Manner,
    key: SigningKey,
    listener: Listener,
    started: Instant,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    steps: mpsc::Receiver<(String, Step)>,
    steps_in: mpsc::Sender<(String, Step)>,
    seats: Vec<Seat>,
    flows: Vec<Flow>,
    /// Highest frame number that each flow (same index) has delivered.
    highest: Vec<Option<u32>>,
    early: Vec<(u8, u64, AccessUnit, Instant)>,
    merger: Option<Merger>,
    pace: Option<Pace>,
    first_frame: u32,
    shots: Option<mpsc::Sender<Shot>>,
    screen: Option<JoinHandle<Result<Shown, String>>>,
    moving: Option<Moving>,
    /// After a failed handoff: the connections of the new server and of the old one we go back to.
    leaving: Option<(u64, u64)>,
    missing: Vec<u32>,
    last_packet: Instant,
    ended: bool,
    closed: Option<String>,
    report_at: Instant,
    told_second: u32,
    own_ssrc: u32,
    /// The counts so far.
    pub report: Report,
}

impl Stage {
    /// A stage without sessions; `started` is when the whole play began.
    pub fn new(
        manner: Manner,
        key: SigningKey,
        listener: Listener,
        started: Instant,
        (events_in, events): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
        report: Report,
    ) -> Stage {
        let (steps_in, steps) = mpsc::channel(32);
        let now = Instant::now();
        Stage {
            manner,
            key,
            listener,
            started,
            events,
            events_in,
            steps,
            steps_in,
            seats: Vec::new(),
            flows: Vec::new(),
            highest: Vec::new(),
            early: Vec::new(),
            merger: None,
            pace: None,
            first_frame: 0,
            shots: None,
            screen: None,
            moving: None,
            leaving: None,
            missing: Vec::new(),
            last_packet: now,
            ended: false,
            closed: None,
            report_at: now + REPORT_EVERY / 10,
            told_second: 0,
            own_ssrc: rand::random(),
            report,
        }
    }

    /// Takes part in the play from now on.
    pub fn seat(&mut self, session: Arc<Session>) {
        let alive_at = Instant::now() + session.keep_alive_every();
        self.seats.push(Seat { session, alive_at });
    }

    /// Packets of this flow count from now on.
    pub fn add_flow(&mut self, flow: Flow) {
        self.flows.push(flow);
        self.highest.push(None);
    }

    /// Plays to the end; then every session is torn down and the screen has shown everything.
    pub async fn run(mut self, shutdown: Shutdown) -> (Report, Result<(), StageError>) {
        let outcome = self.play(&shutdown).await;
        let shown = self.drop_curtain().await;
        let outcome = outcome.and(shown);
        self.farewell().await;
        (self.report, outcome)
    }

    async fn play(&mut self, shutdown: &Shutdown) -> Result<(), StageError> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                received = self.events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return Err(StageError::Closed("no connection is left".into()));
                    }
                }
                Some((id, step)) = self.steps.recv() => self.step(&id, step),
                () = sleep_until(wake.into()) => {}
                () = shutdown.wait() => return Ok(()),
            }
            for event in batch.drain(..) {
                self.event(event)?;
            }
            let now = Instant::now();
            self.collect(now)?;
            if self.advance(now).await? {
                return Ok(());
            }
            self.routine(now);
        }
    }

    fn next_wake(&self) -> Instant {
        let tick = Instant::now() + TICK;
        match (&self.pace, &self.merger) {
            (Some(pace), Some(merger)) => tick.min(pace.instant(merger.next_frame())),
            _ => tick,
        }
    }

    fn event(&mut self, event: Event) -> Result<(), StageError> {
        match event.incoming {
            Incoming::Packet(channel, packet) => {
                let mut flows = self.flows.iter_mut();
                let found = flows.find(|flow| flow.carries(event.connection, channel));
                let Some(flow) = found else { return Ok(()) };
                flow.packet(channel, packet, event.at)
                    .map_err(StageError::Broken)?;
                self.last_packet = self.last_packet.max(event.at);
                if self.report.join_ms.is_none() && flow.last_packet.is_some() {
                    let join_ms = millis(event.at.saturating_duration_since(self.started));
                    self.report.join_ms = Some(join_ms);
                    (self.listener)(Happening::Joined(join_ms));
                }
            }
            Incoming::Request(request) => self.request(event.connection, *request),
            Incoming::Closed(reason) => self.closed(event.connection, reason),
        }
        Ok(())
    }

    /// Answers a server's request, in a task of its own.
    fn request(&mut self, connection: u64, request: Request) {
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

    fn notice(&mut self, session: &Arc<Session>, request: &Request) -> StatusCode {
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

    fn begin_handoff(&mut self, from: Arc<Session>, offer: Offer) {
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

    fn step(&mut self, id: &str, step: Step) {
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

    fn end_handoff(&mut self, outcome: Result<(), String>) {
        let Some(moving) = self.moving.take() else {
            return;
        };
        let duration_ms = millis(moving.began.elapsed());
        let last = self
            .highest
            .iter()
            .flatten()
            .max()
            .map_or(0, |highest| highest + 1);
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
                self.leaving = moving
                    .to
                    .map(|to| (to.connection.id, moving.from.connection.id));
                self.leave_unused_seats();
                (self.listener)(Happening::HandoffFailed { id, reason });
            }
        }
    }

    /// After a failed handoff: leaves the new server once the old one sends everything again.
    fn go_back(&mut self) {
        let Some((new, old)) = self.leaving else {
            return;
        };
        let highest = |connection, description| {
            let mut flows = self.flows.iter().zip(&self.highest);
            let found = flows
                .find(|(flow, _)| flow.connection == connection && flow.description == description);
            found.and_then(|(_, highest)| *highest)
        };
        let borrowed = self.flows.iter().filter(|flow| flow.connection == new);
        let caught_up =
            |flow: &Flow| highest(old, flow.description) >= highest(new, flow.description);
        if borrowed.clone().all(caught_up) {
            self.leaving = None;
            self.retire(|flow| flow.connection == new);
            self.leave_unused_seats();
        }
    }

    /// Sessions that carry nothing are torn down.
    fn leave_unused_seats(&mut self) {
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

    /// Takes flows out of the play; what they received stays in the report.
    fn retire(&mut self, which: impl Fn(&Flow) -> bool) {
        let mut index = 0;
        while let Some(flow) = self.flows.get(index) {
            if which(flow) {
                let flow = self.flows.remove(index);
                self.highest.remove(index);
                self.account(&flow);
            } else {
                index += 1;
            }
        }
    }

    fn account(&mut self, flow: &Flow) {
        let entries = &mut self.report.descriptions;
        let known = entries
            .iter()
            .position(|entry| entry.description == flow.description);
        let index = known.unwrap_or_else(|| {
            let description = flow.description;
            entries.push(DescriptionReport {
                description,
                ..DescriptionReport::default()
            });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(index) else {
            return;
        };
        let counts = flow.counts();
        entry.packets += counts.received;
        entry.octets += flow.octets;
        entry.packets_lost += counts.lost;
        entry.packets_refused += counts.refused;
        entry.frames += flow.units;
        entry.idrs += flow.idrs;
    }

    /// A server says that it has sent everything.
    fn end_of(&mut self, connection: u64) {
        let mine = |flow: &&mut Flow| flow.connection == connection;
        self.flows
            .iter_mut()
            .filter(mine)
            .for_each(|flow| flow.ended = true);
    }

    fn closed(&mut self, connection: u64, reason: String) {
        let known = self
            .seats
            .iter()
            .any(|seat| seat.session.connection.id == connection);
        if !known {
            return;
        }
        self.seats
            .retain(|seat| seat.session.connection.id != connection);
        let mine = |flow: &&Flow| flow.connection == connection;
        self.ended |= self.flows.iter().filter(mine).any(|flow| flow.ended);
        self.retire(|flow| flow.connection == connection);
        self.closed = Some(reason);
    }

    /// Finished access units from all flows to the merger.
    fn collect(&mut self, now: Instant) -> Result<(), StageError> {
        for index in 0..self.flows.len() {
            while let Some(flow) = self.flows.get_mut(index) {
                flow.expire(now);
                let Some(unit) = flow.pop() else { break };
                let at = flow.last_packet.unwrap_or(now);
                let description = if self.manner.merged {
                    flow.description
                } else {
                    0
                };
                let connection = flow.connection;
                self.unit(description, connection, unit, at)?;
            }
        }
        self.arrivals();
        self.go_back();
        Ok(())
    }

    fn unit(
        &mut self,
        description: u8,
        connection: u64,
        unit: AccessUnit,
        at: Instant,
    ) -> Result<(), StageError> {
        if self.merger.is_some() {
            self.push(description, connection, unit);
            return Ok(());
        }
        self.early.push((description, connection, unit, at));
        let Some(timing) = self.timing()? else {
            return Ok(());
        };
        let Some((_, _, first, at)) = self.early.first() else {
            return Ok(());
        };
        let Some(first) = timing.frame_at(first.rtp_time) else {
            return Err(StageError::Broken("its timestamps make no sense".into()));
        };
        self.open(timing, first, *at);
        for (description, connection, unit, _) in std::mem::take(&mut self.early) {
            self.push(description, connection, unit);
        }
        Ok(())
    }

    /// The frame rate: announced, or learnt from the first two frames.
    fn timing(&mut self) -> Result<Option<Timing>, StageError> {
        if let Some(timing) = &self.manner.timing {
            return Ok(Some(timing.clone()));
        }
        let mut times: Vec<u64> = self
            .early
            .iter()
            .map(|(_, _, unit, _)| unit.rtp_time)
            .collect();
        times.sort_unstable();
        times.dedup();
        let [first, second, ..] = times.as_slice() else {
            return match self.early.len() {
                0..UNITS_EARLY_MAX => Ok(None),
                _ => Err(StageError::Broken("its timestamps stand still".into())),
            };
        };
        let period = u32::try_from(second - first).unwrap_or(u32::MAX);
        let timing = Timing::in_turn((90_000, period), 1);
        let timing = timing.map_err(|error| StageError::Broken(error.to_string()))?;
        self.manner.timing = Some(timing.clone());
        Ok(Some(timing))
    }

    /// The first frame is here: play-out begins a jitter buffer later.
    fn open(&mut self, timing: Timing, first: u32, at: Instant) {
        let fps = timing.fps();
        let believable = (fps.0 / fps.1.max(1))
            .max(1)
            .saturating_mul(START_SECONDS_MAX);
        let announced = self
            .manner
            .start
            .filter(|start| first.abs_diff(*start) <= believable);
        let start = announced.map_or(first, |announced| announced.min(first));
        self.first_frame = start;
        self.report.fps = Some(fps);
        self.pace = Some(Pace::new(timing.clone(), first, at, self.manner.buffer));
        let (shots, receiver) = mpsc::channel(SHOTS);
        let (descriptions, out) = (timing.descriptions(), self.manner.out.clone());
        self.screen = Some(tokio::task::spawn_blocking(move || {
            screen::show(receiver, descriptions, fps, out)
        }));
        self.shots = Some(shots);
        self.merger = Some(Merger::new(timing, start));
    }

    fn push(&mut self, description: u8, connection: u64, unit: AccessUnit) {
        let (Some(merger), Some(timing)) = (&mut self.merger, &self.manner.timing) else {
            return;
        };
        let number = timing.frame_at(unit.rtp_time);
        let fits = number.is_some_and(|number| timing.description_of(number) == description);
        let (complete, idr) = (unit.complete, unit.idr);
        if merger.push(description, unit) == merge::Accepted::Foreign {
            tracing::debug!(description, "a frame of another description's time");
        }
        let Some(number) = number.filter(|_| fits && complete) else {
            return;
        };
        let same = |flow: &Flow| {
            flow.connection == connection
                && (flow.description == description || !self.manner.merged)
        };
        if let Some(index) = self.flows.iter().position(same)
            && let Some(highest) = self.highest.get_mut(index)
        {
            *highest = (*highest).max(Some(number));
        }
        let arrivals = self
            .moving
            .iter_mut()
            .flat_map(|moving| &mut moving.arrivals);
        for arrival in arrivals {
            if arrival.connection == connection && arrival.description == description && idr {
                arrival.first.get_or_insert(number);
            }
        }
    }

    /// Tells the handoff of a description that has arrived: its first frame is here, and the old server's
    /// frames reach up to it, so that nothing is missing in between when the old one stops.
    fn arrivals(&mut self) {
        let (Some(moving), Some(timing)) = (&mut self.moving, &self.manner.timing) else {
            return;
        };
        for arrival in &mut moving.arrivals {
            let Some(first) = arrival.first else { continue };
            let from = moving.from.connection.id;
            let old = |flow: &Flow| {
                flow.connection == from && flow.description == arrival.description && !flow.ended
            };
            let reached = match self.flows.iter().position(old) {
                None => true, // the old server has stopped by itself
                Some(index) => {
                    let highest = self.highest.get(index).copied().flatten();
                    highest.is_some_and(|highest| timing.successor(highest) >= first)
                }
            };
            if reached && let Some(tell) = arrival.tell.take() {
                tell.send(()).ok();
            }
        }
    }

    /// Shows every frame whose time has come; true at the end of the play.
    async fn advance(&mut self, now: Instant) -> Result<bool, StageError> {
        loop {
            let (Some(next), end) = (self.merger.as_ref().map(Merger::next_frame), self.end())
            else {
                return self.silent(now).map(|()| false);
            };
            if end.is_some_and(|end| next >= end) {
                return Ok(true);
            }
            let (Some(merger), Some(pace)) = (&mut self.merger, &mut self.pace) else {
                return Ok(false);
            };
            let due = pace.instant(next);
            if due > now {
                let Some(event) = merger.play(None) else {
                    return Ok(false);
                };
                self.show(event).await?;
                continue;
            }
            if merger.highest().is_none_or(|highest| highest < next) {
                if self.over(next, now) {
                    self.cut_off(next);
                    return Ok(true);
                }
                self.silent(now)?;
                // Rather a pause than a hole: nothing later is here either.
                let pause = now.saturating_duration_since(due) + self.manner.buffer / 2;
                if let Some(pace) = &mut self.pace {
                    pace.delay(pause);
                }
                self.report.stalls += 1;
                self.report.stall_ms += millis(pause);
                (self.listener)(Happening::Stalled);
                return Ok(false);
            }
            let Some(event) = merger.play(Some(next)) else {
                return Ok(false);
            };
            self.show(event).await?;
        }
    }

    /// One past the last frame wanted, as far as known.
    fn end(&self) -> Option<u32> {
        let timing = self.manner.timing.as_ref()?;
        let (num, den) = timing.fps();
        let wanted = self.manner.seconds.map(|seconds| {
            let frames = (seconds * f64::from(num) / f64::from(den))
                .ceil()
                .clamp(1.0, 4e9);
            self.first_frame.saturating_add(frames as u32)
        });
        // A plain stream may be any description of a title: its numbering is not the title's.
        let title = self.manner.frames.filter(|_| self.manner.merged);
        match (wanted, title) {
            (Some(wanted), Some(title)) => Some(wanted.min(title)),
            (wanted, title) => wanted.or(title),
        }
    }

    /// With nothing left to play: whether the title is over.
    fn over(&self, next: u32, now: Instant) -> bool {
        let said = self.ended && self.flows.is_empty();
        let all_ended = !self.flows.is_empty() && self.flows.iter().all(|flow| flow.ended);
        let frames = self.manner.frames.filter(|_| self.manner.seconds.is_none());
        let tail = frames.is_some_and(|frames| next.saturating_add(4) >= frames);
        let quiet = now.saturating_duration_since(self.last_packet) > TAIL_SILENCE;
        said || all_ended || (tail && (quiet || self.flows.is_empty()))
    }

    /// A server that stops before the announced end has lost us the rest.
    fn cut_off(&mut self, next: u32) {
        let rest = self.end().map_or(0, |end| end.saturating_sub(next));
        self.report.frames_expected += u64::from(rest);
        self.report.frames_lost += u64::from(rest);
    }

    fn silent(&self, now: Instant) -> Result<(), StageError> {
        if self.flows.is_empty() && self.moving.is_none() {
            let reason = self
                .closed
                .clone()
                .unwrap_or_else(|| "no stream is left".into());
            return Err(StageError::Closed(reason));
        }
        match now.saturating_duration_since(self.last_packet) > SILENCE_MAX {
            true => Err(StageError::Silent),
            false => Ok(()),
        }
    }

    async fn show(&mut self, event: merge::Event) -> Result<(), StageError> {
        let shot = match event {
            merge::Event::Show {
                number,
                description,
                unit,
            } => {
                self.report.frames_expected += 1;
                self.position(number);
                Shot::Show {
                    number,
                    description,
                    idr: unit.idr,
                    data: unit.data,
                }
            }
            merge::Event::Missing { number, .. } => {
                self.report.frames_expected += 1;
                self.report.frames_lost += 1;
                self.position(number);
                if self.missing.len() < MISSING_MAX {
                    self.missing.push(number);
                }
                Shot::Missing { number }
            }
            merge::Event::Late {
                description, unit, ..
            } => Shot::Late {
                description,
                idr: unit.idr,
                data: unit.data,
            },
        };
        let Some(shots) = &self.shots else {
            return Ok(());
        };
        let sent = shots.send(shot).await;
        sent.map_err(|_| StageError::Screen("the screen has stopped".into()))
    }

    fn position(&mut self, number: u32) {
        let fps = self
            .report
            .fps
            .map_or(1, |(num, den)| (num / den.max(1)).max(1));
        let second = number / fps;
        if second != self.told_second {
            self.told_second = second;
            (self.listener)(Happening::Position(number));
        }
    }

    /// What is due from time to time: receiver reports, keep-alives.
    fn routine(&mut self, now: Instant) {
        for seat in &mut self.seats {
            if seat.alive_at <= now {
                let session = seat.session.clone();
                seat.alive_at = now + session.keep_alive_every();
                // A connection that has gone is reported by its reader.
                tokio::spawn(async move { session.keep_alive().await });
            }
        }
        if self.report_at <= now {
            self.report_at = now + REPORT_EVERY;
            self.receiver_reports(now, false);
        }
    }

    fn receiver_reports(&mut self, now: Instant, bye: bool) {
        for flow in &mut self.flows {
            let mut seats = self.seats.iter();
            let seat = seats.find(|seat| seat.session.connection.id == flow.connection);
            let Some(session) = seat.map(|seat| seat.session.clone()) else {
                continue;
            };
            let cname = format!("player@{}", session.connection.local.ip());
            let Some(packet) = flow.report(self.own_ssrc, &cname, bye, now) else {
                continue;
            };
            let channel = flow.rtcp_channel();
            tokio::spawn(async move { session.send_rtcp(channel, &packet).await });
        }
    }

    /// Waits for the screen and takes its counts.
    async fn drop_curtain(&mut self) -> Result<(), StageError> {
        self.shots = None;
        let Some(screen) = self.screen.take() else {
            return Ok(());
        };
        let shown = match screen.await {
            Ok(shown) => shown.map_err(StageError::Screen)?,
            Err(error) => return Err(StageError::Screen(error.to_string())),
        };
        let report = &mut self.report;
        report.frames_shown = shown.decoded;
        report.frames_lost += shown.undecodable;
        report.frames_interpolated = shown.substituted;
        report.frames_repeated = shown.repeated;
        report.frames_out_of_order = shown.out_of_order;
        (report.width, report.height) = shown.size.unzip();
        let since_start = |at: Instant| millis(at.saturating_duration_since(self.started));
        report.first_frame_ms = shown.first.map(since_start);
        report.stamps = Some(shown.stamps).filter(|stamps| stamps.stamps_read > 0);
        if let Some(merger) = &self.merger {
            report.frames_late = merger.counts().late;
            report.frames_duplicate = merger.counts().duplicates;
        }
        Ok(())
    }

    /// Says good-bye to every server and closes the accounts.
    async fn farewell(&mut self) {
        self.receiver_reports(Instant::now(), true);
        let leaving = self.seats.drain(..).map(|seat| async move {
            timeout(Duration::from_secs(1), seat.session.tear_down()).await
        });
        futures_util::future::join_all(leaving).await;
        self.retire(|_| true);
        self.report
            .descriptions
            .sort_by_key(|entry| entry.description);
        for entry in &mut self.report.handoffs {
            let (first, last) = entry.frames;
            let lost = self
                .missing
                .iter()
                .filter(|frame| (first..last).contains(frame));
            entry.frames_lost = lost.count() as u64;
        }
    }
}
