//! When a secondary asks its primaries: the timers of the SOA record (RFC 1035 §4.3.5), a NOTIFY
//! (RFC 1996), and what happens while nobody answers.
//!
//! ```text
//!          due / NOTIFY            no news, or a new version
//! waiting ─────────────► asking ────────────────────────────► waiting for REFRESH
//!    ▲                     │ failed: the next primary at once; after the last one
//!    └── waiting for RETRY ┘                        EXPIRE after the last success: SERVFAIL
//! ```

use crate::rrset::RrSet;

/// Least time between two rounds, whatever a SOA record or a flood of NOTIFY wants.
const PAUSE_SECONDS: u64 = 1;
/// Least REFRESH and RETRY: a zero must not become a busy loop.
const INTERVAL_SECONDS_MIN: u32 = 2;
/// Most REFRESH and RETRY: four weeks.
const INTERVAL_SECONDS_MAX: u32 = 28 * 86_400;
/// First wait for a zone that was never there; it doubles with every round.
const BOOTSTRAP_SECONDS: u64 = 5;
/// Longest wait for a zone that was never there.
const BOOTSTRAP_SECONDS_MAX: u64 = 1_800;

/// The timers of a SOA record, in seconds, as far as they make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// After a success, ask again after this time.
    pub refresh: u32,
    /// After a failure, ask again after this time.
    pub retry: u32,
    /// This long after the last success the zone is not to be served any more.
    pub expire: u32,
}

impl Timers {
    /// Reads the timers. A zone does not expire before it could be refreshed and retried once.
    pub fn of(soa: &RrSet) -> Self {
        let numbers = soa.rdatas().next().and_then(|data| data.last_chunk::<20>());
        let number = |place: usize| {
            let octets = numbers.and_then(|numbers| numbers.as_chunks::<4>().0.get(place));
            octets.copied().map_or(0, u32::from_be_bytes)
        };
        let interval = |place| number(place).clamp(INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX);
        let (refresh, retry) = (interval(1), interval(2));
        Self {
            refresh,
            retry,
            expire: number(3).max(refresh + retry),
        }
    }
}

/// The schedule of one secondary zone. Times are Unix seconds; randomness is an argument.
#[derive(Debug, Clone)]
pub struct Refresh {
    primaries: usize,
    /// Timers of the version at hand, and when a primary last confirmed it.
    held: Option<(Timers, u64)>,
    /// The primary to ask, and how many were asked in this round.
    turn: usize,
    asked: usize,
    rounds_failed: u32,
    asking: bool,
    /// A NOTIFY came while a primary was being asked.
    again: bool,
    due_at: u64,
    asked_at: u64,
}

impl Refresh {
    /// A zone that is asked for at once; `held` are the timers of a version that is there already, and
    /// when a primary last confirmed it.
    pub fn new(primaries: usize, held: Option<(Timers, u64)>, now: u64) -> Self {
        Self {
            primaries: primaries.max(1),
            held,
            turn: 0,
            asked: 0,
            rounds_failed: 0,
            asking: false,
            again: false,
            due_at: now,
            asked_at: 0,
        }
    }

    /// When a primary is to be asked; `None` while one is.
    pub fn due_at(&self) -> Option<u64> {
        (!self.asking).then_some(self.due_at)
    }

    /// When the version at hand must not be served any more; `None` without one.
    pub fn expires_at(&self) -> Option<u64> {
        let (timers, confirmed_at) = self.held?;
        Some(confirmed_at.saturating_add(timers.expire.into()))
    }

    /// When a primary last confirmed the version at hand.
    pub fn confirmed_at(&self) -> Option<u64> {
        self.held.map(|(_, confirmed_at)| confirmed_at)
    }

    /// True if there is a version that may be served.
    pub fn is_servable(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|expires_at| now < expires_at)
    }

    /// Begins to ask; returns which primary, from 0.
    pub fn begin(&mut self, now: u64) -> usize {
        (self.asking, self.again, self.asked_at) = (true, false, now);
        self.turn
    }

    /// A NOTIFY came from a primary, or an operator wants it now.
    pub fn notified(&mut self, now: u64) {
        if self.asking {
            self.again = true;
        } else {
            self.due_at = self.due_at.min(now.max(self.asked_at + PAUSE_SECONDS));
        }
    }

    /// The primary has nothing newer, or a new version came; its timers hold from now on.
    pub fn succeeded(&mut self, timers: Timers, now: u64, random: u32) {
        self.held = Some((timers, now));
        (self.asking, self.asked, self.rounds_failed) = (false, 0, 0);
        self.due_at = now + earlier(timers.refresh.into(), random);
        if std::mem::take(&mut self.again) {
            self.notified(now);
        }
    }

    /// This primary did not help: the next one is asked, and after the last one there is a wait.
    pub fn failed(&mut self, now: u64, random: u32) {
        self.asking = false;
        self.asked += 1;
        self.turn = (self.turn + 1) % self.primaries;
        if self.asked < self.primaries {
            self.due_at = now;
            return;
        }
        self.asked = 0;
        let wait = match self.held {
            Some((timers, _)) => timers.retry.into(),
            None => BOOTSTRAP_SECONDS_MAX.min(BOOTSTRAP_SECONDS << self.rounds_failed.min(16)),
        };
        self.rounds_failed += 1;
        self.due_at = now + earlier(wait, random);
        if std::mem::take(&mut self.again) {
            self.notified(now);
        }
    }
}

/// Up to a tenth less, so that a thousand zones loaded at once do not ask at once for ever.
fn earlier(seconds: u64, random: u32) -> u64 {
    let tenth = seconds / 10;
    let less = (tenth * u64::from(random)) >> 32;
    (seconds - less).max(PAUSE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timers = Timers {
        refresh: 1_000,
        retry: 100,
        expire: 5_000,
    };

    #[test]
    fn asks_every_refresh_and_after_a_failure_every_retry() {
        let mut refresh = Refresh::new(1, None, 10);
        assert_eq!((refresh.due_at(), refresh.expires_at()), (Some(10), None));
        assert_eq!(refresh.begin(10), 0);
        assert_eq!(refresh.due_at(), None);
        refresh.succeeded(TIMERS, 20, 0);
        assert_eq!(refresh.due_at(), Some(1_020));
        assert_eq!(refresh.expires_at(), Some(5_020));
        refresh.begin(1_020);
        refresh.failed(1_030, 0);
        assert_eq!(refresh.due_at(), Some(1_130));
        // A failure does not prolong the life of the zone.
        assert!(refresh.is_servable(5_019) && !refresh.is_servable(5_020));
    }

    #[test]
    fn goes_round_the_primaries_before_it_waits() {
        let mut refresh = Refresh::new(3, Some((TIMERS, 0)), 0);
        for (now, primary) in [(0, 0), (1, 1), (2, 2)] {
            assert_eq!(refresh.due_at(), Some(now));
            assert_eq!(refresh.begin(now), primary);
            refresh.failed(now + 1, 0);
        }
        assert_eq!(refresh.due_at(), Some(103));
        assert_eq!(refresh.begin(103), 0);
        refresh.failed(104, 0);
        // The one that helped is asked first the next time.
        assert_eq!(refresh.begin(104), 1);
        refresh.succeeded(TIMERS, 105, 0);
        assert_eq!(refresh.begin(1_105), 1);
    }

    #[test]
    fn a_zone_that_never_came_is_asked_for_ever_more_seldom() {
        let mut refresh = Refresh::new(1, None, 0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let now = refresh.due_at().unwrap();
            refresh.begin(now);
            refresh.failed(now, 0);
            waits.push(refresh.due_at().unwrap() - now);
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[11], 1_800);
        assert!(!refresh.is_servable(0));
    }

    #[test]
    fn notify_asks_at_once_but_not_without_a_pause() {
        let mut refresh = Refresh::new(1, Some((TIMERS, 0)), 0);
        refresh.begin(0);
        refresh.succeeded(TIMERS, 0, 0);
        refresh.notified(500);
        assert_eq!(refresh.due_at(), Some(500));
        refresh.begin(500);
        // While asking: once more afterwards, at the earliest a pause after the last time.
        refresh.notified(500);
        refresh.notified(500);
        refresh.succeeded(TIMERS, 500, 0);
        assert_eq!(refresh.due_at(), Some(501));
        refresh.begin(501);
        refresh.succeeded(TIMERS, 502, 0);
        assert_eq!(refresh.due_at(), Some(1_502));
    }

    #[test]
    fn jitter_takes_up_to_a_tenth_away() {
        let due = |random| {
            let mut refresh = Refresh::new(1, None, 0);
            refresh.begin(0);
            refresh.succeeded(TIMERS, 0, random);
            refresh.due_at().unwrap()
        };
        assert_eq!(due(0), 1_000);
        assert_eq!(due(u32::MAX), 901);
    }

    #[test]
    fn timers_that_make_no_sense_are_mended() {
        let timers = |refresh: u32, retry: u32, expire: u32| {
            let numbers = [1, refresh, retry, expire, 60]
                .map(u32::to_be_bytes)
                .concat();
            let data = [&[0, 0][..], &numbers].concat();
            let Timers {
                refresh,
                retry,
                expire,
            } = Timers::of(&RrSet::new(crate::rtype::SOA, 60, [data]).unwrap());
            (refresh, retry, expire)
        };
        assert_eq!(timers(3_600, 600, 86_400), (3_600, 600, 86_400));
        assert_eq!(timers(0, 0, 0), (2, 2, 4));
        assert_eq!(timers(3_600, 600, 10), (3_600, 600, 4_200));
        assert_eq!(timers(u32::MAX, 600, u32::MAX).0, 28 * 86_400);
    }
}
