//! The running server: the snapshot it answers from, and the tasks that follow files and probe edges.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use nameserver::{Door, InForce, Reloads, Running, Shell, unix_seconds};
use service::diagnostic::{Report, Severity};
use service::{secret, shutdown::Shutdown};

use crate::config::Config;
use crate::explain::{self, Explainer};
use crate::inputs::Inputs;
use crate::metrics::{self, Counters};
use crate::plan::Plan;
use crate::probe;
use crate::view::View;

/// Reads everything, binds everything and starts to answer. What cannot be read is reported and waited for; until then
/// its names get REFUSED or SERVFAIL.
///
/// # Errors
/// When there is no address to listen on, or one cannot be bound.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let registry = service::metrics::registry("nameserver-l2");
    let shell = Shell::new(config.settings(), &registry)?;
    let counters = Arc::<Counters>::default();
    let view = Arc::new(View::new(config.probe));
    metrics::register(&registry, &counters, &view).context("metrics")?;
    let reloads = shell.reloads();
    reloads.expect(&["zone", "services", "keys", "release"]);
    let in_force = InForce::register(&registry, config.stale_seconds).context("metrics")?;
    let told = Told {
        reloads,
        in_force: in_force.clone(),
    };
    let probe = config.probe;
    let mut follower = Follower::new(config, view.clone(), counters, told, &shell);
    follower.follow();
    // A start beside a bad release: the reader then has the one before.
    follower.follow();

    let mut server = shell.listen(shutdown)?;
    server.await_release(in_force);
    let routes = explain::routes(follower.explainer.clone());
    let probes = probe::run(view, probe, server.ending());
    server.task("probing edges", async move {
        probes.await;
        Ok(())
    });
    server.poll("following the files", move || follower.follow());
    server.admin(routes)
}

/// Where the follower tells what it did.
struct Told {
    reloads: Reloads,
    in_force: InForce,
}

/// Follows the files and swaps what they lead to.
struct Follower {
    inputs: Inputs,
    view: Arc<View>,
    counters: Arc<Counters>,
    told: Told,
    door: Door,
    explainer: Arc<ArcSwap<Explainer>>,
}

impl Follower {
    /// Nothing is read yet.
    fn new(
        config: Config,
        view: Arc<View>,
        counters: Arc<Counters>,
        told: Told,
        shell: &Shell,
    ) -> Follower {
        let door = shell.door();
        let mut inputs = Inputs::new(config, shell.transferred());
        let (zones, tokens, _) = inputs.tokens(&view, &counters, &told.in_force);
        door.serve(zones, tokens.clone());
        let explainer = Explainer::new(tokens, view.clone(), None);
        Follower {
            inputs,
            view,
            counters,
            told,
            door,
            explainer: Arc::new(ArcSwap::from_pointee(explainer)),
        }
    }

    fn follow(&mut self) {
        let news = self.inputs.poll();
        if let Some(plan) = news.plan {
            self.adopt(plan);
        }
        if news.snapshot {
            self.swap();
        }
        log(&news.warnings);
        let Told { reloads, .. } = &self.told;
        for source in news.adopted {
            reloads.adopted(source);
            reloads.set_refused(source, 0);
            tracing::info!(source, "serving the new version");
            if source == "keys"
                && let Some(warning) = secret::exposed(self.inputs.keys_file())
            {
                tracing::warn!("{warning}");
            }
        }
        for (source, report) in news.refused {
            reloads.refused(source);
            reloads.set_refused(source, 1);
            tracing::error!(source, "refused; what was served before goes on");
            log(&report);
        }
        // Of several zone files some may be good and others not.
        reloads.set_refused("zone", self.inputs.refused_zones());
        let release_is_good = self.inputs.release_is_good();
        if release_is_good {
            // Also when the one in force has come back, which is no news.
            reloads.set_refused("release", 0);
        }
        let in_force = &self.told.in_force;
        in_force.judge(!release_is_good, unix_seconds());
    }

    fn adopt(&self, plan: Plan) {
        let (generation, built_at) = (plan.generation, plan.built_at);
        let (edges, rows) = (plan.map.edges().len(), plan.map.range_counts());
        tracing::info!(generation, edges, "new release");
        self.view.adopt(plan);
        self.told.in_force.show(generation, built_at, rows);
    }

    fn swap(&mut self) {
        let Told { in_force, .. } = &self.told;
        let (zones, tokens, odd) = self.inputs.tokens(&self.view, &self.counters, in_force);
        log(&odd);
        self.door.serve(zones, tokens.clone());
        let services = self.inputs.services().cloned();
        let explainer = Explainer::new(tokens, self.view.clone(), services);
        self.explainer.store(Arc::new(explainer));
    }
}

fn log(report: &Report) {
    for finding in &report.findings {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
}
