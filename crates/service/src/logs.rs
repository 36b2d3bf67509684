//! Logs to stderr; standard output belongs to a program's results.

use std::io::IsTerminal;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// `[log]`: how a program that serves writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The form of a line.
    pub format: Format,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; colours only on a terminal.
    #[default]
    Text,
    /// One JSON object, for a collector: `timestamp`, `level`, `target`, and `fields` with `message` and the facts.
    Json,
}

/// Starts logging for a program, as text: see [`init_as`].
pub fn init(program: &str) {
    init_as(program, Log::default());
}

/// Starts logging for a program: `RUST_LOG` decides what is shown, `info` without it.
/// A second call (tests start several programs in one process) changes nothing.
pub fn init_as(program: &str, log: Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match log.format {
        Format::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => logs.json().with_current_span(false).try_init(),
    };
    if started.is_ok() {
        tracing::debug!(
            program,
            version = env!("CARGO_PKG_VERSION"),
            "logging started"
        );
    }
}
