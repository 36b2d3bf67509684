//! Follows the release folder: each new, valid map becomes the fleet; a broken one is refused and the old one stays.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use distribution::release::{Reader, Release};
use service::shutdown::Shutdown;
use traffic_map::Map;

use crate::config::Releases;
use crate::fleet::Fleet;
use crate::metrics::Metrics;

/// How often the folder is looked at; one small file is read each time.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The blob of a release that holds the map.
const MAP_BLOB: &str = "map";

/// Opens the folder, takes the release that is there, and keeps following until shutdown.
///
/// A missing or broken release at start is no error: sessions are served without it.
pub fn follow(
    config: &Releases,
    fleet: Arc<ArcSwap<Fleet>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let keys = distribution::keys::read_public_keys(&config.trusted_key)
        .with_context(|| format!("{} is no public key", config.trusted_key.display()))?;
    let mut reader = Reader::open(&config.folder, keys, &config.state)
        .with_context(|| format!("{} cannot be followed", config.folder.display()))?;
    look(&mut reader, &fleet, &metrics);
    tokio::spawn(async move {
        while tokio::time::timeout(POLL_INTERVAL, shutdown.wait())
            .await
            .is_err()
        {
            // Reading and checking a release may take a while; the sessions' timers must not wait for it.
            tokio::task::block_in_place(|| look(&mut reader, &fleet, &metrics));
        }
    });
    Ok(())
}

fn look(reader: &mut Reader, fleet: &ArcSwap<Fleet>, metrics: &Metrics) {
    let check = |release: &Release| {
        let blob = release.blob(MAP_BLOB).ok_or("it holds no map")?;
        let map = Map::decode(blob).map_err(|error| error.to_string())?;
        Ok(Fleet::from_map(&map))
    };
    match reader.poll_checked(check) {
        Ok(None) => {}
        Ok(Some((release, new))) => {
            let (generation, edges) = (release.generation, new.len());
            tracing::info!(generation, edges, "new traffic map");
            metrics
                .map_generation
                .set(i64::try_from(generation).unwrap_or(i64::MAX));
            fleet.store(Arc::new(new));
        }
        Err(refused) => {
            metrics.releases_refused.inc();
            tracing::warn!(%refused, "a release is refused; the map in use stays");
        }
    }
}
