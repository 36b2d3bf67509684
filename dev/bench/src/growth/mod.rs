//! `bench growth`: what a query costs, what a server holds and how long it takes to start, as the map, the services, the
//! zone and the edges grow; and with one worker and two.
//!
//! A query's cost is the CPU time of the door that sockets call, with the real tailors behind it and without the kernel: what
//! grows is there. Memory and start are those of the real program.

mod plot;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::contest::{Contender, Transport, measure};
use crate::cpu::{self, thread_time};
use crate::engine::Engine;
use crate::load::udp::Window;
use crate::pin;
use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::statics;
use crate::world;

use plot::{Panel, Rise, short};
use sizes::Dimension;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what grows along these; all of it if it is left out.
    #[arg(long, value_delimiter = ',')]
    along: Option<Vec<Dimension>>,
    /// Folder for plots.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// The tables in Markdown.
    #[arg(long)]
    markdown: bool,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Two small sizes of each: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Folder of the programs nameserver-l1 and nameserver-l2, as with `dns`.
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// How long queries of one size are asked.
const ASKED: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(20);

/// One size and its figures.
struct Point {
    size: usize,
    /// CPU time of a query in nanoseconds.
    query_ns: f64,
    /// Memory of the server that has just started, 2^20 octets.
    mebibytes: f64,
    /// From the start of the server to its first right answer.
    seconds: f64,
}

/// Measures all; true if every size could be measured.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    pin::this_thread(pin::GENERATOR)?;
    let programs = crate::dns::programs(options.programs.as_deref());
    let (mut fine, mut object) = (true, serde_json::Map::new());
    for dimension in Dimension::all(options.along.as_deref()) {
        if dimension == Dimension::Workers {
            let (text, value) = workers(programs.as_deref(), options)?;
            print!("{text}");
            object.insert(dimension.key().into(), value);
            continue;
        }
        let mut points = Vec::new();
        for size in dimension.sizes(options.quick) {
            let measured = point(dimension, *size, programs.as_deref(), options.quick);
            match measured {
                Ok(point) => {
                    eprintln!("bench: {} {size}: {point}", dimension.key());
                    points.push(point);
                }
                Err(error) => {
                    fine = false;
                    eprintln!("bench: {} {size}: {error:#}", dimension.key());
                }
            }
        }
        print!("{}", table(dimension, &points, options.markdown));
        if let Some(folder) = &options.svg
            && !points.is_empty()
        {
            draw(folder, dimension, &points)?;
        }
        let points = points.iter().map(Point::json);
        object.insert(dimension.key().into(), points.collect());
    }
    if options.json {
        println!("{}", Value::Object(object));
    }
    Ok(fine)
}

/// Makes a site of this size and measures everything over it.
fn point(
    dimension: Dimension,
    size: usize,
    programs: Option<&Path>,
    quick: bool,
) -> anyhow::Result<Point> {
    let folder = tempfile::tempdir().context("a folder for the servers")?;
    let (site, questions) = dimension.prepare(folder.path(), size)?;
    let level = dimension.level();
    let began = Instant::now();
    let mut ours = site.start(level, programs, "")?;
    ours.server.until_right(&questions)?;
    let seconds = began.elapsed().as_secs_f64();
    let mebibytes = cpu::memory(ours.server.process()) as f64 / f64::from(1 << 20);
    drop(ours);
    let time = if quick { QUICK } else { ASKED };
    Ok(Point {
        size,
        query_ns: query_ns(level, &site, &questions, time)?,
        mebibytes,
        seconds,
    })
}

/// CPU time of a query, once all have been asked and answered rightly.
fn query_ns(
    level: Level,
    site: &Site,
    questions: &Questions,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut engine = Engine::new(level, site)?;
    for number in 0..questions.len() {
        anyhow::ensure!(engine.ask(questions, number), "{number}: a wrong answer");
    }
    let (before, mut asked) = (thread_time(), 0);
    loop {
        for number in 0..questions.len() {
            engine.answer(questions.message(number));
        }
        asked += questions.len();
        let used = thread_time() - before;
        if used >= time {
            return Ok(used.as_secs_f64() * 1e9 / asked as f64);
        }
    }
}

/// W1 with one worker on its core, and with two on both, which the clients share then.
fn workers(programs: Option<&Path>, options: &Options) -> anyhow::Result<(String, Value)> {
    let folder = tempfile::tempdir().context("a folder for the servers")?;
    let mut site = Site::new(folder.path(), &world::SMALL, 1)?;
    let questions = statics::names(statics::NAMES, &[1], &[]);
    let time = if options.quick { QUICK } else { 3 * ASKED };
    let (mut text, mut figures) = (String::new(), Vec::new());
    for workers in [1, 2] {
        site.workers = workers;
        let mut ours = site.start(Level::L1, programs, "")?;
        ours.server.until_right(&questions)?;
        if workers > 1 {
            pin::everywhere(ours.server.process())?;
        }
        let (dns, process) = (ours.server.dns, ours.server.process());
        let contender = Contender::new("ours", dns, process, &questions);
        let sample = measure(&contender, &Transport::Udp(Window::USUAL), time, &|| 0.0);
        anyhow::ensure!(sample.is_clean(), "workers {workers}: {sample:?}");
        text += &format!(
            "workers {workers}: {:.2} us a query, {:.2} of them in user mode; {:.0} a second\n",
            sample.cpu_us,
            sample.user_us,
            sample.per_second()
        );
        figures.push(json!({
            "size": workers,
            "cpu_us": rounded(sample.cpu_us),
            "user_us": rounded(sample.user_us),
            "per_second": sample.per_second().round(),
        }));
    }
    Ok((text, figures.into()))
}

impl Point {
    fn json(&self) -> Value {
        json!({
            "size": self.size,
            "query_ns": rounded(self.query_ns),
            "mb": rounded(self.mebibytes),
            "start_s": rounded(self.seconds),
        })
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [query, memory, start] = [self.query_ns, self.mebibytes, self.seconds].map(short);
        write!(f, "{query} ns, {memory} MB, {start} s")
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn table(dimension: Dimension, points: &[Point], markdown: bool) -> String {
    let heads = [dimension.what(), "CPU ns a query", "memory MB", "start s"];
    let mut text = match markdown {
        true => format!("| {} |\n|---|---|---|---|\n", heads.join(" | ")),
        false => format!(
            "{:>26}{:>16}{:>12}{:>10}\n",
            heads[0], heads[1], heads[2], heads[3]
        ),
    };
    for point in points {
        let size = short(point.size as f64);
        let [query, memory, start] = [point.query_ns, point.mebibytes, point.seconds].map(short);
        text += &match markdown {
            true => format!("| {size} | {query} | {memory} | {start} |\n"),
            false => format!("{size:>26}{query:>16}{memory:>12}{start:>10}\n"),
        };
    }
    text.push('\n');
    text
}

fn draw(folder: &Path, dimension: Dimension, points: &[Point]) -> anyhow::Result<()> {
    let panel = |title, rise, of: fn(&Point) -> f64| Panel {
        title,
        sizes: dimension.what(),
        rise,
        points: points
            .iter()
            .map(|one| (one.size as f64, of(one)))
            .collect(),
    };
    let picture = plot::svg(&[
        panel("CPU time of a query, ns", Rise::Even, |point| {
            point.query_ns
        }),
        panel("memory, MB", Rise::Tenfold, |point| point.mebibytes),
        panel("start to first answer, s", Rise::Tenfold, |point| {
            point.seconds
        }),
    ]);
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{}.svg", dimension.key()));
    fs::write(&file, picture).with_context(|| file.display().to_string())
}
