//! Looking at a configuration without serving it: `check` and `explain` on the command line.

use std::sync::Arc;

use nameserver::{InForce, delegations, dnssec, transfer};
use service::diagnostic::{Diagnostic, Report};
use service::secret;

use crate::config::Config;
use crate::explain::Explainer;
use crate::inputs::Inputs;
use crate::plan::Plan;
use crate::probe;
use crate::view::View;

/// Reads everything a start would read and reports all that is wrong or odd. What is merely not there yet is a warning,
/// and no release yet no finding.
pub fn check(config: &Config) -> Report {
    let (mut report, ..) = load(config);
    report.soften_missing(&config.token_keys, "tokens cannot be opened");
    report.soften_missing(&config.trusted_key, "no release is accepted");
    report.extend(secret::exposed(&config.token_keys));
    report
}

/// What a start would serve, for `explain`, with every edge probed once; and what is wrong.
pub async fn explainer(config: &Config) -> (Report, Explainer) {
    let (report, view, explainer) = load(config);
    probe::once(&view, config.probe).await;
    (report, explainer)
}

fn load(config: &Config) -> (Report, Arc<View>, Explainer) {
    let mut inputs = Inputs::new(config.clone(), transfer::look(&config.transfer));
    let news = inputs.look();
    let mut report = news.warnings;
    for (_, refused) in news.refused {
        report.extend(refused.findings);
    }
    let view = Arc::new(View::new(config.probe));
    if let Some(plan) = news.plan {
        report.extend(unknown_default(config, &plan));
        view.adopt(plan);
    }
    let (zones, tokens, odd) = inputs.tokens(&view, &Arc::default(), &InForce::unshown());
    report.extend(odd.findings);
    report.extend(dnssec::check(&config.dnssec, &zones, dnssec::now()).findings);
    let file = |origin: &[u8]| inputs.zone_file(origin);
    report.extend(delegations::check(&zones, &config.dnssec, file).findings);
    report.extend(transfer::check(&config.transfer, &config.dnssec, &zones).findings);
    let services = inputs.services().cloned();
    (report, view.clone(), Explainer::new(tokens, view, services))
}

/// A default region that the map does not have catches nothing: a misspelt one would be noticed when it is needed.
fn unknown_default(config: &Config, plan: &Plan) -> Option<Diagnostic> {
    let name = config.default_region.as_deref()?;
    let regions = plan.map.regions();
    if regions.iter().any(|region| region.name == name) {
        return None;
    }
    let message = format!(
        "release {} has no region `{name}`, the configured `default_region`",
        plan.generation
    );
    let names = regions.iter().map(|region| region.name.as_str());
    let meant = service::config::closest(name, names);
    Some(Diagnostic {
        hint: meant.map(|meant| format!("did you mean `{meant}`?")),
        ..Diagnostic::warning(config.releases.display().to_string(), message)
    })
}
