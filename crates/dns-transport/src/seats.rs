//! Places for connections: how many there are, who sits in them, and who makes room when all are taken.
//!
//! A full house turns nobody away. The newcomer gets the place of the connection that wastes most: the time since it
//! last did something useful, times the number of places its source holds. Octets that complete no query are not
//! useful, so thousands of dripping connections push out one another while a resolver's query passes.
//!
//! The search looks at every place: about a nanosecond each, paid only by a newcomer to a full house, and far less
//! than the kernel's own work for a connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Under full pressure connections may idle for this part of the time they otherwise have.
const IDLE_PART_MIN: u32 = 10;

/// The places of one listener.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Shared>);

struct Shared {
    per_source_max: usize,
    start: Instant,
    taken: AtomicUsize,
    /// Microseconds from `start` to the last useful moment of each seat.
    active: Box<[AtomicU64]>,
    table: Mutex<Table>,
}

struct Table {
    seats: Vec<Held>,
    free: Vec<usize>,
    sources: HashMap<IpAddr, Arc<AtomicUsize>>,
}

#[derive(Default)]
struct Held {
    /// Rises when the seat is left, so that a late message about its last holder is known as such.
    generation: u64,
    taken: bool,
    source: Option<Source>,
    task: Option<AbortHandle>,
}

/// Whose connection it is, and how many seats that source holds.
struct Source {
    key: IpAddr,
    count: Arc<AtomicUsize>,
}

/// One taken place; dropping it gives it back.
pub(crate) struct Seat {
    seats: Seats,
    index: usize,
    generation: u64,
}

impl Seats {
    /// At least one place, for one source as well.
    pub(crate) fn new(max: usize, per_source_max: usize) -> Self {
        Self::since(Instant::now(), max, per_source_max)
    }

    fn since(start: Instant, max: usize, per_source_max: usize) -> Self {
        let max = max.max(1);
        Self(Arc::new(Shared {
            per_source_max: per_source_max.max(1),
            start,
            taken: AtomicUsize::new(0),
            active: (0..max).map(|_| AtomicU64::new(0)).collect(),
            table: Mutex::new(Table {
                seats: (0..max).map(|_| Held::default()).collect(),
                free: (0..max).rev().collect(),
                sources: HashMap::new(),
            }),
        }))
    }

    /// A place for a connection of a source not known yet, and whether another had to leave it.
    pub(crate) fn take(&self) -> (Seat, bool) {
        let mut table = self.table();
        let evicted = table.free.is_empty() && self.evict_from(&mut table, |_| true);
        let index = table
            .free
            .pop()
            .expect("a seat is free, or was just made so");
        table.seats[index].taken = true;
        let seat = Seat {
            seats: self.clone(),
            index,
            generation: table.seats[index].generation,
        };
        self.0.taken.fetch_add(1, Relaxed);
        seat.touch(Instant::now());
        (seat, evicted)
    }

    /// Ends the connection that wastes most; false if there is none.
    pub(crate) fn evict(&self) -> bool {
        self.evict_from(&mut self.table(), |_| true)
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.taken.load(Relaxed)
    }

    /// Places in all.
    pub(crate) fn max(&self) -> usize {
        self.0.active.len()
    }

    /// How long a connection may idle now, of `most`: all of it until half the places are taken, then less and less.
    pub(crate) fn idle(&self, most: Duration) -> Duration {
        let (taken, max) = (self.taken(), self.max());
        let free = max.saturating_sub(taken);
        if free >= taken {
            return most;
        }
        let least = most / IDLE_PART_MIN;
        least + (most - least).mul_f64((2 * free) as f64 / max as f64)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evict_from(&self, table: &mut Table, among: impl Fn(&Held) -> bool) -> bool {
        let now = self.moment(Instant::now());
        let waste = |(index, held): (usize, &Held)| {
            let idle = now.saturating_sub(self.0.active[index].load(Relaxed));
            let count = held
                .source
                .as_ref()
                .map_or(1, |source| source.count.load(Relaxed));
            idle.saturating_mul(count as u64)
        };
        let seats = table.seats.iter().enumerate();
        let worst = seats
            .filter(|(_, held)| held.taken && among(held))
            .max_by_key(|seat| waste(*seat));
        let Some((index, _)) = worst else {
            return false;
        };
        if let Some(task) = self.vacate(table, index) {
            task.abort();
        }
        true
    }

    /// Frees a taken seat and hands out the task that sat there.
    fn vacate(&self, table: &mut Table, index: usize) -> Option<AbortHandle> {
        let held = &mut table.seats[index];
        held.generation += 1;
        held.taken = false;
        let task = held.task.take();
        if let Some(source) = held.source.take()
            && source.count.fetch_sub(1, Relaxed) == 1
        {
            table.sources.remove(&source.key);
        }
        table.free.push(index);
        self.0.taken.fetch_sub(1, Relaxed);
        task
    }

    fn moment(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.0.start).as_micros() as u64
    }
}

impl Seat {
    /// Says whose connection it is: an IPv4 address, or an IPv6 /64. True if another of this source had to leave.
    pub(crate) fn claim(&self, ip: IpAddr) -> bool {
        let key = match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        };
        let shared = &self.seats.0;
        let mut table = self.seats.table();
        if table.seats[self.index].generation != self.generation {
            return false;
        }
        let count = Arc::clone(table.sources.entry(key).or_default());
        let full = count.load(Relaxed) >= shared.per_source_max;
        let evicted = full
            && self.seats.evict_from(&mut table, |held| {
                held.source.as_ref().is_some_and(|held| held.key == key)
            });
        count.fetch_add(1, Relaxed);
        // Its last seat may just have gone, and the entry with it.
        table.sources.insert(key, Arc::clone(&count));
        table.seats[self.index].source = Some(Source { key, count });
        evicted
    }

    /// Says which task sits here, so that it can be ended.
    pub(crate) fn attach(seats: &Seats, (index, generation): (usize, u64), task: AbortHandle) {
        let mut table = seats.table();
        let held = &mut table.seats[index];
        if held.generation == generation {
            held.task = Some(task);
        } else {
            // It has left already, by itself or for another.
            task.abort();
        }
    }

    /// What [`Seat::attach`] knows it by, when the seat itself has gone into the task.
    pub(crate) fn place(&self) -> (usize, u64) {
        (self.index, self.generation)
    }

    /// The connection did something useful.
    pub(crate) fn touch(&self, now: Instant) {
        self.seats.0.active[self.index].store(self.seats.moment(now), Relaxed);
    }

    /// The last useful moment.
    pub(crate) fn active(&self) -> Instant {
        let shared = &self.seats.0;
        shared.start + Duration::from_micros(shared.active[self.index].load(Relaxed))
    }

    /// See [`Seats::idle`].
    pub(crate) fn idle(&self, most: Duration) -> Duration {
        self.seats.idle(most)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.seats.table();
        if table.seats[self.index].generation == self.generation {
            self.seats.vacate(&mut table, self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that idles since `active` seconds after the start and ends only when it is told to.
    struct Sitting {
        _seat: Seat,
        task: tokio::task::JoinHandle<()>,
    }

    fn sit(seats: &Seats, ip: &str, active: u64) -> Sitting {
        let (seat, _) = seats.take();
        let task = tokio::spawn(std::future::pending());
        Seat::attach(seats, seat.place(), task.abort_handle());
        seat.claim(ip.parse().unwrap());
        seat.touch(seats.0.start + Duration::from_secs(active));
        Sitting { _seat: seat, task }
    }

    /// Which of them have been ended.
    async fn ended(sitting: &[Sitting]) -> Vec<usize> {
        tokio::task::yield_now().await;
        let all = sitting.iter().enumerate();
        all.filter(|(_, one)| one.task.is_finished())
            .map(|(index, _)| index)
            .collect()
    }

    /// It is second 1,000 since the start.
    fn seats(max: usize, per_source_max: usize) -> Seats {
        let start = Instant::now() - Duration::from_secs(1000);
        Seats::since(start, max, per_source_max)
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room() {
        let seats = seats(3, 10);
        let sitting = [
            sit(&seats, "192.0.2.1", 500),
            sit(&seats, "192.0.2.2", 100),
            sit(&seats, "192.0.2.3", 900),
        ];
        let (newcomer, evicted) = seats.take();
        assert!(evicted);
        assert_eq!(ended(&sitting).await, [1]);
        assert_eq!(seats.taken(), 3);
        // What the one that left does late does not concern the newcomer.
        drop(sitting);
        assert_eq!(seats.taken(), 1);
        drop(newcomer);
        assert_eq!(seats.taken(), 0);
        assert!(seats.table().sources.is_empty());
    }

    #[tokio::test]
    async fn a_source_with_many_places_makes_room_before_one_that_idles_a_little_longer() {
        let seats = seats(4, 10);
        let sitting = [
            sit(&seats, "192.0.2.1", 500),
            sit(&seats, "2001:db8::1", 600),
            sit(&seats, "2001:db8::2", 550),
            sit(&seats, "2001:db8::ffff:3", 650),
        ];
        seats.take();
        assert_eq!(ended(&sitting).await, [2]);
    }

    #[tokio::test]
    async fn a_source_that_is_busy_keeps_its_many_places() {
        let seats = seats(4, 10);
        let sitting = [
            sit(&seats, "192.0.2.1", 990),
            sit(&seats, "192.0.2.1", 999),
            sit(&seats, "192.0.2.1", 995),
            sit(&seats, "192.0.2.9", 500),
        ];
        seats.take();
        assert_eq!(ended(&sitting).await, [3]);
    }

    #[tokio::test]
    async fn over_its_own_cap_a_source_makes_room_for_itself() {
        let seats = seats(10, 2);
        let sitting = [
            sit(&seats, "192.0.2.1", 1),
            sit(&seats, "::ffff:192.0.2.2", 300),
            sit(&seats, "192.0.2.2", 200),
        ];
        let (seat, _) = seats.take();
        assert!(seat.claim("192.0.2.2".parse().unwrap()));
        assert_eq!(ended(&sitting).await, [2]);
        assert_eq!(seats.taken(), 3);
    }

    #[tokio::test]
    async fn one_that_is_evicted_before_its_task_is_known_ends_all_the_same() {
        let seats = seats(1, 1);
        let (early, _) = seats.take();
        let place = early.place();
        seats.take();
        let task = tokio::spawn(std::future::pending::<()>());
        Seat::attach(&seats, place, task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(!early.claim("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn the_fuller_the_shorter_connections_may_idle() {
        let seats = seats(10, 10);
        let most = Duration::from_secs(10);
        let mut taken = Vec::new();
        let mut idle = vec![seats.idle(most)];
        for _ in 0..10 {
            taken.push(seats.take().0);
            idle.push(seats.idle(most));
        }
        assert!(idle[..=5].iter().all(|idle| *idle == most));
        assert!(idle[5..].windows(2).all(|pair| pair[0] > pair[1]));
        assert_eq!(idle[10], most / 10);
        taken.clear();
        assert_eq!(seats.idle(most), most);
    }
}
