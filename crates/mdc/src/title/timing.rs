//! Frame numbers, the 90 kHz clock, and which description a frame belongs to.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Ticks per second of every video timestamp (RFC 6184 §8.2.1: the clock rate is 90 kHz).
pub const CLOCK_HZ: u64 = 90_000;

/// Most descriptions one title may have; an RTP session per description stops being sensible earlier.
pub const DESCRIPTIONS_MAX: usize = 16;

/// Longest cadence, in frames.
pub const CADENCE_MAX: usize = 64;

/// Fastest frame rate accepted, in frames per second.
pub const FPS_MAX: u32 = 1_000;

/// The full frame rate of a title and the share each description has of its frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    fps: (u32, u32),
    cadence: Vec<u8>,
}

/// Why a frame rate or a cadence is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimingError {
    /// Zero, or faster than [`FPS_MAX`].
    #[error("frame rate {0}/{1} is not between 1/1000 and {FPS_MAX} frames per second")]
    FrameRate(u32, u32),
    /// Empty, too long, or leaving out a description.
    #[error(
        "cadence {0:?} must name every description from 0 on (at most {DESCRIPTIONS_MAX}, in at most {CADENCE_MAX} frames)"
    )]
    Cadence(Vec<u8>),
}

impl Timing {
    /// A checked timing: `fps` is (numerator, denominator), frame *k* belongs to description
    /// `cadence[k % cadence.len()]`.
    pub fn new(fps: (u32, u32), cadence: Vec<u8>) -> Result<Timing, TimingError> {
        let (num, den) = fps;
        let too_fast = u64::from(num) > u64::from(den) * u64::from(FPS_MAX);
        let too_slow = u64::from(num) * 1_000 < u64::from(den);
        if num == 0 || den == 0 || too_fast || too_slow {
            return Err(TimingError::FrameRate(num, den));
        }
        let count = cadence.iter().max().map_or(0, |max| usize::from(*max) + 1);
        let every_one = (0..count).all(|d| cadence.iter().any(|c| usize::from(*c) == d));
        if count == 0 || count > DESCRIPTIONS_MAX || cadence.len() > CADENCE_MAX || !every_one {
            return Err(TimingError::Cadence(cadence));
        }
        Ok(Timing { fps, cadence })
    }

    /// Frames dealt in turn to `descriptions` chains: 0, 1, …, 0, 1, …
    pub fn in_turn(fps: (u32, u32), descriptions: u8) -> Result<Timing, TimingError> {
        Timing::new(fps, (0..descriptions).collect())
    }

    /// Frames per second as (numerator, denominator).
    pub fn fps(&self) -> (u32, u32) {
        self.fps
    }

    /// The description of each frame of one round.
    pub fn cadence(&self) -> &[u8] {
        &self.cadence
    }

    /// How many descriptions there are.
    pub fn descriptions(&self) -> u8 {
        self.cadence.iter().max().map_or(0, |max| max + 1)
    }

    /// Time of a frame in 90 kHz ticks from the start of the title, rounded down.
    pub fn rtp_time(&self, frame: u32) -> u64 {
        let ticks = u128::from(frame) * u128::from(CLOCK_HZ) * u128::from(self.fps.1);
        u64::try_from(ticks / u128::from(self.fps.0)).unwrap_or(u64::MAX)
    }

    /// The frame whose time is nearest to `rtp_time`; None past frame 2³²−1.
    pub fn frame_at(&self, rtp_time: u64) -> Option<u32> {
        let per_frame = u128::from(CLOCK_HZ) * u128::from(self.fps.1);
        let twice = 2 * u128::from(rtp_time) * u128::from(self.fps.0) + per_frame;
        u32::try_from(twice / (2 * per_frame)).ok()
    }

    /// The description that frame `frame` belongs to.
    pub fn description_of(&self, frame: u32) -> u8 {
        let length = u32::try_from(self.cadence.len()).unwrap_or(1).max(1);
        self.cadence
            .get((frame % length) as usize)
            .copied()
            .unwrap_or(0)
    }

    /// The next frame of the same description.
    pub fn successor(&self, frame: u32) -> u32 {
        self.next_of(self.description_of(frame), frame.saturating_add(1))
    }

    /// The first frame at or after `frame` that belongs to `description`
    /// (`frame` itself if no frame ever does).
    pub fn next_of(&self, description: u8, frame: u32) -> u32 {
        let length = u32::try_from(self.cadence.len()).unwrap_or(1);
        (frame..=frame.saturating_add(length))
            .find(|k| self.description_of(*k) == description)
            .unwrap_or(frame)
    }

    /// The next number at or after `frames` where the cadence starts anew: a looping title repeats
    /// with this period, so that every description keeps its frames.
    pub fn round_up(&self, frames: u32) -> u32 {
        let length = u32::try_from(self.cadence.len()).unwrap_or(1).max(1);
        frames.div_ceil(length).saturating_mul(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_numbers_and_times_are_inverse_at_every_usual_rate() {
        for fps in [
            (30, 1),
            (25, 1),
            (30_000, 1_001),
            (24_000, 1_001),
            (60_000, 1_001),
            (15, 2),
        ] {
            let timing = Timing::in_turn(fps, 2).unwrap();
            for frame in (0..5_000).chain([u32::MAX / 2, u32::MAX - 1]) {
                assert_eq!(
                    timing.frame_at(timing.rtp_time(frame)),
                    Some(frame),
                    "{fps:?}"
                );
            }
        }
    }

    #[test]
    fn two_descriptions_take_even_and_odd_frames() {
        let timing = Timing::in_turn((30, 1), 2).unwrap();
        assert_eq!((timing.description_of(8), timing.description_of(9)), (0, 1));
        assert_eq!((timing.successor(8), timing.rtp_time(1)), (10, 3_000));
    }

    #[test]
    fn an_unbalanced_cadence_gives_one_description_twice_the_frames() {
        let timing = Timing::new((30, 1), vec![0, 0, 1]).unwrap();
        assert_eq!(
            (0..6).map(|k| timing.description_of(k)).collect::<Vec<_>>(),
            [0, 0, 1, 0, 0, 1]
        );
        assert_eq!(
            (timing.successor(1), timing.successor(2), timing.round_up(4)),
            (3, 5, 6)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Timing::in_turn((0, 1), 2).is_err());
        assert!(Timing::in_turn((30, 0), 2).is_err());
        assert!(Timing::in_turn((1_001, 1), 2).is_err());
        assert!(Timing::new((30, 1), vec![]).is_err());
        assert!(Timing::new((30, 1), vec![0, 2]).is_err());
    }
}
