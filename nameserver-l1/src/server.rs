//! The running server: the snapshot it answers from, and the task that follows the files.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use arc_swap::ArcSwap;
use nameserver::{Door, Running, Shell, unix_seconds};
use service::{secret, shutdown::Shutdown};

use crate::{
    adoption::{Adoption, Outcome},
    config::Config,
    explain::Explainer,
    inputs::Inputs,
    metrics::Metrics,
    status,
    world::Source,
};

/// Reads everything, binds everything and starts to answer. What cannot be read is reported and waited
/// for: a name server that does not start is worse than one that answers what it can.
///
/// # Errors
/// When there is no address to listen on, or one cannot be bound.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let registry = service::metrics::registry("nameserver-l1");
    let shell = Shell::new(config.settings(), &registry)?;
    let metrics = Metrics::register(&registry, shell.reloads(), config.stale_seconds);
    let metrics = metrics.context("metrics")?;
    let in_force = metrics.in_force.clone();
    let mut follower = Follower::new(&config, metrics, &shell);
    follower.follow();
    // A start beside a bad release: the reader then has the one before.
    follower.follow();

    let mut server = shell.listen(shutdown)?;
    server.await_release(in_force);
    let routes = status::routes(Arc::clone(&follower.explainer));
    server.poll("following the files", move || follower.follow());
    server.admin(routes)
}

/// Follows the files and swaps what they lead to.
struct Follower {
    inputs: Inputs,
    token_keys: PathBuf,
    adoption: Adoption,
    metrics: Metrics,
    /// For queries.
    door: Door,
    /// For a look at single decisions.
    explainer: Arc<ArcSwap<Explainer>>,
}

impl Follower {
    /// Nothing is read yet.
    fn new(config: &Config, metrics: Metrics, shell: &Shell) -> Self {
        let door = shell.door();
        let adoption = Adoption::default();
        let (zones, explainer) = adoption.world().build(&metrics);
        door.serve(zones, explainer.routing.clone());
        Self {
            inputs: Inputs::new(config, shell.transferred()),
            token_keys: config.token_keys.clone(),
            adoption,
            metrics,
            door,
            explainer: Arc::new(ArcSwap::from_pointee(explainer)),
        }
    }

    fn follow(&mut self) {
        let outcome = self.adoption.take(self.inputs.poll_texts());
        self.put_in_force(outcome);
        for warning in self.inputs.take_warnings().findings {
            tracing::warn!("{warning}");
        }
        let release = self.inputs.poll_release(self.adoption.world());
        let outcome = self.adoption.take(release);
        self.put_in_force(outcome);
        if self.inputs.release_is_good() {
            // Also when the one in force has come back, which is no news.
            self.metrics.set_refused(&Source::Release, false);
        }
        self.metrics.judge_release(unix_seconds());
    }

    fn put_in_force(&self, outcome: Outcome) {
        if outcome.changed {
            self.swap();
        }
        for source in &outcome.adopted {
            self.metrics.adopted(source);
            tracing::info!(source = %source, "serving the new version");
            if *source == Source::Keys
                && let Some(warning) = secret::exposed(&self.token_keys)
            {
                tracing::warn!("{warning}");
            }
        }
        for (source, report) in &outcome.refused {
            self.metrics.refused(source);
            for finding in &report.findings {
                tracing::error!("{finding}; the last good version stays in force");
            }
        }
        for finding in &outcome.misfits.findings {
            tracing::error!("{finding}; what does not fit is not routed");
        }
    }

    fn swap(&self) {
        let world = self.adoption.world();
        let (zones, explainer) = world.build(&self.metrics);
        let misfits = explainer.routing.services.iter();
        let misfits = misfits.filter(|service| !service.fits).count();
        self.door.serve(zones, explainer.routing.clone());
        self.explainer.store(Arc::new(explainer));
        self.metrics.misfits.set(misfits as i64);
        if let Some(release) = &world.release {
            let rows = release.map.range_counts();
            let in_force = &self.metrics.in_force;
            in_force.show(release.generation, release.built_at, rows);
        }
    }
}
