//! `bench xdp`: W1 below the sockets. Two network namespaces with a veth pair between them; the server in one, on its core,
//! the generator in the other, on its own. An interface has one XDP program at most, and with one its sockets are served by
//! another path as well, so servers are started and ended in turn.

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use signpost_tests::namespaces::{INTERFACE, SERVER_V4, Wire};

use crate::contest::{Contender, Sample, Transport, measure, median};
use crate::cpu;
use crate::dns::programs;
use crate::load::udp::Window;
use crate::peers::{Peer, Setup, ZoneFile};
use crate::pin;
use crate::process::{Server, ask};
use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::statics;
use crate::world;

/// For how long, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Length of each run.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Runs of which the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Folder of the program nameserver-l1, built with the feature `xdp`; the bench's own if it was built for release.
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// Who takes part, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    OursSockets,
    OursXdp,
    Null,
    KnotSockets,
    KnotXdp,
}

const VARIANTS: [Variant; 5] = [
    Variant::OursSockets,
    Variant::OursXdp,
    Variant::Null,
    Variant::KnotSockets,
    Variant::KnotXdp,
];

impl Variant {
    /// In the table and in JSON.
    fn name(self) -> &'static str {
        match self {
            Variant::Null => "null_sockets",
            Variant::OursSockets => "ours_sockets",
            Variant::OursXdp => "ours_xdp",
            Variant::KnotSockets => "knot_sockets",
            Variant::KnotXdp => "knot_xdp",
        }
    }

    fn is_below_sockets(self) -> bool {
        matches!(self, Variant::OursXdp | Variant::KnotXdp)
    }
}

/// Questions whose answers are compared octet by octet.
const COMPARED: usize = 200;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The two hosts and what the servers read.
struct Place {
    wire: Wire,
    site: Site,
    programs: Option<PathBuf>,
    dns: SocketAddr,
    questions: Questions,
}

/// True if every query of every run got a right answer, and ours were the same either way.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir().context("a folder for the servers")?;
    let place = Place::new(folder.path(), programs(options.programs.as_deref()))?;
    pin::this_thread(pin::GENERATOR)?;
    place
        .wire
        .client
        .enter()
        .context("the generator's namespace")?;
    let time = Duration::from_secs_f64(options.seconds);
    let (mut samples, mut answers) = (BTreeMap::<_, Vec<Sample>>::new(), BTreeMap::new());
    for round in 1..=options.runs.max(1) {
        for variant in VARIANTS {
            let size = answers
                .values()
                .next()
                .map_or(0, |answers: &Vec<Vec<u8>>| answer_size(answers));
            let Some(mut server) = place.start(variant, size)? else {
                eprintln!("bench: {} is not installed: left out", variant.name());
                continue;
            };
            let questions = match variant {
                Variant::Null => place.questions.unjudged(),
                _ => place.questions.clone(),
            };
            let started = server.until_right(&questions);
            started.with_context(|| variant.name())?;
            ensure!(
                place.wire.link().contains("xdp") == variant.is_below_sockets(),
                "{}: the interface has {}",
                variant.name(),
                place.wire.link()
            );
            answers.entry(variant).or_insert(place.ask_some()?);
            let contender = Contender::new(variant.name(), place.dns, server.process(), &questions);
            let busy = || cpu::core_busy(pin::SERVER).as_secs_f64();
            let sample = measure(&contender, &Transport::Udp(Window::USUAL), time, &busy);
            eprintln!(
                "bench: round {round} {}: {:.3} us",
                variant.name(),
                sample.cpu_us
            );
            samples.entry(variant).or_default().push(sample);
        }
    }
    let same = answers.get(&Variant::OursSockets) == answers.get(&Variant::OursXdp);
    let clean = samples.values().flatten().all(Sample::is_clean);
    table(&samples);
    if !same {
        println!("NOT THE SAME: answers of ours by sockets and by XDP");
    }
    println!("{}", report(&samples, same));
    Ok(clean && same)
}

/// Octets of the first one.
fn answer_size(answers: &[Vec<u8>]) -> usize {
    answers.first().map_or(0, Vec::len)
}

impl Place {
    fn new(folder: &Path, programs: Option<PathBuf>) -> anyhow::Result<Place> {
        let wire = Wire::new(1500).context("two network namespaces, which takes root")?;
        let site = Site::new(folder, &world::SMALL, 554)?;
        site.publish(&site.map(1)?.encode())?;
        Ok(Place {
            wire,
            site,
            programs,
            dns: SocketAddr::new(SERVER_V4.parse()?, 53),
            questions: statics::names(statics::NAMES, &[1], &[]),
        })
    }

    /// Starts a server; it may not answer yet. A null responder's answers are so long. `None` where it is not installed.
    fn start(&self, variant: Variant, answer: usize) -> anyhow::Result<Option<Server>> {
        let command = match variant {
            Variant::Null => Some(self.null(answer)?),
            Variant::OursSockets | Variant::OursXdp => Some(self.ours(variant)?),
            Variant::KnotSockets | Variant::KnotXdp => self.knot(variant)?,
        };
        let Some(command) = command else {
            return Ok(None);
        };
        // Knot 3.2 leaves its program behind.
        self.wire.clear_link()?;
        let mut command = self.wire.server.wrap(&command);
        Server::start(&mut command, self.dns, &self.site.path(variant.name())).map(Some)
    }

    fn ours(&self, variant: Variant) -> anyhow::Result<Command> {
        let interfaces = match variant.is_below_sockets() {
            true => format!("[{INTERFACE:?}]"),
            false => "[]".to_owned(),
        };
        // The generator is a flood from one address.
        let more = format!("[rate_limit]\nenabled = false\n[xdp]\ninterfaces = {interfaces}\n");
        let file = format!("{}.toml", variant.name());
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.site
            .configure(Level::L1, &file, self.dns, admin, &more)?;
        self.site
            .command(Level::L1, self.programs.as_deref(), &file)
    }

    fn knot(&self, variant: Variant) -> anyhow::Result<Option<Command>> {
        let more = match variant.is_below_sockets() {
            true => format!("xdp:\n  listen: {INTERFACE}@{}\n", self.dns.port()),
            false => String::new(),
        };
        let setup = Setup {
            folder: self.site.path(variant.name()),
            dns: self.dns,
            zones: vec![ZoneFile {
                origin: statics::ZONE,
                path: self.site.path("zones/media.test.zone"),
            }],
            by_client: false,
            more,
        };
        Peer::Knot.prepare(&setup)
    }

    fn null(&self, answer: usize) -> anyhow::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["null", "--listen", &self.dns.to_string()]);
        command.args(["--size", &answer.to_string()]);
        command.args(["--rcode", &self.questions.rcode.to_string()]);
        command.args(["--answers", &self.questions.answers.to_string()]);
        Ok(command)
    }

    /// The answers to the first questions.
    fn ask_some(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let numbers = 0..COMPARED.min(self.questions.len());
        let answer = |number| {
            let answer = ask(self.dns, self.questions.message(number), PATIENCE)?;
            answer.with_context(|| format!("no answer to question {number}"))
        };
        numbers.map(answer).collect()
    }
}

fn of(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let right = samples.iter().filter(|sample| sample.failed.is_none());
    median(right.map(value))
}

/// Microseconds an answer that the server's core was busy, whoever worked.
fn busy_us(sample: &Sample) -> f64 {
    sample.counted * 1e6 / sample.tally.answered.max(1) as f64
}

fn table(samples: &BTreeMap<Variant, Vec<Sample>>) {
    println!(
        "W1 over a veth pair; microseconds a query: CPU time of the server, in user mode, and of its whole core; medians\n\n\
         {:14}{:>8}{:>8}{:>8}{:>10}{:>7}{:>7}",
        "server", "cpu", "user", "core", "a second", "lost", "wrong"
    );
    for (variant, samples) in samples {
        let sum = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
        println!(
            "{:14}{:8.2}{:8.2}{:8.2}{:10.0}{:7}{:7}{}",
            variant.name(),
            of(samples, |sample| sample.cpu_us),
            of(samples, |sample| sample.user_us),
            of(samples, busy_us),
            of(samples, Sample::per_second),
            sum(|sample| sample.tally.lost),
            sum(|sample| sample.tally.wrong),
            match samples.iter().all(Sample::is_clean) {
                true => "",
                false => "  NOT CLEAN",
            }
        );
        let mut reasons = samples.iter();
        let reason = reasons.find_map(|s| s.failed.as_ref().or(s.tally.first_wrong.as_ref()));
        if let Some(reason) = reason {
            println!("{:14}! {reason}", "");
        }
    }
}

fn report(samples: &BTreeMap<Variant, Vec<Sample>>, same: bool) -> Value {
    let rounded = |value: f64| json!((value * 1000.0).round() / 1000.0);
    let mut figures = Map::new();
    let mut put = |name: String, value: f64| figures.insert(name, rounded(value));
    for (variant, samples) in samples {
        let name = variant.name();
        put(
            format!("{name}_cpu_us"),
            of(samples, |sample| sample.cpu_us),
        );
        put(
            format!("{name}_user_us"),
            of(samples, |sample| sample.user_us),
        );
        put(format!("{name}_core_us"), of(samples, busy_us));
        put(
            format!("{name}_per_s"),
            of(samples, Sample::per_second).round(),
        );
    }
    let cpu = |variant| {
        samples
            .get(&variant)
            .map(|samples| of(samples, |sample| sample.cpu_us))
    };
    for (name, other) in [
        ("ours_xdp_to_ours_sockets", Variant::OursSockets),
        ("ours_xdp_to_knot_xdp", Variant::KnotXdp),
    ] {
        if let (Some(ours), Some(other)) = (cpu(Variant::OursXdp), cpu(other)) {
            put(name.to_owned(), ours / other.max(1e-9));
        }
    }
    let all = samples.values().flatten();
    figures.insert(
        "lost".into(),
        all.clone().map(|s| s.tally.lost).sum::<u64>().into(),
    );
    figures.insert(
        "wrong".into(),
        all.map(|s| s.tally.wrong).sum::<u64>().into(),
    );
    figures.insert("same_answers".into(), same.into());
    json!({"xdp": figures})
}
