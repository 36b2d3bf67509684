//! What a DNS query costs: our name servers and others, asked the same, in turn, in one run.
//!
//! ```text
//! site, peers ─► servers, one thread each, on one core      load (udp, tcp, paced), on another core
//!                       │                                        │    ▲
//!                       └── cpu: run time a query ─► report ◄────┘    └── works: questions, oracles
//! ```
//!
//! `cargo xtask bench dns` builds everything and calls it; docs/performance.md has the method and figures.

mod allocations;
mod contest;
mod cpu;
mod dns;
mod edges;
mod engine;
mod growth;
mod histogram;
mod instructions;
mod load;
mod loading;
mod markdown;
mod mmsg;
mod null;
mod past;
mod peers;
mod pin;
mod process;
mod questions;
mod random;
mod reload;
mod report;
mod serve;
mod site;
mod stage;
mod works;
mod world;
mod xdp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what DNS queries cost.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU time a query, of our servers and others.
    Dns(dns::Options),
    /// CPU time a query below the sockets (AF_XDP), between two network namespaces.
    Xdp(xdp::Options),
    /// Instructions a query of our engine, compared with the accepted figures.
    Instructions(instructions::Options),
    /// What a query costs, what a server holds and how long it starts, by size; with plots.
    Growth(growth::Options),
    /// What the kernel offers beside batches of plain datagrams, tried with null responders.
    Past(past::Options),
    /// Queries without sockets, for callgrind.
    #[command(hide = true)]
    Replay {
        /// Which.
        kind: String,
        /// How often.
        rounds: usize,
    },
    /// The null responder, as a process of its own.
    #[command(hide = true)]
    Null {
        /// Address for UDP and TCP.
        #[arg(long)]
        listen: SocketAddr,
        #[command(flatten)]
        shape: null::Shape,
    },
    /// One of the null responders of `past`, as a process of its own.
    #[command(hide = true)]
    Respond {
        /// Address for UDP.
        #[arg(long)]
        listen: SocketAddr,
        #[command(flatten)]
        shape: null::Shape,
        #[command(flatten)]
        how: past::responder::How,
    },
    /// A server of ours, where its own program is not at hand.
    #[command(hide = true)]
    Serve {
        /// Which.
        program: String,
        /// Its configuration.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Dns(options) => dns::run(&options),
        Command::Xdp(options) => xdp::run(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Replay { kind, rounds } => instructions::replay(&kind, rounds).map(|asked| {
            println!("{asked}");
            true
        }),
        Command::Null { listen, shape } => null::serve(listen, shape)
            .map(|()| true)
            .map_err(Into::into),
        Command::Growth(options) => growth::run(&options),
        Command::Past(options) => past::run(&options),
        Command::Respond { listen, shape, how } => {
            past::responder::serve(listen, shape, &how).map(|()| true)
        }
        Command::Serve { program, config } => serve::run(&program, &config).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
