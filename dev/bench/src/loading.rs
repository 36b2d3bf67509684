//! Loading: how long each server takes from its start to the first right answer out of a large zone, and what it then
//! holds; and how long a map takes from the disk into the form that queries use.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::contest::median;
use crate::cpu;
use crate::peers::{Peer, ZoneFile};
use crate::process::Server;
use crate::site::{Level, Site};
use crate::works::statics;
use crate::world::SMALL;

/// A server and its figures.
pub(crate) struct Loaded {
    /// In the table and in JSON.
    pub(crate) name: &'static str,
    /// From the start of the process to the first right answer; median.
    pub(crate) seconds: f64,
    /// Memory then, 2^20 octets; median.
    pub(crate) mebibytes: f64,
}

/// Loads a zone of so many names, three records each, in every server.
pub(crate) fn zone(
    folder: &Path,
    names: usize,
    peers: &[Peer],
    programs: Option<&Path>,
    runs: usize,
) -> anyhow::Result<Vec<Loaded>> {
    // Nothing but the zone: the smallest world without a release.
    let site = Site::new(&folder.join("loading"), &SMALL, 1)?;
    let text = statics::zone(names, 1);
    site.write("large/media.test.zone", &text)?;
    site.write("zones/media.test.zone", &text)?;
    let ours = || Ok(Some(site.start(Level::L1, programs, "")?.server));
    let mut loaded = vec![("ours", several(runs, names, &ours)?)];
    for peer in peers {
        let start = || {
            let zone = ZoneFile {
                origin: statics::ZONE,
                path: site.path("large/media.test.zone"),
            };
            peer.start(&folder.join("loading/peers"), vec![zone], false)
        };
        let figures = several(runs, names, &start).with_context(|| peer.name())?;
        loaded.push((peer.name(), figures));
    }
    let figures = loaded.into_iter().filter_map(|(name, figures)| {
        let (seconds, mebibytes) = figures?;
        Some(Loaded {
            name,
            seconds,
            mebibytes,
        })
    });
    Ok(figures.collect())
}

/// Medians of time and memory; `None` for a server that is not installed.
fn several(
    runs: usize,
    names: usize,
    start: &dyn Fn() -> anyhow::Result<Option<Server>>,
) -> anyhow::Result<Option<(f64, f64)>> {
    let questions = statics::names(names, &[1], &[]);
    let mut figures = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        let Some(mut server) = start()? else {
            return Ok(None);
        };
        server.until_right(&questions)?;
        let seconds = began.elapsed().as_secs_f64();
        let memory = cpu::memory(server.process()) as f64 / f64::from(1 << 20);
        figures.push((seconds, memory));
    }
    let seconds = median(figures.iter().map(|(seconds, _)| *seconds));
    let memory = median(figures.iter().map(|(_, memory)| *memory));
    Ok(Some((seconds, memory)))
}

/// Reads the release as a server does, signature and all; median.
pub(crate) fn map(site: &Site, runs: usize) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        drop(site.read_back()?);
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(times.into_iter())))
}
