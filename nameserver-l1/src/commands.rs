//! The commands that look and do not serve: `check` and `explain`.

use std::path::Path;

use dns_engine::name;
use nameserver::{delegations, dnssec, transfer};
use service::{
    diagnostic::{Diagnostic, Report},
    secret,
};
use traffic_map::Subnet;

use crate::{
    adoption::Adoption,
    checks::cross_check,
    config::Config,
    explain::{Explainer, Explanation},
    inputs::Inputs,
    metrics::Metrics,
    world::World,
};

/// Everything that can be found wrong without serving: the configuration, every zone, the services, the
/// release, the keys, and what does not fit together. What is merely not there yet is a warning.
pub fn check(config_file: &Path) -> Report {
    let config = match Config::load(config_file) {
        Ok(config) => config,
        Err(error) => return error.diagnostic.into(),
    };
    let mut report = Report::default();
    config.settings().check(config_file, &mut report);
    let mut world = World::default();
    let (arrivals, warnings) = Inputs::look(&config);
    for (source, version) in arrivals {
        match version {
            Ok(version) => world.set(&source, version),
            Err(refused) => {
                world.mark_unloaded(&source);
                report.extend(refused.findings);
            }
        }
    }
    report.extend(warnings.findings);
    for path in [&config.token_keys, &config.trusted_key] {
        report.soften_missing(path, "services answer with the zones' own records");
    }
    report.extend(secret::exposed(&config.token_keys));
    if world.release.is_none() && report.errors() == 0 {
        let folder = config.releases.display().to_string();
        report.push(Diagnostic::warning(
            folder,
            "no release yet: services answer with the zones' own records",
        ));
    }
    if let Some(services) = &world.services {
        report.extend(
            services
                .services
                .warnings
                .iter()
                .cloned()
                .map(crate::world::diagnostic),
        );
    }
    if world.zones.is_empty() && world.unloaded.is_empty() {
        let places = config.zones.iter();
        report.extend(places.map(|place| {
            let message = "there is no zone file (NAME.zone) in it";
            Diagnostic::error(place.display().to_string(), 0, 0, message)
        }));
    }
    report.extend(cross_check(&world).report().findings);
    let zones = world.zones();
    let signed = dnssec::check(&config.dnssec, &zones, dnssec::now());
    report.extend(signed.findings);
    let file = |origin: &[u8]| {
        let mut files = world.zones.iter();
        let found = files.find(|(_, zone)| zone.origin() == origin);
        found.map_or_else(
            || name::text(origin),
            |(path, _)| path.display().to_string(),
        )
    };
    report.extend(delegations::check(&zones, &config.dnssec, file).findings);
    let transfers = transfer::check(&config.transfer, &config.dnssec, &zones);
    report.extend(transfers.findings);
    report
}

/// What a server with these files would serve, without serving it.
pub struct Offline {
    explainer: Explainer,
}

impl Offline {
    /// Reads the files; what a server would refuse is shown on standard error and left out.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn open(config_file: &Path) -> anyhow::Result<Self> {
        let config = Config::load(config_file)?;
        let mut adoption = Adoption::default();
        let outcome = adoption.take(Inputs::look(&config).0);
        for (_, report) in &outcome.refused {
            report.show();
        }
        outcome.misfits.show();
        let metrics = Metrics::unshown()?;
        let (_, explainer) = adoption.world().build(&metrics);
        Ok(Self { explainer })
    }

    /// Explains what a service (by name or owner) answers to a client network.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn explain(&self, service: &str, client: Subnet) -> Result<Explanation, String> {
        self.explainer.explain(service, client)
    }
}
