//! `mapmaker diff`: what changed from one release to another, for people or as JSON.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use service::EXIT_FINDINGS;
use traffic_map::diff::diff;

use crate::commands::say;
use crate::show::Shown;

/// Networks printed for people; `--json` has up to a thousand.
const NETWORKS_SHOWN: usize = 20;

/// Compares two releases, each given by its folder or by a folder of releases.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn compare(
    old: &Path,
    new: &Path,
    exit_code: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (old, new) = (Shown::open(old)?, Shown::open(new)?);
    let change = diff(&old.map, &new.map);
    let lists = [
        ("edges added", &change.edges_added),
        ("edges removed", &change.edges_removed),
        ("regions added", &change.regions_added),
        ("regions removed", &change.regions_removed),
    ];
    let same = old.map == new.map;
    let mut text = String::new();
    if json {
        let networks: Vec<_> = change
            .networks
            .iter()
            .map(|(network, moved)| json!({"network": network.to_string(), "moved": moved}))
            .collect();
        let mut object = json!({
            "old": old.release.generation,
            "new": new.release.generation,
            "same": same,
            "moved": change.moved,
            "networks": networks,
        });
        for (name, list) in lists {
            object[name.replace(' ', "_")] = json!(list);
        }
        writeln!(text, "{object}")?;
    } else {
        writeln!(
            text,
            "generation {} to {}: {:.2} % of the demand moved",
            old.release.generation,
            new.release.generation,
            change.moved * 100.0
        )?;
        for (name, list) in lists {
            if !list.is_empty() {
                writeln!(text, "{name}: {}", list.join(", "))?;
            }
        }
        for (network, moved) in change.networks.iter().take(NETWORKS_SHOWN) {
            writeln!(text, "{network:<24} {:.4} %", moved * 100.0)?;
        }
    }
    say(&text)?;
    Ok(if exit_code && !same {
        ExitCode::from(EXIT_FINDINGS)
    } else {
        ExitCode::SUCCESS
    })
}
