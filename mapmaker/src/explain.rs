//! Why a client goes where it goes: the input row, its unit, and every region with its score and evidence.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use traffic_map::build::{Built, Candidate, Evidence, Explained, Source, UnitKey};
use traffic_map::{Map, Subnet};

use crate::commands::say;
use crate::inputs::Inputs;
use crate::show::Shown;

/// An explanation from the inputs: they are built again (against `previous`, as the last build was).
pub struct Explanation {
    client: Subnet,
    service: String,
    explained: Explained,
    row: String,
    unit: String,
    candidates: Vec<(String, String, Candidate)>,
}

impl Explanation {
    /// Explains one client and service.
    ///
    /// # Errors
    /// An unknown service, or inputs that make no map.
    pub fn new(
        inputs: &Inputs,
        previous: Option<&Map>,
        client: Subnet,
        service: &str,
    ) -> anyhow::Result<Explanation> {
        let services = &inputs.services;
        let found = services
            .by_name(service)
            .or_else(|| services.by_owner(&service.to_lowercase()));
        let found = found.with_context(|| format!("there is no service {service}"))?;
        let for_build = inputs.for_build(previous);
        let built: Built = traffic_map::build::build(&for_build)?;
        let explained = built.explain(&for_build, client, found.class);
        let candidates = explained.candidates.iter().map(|candidate| {
            let name = inputs
                .world
                .region_by_id(candidate.region)
                .map_or("?", |region| &region.name);
            (
                name.to_owned(),
                evidence(inputs, candidate.score.evidence),
                *candidate,
            )
        });
        Ok(Explanation {
            client,
            service: found.name.clone(),
            row: row(inputs, explained.source),
            unit: unit(&explained),
            candidates: candidates.collect(),
            explained,
        })
    }

    /// For `--json`.
    pub fn to_json(&self) -> Value {
        let candidates: Vec<Value> = self
            .candidates
            .iter()
            .map(|(region, why, candidate)| {
                json!({
                    "region": region,
                    "cost_us": candidate.score.cost_us,
                    "evidence": why,
                    "priority": candidate.priority,
                    "share": f64::from(candidate.share) / 1000.0,
                })
            })
            .collect();
        let (first, last) = self.explained.found.range;
        json!({
            "client": self.client.to_string(),
            "service": self.service,
            "row": self.row,
            "range": [first.to_string(), last.to_string()],
            "scope": self.explained.found.scope,
            "unit": self.explained.found.unit.map(|unit| unit.0),
            "unit_is": self.unit,
            "demand": self.explained.unit.map(|unit| unit.demand),
            "candidates": candidates,
        })
    }
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = self.explained.found.range;
        writeln!(f, "client     {}, service {}", self.client, self.service)?;
        writeln!(f, "row        {}", self.row)?;
        writeln!(
            f,
            "range      {first} to {last}   ECS scope /{}",
            self.explained.found.scope
        )?;
        writeln!(f, "unit       {}", self.unit)?;
        for (region, why, candidate) in &self.candidates {
            let mut rank = String::new();
            match (candidate.priority, candidate.share) {
                (Some(0), share) => write!(rank, "{:.1} %", f64::from(share) / 10.0)?,
                (Some(priority), _) => write!(rank, "fallback {priority}")?,
                (None, _) => rank.push_str("not in it"),
            }
            let ms = f64::from(candidate.score.cost_us) / 1000.0;
            writeln!(f, "{rank:<10} {region:<14} {ms:>7.1} ms  {why}")?;
        }
        Ok(())
    }
}

/// What a release says by itself: no input rows, but exactly what the nameservers see.
///
/// # Errors
/// A release or services file that cannot be read, or an unknown service.
pub(crate) fn explain_release(
    release: &Path,
    services: &Path,
    client: Subnet,
    service: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let shown = Shown::open(release)?;
    let text = std::fs::read_to_string(services).with_context(|| services.display().to_string())?;
    let services = traffic_map::services::parse(&services.display().to_string(), &text)
        .map_err(|findings| anyhow::anyhow!("{}", crate::lines_of(&findings)))?;
    let service = services
        .by_name(service)
        .or_else(|| services.by_owner(&service.to_lowercase()))
        .with_context(|| format!("there is no service {service}"))?;
    let found = shown.map.find(client);
    let view = found
        .unit
        .and_then(|unit| shown.map.placement(unit, service.class));
    let name = |id| {
        shown
            .map
            .region(id)
            .map_or("?", |region| region.name.as_str())
    };
    let choices: Vec<_> = view.into_iter().flat_map(|view| view.ranked()).collect();
    let (first, last) = found.range;
    let mut text = String::new();
    if json {
        let choices: Vec<_> = choices
            .iter()
            .map(|c| json!({"region": name(c.region), "priority": c.priority, "share": f64::from(c.weight) / 1000.0}))
            .collect();
        let object = json!({
            "generation": shown.release.generation,
            "client": client.to_string(),
            "service": service.name,
            "range": [first.to_string(), last.to_string()],
            "scope": found.scope,
            "unit": found.unit.map(|unit| unit.0),
            "placement": view.map(|view| view.id),
            "candidates": choices,
        });
        writeln!(text, "{object}")?;
        say(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(text, "generation {}", shown.release.generation)?;
    writeln!(
        text,
        "range      {first} to {last}   ECS scope /{}",
        found.scope
    )?;
    match found.unit {
        Some(unit) => writeln!(text, "unit       {}", unit.0)?,
        None => writeln!(text, "unit       none: unmapped")?,
    }
    for choice in choices {
        writeln!(
            text,
            "choice     priority {} weight {} {}",
            choice.priority,
            choice.weight,
            name(choice.region)
        )?;
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn row(inputs: &Inputs, source: Option<Source>) -> String {
    match source {
        None => "none: unmapped, the service's `unmapped` policy answers".to_owned(),
        Some(Source::Override(index)) => match inputs.world.overrides.get(index) {
            Some(entry) => format!(
                "override in line {} of world.toml: \"{}\"",
                entry.line, entry.why
            ),
            None => "override".to_owned(),
        },
        Some(Source::Prefix(index)) => {
            let Some(prefix) = inputs.prefixes.get(index) else {
                return "prefix".to_owned();
            };
            let file = inputs.prefix_files.get(usize::from(prefix.file));
            let file = file.map_or(String::new(), |file| file.display().to_string());
            let country = String::from_utf8_lossy(&prefix.country).into_owned();
            let place = prefix.at.map_or("place unknown".to_owned(), |(lat, lon)| {
                format!("{lat:.1}, {lon:.1}")
            });
            format!(
                "{file}:{}: {} to {}, AS{}, {place} {country}",
                prefix.line, prefix.first, prefix.last, prefix.asn
            )
        }
    }
}

fn unit(explained: &Explained) -> String {
    let (Some(id), Some(unit)) = (explained.found.unit, explained.unit) else {
        return "none".to_owned();
    };
    let what = match unit.key {
        UnitKey::Override(_) => "the networks of an override".to_owned(),
        UnitKey::Area(asn, Some((lat, lon))) => {
            format!("AS{asn} in the degree north-east of {lat}, {lon}")
        }
        UnitKey::Area(asn, None) => format!("AS{asn}, place unknown"),
    };
    format!("{}: {what}, demand {}", id.0, unit.demand)
}

fn evidence(inputs: &Inputs, evidence: Evidence) -> String {
    match evidence {
        Evidence::Measured { lines, deciding } => {
            let line = inputs.lines.get(deciding as usize).map(|(file, line)| {
                let line_text = distribution::measurement::write_line(line);
                format!("{}: {}", file.display(), line_text.trim_end())
            });
            format!(
                "measured, {lines} lines; decided by {}",
                line.unwrap_or_default()
            )
        }
        Evidence::Neighbours(cells) => format!("measured from the same AS in {cells} cells around"),
        Evidence::SameAs(pairs) => {
            format!("distance times the AS's usual detour, from {pairs} measured cells")
        }
        Evidence::Distance => "distance".to_owned(),
        Evidence::Nothing => "nothing known".to_owned(),
    }
}
