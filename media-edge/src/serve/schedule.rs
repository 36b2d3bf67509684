//! When which frame is due. Time is an argument here, so a session's pace can be tested without waiting for it.

use std::time::{Duration, Instant};

use mdc::rtp::Continuity;
use rtsp::range::TICKS_PER_SECOND;
use rtsp::transport::Transport;

/// The session's clock: at `anchor`, the frame with time `npt` (90 kHz ticks) is due.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// A moment.
    pub anchor: Instant,
    /// The title's time at that moment.
    pub npt: u64,
}

impl Clock {
    /// When a title's time is due.
    pub fn due(&self, rtp_time: u64) -> Instant {
        if rtp_time >= self.npt {
            return self.anchor + ticks(rtp_time - self.npt);
        }
        self.anchor
            .checked_sub(ticks(self.npt - rtp_time))
            .unwrap_or(self.anchor)
    }

    /// The title's time at a moment.
    pub fn position(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.anchor) {
            Some(since) => self.npt.saturating_add(to_ticks(since)),
            None => self.npt.saturating_sub(to_ticks(self.anchor - now)),
        }
    }
}

fn ticks(ticks: u64) -> Duration {
    let (seconds, rest) = (ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND);
    Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / TICKS_PER_SECOND)
}

fn to_ticks(duration: Duration) -> u64 {
    let nanos = u64::from(duration.subsec_nanos());
    let whole = duration.as_secs().saturating_mul(TICKS_PER_SECOND);
    whole.saturating_add(nanos * TICKS_PER_SECOND / 1_000_000_000)
}

/// The goodbye follows the last frame after this (90 kHz ticks): over UDP it has a port of its own, and players that
/// read it before the last frame leave that one out.
const END_PAUSE: u64 = 9_000;

/// What a description is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Set up, not started.
    Idle,
    /// Being sent.
    On,
    /// The client has it from another edge; kept ready in case that fails.
    Held,
    /// At the title's end.
    Ended,
}

/// One description of a session.
#[derive(Debug)]
pub struct Cursor {
    /// Which description.
    pub description: u8,
    /// How it reaches the client.
    pub transport: Transport,
    /// Its numbering.
    pub continuity: Continuity,
    /// Time of the last frame sent, 90 kHz ticks.
    pub last_time: u64,
    /// Position of the next frame; goes on beyond the title's end where titles repeat.
    pub position: u64,
    /// What it is doing.
    pub sending: Sending,
    /// Left out up to the next IDR, because the reader is slow.
    pub thinned: bool,
    /// Packets sent.
    pub packets: u64,
    /// Payload octets sent.
    pub octets: u64,
    /// When the next sender report is due.
    pub report_due: Option<Instant>,
}

/// The descriptions of a session and their common clock.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The clock while playing.
    pub clock: Option<Clock>,
    /// Where PAUSE stopped it, 90 kHz ticks.
    pub paused_at: u64,
    /// The descriptions set up, in the order of SETUP.
    pub cursors: Vec<Cursor>,
}

impl Schedule {
    /// The description whose next frame is due first, and when. `time_of` gives a frame's time, `None` at the end.
    pub fn next(&self, time_of: impl Fn(&Cursor) -> Option<u64>) -> Option<(usize, Instant)> {
        let clock = self.clock?;
        let sending = self
            .cursors
            .iter()
            .enumerate()
            .filter(|(_, c)| c.sending == Sending::On);
        sending
            .map(|(index, cursor)| {
                (
                    index,
                    time_of(cursor).unwrap_or(cursor.last_time + END_PAUSE),
                )
            })
            .min_by_key(|(index, time)| (*time, *index))
            .map(|(index, time)| (index, clock.due(time)))
    }

    /// Whether the next frame of a description is left out because the reader is slow; then its place is passed over.
    ///
    /// A description is left out up to an IDR, whole frames only, and the last one first: one description alone is half
    /// the pictures, not a broken picture. `waiting` octets are in the queue; above `limit` something has to go, above
    /// twice that everything, and below half of it a description may come back.
    pub fn thin(&mut self, index: usize, idr: bool, waiting: usize, limit: usize) -> bool {
        if waiting > limit {
            let on = |cursor: &Cursor| cursor.sending == Sending::On && !cursor.thinned;
            let victim = self.cursors.iter().rposition(on);
            for (at, cursor) in self.cursors.iter_mut().enumerate() {
                cursor.thinned |= victim == Some(at) || waiting > 2 * limit;
            }
        }
        let Some(cursor) = self.cursors.get_mut(index) else {
            return false;
        };
        if idr && waiting < limit / 2 {
            cursor.thinned = false;
        }
        cursor.position += u64::from(cursor.thinned);
        cursor.thinned
    }

    /// Whether any description is being sent.
    pub fn is_sending(&self) -> bool {
        self.cursors
            .iter()
            .any(|cursor| cursor.sending == Sending::On)
    }

    /// The cursor of a description.
    pub fn cursor(&self, description: u8) -> Option<&Cursor> {
        self.cursors
            .iter()
            .find(|cursor| cursor.description == description)
    }

    /// The cursor of a description, to change it.
    pub fn cursor_mut(&mut self, description: u8) -> Option<&mut Cursor> {
        self.cursors
            .iter_mut()
            .find(|cursor| cursor.description == description)
    }

    /// The title's time now.
    pub fn position(&self, now: Instant) -> u64 {
        self.clock
            .map_or(self.paused_at, |clock| clock.position(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(description: u8) -> Cursor {
        Cursor {
            description,
            transport: Transport::Tcp { rtp: 0, rtcp: 1 },
            continuity: Continuity::new(&[0; 32], "t", description),
            last_time: 0,
            position: 0,
            sending: Sending::On,
            thinned: false,
            packets: 0,
            octets: 0,
            report_due: None,
        }
    }

    #[test]
    fn the_clock_runs_in_both_directions_without_drift() {
        let anchor = Instant::now() + Duration::from_secs(100);
        let clock = Clock {
            anchor,
            npt: 90_000,
        };
        assert_eq!(clock.due(180_000), anchor + Duration::from_secs(1));
        assert_eq!(clock.due(45_000), anchor - Duration::from_millis(500));
        assert_eq!(clock.position(anchor + Duration::from_millis(500)), 135_000);
        assert_eq!(clock.position(anchor - Duration::from_secs(2)), 0);
        let hours = 90_000 * 3_600 * 1_000;
        assert_eq!(
            clock.due(hours + 90_000),
            anchor + Duration::from_secs(3_600_000)
        );
    }

    #[test]
    fn descriptions_take_turns_and_idle_ones_do_not_count() {
        let anchor = Instant::now();
        let cursors = vec![cursor(0), cursor(1)];
        let mut schedule = Schedule {
            cursors,
            ..Schedule::default()
        };
        let time = |c: &Cursor| Some(c.position * 6_000 + u64::from(c.description) * 3_000);
        assert_eq!(schedule.next(time), None, "paused");
        schedule.clock = Some(Clock { anchor, npt: 0 });
        let mut order = Vec::new();
        for _ in 0..4 {
            let (index, _) = schedule.next(time).unwrap();
            order.push(index);
            schedule.cursors[index].position += 1;
        }
        assert_eq!(order, [0, 1, 0, 1]);
        schedule.cursors[0].sending = Sending::Held;
        assert_eq!(schedule.next(time).unwrap().0, 1);
        schedule.cursors[1].sending = Sending::Ended;
        assert_eq!(schedule.next(time), None);
    }

    #[test]
    fn a_slow_reader_loses_one_description_up_to_its_next_key_frame() {
        let mut schedule = Schedule {
            cursors: vec![cursor(0), cursor(1)],
            ..Schedule::default()
        };
        assert!(!schedule.thin(0, false, 100, 100), "within the limit");
        assert!(
            !schedule.thin(0, false, 101, 100),
            "the last description goes first"
        );
        assert!(schedule.thin(1, false, 90, 100));
        assert!(
            schedule.thin(1, true, 60, 100),
            "a key frame, but not enough room yet"
        );
        assert!(schedule.thin(1, false, 10, 100), "room, but no key frame");
        assert!(!schedule.thin(1, true, 10, 100));
        assert_eq!(
            (schedule.cursors[0].position, schedule.cursors[1].position),
            (0, 3)
        );
        assert!(
            schedule.thin(0, false, 201, 100),
            "far above the limit both go"
        );
        assert!(schedule.thin(1, false, 201, 100));
    }
}
