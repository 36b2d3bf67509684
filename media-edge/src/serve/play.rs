//! The session of a connection: its title, its schedule, where its packets go, what PLAY and PAUSE do to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mdc::rtp::Continuity;
use rtsp::StatusCode;
use rtsp::peer::Secret;
use rtsp::range::{Npt, NptRange};
use rtsp::rtp_info::RtpInfo;
use rtsp::transport::Transport;

use super::moving::Moving;
use super::schedule::{Clock, Cursor, Schedule, Sending};
use crate::content::Title;
use crate::handoff::second::Prepared;
use crate::send::udp::Registration;
use crate::sessions::{Membership, Reason};

/// One session.
#[derive(Debug)]
pub(super) struct Play {
    /// The session's id: whoever knows it can end the session.
    pub(super) id: Secret<String>,
    pub(super) title: Arc<Title>,
    /// Whether the title starts again at its end.
    pub(super) repeat: bool,
    pub(super) secret: Secret<[u8; 32]>,
    pub(super) schedule: Schedule,
    pub(super) membership: Membership,
    pub(super) registrations: Vec<Registration>,
    /// The client's ephemeral key; without it the session cannot move.
    pub(super) client_key: Option<String>,
    /// Where it came from, while that edge still waits to hear how it goes.
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) moving: Option<Moving>,
    /// A wish to move that has not been fulfilled yet, and when to try.
    pub(super) wanted: Option<(Reason, Instant)>,
    /// Edges that failed to take it.
    pub(super) avoid: Vec<String>,
    /// Where the range asked for ends, 90 kHz ticks.
    pub(super) end: Option<u64>,
    /// The frame that is being waited for.
    pub(super) stalled: Option<Stall>,
    /// No frame before this: breathing space in a burst.
    pub(super) not_before: Option<Instant>,
}

/// A frame that is not at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    pub(super) description: u8,
    pub(super) position: u64,
    pub(super) since: Instant,
    /// Ask again then, where waiting makes no sense.
    pub(super) retry: Option<Instant>,
}

/// What PLAY started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) range: NptRange,
    pub(super) info: Vec<RtpInfo>,
}

impl Play {
    /// Adds a stream.
    pub(super) fn set_up(&mut self, description: u8, transport: Transport) -> Continuity {
        let continuity = Continuity::new(&self.secret.0, &self.title.manifest.name, description);
        self.schedule.cursors.push(Cursor {
            description,
            transport,
            continuity,
            last_time: 0,
            position: 0,
            sending: Sending::Idle,
            thinned: false,
            packets: 0,
            octets: 0,
            report_due: None,
        });
        self.show();
        continuity
    }

    /// PLAY: start, resume, seek, or start a stream added to a running session.
    pub(super) fn play(
        &mut self,
        range: Option<NptRange>,
        base: &str,
        now: Instant,
    ) -> Result<Started, StatusCode> {
        let start = range.and_then(|range| range.start).map(|npt| npt.0);
        let idle: Vec<u8> = self.descriptions(Sending::Idle);
        let started = if self.schedule.clock.is_some() && !idle.is_empty() {
            let start = start.unwrap_or_else(|| self.schedule.position(now));
            self.start(&idle, start)?;
            idle
        } else if self.schedule.clock.is_some() && start.is_none() {
            self.schedule
                .cursors
                .iter()
                .map(|cursor| cursor.description)
                .collect()
        } else {
            self.begin(start, now)?
        };
        if let Some(end) = range.and_then(|range| range.end) {
            self.end = Some(end.0);
        }
        self.show();
        Ok(self.started(&started, base))
    }

    /// Starts the clock: from the beginning, from where PAUSE stopped it, or from a time asked for.
    fn begin(&mut self, start: Option<u64>, now: Instant) -> Result<Vec<u8>, StatusCode> {
        let all: Vec<u8> = self
            .schedule
            .cursors
            .iter()
            .map(|c| c.description)
            .collect();
        let fresh = self
            .schedule
            .cursors
            .iter()
            .all(|c| c.sending == Sending::Idle);
        let ended = self
            .schedule
            .cursors
            .iter()
            .any(|c| c.sending == Sending::Ended);
        if start.is_none() && !fresh && !ended {
            self.schedule.clock = Some(Clock {
                anchor: now,
                npt: self.schedule.paused_at,
            });
            return Ok(all);
        }
        let start = start.unwrap_or(0);
        self.start(&all, start)?;
        self.end = None;
        // A session that was handed over keeps the first edge's clock.
        let handed_over = self.prepared.as_ref().filter(|_| fresh).map(|p| p.clock);
        self.schedule.clock = Some(handed_over.unwrap_or(Clock {
            anchor: now,
            npt: start,
        }));
        Ok(all)
    }

    /// Puts descriptions at the IDR at or before a time.
    fn start(&mut self, descriptions: &[u8], start: u64) -> Result<(), StatusCode> {
        if !self.repeat && self.title.manifest.duration().is_ok_and(|end| start >= end) {
            return Err(StatusCode::InvalidRange);
        }
        for &description in descriptions {
            let position = self.title.idr_before(description, start, self.repeat);
            let position = position.ok_or(StatusCode::InvalidRange)?;
            let Some(cursor) = self.schedule.cursor_mut(description) else {
                continue;
            };
            cursor.position = position;
            cursor.last_time = start;
            cursor.sending = Sending::On;
            cursor.thinned = false;
            cursor.report_due = None;
        }
        self.stalled = None;
        Ok(())
    }

    /// Range and RTP-Info of the answer: the earliest frame's time, and for each stream the timestamp of that time.
    fn started(&self, descriptions: &[u8], base: &str) -> Started {
        let next = |cursor: &Cursor| {
            self.title
                .frame(cursor.description, cursor.position, self.repeat)
        };
        let cursors = || descriptions.iter().filter_map(|d| self.schedule.cursor(*d));
        let times = cursors().filter_map(next).map(|frame| frame.rtp_time);
        let from = times.min().unwrap_or(0);
        let info = cursors()
            .map(|cursor| RtpInfo {
                url: format!("{base}/{}", rtsp::locator::control(cursor.description)),
                seq: next(cursor).map(|frame| cursor.continuity.sequence(frame.first_packet)),
                rtptime: Some(cursor.continuity.timestamp(from)),
            })
            .collect();
        let end = self
            .end
            .or_else(|| self.title.manifest.duration().ok().filter(|_| !self.repeat));
        Started {
            range: NptRange {
                start: Some(Npt(from)),
                end: end.map(Npt),
            },
            info,
        }
    }

    /// PAUSE: the clock stops, every description keeps its place.
    pub(super) fn pause(&mut self, now: Instant) {
        self.schedule.paused_at = self.schedule.position(now);
        self.schedule.clock = None;
        self.stalled = None;
        self.show();
    }

    /// Descriptions in a state.
    pub(super) fn descriptions(&self, sending: Sending) -> Vec<u8> {
        let cursors = self
            .schedule
            .cursors
            .iter()
            .filter(|c| c.sending == sending);
        cursors.map(|cursor| cursor.description).collect()
    }

    /// The time of a cursor's next frame; `None` at the title's or the range's end.
    pub(super) fn next_time(&self, cursor: &Cursor) -> Option<u64> {
        let frame = self
            .title
            .frame(cursor.description, cursor.position, self.repeat)?;
        self.end
            .is_none_or(|end| frame.rtp_time < end)
            .then_some(frame.rtp_time)
    }

    /// Whether the session could move to another edge now.
    pub(super) fn is_movable(&self) -> bool {
        self.client_key.is_some()
            && self.schedule.clock.is_some()
            && self.schedule.is_sending()
            && self.descriptions(Sending::Idle).is_empty()
            && self.end.is_none()
    }

    /// The session shall move, after a while. A wish for load does not take a drain's place.
    pub(super) fn wish(&mut self, reason: Reason, after: Duration) {
        let draining = matches!(self.wanted, Some((Reason::Drain, _)));
        if draining && reason == Reason::Load {
            return;
        }
        self.wanted = Some((reason, Instant::now() + after));
    }

    /// Shows the session's state to the operator.
    pub(super) fn show(&self) {
        let running = self.schedule.clock.is_some();
        let sending = if running {
            self.descriptions(Sending::On)
        } else {
            Vec::new()
        };
        let descriptions = self
            .schedule
            .cursors
            .iter()
            .map(|c| c.description)
            .collect();
        let movable = self.is_movable();
        let moving_to = self
            .moving
            .as_ref()
            .map(|moving| moving.to.clone().unwrap_or_default());
        let tcp = |c: &Cursor| matches!(c.transport, Transport::Tcp { .. });
        let transport = if self.schedule.cursors.iter().any(tcp) {
            "tcp"
        } else {
            "udp"
        };
        self.membership.session.update(|view| {
            view.sending = sending;
            view.descriptions = descriptions;
            view.movable = movable;
            view.moving_to = moving_to;
            view.transport = transport;
        });
    }
}
