//! The report's tables as docs/performance.md has them.

use std::fmt::Write;

use crate::report::{Report, ms};

impl Report {
    /// CPU time by work and server; loads; swaps.
    pub(crate) fn markdown(&self) -> String {
        let mut servers: Vec<&str> = Vec::new();
        for contender in self.contests.iter().flat_map(|contest| &contest.contenders) {
            if !servers.contains(&contender.name) {
                servers.push(contender.name);
            }
        }
        let mut text = head("work", &servers);
        for contest in &self.contests {
            let cells = servers.iter().map(|server| {
                let found = contest.contenders.iter().find(|one| one.name == *server);
                found.map_or("–".to_owned(), |one| {
                    format!("{:.2} ({:.2})", one.cpu_us(), one.user_us())
                })
            });
            let cells: Vec<String> = cells.collect();
            line(
                &mut text,
                &format!("{} {}", contest.key, contest.title),
                &cells,
            );
        }
        if !self.zones.is_empty() {
            text += &format!("\n{}", head("a million records", &["s", "MB"]));
            for zone in &self.zones {
                let cells = [
                    format!("{:.2}", zone.seconds),
                    format!("{:.0}", zone.mebibytes),
                ];
                line(&mut text, zone.name, &cells);
            }
        }
        let mut swaps = self.swaps.iter().chain(&self.peer_swaps).peekable();
        if swaps.peek().is_some() {
            let heads = [
                "a second", "lost", "wrong", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "taken s",
            ];
            text += &format!("\n{}", head("swapped", &heads));
            for swap in swaps {
                let latency = &swap.seen.latency;
                let within = |share| format!("{:.2}", ms(latency.quantile(share)));
                let cells = [
                    format!("{:.0}", swap.rate),
                    swap.lost().to_string(),
                    swap.seen.tally.wrong.to_string(),
                    within(0.5),
                    within(0.99),
                    within(0.999),
                    format!("{:.2}", ms(latency.worst())),
                    format!("{:.1}", swap.taken.as_secs_f64()),
                ];
                line(&mut text, swap.what, &cells);
            }
        }
        text
    }
}

fn head(first: &str, others: &[&str]) -> String {
    format!(
        "| {first} | {} |\n|---|{}\n",
        others.join(" | "),
        "---|".repeat(others.len())
    )
}

fn line(text: &mut String, first: &str, cells: &[String]) {
    writeln!(text, "| {first} | {} |", cells.join(" | ")).expect("a string takes all");
}
