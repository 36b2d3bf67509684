//! Starts the whole stack on loopback, shows its main job — a viewer routed in two steps and handed on without losing a
//! frame — and keeps serving, so that the printed commands can be tried.

mod act;
mod cast;
mod epilogue;
mod ports;
mod show;
mod stage;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use service::shutdown::{self, Shutdown};

/// Shows Signpost's main job on loopback.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// End after the show, with exit code 0 only if all went well; takes free ports instead of the documented ones.
    #[arg(long)]
    once: bool,
    /// Print the result as one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Folder for keys, releases, titles and configurations; made anew each time.
    #[arg(long, default_value = "run/demo")]
    dir: PathBuf,
    /// Length of the test picture, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(8..=600))]
    seconds: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The show is on standard output; the programs' logs would drown it. RUST_LOG brings them back.
    if std::env::var_os("RUST_LOG").is_some() {
        service::logs::init("demo");
    }
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime");
    match runtime.and_then(|runtime| runtime.block_on(perform(arguments))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(service::EXIT_FINDINGS),
        Err(error) => service::fail(&error),
    }
}

/// The whole show; whether all went well.
async fn perform(arguments: Arguments) -> anyhow::Result<bool> {
    let ports = match arguments.once {
        true => ports::free()?,
        false => ports::documented()?,
    };
    let stage = stage::build(&arguments.dir, &ports, arguments.seconds)?;
    show::stage(&stage);

    let (trigger, shutdown) = shutdown::channel();
    let cast = cast::start(&stage, shutdown.clone()).await?;
    show::cast(&cast);

    let summary = act::perform(&stage, &cast, shutdown).await?;
    show::summary(&summary);
    if !arguments.once {
        show::commands(&stage, &cast, &summary);
        if arguments.json {
            show::json(&summary)?;
        }
        Shutdown::on_signals().wait().await;
    }
    trigger.fire();
    cast.ended().await?;
    if arguments.once && arguments.json {
        show::json(&summary)?;
    }
    Ok(summary.well())
}
