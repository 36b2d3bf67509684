//! Instructions a query, counted by callgrind: they hardly depend on what else the machine does, so that a query which
//! becomes dearer is seen on any machine. A count is the difference of two runs of unequal length, which leaves out what
//! the start costs, divided by the difference of their queries.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use signpost_tests::daemon;
use toml::Table;

use crate::engine::Engine;
use crate::questions::{A, NO_ERROR, NX_DOMAIN, Question, Questions, REFUSED, SRV};
use crate::site::{Level, Site};
use crate::works::tokens;
use crate::world::{self, Scale};

/// What is asked at the first level, kind by kind.
const QUERIES: &str = include_str!("../queries.txt");
/// The accepted figures, beside it.
const ACCEPTED: &str = "instructions.toml";
/// As which the accepted figures of this build stand there: the tests' is optimised a little, the servers' fully.
const PROFILE: &str = if cfg!(debug_assertions) {
    "dev"
} else {
    "release"
};
/// A count that is off by more is a finding.
const TOLERANCE: f64 = 0.03;
/// The same if another compiler made the accepted figures: then only what is grossly dearer can be told.
const OTHER_COMPILER: f64 = 0.25;
/// How often all queries of a kind are asked, in the shorter and in the longer run.
const ROUNDS: [usize; 2] = [20, 120];
/// Small, as callgrind is some fifty times slower than the processor; look-ups get a little longer with the size.
const SCALE: Scale = Scale {
    v4: 20_000,
    v6: 5_000,
    units: 500,
    placements: 8,
    services: 20,
    regions: world::REGIONS,
    edges: world::EDGES,
};
/// Tokens asked for at the second level.
const TOKENS: usize = 32;

/// Which kinds of queries, and what a right answer has.
const KINDS: [(&str, Level, u8, u16); 5] = [
    ("static", Level::L1, NO_ERROR, 3),
    ("tailored", Level::L1, NO_ERROR, 3),
    ("nxdomain", Level::L1, NX_DOMAIN, 0),
    ("refused", Level::L1, REFUSED, 0),
    ("token", Level::L2, NO_ERROR, 3),
];

/// How to count.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Take the figures as the accepted ones.
    #[arg(long)]
    accept: bool,
}

/// Counts every kind and compares; true if none has become dearer than accepted.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let valgrind = daemon::find("valgrind", "valgrind").context("valgrind is not there")?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(ACCEPTED);
    let accepted: Table = fs::read_to_string(&file).unwrap_or_default().parse()?;
    let compiler = compiler()?;
    let known = accepted.get(PROFILE).and_then(toml::Value::as_table);
    let same = known.and_then(|known| known.get("compiler")?.as_str()) == Some(&compiler);
    let tolerance = if same { TOLERANCE } else { OTHER_COMPILER };
    let mut counted = Table::new();
    let mut fine = true;
    println!("{:10}{:>8}{:>10}   {PROFILE}", "query", "now", "accepted");
    for (kind, ..) in KINDS {
        let now = instructions(&valgrind, kind)?;
        let before = known.and_then(|known| known.get(kind)?.as_integer());
        let verdict = match before {
            Some(before) if now as f64 > before as f64 * (1.0 + tolerance) => {
                fine = false;
                "  dearer than accepted"
            }
            Some(before) if (now as f64) < before as f64 * (1.0 - tolerance) => {
                "  cheaper: take it over with --accept"
            }
            Some(_) => "",
            None => "  not accepted yet",
        };
        let before = before.map_or("-".to_owned(), |before| before.to_string());
        println!("{kind:10}{now:8}{before:>10}{verdict}");
        counted.insert(kind.to_owned(), now.into());
    }
    if !same {
        println!(
            "the accepted figures are another compiler's than {compiler}: the check is coarse"
        );
    }
    if options.accept {
        counted.insert("compiler".to_owned(), compiler.into());
        let mut all = accepted.clone();
        all.insert(PROFILE.to_owned(), counted.into());
        let text = format!(
            "# Instructions a query in user mode, by callgrind on x86-64. `cargo xtask bench instructions` compares a release\n\
             # build and, with --accept, writes the figures here; a test compares its own build.\n\n{all}"
        );
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        return Ok(true);
    }
    Ok(fine)
}

/// Which compiler is at hand.
fn compiler() -> anyhow::Result<String> {
    let output = std::process::Command::new("rustc")
        .arg("--version")
        .output();
    let output = output.context("rustc is not there")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Of one query of a kind.
fn instructions(valgrind: &daemon::Tool, kind: &str) -> anyhow::Result<i64> {
    let folder = tempfile::tempdir()?;
    let count = |rounds: usize| -> anyhow::Result<(u64, u64)> {
        let mut command = valgrind.command();
        let tools = valgrind.root().join("usr/libexec/valgrind");
        if tools.is_dir() {
            command.env("VALGRIND_LIB", tools);
        }
        command.arg("--tool=callgrind");
        let out = folder.path().join("callgrind.out");
        command.arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(env::current_exe()?).args(["replay", kind]);
        let output = command.arg(rounds.to_string()).output()?;
        let (said, text) = (
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
        );
        let collected = said.lines().find_map(|line| line.split_once("Collected :"));
        match (collected, text.trim().parse()) {
            (Some((_, number)), Ok(queries)) => Ok((number.trim().parse()?, queries)),
            _ => bail!("callgrind says: {said}{text}"),
        }
    };
    let [few, many] = ROUNDS;
    let (short, long) = (count(few)?, count(many)?);
    Ok((long.0.saturating_sub(short.0) / (long.1 - short.1).max(1)) as i64)
}

/// Asks all queries of a kind so many times; how many that were. To be run under callgrind. Answers are judged in the first
/// round only, so that the difference of two runs holds nothing but answering.
pub(crate) fn replay(kind: &str, rounds: usize) -> anyhow::Result<usize> {
    let folder = tempfile::tempdir()?;
    let (level, questions, site) = prepare(kind, folder.path())?;
    let mut engine = Engine::new(level, &site)?;
    for number in 0..questions.len() {
        anyhow::ensure!(
            engine.ask(&questions, number),
            "{kind} {number}: a wrong answer"
        );
    }
    for _ in 0..rounds {
        for number in 0..questions.len() {
            engine.answer(questions.message(number));
        }
    }
    Ok(rounds * questions.len())
}

fn prepare(kind: &str, folder: &Path) -> anyhow::Result<(Level, Questions, Site)> {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    let (_, level, rcode, answers) = found.with_context(|| format!("no kind {kind}"))?;
    let site = Site::new(folder, &SCALE, 8554)?;
    site.publish(&site.map(1)?.encode())?;
    let questions = match level {
        Level::L1 => from_file(kind, Questions::new(*rcode, *answers))?,
        Level::L2 => tokens::addresses(&site.known()?, TOKENS),
    };
    Ok((*level, questions, site))
}

/// The lines of the file that begin with this kind: name, type, and perhaps the client's /24.
fn from_file(kind: &str, mut questions: Questions) -> anyhow::Result<Questions> {
    for line in QUERIES.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [this, name, rtype, more @ ..] = words.as_slice() else {
            continue;
        };
        if *this != kind {
            continue;
        }
        let subnet = more.first().map(|subnet| subnet.trim_end_matches("/24"));
        questions.push(&Question {
            subnet: subnet.map(str::parse).transpose()?,
            ..Question::new(name, if *rtype == "SRV" { SRV } else { A })
        });
    }
    anyhow::ensure!(questions.len() > 0, "no queries of kind {kind}");
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_query_is_answered_rightly_without_sockets() {
        for (kind, ..) in KINDS {
            assert!(replay(kind, 2).unwrap() >= 16, "{kind}");
        }
    }
}
