//! What every program needs: configuration with diagnostics, logs, shutdown, the admin port, watched files.
//!
//! ```text
//! config::load ──► typed struct │ ConfigError (file:line:col + hint)
//! shutdown::channel ──► Trigger ─fire─► Shutdown (cloned into every task)
//! admin::serve ──► /metrics /healthz + the program's own routes, on loopback
//! watch::File ──► Some(new text) when an operator has changed a file
//! secret::exposed ──► a warning about a file of secrets that others may read
//! ```

pub mod admin;
pub mod config;
pub mod diagnostic;
pub mod logs;
pub mod metrics;
pub mod secret;
pub mod shutdown;
pub mod watch;

use std::process::ExitCode;

/// Exit code of a run that found something to complain about (DESIGN: 0 fine, 1 findings, 2 usage).
pub const EXIT_FINDINGS: u8 = 1;

/// Prints why a program stops, to stderr, and gives its exit code (1).
///
/// A [`config::ConfigError`] or [`diagnostic::Report`] anywhere in the chain is shown as itself: with the operator's own
/// line on a terminal, as `file:line:col: error: text` otherwise. Everything else is one sentence with its causes.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(config) = error.downcast_ref::<config::ConfigError>() {
        config.show();
    } else if let Some(report) = error.downcast_ref::<diagnostic::Report>() {
        report.show();
    } else {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(EXIT_FINDINGS)
}
