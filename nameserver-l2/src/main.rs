//! Command line of the second-level name server; see the library for what it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nameserver::dnssec;
use nameserver_l2::{Config, check, keys, start};
use service::logs;
use service::shutdown::Shutdown;
use traffic_map::Subnet;

const PROGRAM: &str = "nameserver-l2";

/// Second-level name server: turns tokens into the addresses of live edges.
#[derive(Parser)]
#[command(name = "nameserver-l2", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT.
    Run {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Reads everything a start would read and reports every finding.
    Check {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// One JSON object on the last line.
        #[arg(long)]
        json: bool,
    },
    /// Says what a token gets and why.
    Explain {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// The token, or its whole name.
        #[arg(long)]
        token: String,
        /// The client's network, such as 198.51.100.0/24, as a resolver would tell it with the query.
        #[arg(long)]
        client: Option<Subnet>,
        /// One JSON object on the last line.
        #[arg(long)]
        json: bool,
    },
    /// Makes, lists and rolls the keys of signed zones.
    Dnssec {
        /// Configuration file (TOML); its table `[dnssec]` says where the keys are.
        #[arg(long)]
        config: PathBuf,
        #[command(subcommand)]
        action: dnssec::command::Action,
    },
    /// Makes and rotates the token key ring that both levels read.
    Keys {
        /// The ring's file (TOML).
        #[arg(long)]
        file: PathBuf,
        #[command(subcommand)]
        change: keys::Change,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if !matches!(command, Command::Run { .. }) {
        logs::init(PROGRAM);
    }
    match execute(command).await {
        Ok(code) => code,
        Err(error) => service::fail(&error),
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => {
            let config = Config::load(&config)?;
            logs::init_as(PROGRAM, config.log);
            let running = start(config, Shutdown::on_signals()).await?;
            running.announce();
            running.wait().await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Dnssec { config, action } => {
            let settings = Config::load(&config)?.dnssec;
            println!(
                "{}",
                dnssec::command::run(&settings, &action, dnssec::now())?
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys { file, change } => {
            println!("{}", keys::change(&file, change)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config, json } => {
            let report = match Config::load(&config) {
                Ok(loaded) => {
                    let mut report = check::check(&loaded);
                    loaded.settings().check(&config, &mut report);
                    report
                }
                Err(error) => error.diagnostic.into(),
            };
            Ok(nameserver::check::tell(&report, json))
        }
        Command::Explain {
            config,
            token,
            client,
            json,
        } => {
            let (report, explainer) = check::explainer(&Config::load(&config)?).await;
            report.show();
            let explanation = explainer
                .explain(&token, client)
                .map_err(anyhow::Error::msg)?;
            if json {
                println!("{}", serde_json::to_string(&explanation)?);
            } else {
                println!("{explanation}");
            }
            let good = explanation.decoded == "ok" && explanation.rcode == "NOERROR";
            Ok(if good {
                ExitCode::SUCCESS
            } else {
                service::EXIT_FINDINGS.into()
            })
        }
    }
}
