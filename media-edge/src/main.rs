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
    /// Make titles from videos.
    #[command(subcommand)]
    Title(TitleCommand),
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

#[derive(Subcommand)]
enum TitleCommand {
    /// Turn a video into a title: a folder with one file per description.
    Create {
        /// A file that ffmpeg reads, a `.y4m` file, or `pattern:<width>x<height>@<fps>:<seconds>s`.
        input: String,
        #[command(flatten)]
        options: media_edge::commands::TitleOptions,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    service::logs::init("media-edge");
    let result = match Arguments::parse().command {
        Command::Run { config } => run(&config).await,
        Command::Check { config } => media_edge::commands::check(&config),
        Command::Title(TitleCommand::Create { input, options }) => {
            media_edge::commands::create_title(&input, &options)
        }
        Command::Drain { admin } => tell(admin, "/drain").await,
        Command::Resume { admin } => tell(admin, "/resume").await,
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

/// Asks a running edge to do something, and prints its answer.
async fn tell(admin: std::net::SocketAddr, path: &str) -> anyhow::Result<()> {
    println!("{}", media_edge::commands::ask(admin, "POST", path).await?);
    Ok(())
}
