//! Recipes, each a line or two of plain cargo: `cargo xtask test` is what CI runs.

mod conformance;
mod packages;
mod peers;

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo xtask <recipe>

recipes:
  test         install the Debian packages that tests use (says which first), then check and test everything
  conformance  what the RFCs ask, a file each, and how much was asked over which transport: a minute or two
  nightly      the tests of conformance that take minutes each: many questions, many reloads, many bad packets
  bench        what DNS queries cost, ours and other servers', built for release; `cargo xtask bench --help` has the rest
  lint         formatting, clippy with warnings as errors, documentation
  doc          build the documentation, warnings as errors
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["test"] => test(),
        ["conformance"] => conformance(),
        ["nightly"] => nightly(),
        ["bench", arguments @ ..] => bench(arguments),
        ["lint"] => lint(),
        ["doc"] => doc(),
        ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> anyhow::Result<()> {
    packages::install_missing()?;
    peers::unpack_missing(peers::DAEMONS)?;
    lint()?;
    // With the tools installed, a test that cannot find its tool has failed, not skipped.
    run(cargo(&["test", "--workspace", "--no-fail-fast"]).env("SIGNPOST_REQUIRE_TOOLS", "1"))?;
    run(cargo(&below_sockets(&["test", "--no-fail-fast"])).env("SIGNPOST_REQUIRE_TOOLS", "1"))
}

/// A command for what is different with the feature `xdp`, which is off by default.
fn below_sockets<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let packages = [
        "dns-transport",
        "nameserver",
        "nameserver-l1",
        "nameserver-l2",
    ];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let features = ["--features", "xdp"];
    let tests = ["--lib", "--bins", "--test", "xdp"];
    command
        .iter()
        .copied()
        .chain(packages)
        .chain(features)
        .chain(tests)
        .collect()
}

fn conformance() -> anyhow::Result<()> {
    packages::install_missing()?;
    peers::unpack_missing(peers::DAEMONS)?;
    conformance::run()
}

fn nightly() -> anyhow::Result<()> {
    packages::install_missing()?;
    peers::unpack_missing(peers::DAEMONS)?;
    // One at a time: each takes the whole machine.
    let run_ignored = ["--", "--ignored", "--nocapture", "--test-threads=1"];
    let test = [
        "test",
        "--release",
        "--package",
        "conformance",
        "--no-fail-fast",
    ];
    run(cargo(&[&test[..], &run_ignored].concat()).env("SIGNPOST_REQUIRE_TOOLS", "1"))?;
    bench(&["instructions"])?;
    let fuzz = ["run", "--release", "--manifest-path", "dev/fuzz/Cargo.toml"];
    run(&mut cargo(
        &[&fuzz[..], &["--bin", "seeded", "--", "60"]].concat(),
    ))
}

/// Builds the servers and the bench as they are deployed, and hands over.
fn bench(arguments: &[&str]) -> anyhow::Result<()> {
    peers::unpack_missing(peers::MEASURED)?;
    let packages = ["bench", "nameserver-l1", "nameserver-l2"];
    let mut build = cargo(&["build", "--release", "--features", "xdp"]);
    for package in packages {
        build.args(["--package", package]);
    }
    run(&mut build)?;
    run(&mut cargo(
        &[
            &[
                "run",
                "--quiet",
                "--release",
                "--package",
                "bench",
                "--features",
                "xdp",
                "--",
            ],
            arguments,
        ]
        .concat(),
    ))
}

fn lint() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    let strict = ["--", "-D", "warnings"];
    run(&mut cargo(
        &[&below_sockets(&["clippy"])[..], &strict].concat(),
    ))?;
    doc()
}

fn doc() -> anyhow::Result<()> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs a command with our standard streams; says what it runs.
fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("xtask: {command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
