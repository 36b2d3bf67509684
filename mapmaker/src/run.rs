//! `mapmaker run`: looks at the inputs for ever and publishes a new map when they say something new.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use service::shutdown::Shutdown;
use tokio::task::JoinHandle;

use crate::build::{BuildOptions, Built, build};
use crate::config::Config;
use crate::pattern;

/// A map is built again after this long without a change, as overrides end by the calendar.
const REBUILD_AFTER: Duration = Duration::from_secs(3600);

/// A running mapmaker.
pub struct Running {
    /// Where metrics are served.
    pub admin: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// Returns after the shutdown, when a build under way is finished.
    ///
    /// # Errors
    /// If the task has panicked.
    pub async fn wait(self) -> anyhow::Result<()> {
        Ok(self.task.await?)
    }
}

/// Starts the admin port and the loop. The first build happens at once, in the background.
///
/// # Errors
/// If the admin address cannot be bound.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let registry = service::metrics::registry("mapmaker");
    let metrics = Metrics::new(&registry)?;
    let admin = service::admin::serve(
        config.admin,
        registry,
        axum::Router::new(),
        shutdown.clone(),
    )?;
    let task = tokio::spawn(follow(config, metrics, shutdown));
    Ok(Running { admin, task })
}

async fn follow(config: Config, metrics: Metrics, shutdown: Shutdown) {
    let interval = Duration::from_secs(config.interval_seconds.max(1));
    let options = config.build_options();
    let mut watched = Watched::default();
    loop {
        if watched.is_due(&options) {
            let (task_options, before) = (options.clone(), Stamps::of(&watched.paths(&options)));
            match tokio::task::spawn_blocking(move || build(&task_options)).await {
                Ok(result) => watched.done(&options, before, metrics.note(result)),
                Err(error) => tracing::error!(%error, "the build did not end"),
            }
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Size and time of change of each file, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamps(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Stamps {
    fn of(paths: &[PathBuf]) -> Stamps {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        Stamps(
            paths
                .iter()
                .map(|path| (path.clone(), stamp(path)))
                .collect(),
        )
    }
}

/// What the last build read, and when.
#[derive(Default)]
struct Watched {
    read: Vec<PathBuf>,
    last: Option<(Stamps, SystemTime)>,
}

impl Watched {
    /// The files of the last build and those that the options name now (a pattern may have found another).
    fn paths(&self, options: &BuildOptions) -> Vec<PathBuf> {
        let files = &options.files;
        let measurements = files
            .measurements
            .iter()
            .flat_map(|path| pattern::files(path));
        let named = [files.world.clone(), files.services.clone()];
        let mut paths: Vec<PathBuf> = self
            .read
            .iter()
            .cloned()
            .chain(named)
            .chain(measurements)
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn is_due(&self, options: &BuildOptions) -> bool {
        let Some((stamps, at)) = &self.last else {
            return true;
        };
        *stamps != Stamps::of(&self.paths(options))
            || at.elapsed().is_ok_and(|elapsed| elapsed >= REBUILD_AFTER)
    }

    /// `before` was taken before the files were read, so a change during the build is seen. The first build
    /// reads files that nobody knew of before: they are taken as they are now.
    fn done(&mut self, options: &BuildOptions, before: Stamps, read: Option<Vec<PathBuf>>) {
        if let Some(read) = read {
            self.read = read;
        }
        let now = Stamps::of(&self.paths(options));
        let known = |path: &PathBuf| before.0.iter().find(|(known, _)| known == path);
        let stamps = now.0.into_iter().map(|(path, stamp)| match known(&path) {
            Some((_, stamp)) => (path, *stamp),
            None => (path, stamp),
        });
        self.last = Some((Stamps(stamps.collect()), SystemTime::now()));
    }
}

struct Metrics {
    builds: IntCounterVec,
    seconds: Histogram,
    generation: IntGauge,
    units: IntGauge,
    measurements: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> anyhow::Result<Metrics> {
        let gauge = |name: &str, help: &str| -> anyhow::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let builds = Opts::new("signpost_mapmaker_builds_total", "Builds by result.");
        let builds = IntCounterVec::new(builds, &["result"])?;
        registry.register(Box::new(builds.clone()))?;
        let buckets = vec![0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
        let seconds = HistogramOpts::new("signpost_mapmaker_build_seconds", "Time of a build.");
        let seconds = Histogram::with_opts(seconds.buckets(buckets))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Metrics {
            builds,
            seconds,
            generation: gauge(
                "signpost_mapmaker_generation",
                "Number of the release in force.",
            )?,
            units: gauge("signpost_mapmaker_units", "Units in the last map built.")?,
            measurements: gauge(
                "signpost_mapmaker_measurements",
                "Measurement lines in the last map built.",
            )?,
        })
    }

    /// Counts and logs a build; gives the files it read, if it got to the end.
    fn note(&self, result: anyhow::Result<Built>) -> Option<Vec<PathBuf>> {
        match result {
            Ok(built) => {
                let result = if built.published {
                    "published"
                } else {
                    "unchanged"
                };
                self.builds.with_label_values(&[result]).inc();
                self.seconds.observe(built.took.as_secs_f64());
                self.generation
                    .set(i64::try_from(built.generation).unwrap_or(i64::MAX));
                self.units
                    .set(i64::try_from(built.units).unwrap_or(i64::MAX));
                self.measurements
                    .set(i64::try_from(built.measurements).unwrap_or(i64::MAX));
                for finding in &built.report.findings {
                    tracing::warn!("{finding}");
                }
                tracing::info!(
                    generation = built.generation,
                    units = built.units,
                    measurements = built.measurements,
                    moved = built.moved,
                    seconds = built.took.as_secs_f64(),
                    "map {result}"
                );
                Some(built.watched)
            }
            Err(error) => {
                self.builds.with_label_values(&["refused"]).inc();
                tracing::error!("the release in force stays: {error:#}");
                None
            }
        }
    }
}
