//! One work, and the servers that do it: each in turn in every round, so that whatever drifts hits all alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::cpu::Used;
use crate::load::stream;
use crate::load::udp::{Udp, Window};
use crate::load::{Load, Tally};
use crate::questions::Questions;

/// Before anything is counted: caches fill, the kernel learns.
const WARM_UP: Duration = Duration::from_secs(1);

/// How a work is asked.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// With what the generator keeps under way.
    Udp(Window),
    Tcp,
    /// With what a client trusts.
    Tls(Arc<ClientConfig>),
}

/// A server that takes part.
pub(crate) struct Contender {
    /// In the table and in JSON.
    pub(crate) name: &'static str,
    pub(crate) dns: SocketAddr,
    /// Its process id.
    pub(crate) process: u32,
    /// Not always the same for all: not every server can do the same.
    pub(crate) questions: Questions,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
}

impl Contender {
    pub(crate) fn new(
        name: &'static str,
        dns: SocketAddr,
        process: u32,
        questions: &Questions,
    ) -> Self {
        Self {
            name,
            dns,
            process,
            questions: questions.clone(),
            samples: Vec::new(),
        }
    }
}

/// A work and who does it.
pub(crate) struct Contest {
    /// Such as `w1`.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) transport: Transport,
    pub(crate) contenders: Vec<Contender>,
}

/// One run against one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// CPU time of the server an answer, in microseconds.
    pub(crate) cpu_us: f64,
    /// The part of it in user mode.
    pub(crate) user_us: f64,
    /// CPU time of the server in seconds.
    pub(crate) cpu_seconds: f64,
    /// What was counted besides, if anything.
    pub(crate) counted: f64,
    pub(crate) tally: Tally,
    /// It could not be measured at all.
    pub(crate) failed: Option<String>,
}

impl Sample {
    /// Right answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.tally.answered as f64 / self.tally.elapsed.as_secs_f64().max(1e-9)
    }

    /// True if every query got a right answer.
    pub(crate) fn is_clean(&self) -> bool {
        let Tally { lost, wrong, .. } = self.tally;
        self.failed.is_none() && lost == 0 && wrong == 0 && self.tally.answered > 0
    }
}

/// Asks one server for so long; `counted` is looked at before and after.
pub(crate) fn measure(
    contender: &Contender,
    transport: &Transport,
    time: Duration,
    counted: &dyn Fn() -> f64,
) -> Sample {
    let run = || -> std::io::Result<Sample> {
        let (server, questions) = (contender.dns, &contender.questions);
        let mut load: Box<dyn Load> = match transport {
            Transport::Udp(window) => Box::new(Udp::new(server, questions, *window)?),
            Transport::Tcp => Box::new(stream::tcp(server, questions)?),
            Transport::Tls(config) => Box::new(stream::tls(server, config, questions)?),
        };
        load.run_for(WARM_UP.min(time))?;
        let (used, count) = (Used::by(contender.process), counted());
        let tally = load.run_for(time)?;
        let used = Used::by(contender.process) - used;
        let answers = tally.answered.max(1) as f64;
        Ok(Sample {
            cpu_us: used.run.as_secs_f64() * 1e6 / answers,
            user_us: used.user_run().as_secs_f64() * 1e6 / answers,
            cpu_seconds: used.run.as_secs_f64(),
            counted: counted() - count,
            tally,
            failed: None,
        })
    };
    run().unwrap_or_else(|error| Sample {
        failed: Some(error.to_string()),
        ..Sample::default()
    })
}

/// The middle one of them, or the mean of the middle two; 0 of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => 0.0,
        (middle, 1) => values[middle],
        (middle, _) => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_that_is_far_off() {
        assert_eq!(median([3.0, 1000.0, 2.0].into_iter()), 3.0);
        assert_eq!(median([1.0, 2.0].into_iter()), 1.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
