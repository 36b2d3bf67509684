//! When an address counts as live: failures and successes in a row, so that one lost packet moves nobody.

use crate::config::Probe;

/// What is known about one address. A fresh one is live: not knowing is no reason to take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    live: bool,
    /// Probes in a row that contradict `live`.
    against: u32,
}

impl Health {
    pub(crate) fn fresh() -> Health {
        Health {
            live: true,
            against: 0,
        }
    }

    pub(crate) fn is_live(self) -> bool {
        self.live
    }

    /// Takes in one probe; true when the address has changed sides.
    pub(crate) fn record(&mut self, good: bool, rules: &Probe) -> bool {
        if good == self.live {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if self.live { rules.fall } else { rules.rise };
        if self.against < needed.max(1) {
            return false;
        }
        *self = Health {
            live: good,
            against: 0,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` is a good probe, `-` a failed one; the result has `U` and `D` for live and dead after each.
    fn check(probes: &str, expected: &str) {
        let rules = Probe {
            rise: 2,
            fall: 3,
            ..Probe::default()
        };
        let mut health = Health::fresh();
        let seen: String = probes
            .chars()
            .map(|probe| {
                let before = health.is_live();
                let changed = health.record(probe == '+', &rules);
                assert_eq!(changed, before != health.is_live());
                if health.is_live() { 'U' } else { 'D' }
            })
            .collect();
        assert_eq!(seen, expected, "{probes}");
    }

    #[test]
    fn it_takes_failures_in_a_row_to_fall_and_successes_in_a_row_to_rise() {
        check("---", "UUD");
        check("--+--+---", "UUUUUUUUD");
        check("---+-++", "UUDDDDU");
    }
}
