//! The play loop: packets of all servers in, frames in order out to the screen, at their time.
//!
//! ```text
//!  connections ─► events ─┐                    ┌─► flows ─► merger ─► pace ─► shots ─► screen (thread)
//!  handoffs ────► steps ──┴─► Stage::run ──────┤
//!  clock ─────────────────┘                    └─► receiver reports, keep-alives, answers (own tasks)
//! ```
//! The loop itself never waits for a server: whatever talks to one runs in a task and reports back.

mod account;
mod frames;
mod moves;
mod switching;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use mdc::merge::Merger;
use mdc::rtp::AccessUnit;
use mdc::title::Timing;
use service::shutdown::Shutdown;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::connection::{Event, Incoming};
use crate::events::{Happening, Listener};
use crate::flow::Flow;
use crate::handoff;
use crate::pace::Pace;
use crate::report::Report;
use crate::resolve::millis;
use crate::screen::{Shot, Shown};
use crate::session::{Carrier, Session};
use crate::switch::{self, Finder};
use crate::watch::Watch;

use moves::{Leaving, Moving};
use switching::Switching;

/// Longest time without any packet before the play is given up.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// The loop wakes at least this often, to give up gaps and notice silence.
const TICK: Duration = Duration::from_millis(20);
/// Events handled before the clock is looked at again.
const BATCH: usize = 256;
/// Steps of tasks on their way to the loop.
const STEPS: usize = 32;

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

/// News from a task that talks to a server.
pub enum Step {
    /// Of the handoff with this id.
    Handoff(String, handoff::Step),
    /// Of the switch under way.
    Switch(switch::Step),
    /// The repeated SRV query gave so many tokens not seen before (C8).
    FurtherTokens(u32),
}

/// The play loop's state.
pub struct Stage {
    manner: Manner,
    key: SigningKey,
    listener: Listener,
    started: Instant,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    steps: mpsc::Receiver<Step>,
    steps_in: mpsc::Sender<Step>,
    seats: Vec<Seat>,
    flows: Vec<Flow>,
    early: Vec<(u8, u64, AccessUnit, Instant)>,
    merger: Option<Merger>,
    pace: Option<Pace>,
    first_frame: u32,
    shots: Option<mpsc::Sender<Shot>>,
    screen: Option<JoinHandle<Result<Shown, String>>>,
    moving: Option<Moving>,
    leaving: Option<Leaving>,
    /// How to find another server; `None` for a plain address.
    finder: Option<Finder>,
    watch: Watch,
    switching: Switching,
    /// Highest frame number received.
    reached: Arc<AtomicU32>,
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
        let (steps_in, steps) = mpsc::channel(STEPS);
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
            early: Vec::new(),
            merger: None,
            pace: None,
            first_frame: 0,
            shots: None,
            screen: None,
            moving: None,
            leaving: None,
            finder: None,
            watch: Watch::default(),
            switching: Switching::default(),
            reached: Arc::default(),
            missing: Vec::new(),
            last_packet: now,
            ended: false,
            closed: None,
            report_at: now + account::REPORT_EVERY / 10,
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
    }

    /// Another server may be looked for when service is not acceptable.
    pub fn watch_over(&mut self, finder: Finder) {
        self.finder = Some(finder);
    }

    /// Where tasks send their news.
    pub fn steps(&self) -> mpsc::Sender<Step> {
        self.steps_in.clone()
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
                Some(step) = self.steps.recv() => self.step(step),
                () = sleep_until(wake.into()) => {}
                () = shutdown.wait() => return Ok(()),
            }
            // A flow is announced before its PLAY is sent: seen first, none of its packets is a stranger's.
            while let Ok(step) = self.steps.try_recv() {
                self.step(step);
            }
            for event in batch.drain(..) {
                self.event(event)?;
            }
            let now = Instant::now();
            self.collect(now)?;
            self.leave();
            self.judge(now);
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
                if let Err(reason) = flow.packet(channel, packet, event.at) {
                    return self.broken(event.connection, reason);
                }
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

    fn step(&mut self, step: Step) {
        match step {
            Step::Handoff(id, step) => self.handoff_step(&id, step),
            Step::Switch(step) => self.switch_step(step),
            Step::FurtherTokens(tokens) => self.report.further_tokens += tokens,
        }
    }
}
