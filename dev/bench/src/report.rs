//! The table for people, and the JSON object for comparing runs.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::allocations::Allocations;
use crate::contest::{Contender, Contest, Sample, median};
use crate::loading::Loaded;
use crate::reload::Swap;

/// What a run has found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) contests: Vec<Contest>,
    pub(crate) allocations: Option<Allocations>,
    /// The large zone, server by server.
    pub(crate) zones: Vec<Loaded>,
    /// A release with the full map.
    pub(crate) map: Option<Duration>,
    pub(crate) swaps: Vec<Swap>,
    /// The large zone in other servers.
    pub(crate) peer_swaps: Vec<Swap>,
}

impl Report {
    /// True if every query got a right answer.
    pub(crate) fn is_clean(&self) -> bool {
        let contenders = self.contests.iter().flat_map(|contest| &contest.contenders);
        let mut samples = contenders.flat_map(|contender| &contender.samples);
        samples.all(Sample::is_clean) && self.swaps.iter().all(Swap::is_clean)
    }

    /// Work by work; microseconds.
    pub(crate) fn json(&self) -> Value {
        let mut works = Map::new();
        for contest in &self.contests {
            let mut figures = Map::new();
            for contender in &contest.contenders {
                let name = contender.name;
                figures.insert(format!("{name}_cpu_us"), rounded(contender.cpu_us()));
                figures.insert(format!("{name}_user_us"), rounded(contender.user_us()));
            }
            let samples = contest.contenders.iter().flat_map(|one| &one.samples);
            let sum = |of: fn(&Sample) -> u64| samples.clone().map(of).sum::<u64>();
            let wrong = (sum(|s| s.tally.lost), sum(|s| s.tally.wrong));
            let ours = contest.contenders.iter().find(|one| one.name == "ours");
            match (contest.key, ours) {
                ("w5", Some(ours)) => {
                    figures.insert("warm_cpu_us".into(), rounded(ours.cpu_us()));
                }
                ("w5_cold", Some(ours)) => {
                    figures.clear();
                    let signatures = rounded(ours.signatures_per_second().round());
                    figures.insert("cold_signatures_per_s".into(), signatures);
                }
                _ => {}
            }
            figures.insert("lost".into(), wrong.0.into());
            figures.insert("wrong".into(), wrong.1.into());
            let key = contest.key.trim_end_matches("_cold");
            let work = works.entry(key).or_insert_with(|| json!({}));
            if let Some(work) = work.as_object_mut() {
                work.extend(figures);
            }
        }
        works.extend(self.swaps_json());
        works.extend(self.loads_json());
        if let Some(Allocations { l1, l2 }) = self.allocations {
            works.insert("allocations_per_query".into(), json!({"l1": l1, "l2": l2}));
        }
        Value::Object(works)
    }

    /// Both swaps together, and each.
    fn swaps_json(&self) -> Option<(String, Value)> {
        self.swaps.first()?;
        let sum = |of: fn(&Swap) -> u64| self.swaps.iter().map(of).sum::<u64>();
        let worst = self
            .swaps
            .iter()
            .map(|swap| swap.seen.latency.worst())
            .max();
        let mut reload = json!({
            "lost": sum(Swap::lost),
            "wrong": sum(|swap| swap.seen.tally.wrong),
            "worst_ms": rounded(ms(worst.unwrap_or_default())),
        });
        for swap in self.swaps.iter().chain(&self.peer_swaps) {
            let latency = &swap.seen.latency;
            reload[swap.what] = json!({
                "per_second": swap.rate.round(),
                "lost": swap.lost(),
                "wrong": swap.seen.tally.wrong,
                "p50_ms": rounded(ms(latency.quantile(0.5))),
                "p99_ms": rounded(ms(latency.quantile(0.99))),
                "p999_ms": rounded(ms(latency.quantile(0.999))),
                "worst_ms": rounded(ms(latency.worst())),
                "taken_s": rounded(swap.taken.as_secs_f64()),
            });
        }
        Some(("reload".to_owned(), reload))
    }

    fn loads_json(&self) -> Option<(String, Value)> {
        let map = self.map?;
        let mut load = json!({"map_ms": rounded(ms(map))});
        for zone in &self.zones {
            let prefix = match zone.name {
                "ours" => String::new(),
                other => format!("{other}_"),
            };
            load[format!("{prefix}zone_1m_s")] = rounded(zone.seconds);
            load[format!("{prefix}zone_1m_mb")] = rounded(zone.mebibytes);
        }
        Some(("load".to_owned(), load))
    }
}

impl Contender {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let samples = self.samples.iter().filter(|sample| sample.failed.is_none());
        median(samples.map(of))
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.median(|sample| sample.cpu_us)
    }

    pub(crate) fn user_us(&self) -> f64 {
        self.median(|sample| sample.user_us)
    }

    fn signatures_per_second(&self) -> f64 {
        self.median(|sample| sample.counted / sample.cpu_seconds.max(1e-9))
    }
}

impl Swap {
    /// Queries without an answer, those that could not even be sent included.
    pub(crate) fn lost(&self) -> u64 {
        self.seen.tally.lost + self.seen.unsent
    }

    fn is_clean(&self) -> bool {
        self.lost() == 0 && self.seen.tally.wrong == 0
    }
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// To a thousandth.
fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "CPU microseconds of the server a query, of them in user mode; medians\n\n\
             {:8}{:10}{:>8}{:>8}{:>10}{:>8}{:>8}{:>7}{:>7}{:>7}",
            "work",
            "server",
            "cpu",
            "user",
            "a second",
            "/null",
            "/gdnsd",
            "lost",
            "wrong",
            "stray"
        )?;
        for contest in &self.contests {
            writeln!(f, "{} ({})", contest.key, contest.title)?;
            for contender in &contest.contenders {
                line(f, contest, contender)?;
            }
        }
        self.rest(f)
    }
}

impl Report {
    /// What is not CPU time a query.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Allocations { l1, l2 }) = self.allocations {
            writeln!(f, "allocations a warm query: {l1} at l1, {l2} at l2")?;
        }
        for Loaded {
            name,
            seconds,
            mebibytes,
        } in &self.zones
        {
            writeln!(f, "large zone: {name:8}{seconds:8.2} s{mebibytes:8.0} MB")?;
        }
        if let Some(map) = self.map {
            writeln!(f, "release read, checked and decoded: {:.0} ms", ms(map))?;
        }
        for swap in self.swaps.iter().chain(&self.peer_swaps) {
            let latency = &swap.seen.latency;
            writeln!(
                f,
                "{} swapped in {:.1} s at {:.0} queries a second: {} lost, {} wrong; p50 {:.2} ms, p99 {:.2} ms, p999 {:.2} ms, worst {:.2} ms{}",
                swap.what,
                swap.taken.as_secs_f64(),
                swap.rate,
                swap.lost(),
                swap.seen.tally.wrong,
                ms(latency.quantile(0.5)),
                ms(latency.quantile(0.99)),
                ms(latency.quantile(0.999)),
                ms(latency.worst()),
                if swap.is_clean() { "" } else { "  NOT CLEAN" },
            )?;
            if let Some(reason) = &swap.seen.tally.first_wrong {
                writeln!(f, "        ! {reason}")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, contest: &Contest, contender: &Contender) -> fmt::Result {
    let cpu = contender.cpu_us();
    let ratio = |to: &str| {
        let other = contest.contenders.iter().find(|one| one.name == to);
        match other.map(Contender::cpu_us) {
            Some(other) if other > 0.0 => format!("{:.2}", cpu / other),
            _ => "-".to_owned(),
        }
    };
    let sum = |of: fn(&Sample) -> u64| contender.samples.iter().map(of).sum::<u64>();
    let (lost, wrong) = (sum(|s| s.tally.lost), sum(|s| s.tally.wrong));
    writeln!(
        f,
        "{:8}{:10}{cpu:8.2}{:8.2}{:10.0}{:>8}{:>8}{lost:7}{wrong:7}{:7}{}",
        "",
        contender.name,
        contender.user_us(),
        contender.median(Sample::per_second),
        ratio("null"),
        ratio("gdnsd"),
        sum(|s| s.tally.stray),
        match contender.samples.iter().all(Sample::is_clean) {
            true => "",
            false => "  NOT CLEAN",
        },
    )?;
    if contender.signatures_per_second() > 0.0 {
        let made = contender.signatures_per_second();
        writeln!(f, "{:8}{made:.0} signatures a second of CPU time", "")?;
    }
    let reasons = contender.samples.iter();
    let reasons = reasons.filter_map(|s| s.failed.as_ref().or(s.tally.first_wrong.as_ref()));
    for reason in reasons.take(1) {
        writeln!(f, "{:8}! {reason}", "")?;
    }
    Ok(())
}
