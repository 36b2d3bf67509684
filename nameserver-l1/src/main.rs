//! `nameserver-l1`: serves, checks its files, or explains an answer.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use nameserver::{check, dnssec};
use nameserver_l1::{
    Config,
    commands::{self, Offline},
};
use service::{logs, shutdown::Shutdown};
use traffic_map::Subnet;

const PROGRAM: &str = "nameserver-l1";

/// First-level name server: answers SRV queries with tokens, by the client's place in the traffic map.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Run {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Report everything that is wrong with the configuration, zones, services, keys and release.
    Check {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Make, list and roll the keys of signed zones.
    Dnssec {
        /// Configuration file (TOML); its table `[dnssec]` says where the keys are.
        #[arg(long)]
        config: PathBuf,
        #[command(subcommand)]
        action: dnssec::command::Action,
    },
    /// Tell what a client is answered, and why.
    Explain {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
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
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if !matches!(command, Command::Run { .. }) {
        logs::init(PROGRAM);
    }
    let done = match command {
        Command::Run { config } => run(&config),
        Command::Check { config, json } => return check::tell(&commands::check(&config), json),
        Command::Dnssec { config, action } => keys(&config, &action),
        Command::Explain {
            config,
            client,
            service,
            json,
        } => explain(&config, client, &service, json),
    };
    done.map_or_else(|error| service::fail(&error), |()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn run(config: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    logs::init_as(PROGRAM, config.log);
    let running = nameserver_l1::start(config, Shutdown::on_signals()).await?;
    running.announce();
    running.wait().await
}

fn keys(config: &std::path::Path, action: &dnssec::command::Action) -> anyhow::Result<()> {
    let settings = Config::load(config)?.dnssec;
    println!(
        "{}",
        dnssec::command::run(&settings, action, dnssec::now())?
    );
    Ok(())
}

fn explain(
    config: &std::path::Path,
    client: Subnet,
    service: &str,
    json: bool,
) -> anyhow::Result<()> {
    let offline = Offline::open(config)?;
    let explanation = offline
        .explain(service, client)
        .map_err(anyhow::Error::msg)?;
    if json {
        println!("{}", serde_json::to_string(&explanation)?);
    } else {
        print!("{explanation}");
    }
    Ok(())
}
