//! `mapmaker`: builds, publishes and explains the traffic map.

use std::process::ExitCode;

use clap::Parser;
use mapmaker::commands::Command;

/// Builds the traffic map: prefixes, measurements and capacities to a signed release.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    service::logs::init("mapmaker");
    match Arguments::parse().command.execute() {
        Ok(code) => code,
        Err(error) => service::fail(&error),
    }
}
