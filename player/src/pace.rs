//! The play-out clock: which frame is due now. Pure: instants are arguments.

use std::time::{Duration, Instant};

use mdc::title::Timing;

/// Frame 90 kHz times to the player's clock, behind by the jitter buffer's length.
#[derive(Debug)]
pub struct Pace {
    timing: Timing,
    /// When title time 0 is due.
    origin: Instant,
    /// Ticks of the first frame, so that the origin never lies before the program's start.
    first_ticks: u64,
}

impl Pace {
    /// Frame `first` arrived at `at` and is due `buffer` later.
    pub fn new(timing: Timing, first: u32, at: Instant, buffer: Duration) -> Pace {
        let first_ticks = timing.rtp_time(first);
        Pace {
            timing,
            origin: at + buffer,
            first_ticks,
        }
    }

    /// When `frame` is due.
    pub fn instant(&self, frame: u32) -> Instant {
        let ticks = self.timing.rtp_time(frame).saturating_sub(self.first_ticks);
        self.origin + Duration::from_nanos(ticks.saturating_mul(100_000) / 9)
    }

    /// Everything later by `by`: the viewer sees a pause, no frame is lost.
    pub fn delay(&mut self, by: Duration) {
        self.origin += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_at_their_rate_behind_the_buffer() {
        let start = Instant::now();
        let buffer = Duration::from_millis(400);
        let timing = Timing::in_turn((25, 1), 2).unwrap();
        let mut pace = Pace::new(timing, 10, start, buffer);
        assert_eq!(pace.instant(10), start + buffer);
        assert_eq!(pace.instant(35), start + buffer + Duration::from_secs(1));
        assert_eq!(pace.instant(3), start + buffer);
        pace.delay(Duration::from_secs(2));
        assert_eq!(pace.instant(35), start + buffer + Duration::from_secs(3));
    }
}
