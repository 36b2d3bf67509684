//! Tells a person how far a build is: a bar on a terminal, log lines otherwise, nothing when used in-process.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the steps of one task.
pub struct Progress {
    kind: Kind,
}

enum Kind {
    Silent,
    Log,
    Bar(ProgressBar),
}

impl Progress {
    /// Shows nothing.
    pub fn silent() -> Progress {
        Progress { kind: Kind::Silent }
    }

    /// A bar of `steps` steps if stderr is a terminal, log lines otherwise.
    pub fn visible(steps: u64) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { kind: Kind::Log };
        }
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress {
            kind: Kind::Bar(bar),
        }
    }

    /// The next step begins.
    pub fn step(&self, what: &str) {
        match &self.kind {
            Kind::Silent => tracing::debug!("{what}"),
            Kind::Log => tracing::info!("{what}"),
            Kind::Bar(bar) => {
                bar.inc(1);
                bar.set_message(what.to_owned());
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}
