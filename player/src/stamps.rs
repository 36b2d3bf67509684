//! Losses and order as the pixels tell them: the numbers drawn into the pictures, read after decoding.
//! Independent of timestamps, packets and everything else the player believes.

use serde::Serialize;

/// What the stamps of all decoded pictures say.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Stamps {
    /// Pictures with a legible stamp.
    pub stamps_read: u64,
    /// Numbers skipped.
    pub stamps_lost: u64,
    /// Numbers that came twice in a row.
    pub stamps_repeated: u64,
    /// Numbers lower than one before.
    pub stamps_out_of_order: u64,
    #[serde(skip)]
    last: Option<(u32, u32)>,
    /// Numbers per step: 1, or more where a single description of several is played.
    #[serde(skip)]
    step: Option<u32>,
    /// Length of a title that repeats, learnt where it begins anew.
    #[serde(skip)]
    period: Option<u32>,
}

impl Stamps {
    /// Notes the stamp of a picture shown as `frame`. `step` is what the stamp grows by per frame.
    pub fn note(&mut self, frame: u32, stamp: u32) {
        self.stamps_read += 1;
        let Some((last_frame, last)) = self.last.replace((frame, stamp)) else {
            return;
        };
        let frames = frame.saturating_sub(last_frame).max(1);
        let Some(growth) = stamp.checked_sub(last) else {
            self.note_lower(frames, last, stamp);
            return;
        };
        if growth == 0 {
            self.stamps_repeated += 1;
            return;
        }
        // The first two stamps set the step; a loss between exactly those two is for the frame count to see.
        let step = *self.step.get_or_insert((growth / frames).max(1));
        self.stamps_lost += u64::from((growth / step).saturating_sub(1));
    }

    /// A lower number is a fault, unless the title began anew: then it fits the title's length.
    fn note_lower(&mut self, frames: u32, last: u32, stamp: u32) {
        let step = self.step.unwrap_or(1);
        let period = (last - stamp).saturating_add(frames.saturating_mul(step));
        let begins_anew = stamp < step.saturating_mul(frames) && last > stamp.saturating_add(step);
        if begins_anew && *self.period.get_or_insert(period) == period {
            self.stamps_lost += u64::from(frames - 1);
        } else {
            self.stamps_out_of_order += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(u32, u32)], lost: u64, repeated: u64, out_of_order: u64) {
        let mut stamps = Stamps::default();
        for (frame, stamp) in pairs {
            stamps.note(*frame, *stamp);
        }
        let found = (
            stamps.stamps_lost,
            stamps.stamps_repeated,
            stamps.stamps_out_of_order,
        );
        assert_eq!(found, (lost, repeated, out_of_order), "{pairs:?}");
        assert_eq!(stamps.stamps_read, pairs.len() as u64);
    }

    #[test]
    fn an_unbroken_row_has_no_faults() {
        check(&[(0, 0), (1, 1), (2, 2), (3, 3)], 0, 0, 0);
        check(&[(7, 7), (8, 8)], 0, 0, 0);
    }

    #[test]
    fn one_description_of_two_counts_in_steps_of_two() {
        check(&[(0, 0), (1, 2), (2, 4), (3, 6)], 0, 0, 0);
        check(&[(1, 1), (2, 3), (3, 5), (5, 9)], 1, 0, 0);
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        check(&[(0, 0), (1, 1), (4, 4), (5, 5)], 2, 0, 0);
        check(&[(0, 0), (1, 1), (2, 1), (3, 2)], 0, 1, 0);
        check(&[(0, 0), (1, 1), (2, 2), (3, 1), (4, 2), (5, 3)], 0, 0, 1);
    }

    #[test]
    fn a_title_that_begins_anew_is_no_fault_but_a_jump_back_is() {
        let round = |from: u32| (0..10).map(move |k| (from + k, k));
        let rounds: Vec<_> = round(0).chain(round(10)).chain(round(20)).collect();
        check(&rounds, 0, 0, 0);
        let cut: Vec<_> = round(0)
            .chain((10..15).map(|k| (k, k - 10)))
            .chain(round(15))
            .collect();
        check(&cut, 0, 0, 1);
    }
}
