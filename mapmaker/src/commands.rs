//! The command line: what each subcommand reads and prints. One JSON object on the last line with `--json`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use service::EXIT_FINDINGS;
use service::diagnostic::Report;
use service::shutdown::Shutdown;
use traffic_map::Subnet;

use crate::build::{BuildOptions, build};
use crate::compare::compare;
use crate::config::Config;
use crate::explain::{Explanation, explain_release};
use crate::inputs::{Files, Inputs, now};
use crate::model::{self, Model};
use crate::progress::Progress;
use crate::sample::{SampleOptions, sample};
use crate::show::Shown;
use crate::{keys, run};

/// The two files an operator edits, and further measurements.
#[derive(Args, Clone, Debug)]
pub struct Sources {
    /// What the map is made from (TOML).
    #[arg(long)]
    world: PathBuf,
    /// Which services it is made for (TOML).
    #[arg(long)]
    services: PathBuf,
    /// Measurement tables besides those that the world names.
    #[arg(long)]
    measurements: Vec<PathBuf>,
}

impl Sources {
    fn files(self) -> Files {
        Files {
            world: self.world,
            services: self.services,
            measurements: self.measurements,
        }
    }
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a map and publish it as a signed release.
    Build {
        /// The inputs.
        #[command(flatten)]
        sources: Sources,
        /// Folder of releases.
        #[arg(long)]
        out: PathBuf,
        /// Signing key; made on first use. Default: `release.key` beside the folder of releases.
        #[arg(long)]
        key: Option<PathBuf>,
        /// Publish in spite of the gate, and say why.
        #[arg(long = "override", value_name = "REASON")]
        override_reason: Option<String>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Build and publish whenever the inputs change, for ever.
    Run {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Report everything that is wrong with the inputs.
    Check {
        /// The inputs.
        #[command(flatten)]
        sources: Sources,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print what is in a release.
    Show {
        /// Folder of releases, or of one release.
        #[arg(long)]
        release: PathBuf,
        /// CSV `prefix,region,share` of disjoint networks.
        #[arg(long, conflicts_with_all = ["ranges", "json"])]
        placements: bool,
        /// Service class for `--placements`.
        #[arg(long, default_value_t = 0)]
        class: u8,
        /// CSV `first,last,unit,demand` of all ranges.
        #[arg(long, conflicts_with = "json")]
        ranges: bool,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Compare two releases: demand moved, edges and regions that came and went.
    Diff {
        /// The older release's folder.
        old: PathBuf,
        /// The newer release's folder.
        new: PathBuf,
        /// Exit with 1 if they differ.
        #[arg(long)]
        exit_code: bool,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Tell where a client is sent and why; from the inputs, or from a release alone.
    Explain {
        /// What the map is made from (TOML).
        #[arg(long, requires = "services")]
        world: Option<PathBuf>,
        /// Which services it is made for (TOML).
        #[arg(long)]
        services: PathBuf,
        /// Measurement tables besides those that the world names.
        #[arg(long)]
        measurements: Vec<PathBuf>,
        /// Folder of releases; with `--world`, the map in force that the build started from.
        #[arg(long, required_unless_present = "world")]
        release: Option<PathBuf>,
        /// The client's network or address, such as 198.51.100.0/24.
        #[arg(long)]
        client: Subnet,
        /// The service's name or owner.
        #[arg(long)]
        service: String,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Signing keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Derive the compact prefix table from whole public ones.
    Sample(SampleOptions),
    /// Write a worked example of measurements from a seeded model (no real data).
    Model {
        /// The inputs.
        #[command(flatten)]
        sources: Sources,
        /// Equal seeds give equal lines.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Networks that are measured.
        #[arg(long, default_value_t = 500)]
        networks: usize,
        /// Time of every line, in Unix seconds.
        #[arg(long, default_value_t = 1_793_491_200)]
        ts: u64,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a signing key, and its public key in a `.pub` file beside it.
    Generate {
        /// File of the private key.
        #[arg(long, default_value = "release.key")]
        out: PathBuf,
    },
}

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// One sentence, or a report of findings, for [`service::fail`].
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Build {
                sources,
                out,
                key,
                override_reason,
                json,
            } => {
                let files = sources.files();
                let options = BuildOptions {
                    files,
                    out,
                    key,
                    override_reason,
                    progress: true,
                    ..BuildOptions::default()
                };
                build_once(&options, json)
            }
            Command::Run { config } => run_for_ever(&config),
            Command::Check { sources, json } => Ok(check(&sources.files(), json)),
            Command::Show {
                release,
                placements,
                class,
                ranges,
                json,
            } => {
                let shown = Shown::open(&release)?;
                let mut out = BufWriter::new(io::stdout().lock());
                let written = match (placements, ranges, json) {
                    (true, _, _) => shown.write_placements(&mut out, class),
                    (_, true, _) => shown.write_ranges(&mut out),
                    (_, _, true) => writeln!(out, "{}", shown.to_json()),
                    _ => shown.write_summary(&mut out),
                };
                quiet_pipe(written.and_then(|()| out.flush()))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Diff {
                old,
                new,
                exit_code,
                json,
            } => compare(&old, &new, exit_code, json),
            Command::Explain {
                world,
                services,
                measurements,
                release,
                client,
                service,
                json,
            } => match world {
                Some(world) => {
                    let files = Files {
                        world,
                        services,
                        measurements,
                    };
                    explain_inputs(&files, release.as_deref(), client, &service, json)
                }
                None => explain_release(
                    &release.unwrap_or_default(),
                    &services,
                    client,
                    &service,
                    json,
                ),
            },
            Command::Keys(KeysCommand::Generate { out }) => {
                keys::generate(&out)?;
                println!("{}\n{}", out.display(), keys::public_path(&out).display());
                Ok(ExitCode::SUCCESS)
            }
            Command::Sample(options) => {
                let sampled = sample(&options, &Progress::visible(3))?;
                println!(
                    "{} IPv4 and {} IPv6 rows, {} octets",
                    sampled.v4, sampled.v6, sampled.size
                );
                Ok(ExitCode::SUCCESS)
            }
            Command::Model {
                sources,
                seed,
                networks,
                ts,
                out,
            } => {
                let mut files = sources.files();
                files.measurements.clear();
                write_model(&files, Model { seed, networks, ts }, &out)
            }
        }
    }
}

fn build_once(options: &BuildOptions, json: bool) -> anyhow::Result<ExitCode> {
    let built = build(options)?;
    built.report.show();
    if json {
        println!("{}", built.to_json());
        return Ok(ExitCode::SUCCESS);
    }
    let state = if built.published {
        "published"
    } else {
        "unchanged"
    };
    println!(
        "generation {} {state}: {} ranges, {} units, {} placements, {} regions, {} edges, {} measurements, {} octets, {:.2} s",
        built.generation,
        built.ranges,
        built.units,
        built.placements,
        built.regions,
        built.edges,
        built.measurements,
        built.size,
        built.took.as_secs_f64(),
    );
    if let Some(moved) = built.moved {
        println!("{:.1} % of the demand moved", moved * 100.0);
    }
    println!("readers trust {}", built.public_key.display());
    Ok(ExitCode::SUCCESS)
}

fn run_for_ever(config: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let running = run::start(config, Shutdown::on_signals()).await?;
        println!("listening admin {}\nready", running.admin);
        running.wait().await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn check(files: &Files, json: bool) -> ExitCode {
    let (report, failed): (Report, bool) = match Inputs::read(files, now()) {
        Ok(inputs) => (inputs.report, false),
        Err(report) => (report, true),
    };
    if json {
        println!("{}", report.to_json());
    } else {
        report.show();
    }
    if failed {
        ExitCode::from(EXIT_FINDINGS)
    } else {
        ExitCode::SUCCESS
    }
}

fn explain_inputs(
    files: &Files,
    release: Option<&Path>,
    client: Subnet,
    service: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::read(files, now())?;
    let shown = release.map(Shown::open).transpose()?;
    let previous = shown.as_ref().map(|shown| &shown.map);
    let explanation = Explanation::new(&inputs, previous, client, service)?;
    say(&if json {
        format!(
            "{}
",
            explanation.to_json()
        )
    } else {
        explanation.to_string()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write_model(files: &Files, model: Model, out: &Path) -> anyhow::Result<ExitCode> {
    let inputs = Inputs::read(files, now())?;
    let lines = model::draw(&inputs, model);
    let mut text = String::from(distribution::measurement::HEADER);
    text.push('\n');
    for line in &lines {
        text.push_str(distribution::measurement::write_line(line).trim_end());
        text.push('\n');
    }
    std::fs::write(out, text).with_context(|| out.display().to_string())?;
    println!("{} lines", lines.len());
    Ok(ExitCode::SUCCESS)
}

/// Prints a whole text at once.
pub(crate) fn say(text: &str) -> io::Result<()> {
    quiet_pipe(io::stdout().lock().write_all(text.as_bytes()))
}

/// A reader that has seen enough (`| head`) is no error.
fn quiet_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
