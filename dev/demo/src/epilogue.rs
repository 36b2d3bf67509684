//! After the play the loop closes: the edges have written down what the player measured, and the next map is made with it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mapmaker::BuildOptions;

use crate::cast::Cast;
use crate::stage::Stage;

/// Programs look for a new release four times a second; the rest is patience with a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
pub(crate) struct Learnt {
    /// Measurement lines that edges wrote from players' reports.
    pub(crate) lines: usize,
    /// The release made with them.
    pub(crate) generation: u64,
}

/// Builds the next release with the edges' reports and waits until the first level serves it.
pub(crate) async fn learn(stage: &Stage, cast: &Cast) -> anyhow::Result<Learnt> {
    let reports: Vec<PathBuf> = stage.edges.iter().map(|edge| edge.reports()).collect();
    let lines = reports.iter().map(measurement_lines).sum();
    let mut options: BuildOptions = stage.build_options();
    options.files.measurements = reports;
    options.always_publish = true;
    let built = tokio::task::spawn_blocking(move || mapmaker::build(&options))
        .await
        .context("the mapmaker panicked")??;
    let served = async {
        while cast.generation_at_l1().await? != built.generation {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, served)
        .await
        .context("L1 did not take the new release")??;
    Ok(Learnt {
        lines,
        generation: built.generation,
    })
}

/// Lines of an edge's report file without its heading; an edge that nobody reported to has none.
fn measurement_lines(file: &PathBuf) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().count().saturating_sub(1)
}
