//! Access units of all descriptions → one sequence of frames, each number once and in order.
//!
//! ```text
//!  push(d0, unit) ─┐                            ┌─► Show     decode and show
//!  push(d1, unit) ─┼─► by frame number ─► play ─┼─► Missing  show an interpolated picture
//!  push(d1, copy) ─┘   first copy wins          └─► Late     decode only: it keeps its chain alive
//! ```
//! A frame can be decoded only if its predecessor in the same chain was, or if it is an IDR; after a
//! loss the chain stays hidden until its next IDR, and the other chains carry the picture.

use std::collections::{BTreeMap, VecDeque};

use crate::rtp::AccessUnit;
use crate::title::Timing;

/// Units kept ahead of play-out, over all descriptions: ten seconds at 60 frames per second.
pub const AHEAD_MAX: usize = 600;

/// Octets of them: ten seconds at 50 Mbit/s. A unit may be megabytes large, and the sender decides.
pub const AHEAD_OCTETS_MAX: usize = 64 << 20;

/// Units kept of a chain that waits for a late predecessor: a two-second GOP at 60 frames per second.
const WAITING_MAX: usize = 120;

/// Octets of them, for each chain.
const WAITING_OCTETS_MAX: usize = 16 << 20;

/// What the player does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Decode this frame with its description's decoder and show it.
    Show {
        /// Frame number at the full rate.
        number: u32,
        /// Whose decoder.
        description: u8,
        /// The coded picture.
        unit: AccessUnit,
    },
    /// The frame's time has come without it: show a substitute.
    Missing {
        /// Frame number at the full rate.
        number: u32,
        /// Which description should have had it.
        description: u8,
    },
    /// Decode this frame, but its time is over: later frames of the chain need it.
    Late {
        /// Frame number at the full rate.
        number: u32,
        /// Whose decoder.
        description: u8,
        /// The coded picture.
        unit: AccessUnit,
    },
}

/// What became of a unit that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Waits for its time.
    Queued,
    /// Came after its time; may still rescue its chain.
    Late,
    /// The same frame was here before: from another edge, or twice.
    Duplicate,
    /// Octets are missing.
    Incomplete,
    /// Its time belongs to no frame of this description.
    Foreign,
    /// Too far ahead of play-out; see [`AHEAD_MAX`] and [`AHEAD_OCTETS_MAX`].
    TooEarly,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames shown.
    pub shown: u64,
    /// Frames missing at their time.
    pub missing: u64,
    /// Of those: frames that had arrived but whose chain was broken.
    pub hidden: u64,
    /// Frames that came after their time and were decoded all the same.
    pub late: u64,
    /// Second copies.
    pub duplicates: u64,
    /// Units with octets missing.
    pub incomplete: u64,
}

/// Merges the descriptions of one title for one player.
#[derive(Debug)]
pub struct Merger {
    timing: Timing,
    /// The frame whose time comes next.
    next: u32,
    queue: BTreeMap<u32, AccessUnit>,
    /// Octets in the queue.
    queued: usize,
    chains: Vec<Chain>,
    events: VecDeque<Event>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Chain {
    /// The last frame handed to the decoder; None while waiting for an IDR.
    decoded: Option<u32>,
    /// Frames past their time whose predecessor may still come.
    waiting: BTreeMap<u32, AccessUnit>,
}

impl Merger {
    /// A merger whose play-out begins with frame `start`.
    pub fn new(timing: Timing, start: u32) -> Merger {
        let chains = (0..timing.descriptions())
            .map(|_| Chain::default())
            .collect();
        Merger {
            timing,
            next: start,
            queue: BTreeMap::new(),
            queued: 0,
            chains,
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a unit of `description`, from whichever edge.
    pub fn push(&mut self, description: u8, unit: AccessUnit) -> Accepted {
        let Some(number) = self.timing.frame_at(unit.rtp_time) else {
            return Accepted::Foreign;
        };
        if self.timing.description_of(number) != description {
            return Accepted::Foreign;
        }
        if !unit.complete {
            self.counts.incomplete += 1;
            return Accepted::Incomplete;
        }
        if number < self.next {
            return self.push_late(description, number, unit);
        }
        if self.queue.contains_key(&number) {
            self.counts.duplicates += 1;
            return Accepted::Duplicate;
        }
        let queued = self.queued.saturating_add(unit.data.len());
        if (number - self.next) as usize >= AHEAD_MAX || queued > AHEAD_OCTETS_MAX {
            return Accepted::TooEarly;
        }
        self.queued = queued;
        self.queue.insert(number, unit);
        Accepted::Queued
    }

    /// The next event, now that the times of all frames up to and including `due` have come
    /// (None: no frame's time has come, only late frames may be handed out).
    pub fn play(&mut self, due: Option<u32>) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let number = self.next;
        if due.is_none_or(|due| number > due) {
            return None;
        }
        self.next = number.checked_add(1)?;
        Some(self.play_frame(number))
    }

    /// The frame whose time comes next.
    pub fn next_frame(&self) -> u32 {
        self.next
    }

    /// Highest frame number received and not yet played: how full the buffer is.
    pub fn highest(&self) -> Option<u32> {
        self.queue.last_key_value().map(|(number, _)| *number)
    }

    /// The decoder failed: hide the chain until its next IDR.
    pub fn break_chain(&mut self, description: u8) {
        if let Some(chain) = self.chains.get_mut(usize::from(description)) {
            *chain = Chain::default();
        }
    }

    /// Totals since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn play_frame(&mut self, number: u32) -> Event {
        let description = self.timing.description_of(number);
        let unit = self.queue.remove(&number);
        let octets = unit.as_ref().map_or(0, |unit| unit.data.len());
        self.queued = self.queued.saturating_sub(octets);
        let Some(chain) = self.chains.get_mut(usize::from(description)) else {
            return Event::Missing {
                number,
                description,
            };
        };
        match unit {
            Some(unit) if chain.can_decode(&self.timing, number, &unit) => {
                chain.decoded = Some(number);
                chain.waiting.clear();
                self.counts.shown += 1;
                Event::Show {
                    number,
                    description,
                    unit,
                }
            }
            unit => {
                self.counts.missing += 1;
                if let Some(unit) = unit {
                    self.counts.hidden += 1;
                    chain.wait(number, unit);
                }
                Event::Missing {
                    number,
                    description,
                }
            }
        }
    }

    /// A unit past its time: if it is the one its chain waits for, it and what waited go to the decoder.
    fn push_late(&mut self, description: u8, number: u32, unit: AccessUnit) -> Accepted {
        let Some(chain) = self.chains.get_mut(usize::from(description)) else {
            return Accepted::Foreign;
        };
        let old = chain.decoded.is_some_and(|decoded| number <= decoded);
        if old || chain.waiting.contains_key(&number) {
            self.counts.duplicates += 1;
            return Accepted::Duplicate;
        }
        chain.wait(number, unit);
        while let Some((number, unit)) = chain.take_decodable(&self.timing) {
            self.counts.late += 1;
            self.events.push_back(Event::Late {
                number,
                description,
                unit,
            });
        }
        Accepted::Late
    }
}

impl Chain {
    fn can_decode(&self, timing: &Timing, number: u32, unit: &AccessUnit) -> bool {
        unit.idr
            || self
                .decoded
                .is_some_and(|decoded| timing.successor(decoded) == number)
    }

    /// Keeps a unit past its time, the newest at the expense of the oldest.
    fn wait(&mut self, number: u32, unit: AccessUnit) {
        self.waiting.insert(number, unit);
        let mut octets: usize = self.waiting.values().map(|unit| unit.data.len()).sum();
        while self.waiting.len() > WAITING_MAX || octets > WAITING_OCTETS_MAX {
            let Some((_, oldest)) = self.waiting.pop_first() else {
                return;
            };
            octets -= oldest.data.len();
        }
    }

    /// Takes the first waiting unit that can be decoded now, dropping those before it.
    fn take_decodable(&mut self, timing: &Timing) -> Option<(u32, AccessUnit)> {
        let found = self
            .waiting
            .iter()
            .find(|(n, unit)| self.can_decode(timing, **n, unit))
            .map(|(n, _)| *n)?;
        self.waiting = self.waiting.split_off(&found);
        self.decoded = Some(found);
        self.waiting.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> Timing {
        Timing::in_turn((30, 1), 2).unwrap()
    }

    fn unit(number: u32, idr: bool) -> AccessUnit {
        let rtp_time = timing().rtp_time(number);
        AccessUnit {
            rtp_time,
            data: vec![number as u8],
            idr,
            complete: true,
            lost_before: 0,
        }
    }

    /// Plays frames up to `due` and writes one letter per frame: S(how), . (missing), L(ate).
    fn play(merger: &mut Merger, due: u32) -> String {
        std::iter::from_fn(|| merger.play(Some(due)))
            .map(|event| match event {
                Event::Show { number, unit, .. } => {
                    assert_eq!(unit.data, [number as u8]);
                    'S'
                }
                Event::Missing { .. } => '.',
                Event::Late { .. } => 'L',
            })
            .collect()
    }

    fn push_all(merger: &mut Merger, frames: impl Iterator<Item = u32>) {
        for k in frames {
            assert_eq!(merger.push((k % 2) as u8, unit(k, k < 2)), Accepted::Queued);
        }
    }

    #[test]
    fn every_frame_comes_once_in_order_whatever_the_order_of_arrival() {
        let mut merger = Merger::new(timing(), 0);
        push_all(&mut merger, (0..20).rev());
        assert_eq!(play(&mut merger, 19), "S".repeat(20));
        assert_eq!(merger.play(Some(19)), None);
    }

    #[test]
    fn a_second_copy_is_dropped_before_and_after_its_time() {
        let mut merger = Merger::new(timing(), 0);
        push_all(&mut merger, 0..4);
        assert_eq!(merger.push(0, unit(2, false)), Accepted::Duplicate);
        play(&mut merger, 3);
        assert_eq!(merger.push(0, unit(2, false)), Accepted::Duplicate);
        assert_eq!(merger.counts().duplicates, 2);
    }

    #[test]
    fn after_a_loss_the_chain_is_hidden_until_its_idr_and_the_other_plays_on() {
        let mut merger = Merger::new(timing(), 0);
        for k in (0..16).filter(|k| *k != 4) {
            merger.push((k % 2) as u8, unit(k, k < 2 || k == 10));
        }
        assert_eq!(play(&mut merger, 15), "SSSS.S.S.SSSSSSS");
        assert_eq!((merger.counts().missing, merger.counts().hidden), (3, 2));
    }

    #[test]
    fn a_late_frame_rescues_its_chain() {
        let mut merger = Merger::new(timing(), 0);
        push_all(&mut merger, (0..12).filter(|k| *k != 4));
        assert_eq!(play(&mut merger, 7), "SSSS.S.S");
        assert_eq!(merger.push(0, unit(4, false)), Accepted::Late);
        assert_eq!(play(&mut merger, 11), "LLSSSS");
    }

    #[test]
    fn nothing_is_played_before_its_time() {
        let mut merger = Merger::new(timing(), 0);
        push_all(&mut merger, 0..4);
        assert_eq!(merger.play(None), None);
        assert_eq!(play(&mut merger, 1), "SS");
        assert_eq!(merger.next_frame(), 2);
    }

    #[test]
    fn foreign_incomplete_and_far_units_are_refused() {
        let mut merger = Merger::new(timing(), 0);
        assert_eq!(merger.push(1, unit(4, true)), Accepted::Foreign);
        assert_eq!(
            merger.push(
                0,
                AccessUnit {
                    complete: false,
                    ..unit(4, true)
                }
            ),
            Accepted::Incomplete
        );
        assert_eq!(merger.push(0, unit(4_000, true)), Accepted::TooEarly);
    }

    #[test]
    fn no_sender_decides_how_much_memory_is_taken() {
        let large = |number: u32| AccessUnit {
            data: vec![0; 8 << 20],
            ..unit(number, number < 2)
        };
        let mut merger = Merger::new(timing(), 0);
        let accepted = (0..40).map(|k| merger.push((k % 2) as u8, large(k)));
        let queued = accepted.filter(|a| *a == Accepted::Queued).count();
        assert_eq!(queued, AHEAD_OCTETS_MAX / (8 << 20));
        // What is played makes room; what waits for a lost predecessor is bounded as well.
        assert!(matches!(merger.play(Some(0)), Some(Event::Show { .. })));
        assert_eq!(merger.push(0, large(8)), Accepted::Queued);
        let mut chain = Chain::default();
        (0..10).for_each(|k| chain.wait(2 * k, large(2 * k)));
        assert_eq!(chain.waiting.keys().copied().collect::<Vec<_>>(), [16, 18]);
    }

    #[test]
    fn a_failed_decoder_hides_its_chain_until_the_next_idr() {
        let mut merger = Merger::new(timing(), 0);
        for k in 0..10 {
            merger.push((k % 2) as u8, unit(k, k < 2 || k == 6));
        }
        assert_eq!(play(&mut merger, 3), "SSSS");
        merger.break_chain(0);
        assert_eq!(play(&mut merger, 9), ".SSSSS");
    }
}
