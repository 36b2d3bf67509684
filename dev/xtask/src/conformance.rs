//! Runs the RFC files of the conformance suite and counts what was asked, by transport.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::cargo;

/// Runs them, and prints the counts behind the results.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--package", "conformance", "--test", "rfcs"]);
    command.args(["--", "--nocapture"]);
    command.env("SIGNPOST_REQUIRE_TOOLS", "1");
    eprintln!("xtask: {command:?}");
    let child = command.stdout(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with("test ")) {
        println!("{line}");
    }
    print!("{}", Asked::count(&text).told());
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(())
}

/// What the suite said it asked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked<'t> {
    questions: BTreeSet<&'t str>,
    by_transport: BTreeMap<&'t str, usize>,
}

impl<'t> Asked<'t> {
    /// Reads lines such as `§3.1: nameserver-l1 over Udp: example A` and, behind one over TCP, `  and over Tls`.
    fn count(text: &'t str) -> Self {
        let mut asked = Self::default();
        for line in text.lines() {
            let Some((front, behind)) = line.split_once(" over ") else {
                continue;
            };
            let (transport, question) = behind.split_once(": ").unwrap_or((behind, ""));
            if front.starts_with('§') {
                asked.questions.insert(question);
            } else if front != "  and" {
                continue;
            }
            *asked.by_transport.entry(transport).or_default() += 1;
        }
        asked
    }

    fn told(&self) -> String {
        let mut text = format!("{} questions; answers compared:\n", self.questions.len());
        for (transport, count) in &self.by_transport {
            text += &format!("{count:>7} over {transport}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_counted_once_and_answers_by_transport() {
        let text = "running 2 tests\n§3.1: nameserver-l1 over Udp: a A +nsid\n§3.1: nameserver-l1 over Tcp: a A +nsid\n  \
                    and over Tls\ntest rfc1::x ... ok\n§2 step 1: nameserver-l2 over Tcp: b SOA\n  and over Tls\n  and over Quic\n";
        let told = Asked::count(text).told();
        let expected = "2 questions; answers compared:\n      1 over Quic\n      2 over Tcp\n      2 over Tls\n      1 over Udp\n";
        assert_eq!(told, expected);
    }
}
