//! The command line of `media-edge`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use media_edge::Config;
use service::shutdown::Shutdown;

/// Streams multiple-description media over RTSP and hands sessions to other edges.
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
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check the configuration and the titles, and print the edge's public key.
    Check {
        /// Configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Move every session to other edges and take no new ones.
    Drain {
        /// The edge's admin address.
        #[arg(long)]
        admin: std::net::SocketAddr,
    },
    /// Take sessions again.
    Resume {
        /// The edge's admin address.
        #[arg(long)]
        admin: std::net::SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    service::logs::init("media-edge");
    let result = match Arguments::parse().command {
        Command::Run { config } => run(&config).await,
        Command::Check { config } => media_edge::commands::check(&config),
        Command::Drain { admin } => media_edge::commands::post(admin, "/drain").await,
        Command::Resume { admin } => media_edge::commands::post(admin, "/resume").await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => service::fail(&error),
    }
}

async fn run(config: &std::path::Path) -> anyhow::Result<()> {
    let running = media_edge::start(Config::load(config)?, Shutdown::on_signals()).await?;
    for address in &running.rtsp {
        println!("listening rtsp {address}");
    }
    println!("listening handoff {}", running.handoff);
    println!("listening admin {}", running.admin);
    println!("ready");
    running.wait().await
}
