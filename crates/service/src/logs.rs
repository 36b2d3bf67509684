//! Logs to stderr; standard output belongs to a program's results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging for a program: `RUST_LOG` decides what is shown, `info` without it. Colours only on a terminal.
/// A second call (tests start several programs in one process) changes nothing.
pub fn init(program: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    if started.is_ok() {
        tracing::debug!(
            program,
            version = env!("CARGO_PKG_VERSION"),
            "logging started"
        );
    }
}
