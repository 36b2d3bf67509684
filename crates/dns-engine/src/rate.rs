//! Rate limiting of datagrams: how many answers a source gets that has proved nothing about itself.
//!
//! Each answer is counted for the source address and for the networks around it, each with a limit of its
//! own, so that neither one forged victim nor a whole forged network draws more than its share. A count is
//! a number that decays exponentially: a source that was silent may get `burst` answers at once and
//! `per_second` for ever. Only answers that pass count, so a source over its limit still gets that much.
//!
//! The counters of a worker are a table of fixed size, looked up before anything of the answer is made.

use std::net::IpAddr;

use crate::network::Network;

/// How many datagrams a source may have answered in full. Per worker: a source whose datagrams are spread
/// over several of them, by many ports, gets so much from each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers each second that one address gets for ever; 0 counts as 1.
    pub per_second: u32,
    /// Answers at once for an address that was silent before; 0 counts as 1. A count halves in about
    /// 0.7 × `burst` / `per_second` seconds.
    pub burst: u32,
    /// Of the queries over the limit, every so many-th gets its question back with TC, so that who is no
    /// forgery comes again over TCP; the rest get nothing. 1: all, 0: none.
    pub slip: u32,
    /// Who has no limit.
    pub exempt: Vec<Network>,
    /// Size of a worker's table in octets, rounded up to a power of two: 64 for ten counters, of which a
    /// query needs four (IPv4) or five (IPv6). The least active ones make room for new ones.
    pub table_octets: usize,
    /// A random number, so that nobody can tell which sources share a place in the table.
    pub key: u64,
}

impl Default for RateLimit {
    /// Twice what Knot DNS grants an address. A flood of 4,000 queries a second gets less than two thirds of
    /// its octets back, though an answer with three tokens is five times its query.
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 250,
            slip: 2,
            exempt: Vec::new(),
            table_octets: 512 * 1024,
            key: 0,
        }
    }
}

/// What the limiter said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RateState {
    /// It was not asked: there is none, or the source has proved itself, by a cookie or a stream.
    #[default]
    Unlimited,
    /// Within the limit, or exempt.
    Passed,
    /// Over the limit: question and TC.
    Slipped,
    /// Over the limit: nothing.
    Dropped,
}

/// Prefix lengths that are counted, and how many times the limit of an address each has. A network holds
/// many good clients; but who can forge any address in it must not have the limit of each.
const LEVELS_V4: [(u8, u32); 4] = [(32, 1), (24, 32), (20, 256), (18, 768)];
const LEVELS_V6: [(u8, u32); 5] = [(128, 1), (64, 2), (56, 3), (48, 4), (32, 64)];
const LEVELS_MAX: usize = 5;

/// A count at its limit.
const FULL: u32 = 1 << 31;

/// The counters of one worker.
pub(crate) struct Limiter {
    pace: Pace,
    buckets: Vec<Bucket>,
    /// Queries over the limit so far.
    limited: u32,
}

impl Limiter {
    /// Without a table, which the first query gets; streams never need one.
    pub(crate) const fn new() -> Self {
        Self {
            pace: Pace::NONE,
            buckets: Vec::new(),
            limited: 0,
        }
    }

    /// Counts a query, or says that it is over a limit. `source` must not be IPv4-mapped.
    pub(crate) fn judge(&mut self, limit: &RateLimit, source: IpAddr, now_ms: u64) -> RateState {
        if limit.exempt.iter().any(|network| network.contains(source)) {
            return RateState::Passed;
        }
        self.follow(limit);
        let mut levels = [Level::NONE; LEVELS_MAX];
        let levels = levels_of(source, limit.key, &mut levels);
        let shares = self.pace.shares(source);
        let mut over = false;
        for (level, &share) in levels.iter_mut().zip(shares) {
            // The length of the table is a power of two.
            level.bucket &= self.buckets.len() - 1;
            let bucket = &mut self.buckets[level.bucket];
            bucket.decay(&self.pace, now_ms as u32);
            level.place = bucket.find(level.tag);
            let load = level.place.map_or(0, |place| bucket.loads[place]);
            over |= load.saturating_add(share) > FULL;
        }
        if !over {
            for (level, &share) in levels.iter().zip(shares) {
                self.buckets[level.bucket].add(level, share);
            }
            return RateState::Passed;
        }
        self.limited = self.limited.wrapping_add(1);
        match limit.slip {
            0 => RateState::Dropped,
            slip if self.limited.is_multiple_of(slip) => RateState::Slipped,
            _ => RateState::Dropped,
        }
    }

    /// Takes over new limits. The counts stay: they are parts of the limits.
    fn follow(&mut self, limit: &RateLimit) {
        let rates = (limit.per_second.max(1), limit.burst.max(1));
        if self.pace.rates != rates {
            self.pace = Pace::new(rates);
        }
        let wanted = limit.table_octets.div_ceil(size_of::<Bucket>());
        let wanted = wanted.next_power_of_two();
        if self.buckets.len() != wanted {
            self.buckets = vec![Bucket::EMPTY; wanted];
        }
    }
}

/// One prefix of a source, and where it is counted.
#[derive(Clone, Copy)]
struct Level {
    bucket: usize,
    tag: u16,
    place: Option<usize>,
}

impl Level {
    const NONE: Self = Self {
        bucket: 0,
        tag: 0,
        place: None,
    };
}

/// Fills in the prefixes of a source.
fn levels_of(source: IpAddr, key: u64, levels: &mut [Level; LEVELS_MAX]) -> &mut [Level] {
    let mut count = 0;
    let mut fill = |high: u64, low: u64, prefix_len: u8| {
        let hash = mix(mix(high ^ key, low), u64::from(prefix_len) ^ !key);
        levels[count].bucket = hash as usize;
        levels[count].tag = (hash >> 48) as u16;
        count += 1;
    };
    match source {
        IpAddr::V4(address) => {
            let bits = u64::from(address.to_bits());
            for (prefix_len, _) in LEVELS_V4 {
                fill(0, bits >> (32 - prefix_len), prefix_len);
            }
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            for (prefix_len, _) in LEVELS_V6 {
                let prefix = bits >> (128 - prefix_len);
                fill((prefix >> 64) as u64, prefix as u64, prefix_len);
            }
        }
    }
    &mut levels[..count]
}

/// Folded multiplication: every bit of the result depends on every bit of both numbers.
fn mix(one: u64, other: u64) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let product = u128::from(one ^ ODD) * u128::from(other ^ ODD.rotate_left(29));
    (product as u64) ^ (product >> 64) as u64
}

const PLACES: usize = 10;

/// Counters that share a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    /// The part of its limit that each has used; see `FULL`.
    loads: [u32; PLACES],
    tags: [u16; PLACES],
    /// When the loads were last brought up to date, in ms.
    updated: u32,
}

impl Bucket {
    const EMPTY: Self = Self {
        loads: [0; PLACES],
        tags: [0; PLACES],
        updated: 0,
    };

    fn decay(&mut self, pace: &Pace, now: u32) {
        let passed = now.wrapping_sub(self.updated);
        self.updated = now;
        // A clock that jumps back costs one update.
        if passed == 0 || passed > i32::MAX as u32 {
            return;
        }
        let left = pace.left_after(passed);
        for load in &mut self.loads {
            *load = part(*load, left);
        }
    }

    fn find(&self, tag: u16) -> Option<usize> {
        self.tags.iter().position(|&known| known == tag)
    }

    /// Adds to the counter of a level; a new one takes the place of the least.
    fn add(&mut self, level: &Level, share: u32) {
        if let Some(place) = level.place {
            self.loads[place] = self.loads[place].saturating_add(share);
            return;
        }
        let mut least = 0;
        for place in 1..PLACES {
            if self.loads[place] < self.loads[least] {
                least = place;
            }
        }
        (self.tags[least], self.loads[least]) = (level.tag, share);
    }
}

/// The limits as a query needs them: what an answer counts, and what time leaves of a count.
struct Pace {
    /// Per second, and at once.
    rates: (u32, u32),
    shares_v4: [u32; LEVELS_V4.len()],
    shares_v6: [u32; LEVELS_V6.len()],
    /// Parts of 2³² that are left after so many ms, and after so many times 256 ms.
    by_ms: [u32; 256],
    by_256_ms: [u32; 256],
}

impl Pace {
    const NONE: Self = Self {
        rates: (0, 0),
        shares_v4: [0; _],
        shares_v6: [0; _],
        by_ms: [0; 256],
        by_256_ms: [0; 256],
    };

    /// A count that loses `per_second / burst` of itself each second stays at its limit if it gains
    /// `per_second` answers.
    fn new(rates: (u32, u32)) -> Self {
        let (per_second, burst) = rates;
        let share = |(_, multiplier): (u8, u32)| {
            let whole = u64::from(burst) * u64::from(multiplier);
            (u64::from(FULL) / whole).max(1) as u32
        };
        let per_ms = f64::from(per_second) / f64::from(burst) / 1000.0;
        let left_after = |ms: usize| {
            let left = (-per_ms * ms as f64).exp();
            (left * f64::from(u32::MAX)) as u32
        };
        Self {
            rates,
            shares_v4: LEVELS_V4.map(share),
            shares_v6: LEVELS_V6.map(share),
            by_ms: std::array::from_fn(left_after),
            by_256_ms: std::array::from_fn(|step| left_after(256 * step)),
        }
    }

    /// What one answer counts on each level of a source.
    fn shares(&self, source: IpAddr) -> &[u32] {
        match source {
            IpAddr::V4(_) => &self.shares_v4,
            IpAddr::V6(_) => &self.shares_v6,
        }
    }

    /// Part of 2³² that is left of a count.
    fn left_after(&self, ms: u32) -> u32 {
        match ms.to_be_bytes() {
            [0, 0, high, low] => part(
                self.by_ms[usize::from(low)],
                self.by_256_ms[usize::from(high)],
            ),
            // A minute of silence is forgiven.
            _ => 0,
        }
    }
}

/// So many parts of 2³².
fn part(number: u32, parts: u32) -> u32 {
    ((u64::from(number) * u64::from(parts)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit {
            per_second,
            burst,
            slip: 0,
            key: 42,
            ..RateLimit::default()
        }
    }

    /// How many of `queries` evenly spread over `ms` pass.
    fn passed(
        limiter: &mut Limiter,
        limit: &RateLimit,
        queries: u32,
        ms: u64,
        source: impl Fn(u32) -> IpAddr,
    ) -> u32 {
        let at = |query: u32| u64::from(query) * ms / u64::from(queries);
        let judge = |query| limiter.judge(limit, source(query), at(query));
        (0..queries)
            .map(judge)
            .filter(|state| *state == RateState::Passed)
            .count() as u32
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
        Ipv4Addr::new(a, b, c, d).into()
    }

    #[test]
    fn a_burst_passes_and_then_so_much_each_second() {
        let limit = limit(200, 500);
        let victim = |_| v4(192, 0, 2, 1);
        assert_eq!(passed(&mut Limiter::new(), &limit, 500, 1, victim), 500);
        assert_eq!(passed(&mut Limiter::new(), &limit, 600, 1, victim), 500);
        // 4,000 a second for a minute: the burst, and 200 a second.
        let seen = passed(&mut Limiter::new(), &limit, 240_000, 60_000, victim);
        assert!((12_300..12_600).contains(&seen), "{seen}");
        // Just under the limit nothing is lost.
        let seen = passed(&mut Limiter::new(), &limit, 11_900, 60_000, victim);
        assert_eq!(seen, 11_900);
    }

    #[test]
    fn networks_have_limits_above_those_of_their_addresses() {
        let limit = limit(10, 20);
        let count = |mask: u32, base: u32| {
            let source = |query: u32| {
                let spread = query.wrapping_mul(0x9E37_79B1) >> 7;
                Ipv4Addr::from_bits(base | (spread & mask)).into()
            };
            passed(&mut Limiter::new(), &limit, 200_000, 1, source)
        };
        // 256 addresses could have 5,120 at once; their /24 has 32 times 20. And so on.
        assert_eq!(count(0xFF, 0xC000_0200), 640);
        assert_eq!(count(0xFFF, 0xC000_0000), 5_120);
        assert_eq!(count(0x3FFF, 0xC000_0000), 15_360);
    }

    #[test]
    fn every_prefix_of_an_ipv6_source_has_its_limit() {
        let limit = limit(10, 20);
        let count = |free_bits: u32| {
            let source = |query: u32| {
                let spread =
                    u128::from(query).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
                let mask = (1_u128 << free_bits) - 1;
                std::net::Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | ((spread >> 10) & mask))
                    .into()
            };
            passed(&mut Limiter::new(), &limit, 50_000, 1, source)
        };
        assert_eq!([0, 64, 72, 80].map(count), [20, 40, 60, 80]);
        assert_eq!(count(96), 1_280);
    }

    #[test]
    fn another_network_is_not_troubled_by_a_flood() {
        let (limit, mut limiter) = (limit(200, 500), Limiter::new());
        let mut good = 0;
        for query in 0..100_000_u32 {
            let now = u64::from(query / 100);
            limiter.judge(&limit, v4(192, 0, 2, query as u8), now);
            if query.is_multiple_of(1000) {
                let state = limiter.judge(&limit, v4(198, 51, 100, 7), now);
                good += u32::from(state == RateState::Passed);
            }
        }
        assert_eq!(good, 100);
    }

    #[test]
    fn a_flood_from_everywhere_does_not_hide_a_heavy_source() {
        let (limit, mut limiter) = (limit(200, 500), Limiter::new());
        let mut heavy = 0;
        for query in 0..2_000_000_u32 {
            // A million a second from random addresses, and 4,000 a second from one.
            let now = u64::from(query / 1000);
            let random = query.wrapping_mul(0x9E37_79B1);
            limiter.judge(&limit, Ipv4Addr::from_bits(random).into(), now);
            if query.is_multiple_of(250) {
                let state = limiter.judge(&limit, v4(192, 0, 2, 1), now);
                heavy += u32::from(state == RateState::Passed);
            }
        }
        // 8,000 asked; the burst and 200 a second for two seconds may pass.
        assert!((850..1_000).contains(&heavy), "{heavy}");
    }

    #[test]
    fn every_so_many_th_slips() {
        let check = |slip: u32, expected: [usize; 3]| {
            let limit = RateLimit {
                slip,
                ..limit(1, 10)
            };
            let mut limiter = Limiter::new();
            let states: Vec<RateState> = (0..110)
                .map(|_| limiter.judge(&limit, v4(192, 0, 2, 1), 0))
                .collect();
            let count = |wanted| states.iter().filter(|state| **state == wanted).count();
            let seen = [RateState::Passed, RateState::Slipped, RateState::Dropped].map(count);
            assert_eq!(seen, expected, "slip {slip}");
        };
        check(0, [10, 0, 100]);
        check(1, [10, 100, 0]);
        check(2, [10, 50, 50]);
        check(5, [10, 20, 80]);
    }

    #[test]
    fn the_exempt_have_no_limit() {
        let limit = RateLimit {
            exempt: vec![
                "127.0.0.0/8".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            ..limit(1, 1)
        };
        let mut limiter = Limiter::new();
        for _ in 0..100 {
            for source in ["127.9.9.9", "2001:db8::7"] {
                let state = limiter.judge(&limit, source.parse().unwrap(), 0);
                assert_eq!(state, RateState::Passed);
            }
        }
        let mut other = || limiter.judge(&limit, v4(192, 0, 2, 1), 0);
        assert_eq!([other(), other()], [RateState::Passed, RateState::Dropped]);
    }

    #[test]
    fn a_clock_that_jumps_neither_frees_nor_locks_anyone_for_long() {
        let limit = limit(100, 100);
        let mut limiter = Limiter::new();
        let mut ask = |now| limiter.judge(&limit, v4(192, 0, 2, 1), now) == RateState::Passed;
        assert!((0..100).all(|_| ask(10_000_000)));
        assert!(!ask(10_000_000));
        // Back: the count stays. From there on time counts again.
        assert!(!ask(5_000));
        assert!(ask(6_000));
        // Forward, over the wrap of the 32 bits as well.
        assert!(ask(u64::from(u32::MAX)) && ask(u64::from(u32::MAX) + 70_000));
    }

    #[test]
    fn a_table_has_the_size_that_was_asked_for() {
        assert_eq!(size_of::<Bucket>(), 64);
        let mut limiter = Limiter::new();
        for (octets, buckets) in [(0, 1), (1, 1), (64, 1), (65, 2), (512 * 1024, 8192)] {
            let limit = RateLimit {
                table_octets: octets,
                ..limit(1, 1)
            };
            limiter.judge(&limit, v4(192, 0, 2, 1), 0);
            assert_eq!(limiter.buckets.len(), buckets);
        }
    }

    proptest! {
        #[test]
        fn no_address_ever_gets_more_than_its_burst_and_its_rate(
            gaps in prop::collection::vec((0..200_u64, 1..30_u32), 1..60),
            per_second in 1..2_000_u32,
            burst in 1..500_u32,
        ) {
            let (limit, mut limiter) = (limit(per_second, burst), Limiter::new());
            let (mut now, mut passed) = (7_u64, 0_u32);
            for (gap, queries) in gaps {
                now += gap;
                for _ in 0..queries {
                    let state = limiter.judge(&limit, v4(192, 0, 2, 1), now);
                    passed += u32::from(state == RateState::Passed);
                }
                let allowed = f64::from(burst) + f64::from(per_second) * (now - 7) as f64 / 1000.0;
                prop_assert!(f64::from(passed) <= allowed + 1.0, "{} of {}", passed, allowed);
            }
        }
    }
}
