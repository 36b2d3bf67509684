//! Sends what is due: one timer for the next frame, one gathered write per frame, thinning for slow readers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mdc::rtp::{Packet, packetize};
use rtsp::transport::Transport;
use tokio::net::TcpStream;

use super::describe::payload_type;
use super::play::{Play, Stall};
use super::schedule::Sending;
use crate::content::{Availability, Title};
use crate::edge::{Edge, ntp_now};
use crate::send::outbox::{FRAMES_OCTETS_MAX, Outbox};
use crate::send::rtcp::{Sent, sender_report};
use crate::send::udp::Ports;

/// Most octets sent at one go when many frames are due, as at a start in mid-group: the rest follows at once after
/// [`BREATH`], so that neither other sessions nor the receiver's buffer are overrun.
const BURST_OCTETS: u64 = 64 * 1024;
/// See [`BURST_OCTETS`].
const BREATH: Duration = Duration::from_millis(2);
/// Sender reports (RFC 3550 §6.2: the recommended minimum interval).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Pause before a frame that cannot be read is asked for again, and how long that goes on.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A description held during a handoff and needed again is caught up from where it stopped, unless that is longer ago
/// than this (90 kHz ticks); then from the last IDR before that time. It covers how long a dead edge goes unnoticed, so
/// the client has everything up to there.
pub(super) const CATCH_UP_MAX: u64 = 5 * 90_000;

/// Where packets go.
pub(super) struct Outlet<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) outbox: &'a mut Outbox,
    pub(super) ports: &'a Ports,
    pub(super) client: SocketAddr,
    pub(super) edge: &'a Edge,
    pub(super) scratch: &'a mut Vec<u8>,
}

impl Play {
    /// When something is due next: a frame, a report, or another try.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if let Some(stall) = self.stalled {
            return stall.retry;
        }
        let (_, due) = self.schedule.next(|cursor| self.next_time(cursor))?;
        Some(
            self.not_before
                .map_or(due, |not_before| due.max(not_before)),
        )
    }

    /// Sends every frame that is due. True once the title's end has been reached by all descriptions.
    pub(super) fn send_due(&mut self, now: Instant, outlet: &mut Outlet<'_>) -> io::Result<bool> {
        if self
            .stalled
            .is_some_and(|stall| stall.retry.is_some_and(|retry| retry > now))
        {
            return Ok(false);
        }
        self.stalled = self.stalled.map(|stall| Stall {
            retry: None,
            ..stall
        });
        self.not_before = None;
        let mut budget = BURST_OCTETS;
        while let Some((index, due)) = self.schedule.next(|cursor| self.next_time(cursor)) {
            if due > now {
                break;
            }
            if budget == 0 {
                self.not_before = Some(now + BREATH);
                break;
            }
            match self.send_next(index, now, outlet)? {
                Some(octets) => budget = budget.saturating_sub(octets),
                None => break,
            }
        }
        let position = self.schedule.position(now);
        self.membership
            .session
            .position
            .store(position, Ordering::Relaxed);
        let over = self
            .schedule
            .cursors
            .iter()
            .all(|cursor| cursor.sending == Sending::Ended);
        Ok(over && !self.schedule.cursors.is_empty())
    }

    /// Sends the next frame of one description; `None` if it is not at hand.
    fn send_next(
        &mut self,
        index: usize,
        now: Instant,
        outlet: &mut Outlet<'_>,
    ) -> io::Result<Option<u64>> {
        let title = std::sync::Arc::clone(&self.title);
        let Some(cursor) = self.schedule.cursors.get(index) else {
            return Ok(None);
        };
        let (description, position) = (cursor.description, cursor.position);
        let frame = title.frame(description, position, self.repeat);
        let (Some(frame), Some(_)) = (frame, self.next_time(cursor)) else {
            self.end_description(index, now, outlet)?;
            return Ok(Some(0));
        };
        if self
            .schedule
            .thin(index, frame.idr, outlet.outbox.len(), FRAMES_OCTETS_MAX)
        {
            outlet.edge.metrics.frames_thinned.inc();
            return Ok(Some(0));
        }
        let data = match title.data(description, position) {
            Availability::Ready(data) => data,
            missing => {
                let retry = matches!(missing, Availability::Failed).then(|| now + RETRY_PAUSE);
                let same = self
                    .stalled
                    .filter(|s| (s.description, s.position) == (description, position));
                let since = same.map_or(now, |stall| stall.since);
                if retry.is_some() && now.duration_since(since) > RETRY_MAX {
                    tracing::warn!(
                        title = title.manifest.name,
                        "a frame cannot be had; the stream ends"
                    );
                    self.end_description(index, now, outlet)?;
                    return Ok(Some(0));
                }
                self.stalled = Some(Stall {
                    description,
                    position,
                    since,
                    retry,
                });
                return Ok(None);
            }
        };
        self.stalled = None;
        self.report_if_due(index, now, outlet)?;
        let Some(place) = title.description(description) else {
            return Ok(None);
        };
        let Some(cursor) = self.schedule.cursors.get_mut(index) else {
            return Ok(None);
        };
        let packets: Vec<Packet<'_>> = packetize(
            place.nals(&frame, &data),
            &frame,
            &cursor.continuity,
            payload_type(description),
            place.payload_limit,
        )
        .collect();
        let octets = match cursor.transport {
            Transport::Tcp { rtp, .. } => outlet.outbox.send_frame(outlet.stream, rtp, &packets)?,
            Transport::Udp { rtp, .. } => {
                let to = SocketAddr::new(outlet.client.ip(), rtp);
                let (octets, dropped) = outlet.ports.send_frame(to, &packets, outlet.scratch);
                outlet.edge.metrics.rtp_dropped.inc_by(dropped);
                octets
            }
        };
        let count = packets.len() as u64;
        cursor.position += 1;
        cursor.last_time = frame.rtp_time;
        cursor.packets += count;
        cursor.octets += octets.saturating_sub(count * mdc::rtp::HEADER_OCTETS as u64);
        outlet.edge.metrics.rtp_packets.inc_by(count);
        outlet.edge.metrics.rtp_octets.inc_by(octets);
        Ok(Some(octets.max(1)))
    }

    /// The sender report before the first frame, and every five seconds.
    fn report_if_due(
        &mut self,
        index: usize,
        now: Instant,
        outlet: &mut Outlet<'_>,
    ) -> io::Result<()> {
        let Some(cursor) = self.schedule.cursors.get_mut(index) else {
            return Ok(());
        };
        if cursor.report_due.is_some_and(|due| due > now) {
            return Ok(());
        }
        cursor.report_due = Some(now + REPORT_INTERVAL);
        self.report(index, now, false, outlet)
    }

    /// The title's end for one description: a goodbye.
    fn end_description(
        &mut self,
        index: usize,
        now: Instant,
        outlet: &mut Outlet<'_>,
    ) -> io::Result<()> {
        if let Some(cursor) = self.schedule.cursors.get_mut(index) {
            cursor.sending = Sending::Ended;
        }
        self.stalled = None;
        self.show();
        self.report(index, now, true, outlet)
    }

    /// Says goodbye for every description still being sent.
    pub(super) fn say_goodbye(&mut self, now: Instant, outlet: &mut Outlet<'_>) -> io::Result<()> {
        for index in 0..self.schedule.cursors.len() {
            let on = self
                .schedule
                .cursors
                .get(index)
                .is_some_and(|c| c.sending == Sending::On);
            if on {
                self.end_description(index, now, outlet)?;
            }
        }
        Ok(())
    }

    fn report(
        &self,
        index: usize,
        now: Instant,
        bye: bool,
        outlet: &mut Outlet<'_>,
    ) -> io::Result<()> {
        let Some(cursor) = self.schedule.cursors.get(index) else {
            return Ok(());
        };
        let sent = Sent {
            ssrc: cursor.continuity.ssrc,
            ntp: ntp_now(),
            rtp_timestamp: cursor.continuity.timestamp(self.schedule.position(now)),
            packets: (cursor.packets & 0xffff_ffff) as u32,
            octets: (cursor.octets & 0xffff_ffff) as u32,
        };
        let packet = sender_report(&sent, &outlet.edge.config.name, bye);
        match cursor.transport {
            Transport::Tcp { rtcp, .. } => {
                outlet.outbox.push_interleaved(rtcp, &packet)?;
                outlet.outbox.flush(outlet.stream)
            }
            Transport::Udp { rtcp, .. } => {
                let to = SocketAddr::new(outlet.client.ip(), rtcp);
                outlet.ports.send_control(to, &packet);
                Ok(())
            }
        }
    }

    /// Descriptions held for a handoff are sent again, from the frame where each stopped.
    pub(super) fn take_back(&mut self, now: Instant) {
        let position = self.schedule.position(now);
        for cursor in &mut self.schedule.cursors {
            if cursor.sending != Sending::Held {
                continue;
            }
            cursor.sending = Sending::On;
            let stopped = (cursor.description, cursor.position);
            cursor.position = take_up(&self.title, stopped, position, self.repeat);
        }
        self.show();
    }
}

/// Where a description that stopped before a frame goes on, the session's position (90 kHz ticks) being that.
fn take_up(title: &Title, (description, stopped): (u8, u64), position: u64, repeat: bool) -> u64 {
    let earliest = position.saturating_sub(CATCH_UP_MAX);
    let next = title.frame(description, stopped, repeat);
    if next.is_none_or(|frame| frame.rtp_time >= earliest) {
        return stopped;
    }
    let idr = title.idr_before(description, earliest, repeat);
    idr.map_or(stopped, |idr| idr.max(stopped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{content, title};

    #[test]
    fn a_description_taken_back_goes_on_before_whatever_the_client_may_lack() {
        let folder = tempfile::tempdir().unwrap();
        let settings = title::Settings {
            gop_ms: 2_000,
            ..title::Settings::default()
        };
        let created = title::create("pattern:64x48@10:20s", folder.path(), &settings, |_| {});
        let title = content::open_folder(&created.unwrap().folder).unwrap();
        let seconds = |seconds: u64| seconds * 90_000;
        let time = |position| title.frame(0, position, false).unwrap();
        // Five seconds behind: from the very frame, key frame or not.
        let stopped = 3;
        let soon = time(stopped).rtp_time + CATCH_UP_MAX;
        assert_eq!(take_up(&title, (0, stopped), soon, false), stopped);
        // Longer: from a key frame that lies those five seconds back, though later ones have passed.
        for now in 6..20 {
            let taken = take_up(&title, (0, stopped), seconds(now), false);
            let frame = time(taken);
            assert!(frame.idr || taken == stopped);
            assert!(frame.rtp_time + CATCH_UP_MAX <= seconds(now), "at {now} s");
            assert!(taken >= stopped, "nothing is sent again");
            assert!(frame.rtp_time + CATCH_UP_MAX + seconds(2) > seconds(now));
        }
    }
}
