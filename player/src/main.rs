//! `player resolve` and `player play`: arguments in, a short story or one JSON object out.

use std::process::ExitCode;

use clap::Parser;
use player::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    service::logs::init("player");
    if cli.run().await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
