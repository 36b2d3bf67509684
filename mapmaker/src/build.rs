//! One build: read → build → encode → decode with the readers' code and compare → gate → sign and publish.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use distribution::{SigningKey, release};
use serde_json::{Value, json};
use service::diagnostic::Report;
use traffic_map::Map;
use traffic_map::build::Summary;

use crate::gate;
use crate::inputs::{Files, Inputs, now};
use crate::keys;
use crate::progress::Progress;

/// Name of the blob that holds the map.
pub const MAP_BLOB: &str = "map";
/// Name of the blob that tells people how the map came about (JSON).
pub const ABOUT_BLOB: &str = "about";
/// Releases that are kept.
const KEEP: usize = 3;

/// What to build, and where to publish it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// What the map is made from.
    pub files: Files,
    /// Folder of releases.
    pub out: PathBuf,
    /// Signing key; made on first use. `None`: `release.key` beside the folder of releases.
    pub key: Option<PathBuf>,
    /// Publish in spite of the gate, for this reason.
    pub override_reason: Option<String>,
    /// Publish even if the map is the one in force.
    pub always_publish: bool,
    /// Show progress on stderr.
    pub progress: bool,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The release's number; the one in force if nothing changed.
    pub generation: u64,
    /// False if the map is the one in force already.
    pub published: bool,
    /// Mapped and unmapped ranges, IPv4 and IPv6.
    pub ranges: usize,
    /// Units.
    pub units: usize,
    /// Different placements.
    pub placements: usize,
    /// Regions.
    pub regions: usize,
    /// Edges.
    pub edges: usize,
    /// Measurement lines used.
    pub measurements: usize,
    /// Octets of the encoded map.
    pub size: usize,
    /// Share of the demand that moves against the release before, if there was one.
    pub moved: Option<f64>,
    /// How well the demand fits.
    pub summary: Summary,
    /// File of the public key that readers have to trust.
    pub public_key: PathBuf,
    /// All of it.
    pub took: Duration,
    /// What was odd in the inputs.
    pub report: Report,
    /// Files that were read.
    pub watched: Vec<PathBuf>,
}

impl Built {
    /// For `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "generation": self.generation,
            "published": self.published,
            "ranges": self.ranges,
            "units": self.units,
            "placements": self.placements,
            "regions": self.regions,
            "edges": self.edges,
            "measurements": self.measurements,
            "size": self.size,
            "moved": self.moved,
            "unplaced": share(self.summary.unplaced, self.summary.demand),
            "mean_cost_us": self.summary.mean_cost_us,
            "public_key": self.public_key,
            "seconds": self.took.as_secs_f64(),
            "warnings": self.report.findings.len(),
        })
    }
}

/// Builds and publishes a map.
///
/// # Errors
/// A [`Report`] with every finding of the input files; a map that the gate refuses (with the way out in the
/// message); a key or folder that cannot be used. Nothing is published then.
pub fn build(options: &BuildOptions) -> anyhow::Result<Built> {
    let started = Instant::now();
    let progress = if options.progress {
        Progress::visible(5)
    } else {
        Progress::silent()
    };
    progress.step("reading the inputs");
    let built_at = now();
    let inputs = Inputs::read(&options.files, built_at)?;
    let key_path = options
        .key
        .clone()
        .unwrap_or_else(|| keys::default_path(&options.out));
    let key = keys::read_or_create(&key_path)?;
    let previous = previous(&options.out, &key, options.override_reason.is_some())?;
    let previous_map = previous.as_ref().map(|(_, map)| map);
    progress.step("building the map");
    let built = traffic_map::build::build(&inputs.for_build(previous_map))?;
    progress.step("checking it as a reader would");
    let bytes = built.map.encode();
    compare(&bytes, &built.map)?;
    progress.step("comparing it with the release in force");
    let (refusals, moved) = gate::refusals(previous_map, &built.map);
    if !refusals.is_empty() && options.override_reason.is_none() {
        let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        bail!(
            "not published: {}; to publish all the same give --override REASON",
            reasons.join("; ")
        );
    }
    let unchanged = previous.as_ref().filter(|(_, map)| map.encode() == bytes);
    progress.step("signing and publishing");
    let (generation, published) = match unchanged {
        Some((generation, _)) if !options.always_publish => (*generation, false),
        _ => {
            let about = about(&inputs, &built, moved, options.override_reason.as_deref());
            (publish(options, &key, &bytes, &about, built_at)?, true)
        }
    };
    let (v4, v6) = built.map.range_counts();
    Ok(Built {
        generation,
        published,
        ranges: v4 + v6,
        units: built.map.unit_count(),
        placements: built.map.placement_count(),
        regions: built.map.regions().len(),
        edges: built.map.edges().len(),
        measurements: inputs.measurements.len() - built.summary.measurements_ignored,
        size: bytes.len(),
        moved,
        summary: built.summary,
        public_key: keys::public_path(&key_path),
        took: started.elapsed(),
        report: inputs.report,
        watched: inputs.watched,
    })
}

/// The release in force, verified and decoded. One that cannot be used stops the build, as the gate could not
/// compare with it, unless a person has said to go on.
fn previous(out: &Path, key: &SigningKey, go_on: bool) -> anyhow::Result<Option<(u64, Map)>> {
    let read = || -> anyhow::Result<Option<(u64, Map)>> {
        let Some(generation) = release::current(out)? else {
            return Ok(None);
        };
        let release = release::load(out, &[key.verifying_key()])?;
        let bytes = release
            .blob(MAP_BLOB)
            .context("the release in force holds no map")?;
        Ok(Some((generation, Map::decode(bytes)?)))
    };
    match read() {
        Err(error) if go_on => {
            tracing::warn!("going on without the release in force: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context(
            "the release in force cannot be used; to publish all the same give --override REASON",
        )),
        found => found,
    }
}

/// The readers' own code has to see what was built.
fn compare(bytes: &[u8], map: &Map) -> anyhow::Result<()> {
    let decoded = Map::decode(bytes).context("the encoded map does not decode")?;
    if decoded.encode() != bytes || !decoded.ranges().eq(map.ranges()) {
        bail!("the encoded map does not decode to the same map");
    }
    Ok(())
}

fn publish(
    options: &BuildOptions,
    key: &SigningKey,
    bytes: &[u8],
    about: &str,
    built_at: u64,
) -> anyhow::Result<u64> {
    let blobs = [(MAP_BLOB, bytes), (ABOUT_BLOB, about.as_bytes())];
    let check = |release: &release::Release| {
        let read_back = release.blob(MAP_BLOB).ok_or("it holds no map")?;
        Map::decode(read_back)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    Ok(release::publish_checked(
        &options.out,
        key,
        &blobs,
        built_at,
        KEEP,
        check,
    )?)
}

fn about(
    inputs: &Inputs,
    built: &traffic_map::build::Built,
    moved: Option<f64>,
    override_reason: Option<&str>,
) -> String {
    let regions: Vec<Value> = inputs
        .world
        .regions
        .iter()
        .zip(&built.summary.loads)
        .map(|(region, (load, room))| json!({"region": region.name, "load": share(*load, *room)}))
        .collect();
    let about = json!({
        "map": inputs.world.map,
        "prefixes": inputs.prefixes.len(),
        "measurements": inputs.measurements.len(),
        "overrides": inputs.world.overrides.len(),
        "units": built.map.unit_count(),
        "moved": moved,
        "unplaced": share(built.summary.unplaced, built.summary.demand),
        "mean_cost_us": built.summary.mean_cost_us,
        "regions": regions,
        "published_against_the_gate_because": override_reason,
    });
    format!("{about:#}\n")
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
