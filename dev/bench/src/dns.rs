//! `bench dns`: rounds over all contests, then what else is measured, then the report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use crate::contest::measure;
use crate::peers::Peer;
use crate::report::Report;
use crate::stage::{Stage, Work};
use crate::{allocations, loading, pin, reload, world};

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Other servers to measure beside ours; all of them if it is left out.
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<Peer>>,
    /// Works to measure; all of them if it is left out.
    #[arg(long, value_delimiter = ',')]
    works: Option<Vec<Work>>,
    /// Length of each run.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Runs of which the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The tables in Markdown as well.
    #[arg(long)]
    markdown: bool,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// A small world, short runs, no other servers: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Folder of the programs nameserver-l1 and nameserver-l2; the bench's own if it was built for release. Without one it
    /// serves by itself.
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// The folder of our programs: the one given, else the bench's own if it was built for release and they are there.
pub(crate) fn programs(given: Option<&Path>) -> Option<PathBuf> {
    let beside = || {
        let folder = std::env::current_exe().ok()?.parent()?.to_owned();
        let built = !cfg!(debug_assertions) && folder.join("nameserver-l1").exists();
        built.then_some(folder)
    };
    given.map(Path::to_owned).or_else(beside)
}

/// Length of a run when it is only to see that everything works.
const QUICK: Duration = Duration::from_millis(300);
/// Names in the large zone, of three records each: a million records.
const NAMES: usize = 333_334;
/// The same, to see that everything works.
const QUICK_NAMES: usize = 3000;

/// True if every query of every run got a right answer.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir().context("a folder for the servers")?;
    let all = |given: &Option<Vec<Peer>>| given.clone().unwrap_or(Peer::value_variants().to_vec());
    let (scale, names, time, runs, peers) = match options.quick {
        true => (world::SMALL, QUICK_NAMES, QUICK, 1, Vec::new()),
        false => (
            world::FULL,
            NAMES,
            Duration::from_secs_f64(options.seconds),
            options.runs.max(1),
            all(&options.peers),
        ),
    };
    let works = options.works.clone();
    let works = works.unwrap_or(Work::value_variants().to_vec());
    pin::this_thread(pin::GENERATOR)?;
    eprintln!("bench: making a world of {} ranges", scale.v4 + scale.v6);
    let mut stage = Stage::new(folder.path(), &scale, programs(options.programs.as_deref()))?;
    stage.start_peers(&peers)?;
    let mut contests = stage.contests(&works)?;
    for round in 1..=runs {
        for contest in &mut contests {
            for contender in &mut contest.contenders {
                let sample = measure(contender, &contest.transport, time, &|| stage.signatures());
                eprintln!(
                    "bench: round {round} {} {}: {:.3} us",
                    contest.key, contender.name, sample.cpu_us
                );
                contender.samples.push(sample);
            }
        }
    }
    stage.clear();
    let mut report = Report {
        contests,
        ..Report::default()
    };
    let (has, programs) = (|work| works.contains(&work), stage.programs.as_deref());
    if has(Work::Allocations) {
        report.allocations = Some(allocations::count(&stage.site, &stage.known)?);
    }
    if has(Work::Load) {
        eprintln!("bench: loading");
        let folder = folder.path();
        report.zones = loading::zone(folder, names, &peers, programs, runs)?;
        report.map = Some(loading::map(&stage.site, runs)?);
    }
    if has(Work::Reload) {
        eprintln!("bench: reloading");
        report.swaps = reload::swaps(&stage.site, &stage.known, programs, names)?;
        report.peer_swaps = reload::by_peers(&stage.site, &peers, names)?;
    }
    print!("{report}");
    if options.markdown {
        print!("\n{}", report.markdown());
    }
    if options.json {
        println!("{}", report.json());
    }
    Ok(report.is_clean())
}
