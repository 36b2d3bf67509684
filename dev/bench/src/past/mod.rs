//! `bench past`: what the kernel offers beside a batch of plain datagrams, tried with null responders in turn, so that what is
//! kept is kept for its figures.

mod batch;
pub(crate) mod responder;
mod uring;

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use signpost_tests::port;

use crate::contest::{Contender, Sample, Transport, measure, median};
use crate::cpu::Used;
use crate::load::Load;
use crate::load::udp::{Udp, Window};
use crate::pin;
use crate::process::Server;
use crate::questions::{NO_ERROR, Question, Questions, SRV};

/// What is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Length of each run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Runs of which the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only those whose names have this in them.
    #[arg(long)]
    only: Option<String>,
    /// The table in Markdown.
    #[arg(long)]
    markdown: bool,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Short runs: to see that everything works.
    #[arg(long)]
    quick: bool,
}

/// Names asked for, all of one length: answers can be cut from one piece only if they are.
const NAMES: std::ops::Range<usize> = 100..1000;
/// Octets of an answer: those of W1.
const ANSWER: usize = 167;
const QUICK: Duration = Duration::from_millis(50);

/// A way to the kernel.
struct Way {
    name: &'static str,
    /// Options of the responder.
    options: &'static str,
    /// Whether clients send their windows as one as well: only then has the responder joined ones to take.
    joined_queries: bool,
}

const fn way(name: &'static str, options: &'static str) -> Way {
    Way {
        name,
        options,
        joined_queries: false,
    }
}

/// With one worker. The first is what the others are compared with, and what our servers do.
const WAYS: &[Way] = &[
    way("batches of 64", "--batch 64"),
    way("recvfrom, sendto", "--batch 0"),
    way("batches of 8", "--batch 8"),
    way("batches of 16", "--batch 16"),
    way("batches of 32", "--batch 32"),
    way("batches of 128", "--batch 128"),
    way("batches of 256", "--batch 256"),
    way("epoll_wait before each batch", "--epoll"),
    way("IP_PKTINFO", "--pktinfo"),
    way("UDP_SEGMENT", "--gso"),
    Way {
        name: "clients send with UDP_SEGMENT",
        options: "",
        joined_queries: true,
    },
    Way {
        name: "the same, UDP_GRO and UDP_SEGMENT",
        options: "--gro --gso",
        joined_queries: true,
    },
    way("io_uring", "--uring"),
    way("busy polling, 50 us", "--busy-poll 50"),
    way("receive buffer of 4 MiB", "--receive-buffer 4194304"),
];

/// With two workers, and clients on both cores.
const STEERED: &[(&str, &str)] = &[
    ("two workers, by hash", "--workers 2 --steer hash"),
    ("two workers, by core (BPF)", "--workers 2 --steer core"),
    (
        "two workers, SO_INCOMING_CPU",
        "--workers 2 --steer incoming",
    ),
];

/// Sockets and queries under way at each: 128 either way.
const BURSTS: Window = Window::USUAL;
const SCATTERED: Window = Window {
    sockets: 128,
    each: 1,
    joined: false,
};

/// What was measured of one way.
struct Row {
    name: &'static str,
    bursts: Vec<Sample>,
    scattered: Vec<Sample>,
    /// This machine does not have it, or does not let us.
    missing: Option<String>,
}

/// Tries all; true if every query got an answer.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let (time, runs) = match options.quick {
        true => (QUICK, 1),
        false => (
            Duration::from_secs_f64(options.seconds),
            options.runs.max(1),
        ),
    };
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    pin::this_thread(pin::GENERATOR)?;
    let row = |name| Row {
        name,
        bursts: Vec::new(),
        scattered: Vec::new(),
        missing: None,
    };
    let names = WAYS.iter().map(|way| way.name);
    let names = names.chain(STEERED.iter().map(|(name, _)| *name));
    let mut rows: Vec<Row> = names.filter(|name| wanted(name)).map(row).collect();
    for round in 1..=runs {
        for row in &mut rows {
            let measured = match WAYS.iter().find(|way| way.name == row.name) {
                Some(way) => alone(way, time, row),
                None => steered(row, time),
            };
            row.missing = measured.err().map(|error| format!("{error:#}"));
            let used = row.bursts.last().map_or(0.0, |sample| sample.cpu_us);
            eprintln!("bench: round {round} {}: {used:.3} us", row.name);
        }
    }
    print(&rows, options.markdown);
    if options.json {
        let object = rows.iter().map(|row| {
            let figures = json!({
                "bursts_cpu_us": middle(&row.bursts, |sample| sample.cpu_us),
                "bursts_per_second": middle(&row.bursts, Sample::per_second).round(),
                "scattered_cpu_us": middle(&row.scattered, |sample| sample.cpu_us),
                "missing": row.missing,
                "clean": row.is_clean(),
            });
            (row.name.to_owned(), figures)
        });
        println!("{}", serde_json::Value::Object(object.collect()));
    }
    Ok(rows.iter().all(Row::is_clean))
}

impl Row {
    fn is_clean(&self) -> bool {
        let mut samples = self.bursts.iter().chain(&self.scattered);
        samples.all(Sample::is_clean)
    }
}

fn questions() -> Questions {
    let mut questions = Questions::new(NO_ERROR, 3);
    for name in NAMES {
        questions.push(&Question::new(
            &format!("_rtsp._tcp.s{name}.media.test"),
            SRV,
        ));
    }
    questions
}

fn start(options: &str) -> anyhow::Result<(Server, tempfile::TempDir)> {
    let (dns, folder) = (port::free()?, tempfile::tempdir()?);
    let mut command = Command::new(env::current_exe()?);
    command.args(["respond", "--listen", &dns.to_string()]);
    command.args([
        "--size",
        &ANSWER.to_string(),
        "--rcode",
        "0",
        "--answers",
        "3",
    ]);
    command.args(options.split_whitespace());
    let mut server = Server::start(&mut command, dns, folder.path())?;
    server.until_right(&questions())?;
    Ok((server, folder))
}

/// One worker on its core, the clients on theirs: windows of eight queries, then as many clients with one.
fn alone(way: &Way, time: Duration, row: &mut Row) -> anyhow::Result<()> {
    let (server, _folder) = start(way.options)?;
    let questions = questions();
    let contender = Contender::new(way.name, server.dns, server.process(), &questions);
    let ask = |window| {
        let window = Window {
            joined: way.joined_queries,
            ..window
        };
        measure(&contender, &Transport::Udp(window), time, &|| 0.0)
    };
    row.bursts.push(ask(BURSTS));
    row.scattered.push(ask(SCATTERED));
    Ok(())
}

/// A worker and a client on each of two cores, so that a datagram may be answered on the core that it was sent on.
fn steered(row: &mut Row, time: Duration) -> anyhow::Result<()> {
    let options = STEERED.iter().find(|(name, _)| *name == row.name);
    let (_, options) = options.context("a way with two workers")?;
    let (server, _folder) = start(options)?;
    let dns = server.dns;
    let client = |core: usize| {
        thread::spawn(move || {
            pin::this_thread(core)?;
            let questions = questions();
            let mut load = Udp::new(dns, &questions, BURSTS)?;
            load.run_for(time.min(Duration::from_millis(500)))?;
            anyhow::Ok(load.run_for(time)?)
        })
    };
    let clients = [client(pin::SERVER), client(pin::GENERATOR)];
    // All of it counts, warm-up as well: both ends start and end together.
    let before = Used::by(server.process());
    let mut sample = Sample::default();
    for client in clients {
        let tally = client.join().expect("a client does not panic")?;
        sample.tally.answered += tally.answered;
        sample.tally.lost += tally.lost;
        sample.tally.wrong += tally.wrong;
        sample.tally.elapsed = tally.elapsed;
    }
    let used = Used::by(server.process()) - before;
    let share = time.as_secs_f64() / (time + time.min(Duration::from_millis(500))).as_secs_f64();
    let answers = sample.tally.answered.max(1) as f64 / share;
    sample.cpu_us = used.run.as_secs_f64() * 1e6 / answers;
    sample.user_us = used.user_run().as_secs_f64() * 1e6 / answers;
    row.bursts.push(sample);
    Ok(())
}

fn middle(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    (median(samples.iter().map(of)) * 1000.0).round() / 1000.0
}

fn print(rows: &[Row], markdown: bool) {
    if markdown {
        println!(
            "| way | windows of 8: CPU us (user) | a second | to the first | single queries: CPU us (user) | to the first |"
        );
        println!("|---|---|---|---|---|---|");
    } else {
        println!("CPU microseconds of the responder a query, of them in user mode; medians");
    }
    let cpu = |samples: &[Sample]| middle(samples, |sample| sample.cpu_us);
    let first = rows
        .first()
        .map_or((0.0, 0.0), |row| (cpu(&row.bursts), cpu(&row.scattered)));
    for row in rows {
        let shown = |samples: &[Sample]| match samples.is_empty() {
            true => "-".to_owned(),
            false => format!(
                "{:.2} ({:.2})",
                cpu(samples),
                middle(samples, |one| one.user_us)
            ),
        };
        let ratio = |samples: &[Sample], first: f64| match samples.is_empty() || first <= 0.0 {
            true => "-".to_owned(),
            false => format!("{:.2}", cpu(samples) / first),
        };
        let cells = [
            shown(&row.bursts),
            format!("{:.0}", middle(&row.bursts, Sample::per_second)),
            ratio(&row.bursts, first.0),
            shown(&row.scattered),
            ratio(&row.scattered, first.1),
        ];
        let note = match (&row.missing, row.is_clean()) {
            (Some(missing), _) => format!("  not here: {missing}"),
            (None, false) => "  NOT CLEAN".to_owned(),
            (None, true) => String::new(),
        };
        match markdown {
            true => println!("| {}{note} | {} |", row.name, cells.join(" | ")),
            false => {
                let cells: String = cells.iter().map(|cell| format!("{cell:>14}")).collect();
                println!("{:36}{cells}{note}", row.name);
            }
        }
    }
}
