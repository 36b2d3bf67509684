//! The order in which SRV records are tried: RFC 2782, "Priority" and "Weight".
//! Pure: the randomness is an argument, so that a seeded test sees the very shares the weights promise.

use rand::{Rng, RngExt};

/// What the order needs to know of a record.
pub trait Ranked {
    /// Lower is tried first.
    fn priority(&self) -> u16;
    /// Relative share among records of the same priority.
    fn weight(&self) -> u16;
}

/// Puts `records` in the order in which to try them: by rising priority, and within one priority
/// by repeated weighted drawing without replacement (RFC 2782, the algorithm under "Weight").
pub fn arrange<T: Ranked>(mut records: Vec<T>, rng: &mut impl Rng) -> Vec<T> {
    // Weight 0 goes first inside its priority: with a draw of 0 (and only then) it is chosen, which
    // is the "very small chance" the RFC wants for it.
    records.sort_by_key(|record| (record.priority(), record.weight() != 0));
    let mut arranged = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority();
        let group = records
            .iter()
            .take_while(|record| record.priority() == priority)
            .count();
        arranged.push(records.remove(draw(&records[..group], rng)));
    }
    arranged
}

/// Index of one record: the first whose running sum of weights reaches a number from 0 to the sum.
fn draw<T: Ranked>(group: &[T], rng: &mut impl Rng) -> usize {
    let sum: u64 = group.iter().map(|record| u64::from(record.weight())).sum();
    let number = rng.random_range(0..=sum);
    let mut running = 0;
    group
        .iter()
        .position(|record| {
            running += u64::from(record.weight());
            running >= number
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Record(u16, u16, char);

    impl Ranked for Record {
        fn priority(&self) -> u16 {
            self.0
        }
        fn weight(&self) -> u16 {
            self.1
        }
    }

    /// How often each record comes first in `rounds` arrangements.
    fn firsts(records: &[Record], rounds: u32) -> impl Fn(char) -> f64 {
        let mut rng = StdRng::seed_from_u64(2782);
        let mut names = Vec::new();
        for _ in 0..rounds {
            names.push(arrange(records.to_vec(), &mut rng)[0].2);
        }
        move |name| names.iter().filter(|n| **n == name).count() as f64 / f64::from(rounds)
    }

    #[test]
    fn lower_priority_always_comes_first() {
        let records = [
            Record(20, 65535, 'c'),
            Record(10, 0, 'a'),
            Record(10, 1, 'b'),
        ];
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let order = arrange(records.to_vec(), &mut rng);
            assert_eq!(order.len(), 3);
            assert_eq!(order[2].2, 'c');
        }
    }

    #[test]
    fn weights_are_the_shares_of_coming_first() {
        let share = firsts(
            &[
                Record(1, 700, 'a'),
                Record(1, 200, 'b'),
                Record(1, 100, 'c'),
            ],
            20_000,
        );
        assert!((share('a') - 0.7).abs() < 0.015, "{}", share('a'));
        assert!((share('b') - 0.2).abs() < 0.015, "{}", share('b'));
        assert!((share('c') - 0.1).abs() < 0.015, "{}", share('c'));
    }

    #[test]
    fn the_second_place_is_drawn_by_the_weights_that_are_left() {
        let records = [
            Record(1, 1000, 'a'),
            Record(1, 300, 'b'),
            Record(1, 100, 'c'),
        ];
        let mut rng = StdRng::seed_from_u64(3);
        let (mut b, mut rounds) = (0.0, 0.0);
        for _ in 0..20_000 {
            let order = arrange(records.to_vec(), &mut rng);
            if order[0].2 == 'a' {
                rounds += 1.0;
                b += f64::from(u8::from(order[1].2 == 'b'));
            }
        }
        assert!((b / rounds - 0.75).abs() < 0.02, "{}", b / rounds);
    }

    #[test]
    fn weight_zero_is_seldom_but_sometimes_first() {
        let share = firsts(&[Record(1, 9, 'a'), Record(1, 0, 'z')], 20_000);
        assert!(share('z') > 0.05 && share('z') < 0.15, "{}", share('z'));
        let share = firsts(&[Record(1, 60_000, 'a'), Record(1, 0, 'z')], 5_000);
        assert!(share('z') < 0.01, "{}", share('z'));
    }

    #[test]
    fn no_record_gets_lost_or_doubled() {
        let records: Vec<_> = (0..40u8)
            .map(|i| Record(u16::from(i % 3), u16::from(i % 5), char::from(b'0' + i)))
            .collect();
        let mut order = arrange(records.clone(), &mut StdRng::seed_from_u64(9));
        let mut expected = records;
        order.sort_by_key(|r| r.2);
        expected.sort_by_key(|r| r.2);
        assert_eq!(order, expected);
    }
}
