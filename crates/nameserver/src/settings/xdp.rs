//! `[xdp]`: UDP below the sockets.

use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;
use service::diagnostic::{Diagnostic, Report};

use super::addresses::place;
use crate::xdp;

/// `[xdp]`: interfaces whose UDP queries are taken before they come to the sockets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Xdp {
    /// Names of the interfaces. Where it cannot be done, the sockets serve, which are there in any case.
    pub interfaces: Vec<String>,
    /// Where the kernel's part runs.
    pub mode: XdpMode,
    /// How many receive queues of each interface, one thread for each; all of them without it.
    pub queues: Option<NonZeroU32>,
}

/// Where the kernel's part runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver, or behind it if the driver cannot.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// Behind the driver.
    Generic,
}

impl Xdp {
    /// Says what would leave the queries to the sockets, as far as this process, which may have other rights, can see.
    pub(super) fn check(&self, file: &Path, report: &mut Report) {
        for (index, interface) in self.interfaces.iter().enumerate() {
            let Some(obstacle) = xdp::obstacle(interface) else {
                continue;
            };
            let (line, column) = place(file, &["xdp", "interfaces"], index);
            let message = format!("no XDP on {interface}: {obstacle}");
            report.push(
                Diagnostic {
                    line,
                    column,
                    ..Diagnostic::warning(file.display().to_string(), message)
                }
                .with_hint("the sockets serve its queries"),
            );
        }
    }
}
