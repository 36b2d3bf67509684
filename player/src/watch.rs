//! Is the service acceptable? Frames received against frames announced, over two seconds (C9).
//! Too few with packets lost on the way is a lossy network; too few without any is *thinning*: the
//! server leaves frames out. Pure: instants and totals are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is looked back upon.
const WINDOW: Duration = Duration::from_secs(2);
/// Samples are taken this often.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Below this share of the announced frames service is not acceptable.
const SHARE_MIN: f64 = 0.8;
/// Nothing at all for this long is an outage; no need to wait for the window.
const OUTAGE: Duration = Duration::from_millis(1500);

/// Totals of one description since its flow began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Which description.
    pub description: u8,
    /// Whole frames received.
    pub frames: u64,
    /// Packets lost on the way.
    pub packets_lost: u64,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Complaint {
    /// The server leaves frames out: this share of them arrives.
    Thinned(u8, f64),
    /// The network loses packets: this share of the frames arrives whole.
    Lossy(u8, f64),
    /// Nothing arrives any more.
    Outage,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Complaint::Thinned(d, share) => {
                write!(f, "d{d} is thinned to {:.0} %", share * 100.0)
            }
            Complaint::Lossy(d, share) => {
                write!(
                    f,
                    "d{d} arrives to {:.0} %, the rest is lost",
                    share * 100.0
                )
            }
            Complaint::Outage => write!(f, "nothing arrives"),
        }
    }
}

/// Looks at the totals from time to time.
#[derive(Debug, Default)]
pub struct Watch {
    samples: VecDeque<(Instant, Vec<Totals>)>,
}

impl Watch {
    /// Forgets everything: the streams are not the ones looked at before.
    pub fn reset(&mut self) {
        self.samples.clear();
    }

    /// Whether a sample is due.
    pub fn due(&self, now: Instant) -> bool {
        self.samples
            .back()
            .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SAMPLE_EVERY)
    }

    /// Takes a sample: `frames_per_second` is what each description announces, `silence` how long
    /// nothing has come.
    pub fn look(
        &mut self,
        now: Instant,
        totals: Vec<Totals>,
        frames_per_second: f64,
        silence: Duration,
    ) -> Option<Complaint> {
        let other = |a: &Totals, b: &Totals| a.description != b.description || a.frames > b.frames;
        let changed = self.samples.back().is_some_and(|(_, last)| {
            last.len() != totals.len() || last.iter().zip(&totals).any(|(a, b)| other(a, b))
        });
        if changed {
            self.reset();
        }
        self.samples.push_back((now, totals));
        if silence >= OUTAGE {
            return Some(Complaint::Outage);
        }
        self.compare(now, frames_per_second)
    }

    fn compare(&mut self, now: Instant, frames_per_second: f64) -> Option<Complaint> {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        // The sample just older than the window is the one to compare with.
        while self.samples.get(1).is_some_and(|(at, _)| age(at) >= WINDOW) {
            self.samples.pop_front();
        }
        let (at, before) = self.samples.front()?;
        let (_, after) = self.samples.back()?;
        if age(at) < WINDOW {
            return None;
        }
        let expected = frames_per_second * age(at).as_secs_f64();
        before.iter().zip(after).find_map(|(before, after)| {
            let share = after.frames.saturating_sub(before.frames) as f64 / expected;
            let lossy = after.packets_lost > before.packets_lost;
            match share < SHARE_MIN {
                false => None,
                true if lossy => Some(Complaint::Lossy(after.description, share)),
                true => Some(Complaint::Thinned(after.description, share)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four seconds at 15 frames per second; from the second on, `share` of d1 arrives. First complaint.
    fn check(share: f64, lost_per_second: u64) -> Option<(u64, Complaint)> {
        let (start, mut watch) = (Instant::now(), Watch::default());
        for quarter in 0..16u64 {
            let seconds = quarter as f64 / 4.0;
            let late = (seconds - 1.0).max(0.0);
            let thinned = 15.0 * (seconds - late + late * share);
            let totals = vec![
                Totals {
                    description: 0,
                    frames: (15.0 * seconds) as u64,
                    packets_lost: 0,
                },
                Totals {
                    description: 1,
                    frames: thinned as u64,
                    packets_lost: (late * lost_per_second as f64) as u64,
                },
            ];
            let now = start + Duration::from_millis(250 * quarter);
            assert!(watch.due(now));
            if let Some(complaint) = watch.look(now, totals, 15.0, Duration::ZERO) {
                return Some((quarter, complaint));
            }
        }
        None
    }

    #[test]
    fn full_service_is_acceptable_and_so_is_a_little_less() {
        assert_eq!(check(1.0, 0), None);
        assert_eq!(check(0.9, 0), None);
    }

    #[test]
    fn frames_left_out_without_gaps_are_thinning() {
        let (quarter, complaint) = check(0.5, 0).unwrap();
        assert!(matches!(complaint, Complaint::Thinned(1, _)), "{complaint}");
        assert!(
            (8..=12).contains(&quarter),
            "noticed after {quarter} quarters of a second"
        );
    }

    #[test]
    fn frames_missing_with_gaps_are_loss() {
        assert!(matches!(check(0.5, 20), Some((_, Complaint::Lossy(1, _)))));
    }

    #[test]
    fn silence_is_an_outage_at_once_and_new_streams_start_anew() {
        let (now, mut watch) = (Instant::now(), Watch::default());
        let totals = |frames| {
            vec![Totals {
                description: 0,
                frames,
                packets_lost: 0,
            }]
        };
        assert_eq!(
            watch.look(now, totals(100), 15.0, OUTAGE),
            Some(Complaint::Outage)
        );
        let later = now + Duration::from_secs(3);
        assert_eq!(watch.look(later, totals(3), 15.0, Duration::ZERO), None);
    }
}
