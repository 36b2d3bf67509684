//! One RTSP connection with its session: a single task that waits for whatever comes first.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtsp::codec::{self, Codec, Event};
use rtsp::peer::Message;
use rtsp::session::Machine;
use rtsp::{Request, Response, StatusCode, Url};
use tokio::net::TcpStream;

use super::moving::{Outlook, RETRY_PAUSE};
use super::pace::Outlet;
use super::play::Play;
use crate::edge::{Edge, Mode, tokio_instant};
use crate::handoff::first::Progress;
use crate::send::outbox::Outbox;
use crate::send::rtcp;
use crate::send::udp::Ports;
use crate::sessions::Reason;

/// A request has to be complete this long after its first octet.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Octets read at one go.
const READ_OCTETS: usize = 16 * 1024;
/// A connection that is over may still take its last answers for this long.
const LINGER: Duration = Duration::from_secs(1);

/// The connection.
pub(super) struct Connection {
    pub(super) edge: Arc<Edge>,
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) ports: Arc<Ports>,
    pub(super) codec: Codec,
    pub(super) machine: Machine,
    pub(super) outbox: Outbox,
    pub(super) scratch: Vec<u8>,
    pub(super) play: Option<Play>,
    /// What a client with a ticket has to sign.
    pub(super) challenge: Option<String>,
    /// Race reports taken on this connection.
    pub(super) reports: u32,
    /// The URL the session was set up with, for requests of ours.
    pub(super) url: Option<Url>,
    /// `CSeq` of our own requests.
    pub(super) own_cseq: u32,
    /// No more requests are read; the connection ends when the outbox is empty.
    pub(super) closing: bool,
    last_life: Instant,
    request_begun: Option<Instant>,
}

/// Why the task woke.
enum Woken {
    Readable,
    Writable,
    Timer,
    Progress(Progress),
    Wanted(Reason),
    FrameAtHand,
    Mode,
    Shutdown,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        edge: Arc<Edge>,
        ports: Arc<Ports>,
    ) -> io::Result<Connection> {
        // Answers and frames are small and urgent.
        stream.set_nodelay(true)?;
        Ok(Connection {
            edge,
            stream,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            ports,
            codec: Codec::new(),
            machine: Machine::new(),
            outbox: Outbox::default(),
            scratch: Vec::new(),
            play: None,
            challenge: None,
            reports: 0,
            url: None,
            own_cseq: 0,
            closing: false,
            last_life: Instant::now(),
            request_begun: None,
        })
    }

    /// Serves until either side has had enough.
    pub(super) async fn run(mut self) {
        let result = self.serve().await;
        if let Err(error) = &result {
            tracing::debug!(peer = %self.peer, %error, "a connection ended");
        }
        let now = Instant::now();
        let _ = self.goodbye(now);
        if let Some(play) = &self.play
            && let Some(moving) = &play.moving
        {
            let handoff = moving.id.clone();
            moving.negotiation.tell(if play.all_confirmed() {
                Message::Released { handoff }
            } else {
                Message::Aborted {
                    handoff,
                    reason: "gone".to_owned(),
                }
            });
        }
        if result.is_ok() {
            let _ = tokio::time::timeout(LINGER, self.drain()).await;
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        let mut mode = self.edge.mode.subscribe();
        mode.mark_changed(); // a connection made while draining learns it at once
        while !self.closing {
            match self.wait(&mut mode).await {
                Woken::Readable => {
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Woken::Writable => self.outbox.flush(&self.stream)?,
                Woken::Timer | Woken::FrameAtHand => {}
                Woken::Progress(progress) => self.on_progress(progress)?,
                Woken::Wanted(reason) => self.wish(reason, Duration::ZERO),
                Woken::Mode => self.on_mode(*mode.borrow_and_update()),
                Woken::Shutdown => return Ok(()),
            }
            self.on_time()?;
        }
        Ok(())
    }

    /// Waits for the first of everything that can happen.
    async fn wait(&mut self, mode: &mut tokio::sync::watch::Receiver<Mode>) -> Woken {
        let wake = self.next_wake();
        let waiting = !self.outbox.is_empty();
        let stall = self.play.as_ref().and_then(|play| {
            let stall = play.stalled.filter(|stall| stall.retry.is_none())?;
            Some((Arc::clone(&play.title), stall))
        });
        let session = self
            .play
            .as_ref()
            .map(|play| Arc::clone(&play.membership.session));
        let moving = self.play.as_mut().and_then(|play| play.moving.as_mut());
        tokio::select! {
            biased;
            () = self.edge.shutdown.wait() => Woken::Shutdown,
            () = tokio::time::sleep_until(tokio_instant(wake)) => Woken::Timer,
            _ = self.stream.writable(), if waiting => Woken::Writable,
            _ = self.stream.readable() => Woken::Readable,
            progress = async {
                match moving {
                    Some(moving) => moving.negotiation.next().await,
                    None => std::future::pending().await,
                }
            } => Woken::Progress(progress),
            reason = async {
                match session {
                    Some(session) => session.wanted().await,
                    None => std::future::pending().await,
                }
            } => Woken::Wanted(reason),
            () = async {
                match stall {
                    Some((title, stall)) => title.wait(stall.description, stall.position).await,
                    None => std::future::pending().await,
                }
            } => Woken::FrameAtHand,
            _ = mode.changed() => Woken::Mode,
        }
    }

    /// The next moment at which something has to be done.
    fn next_wake(&self) -> Instant {
        let timeout = self.life() + self.timeout();
        let request = self.request_begun.map(|begun| begun + REQUEST_DEADLINE);
        let play = self.play.as_ref();
        let due = play.and_then(Play::next_due);
        let moving = play
            .and_then(|play| play.moving.as_ref())
            .map(|moving| moving.deadline);
        let wanted = play
            .filter(|play| play.moving.is_none())
            .and_then(|play| play.wanted)
            .map(|(_, at)| at);
        [request, due, moving, wanted]
            .into_iter()
            .flatten()
            .fold(timeout, Instant::min)
    }

    /// Does whatever is due.
    fn on_time(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self
            .request_begun
            .is_some_and(|begun| now >= begun + REQUEST_DEADLINE)
        {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "an unfinished request",
            ));
        }
        if now >= self.life() + self.timeout() {
            if self.play.is_some() {
                self.edge.metrics.timeouts.inc();
            }
            self.closing = true;
            return Ok(());
        }
        self.on_handoff_time(now)?;
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        let mut outlet = Outlet {
            stream: &self.stream,
            outbox: &mut self.outbox,
            ports: &self.ports,
            client: self.peer,
            edge: &self.edge,
            scratch: &mut self.scratch,
        };
        if play.schedule.clock.is_some() && play.send_due(now, &mut outlet)? {
            play.pause(now);
            self.machine.paused();
        }
        self.commit_if_all_sent();
        Ok(())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.edge.config.limits.session_timeout_seconds)
    }

    /// The last sign of life: a request, an interleaved packet, a receiver report.
    fn life(&self) -> Instant {
        let registrations = self.play.iter().flat_map(|play| &play.registrations);
        let reports = registrations.filter_map(|r| r.feedback.last(&self.ports));
        reports.fold(self.last_life, Instant::max)
    }

    /// Takes what is there into the codec; false at the connection's end.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; READ_OCTETS];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(octets) => self.codec.push(buffer.get(..octets).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Reads and handles what is there; false at the connection's end.
    async fn read(&mut self) -> io::Result<bool> {
        if !self.receive()? {
            return Ok(false);
        }
        loop {
            match self.codec.next_event() {
                Ok(Some(event)) => self.on_event(event).await?,
                Ok(None) => break,
                Err(error) => {
                    self.answer_garbage(error.status())?;
                    return Err(io::Error::other(error));
                }
            }
            if self.closing {
                break;
            }
        }
        let pending = self.codec.pending() > 0;
        self.request_begun = pending.then(|| self.request_begun.unwrap_or_else(Instant::now));
        Ok(true)
    }

    async fn on_event(&mut self, event: Event) -> io::Result<()> {
        self.request_begun = None;
        self.last_life = Instant::now();
        match event {
            Event::Request(request) => {
                let response = Box::pin(self.answer(&request)).await;
                self.send_response(&response)
            }
            Event::Response(response) => self.on_response(&response),
            Event::Interleaved { channel, payload } => {
                if !self.machine.channel_taken(channel) {
                    return Err(io::Error::other("a packet on a channel never agreed on"));
                }
                // Reports are a sign of life; what they say about loss on TCP says nothing.
                let _ = rtcp::read_report(&payload);
                Ok(())
            }
        }
    }

    pub(super) fn send_response(&mut self, response: &Response) -> io::Result<()> {
        let class = match u16::from(response.status()) {
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.edge.metrics.requests.with_label_values(&[class]).inc();
        self.outbox.push(&codec::encode_response(response))?;
        self.outbox.flush(&self.stream)
    }

    /// What could not be read as a request still gets an answer before the connection ends.
    fn answer_garbage(&mut self, status: StatusCode) -> io::Result<()> {
        let response = rtsp::message::respond_to_garbage(status);
        self.send_response(&response)
    }

    pub(super) fn send_request(&mut self, request: &Request) -> io::Result<()> {
        self.outbox.push(&codec::encode_request(request))?;
        self.outbox.flush(&self.stream)
    }

    /// Goodbye for whatever is still being sent. A client that has moved to another edge gets none: the sources live on.
    pub(super) fn goodbye(&mut self, now: Instant) -> io::Result<()> {
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        let mut outlet = Outlet {
            stream: &self.stream,
            outbox: &mut self.outbox,
            ports: &self.ports,
            client: self.peer,
            edge: &self.edge,
            scratch: &mut self.scratch,
        };
        play.say_goodbye(now, &mut outlet)
    }

    async fn drain(&mut self) {
        while !self.outbox.is_empty() {
            if self.stream.writable().await.is_err() || self.outbox.flush(&self.stream).is_err() {
                return;
            }
        }
    }

    fn on_mode(&mut self, mode: Mode) {
        match mode {
            Mode::Draining => self.wish(Reason::Drain, Duration::ZERO),
            Mode::Serving => {
                if let Some(play) = &mut self.play {
                    play.wanted = None;
                }
            }
        }
    }

    pub(super) fn wish(&mut self, reason: Reason, after: Duration) {
        if let Some(play) = &mut self.play {
            play.wish(reason, after);
        }
    }

    /// Starts a handoff that is wanted, ends one whose time is over.
    fn on_handoff_time(&mut self, now: Instant) -> io::Result<()> {
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        if let Some(moving) = &play.moving
            && now >= moving.deadline
        {
            let outlook = if play.all_confirmed() {
                Outlook::Done
            } else {
                Outlook::Off("late")
            };
            return self.conclude(outlook);
        }
        if play.moving.is_none()
            && let Some((reason, at)) = play.wanted
            && now >= at
        {
            play.wanted = None;
            let started =
                play.is_movable() && play.start_moving(&self.edge, self.peer, reason, now);
            // Not able to just now: paused, not started, or no further IDR before the end. A drain waits for that; load
            // may be gone by then, and if it is not, whoever watches it says so again.
            if !started && play.client_key.is_some() && reason == Reason::Drain {
                play.wish(reason, RETRY_PAUSE);
            }
        }
        Ok(())
    }

    fn on_progress(&mut self, progress: Progress) -> io::Result<()> {
        let now = Instant::now();
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        match progress {
            Progress::Prepared { edge, authority } => {
                self.own_cseq += 1;
                let notify = self.url.as_ref().and_then(|url| {
                    play.notify(&self.edge, (&edge, authority), url, self.own_cseq, now)
                });
                match notify {
                    Some(notify) => self.send_request(&notify),
                    None => self.conclude(Outlook::Off("paused")),
                }
            }
            Progress::Message(message) => {
                let outlook = play.heard(&message);
                self.conclude(outlook)
            }
            Progress::NoTaker => self.conclude(Outlook::Off("no_taker")),
            Progress::Lost if play.all_confirmed() => {
                self.release();
                Ok(())
            }
            Progress::Lost => self.conclude(Outlook::Off("second_edge_lost")),
        }
    }

    fn on_response(&mut self, response: &Response) -> io::Result<()> {
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        let asked = play.moving.as_ref().and_then(|moving| moving.asked);
        if asked.is_none() || rtsp::message::cseq(response) != asked {
            return Ok(());
        }
        let outlook = play.answered(response.status().is_success());
        self.conclude(outlook)
    }

    /// Acts on where a handoff stands.
    pub(super) fn conclude(&mut self, outlook: Outlook) -> io::Result<()> {
        let now = Instant::now();
        let Some(play) = &mut self.play else {
            return Ok(());
        };
        match outlook {
            Outlook::Going => {}
            Outlook::Done => {
                let due = play
                    .moving
                    .as_ref()
                    .is_some_and(|moving| now >= moving.deadline);
                if due {
                    self.release();
                }
            }
            Outlook::Off(reason) => {
                self.edge
                    .metrics
                    .handoffs
                    .with_label_values(&[reason])
                    .inc();
                play.give_up_moving(reason, now);
                if self.edge.is_draining() {
                    self.wish(Reason::Drain, RETRY_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// The client is served elsewhere: drop it.
    pub(super) fn release(&mut self) {
        self.edge
            .metrics
            .handoffs
            .with_label_values(&["released"])
            .inc();
        if let Some(play) = &mut self.play
            && let Some(moving) = &play.moving
        {
            moving.negotiation.tell(Message::Released {
                handoff: moving.id.clone(),
            });
            tracing::info!(to = moving.to, "a session has moved");
        }
        self.closing = true;
    }

    /// Tells the edge that a session came from once every description is on its way from here.
    fn commit_if_all_sent(&mut self) {
        let Some(play) = &mut self.play else { return };
        let Some(prepared) = &play.prepared else {
            return;
        };
        let starts = &prepared.offer.starts;
        let sent = |(description, _): &(u8, u64)| {
            play.schedule
                .cursor(*description)
                .is_some_and(|cursor| cursor.packets > 0)
        };
        if starts.iter().all(sent) {
            let handoff = prepared.offer.handoff.clone();
            prepared.tell(Message::Committed { handoff });
            play.prepared = None;
        }
    }
}
