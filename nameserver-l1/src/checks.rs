//! Whether the parts of a world fit together: what no file can know about itself. Each finding points
//! into the file in which the operator will want to correct it.

use std::collections::{BTreeMap, HashSet};

use dns_engine::{HashedName, Zones, name, rtype};
use service::diagnostic::{Diagnostic, Report, line_and_column};
use toml::de::{DeTable, DeValue};
use traffic_map::{Map, services::Service};

use crate::{
    sealing,
    service_names::{Place, ServiceNames},
    world::{ServicesFile, World, wire},
};

/// What does not fit.
#[derive(Debug, Default)]
pub struct Misfits {
    /// By the name of the service, which then answers with the zone's own records alone.
    pub services: BTreeMap<String, Report>,
    /// Everything else.
    pub files: Report,
}

impl Misfits {
    /// All findings.
    pub fn report(&self) -> Report {
        let mut report = self.files.clone();
        for service in self.services.values() {
            report.extend(service.findings.iter().cloned());
        }
        report
    }
}

fn names(world: &World) -> HashSet<&str> {
    let services = world.services.iter();
    let services = services.flat_map(|file| &file.services.services);
    services.map(|service| service.name.as_str()).collect()
}

/// What would be harmed by going from a world `now` to `next`: services that fit now, and what is newly wrong with
/// files. A service that is not routed anyway harms nobody, unless it was meant to replace one that is.
pub fn harm(now: &World, next: &World) -> Report {
    let (misfits_now, misfits) = (cross_check(now), cross_check(next));
    let known = &misfits_now.files.findings;
    let news = misfits.files.findings.iter();
    let mut harm = Report::default();
    harm.extend(news.filter(|finding| !known.contains(finding)).cloned());
    let (names_now, names_next) = (names(now), names(next));
    let fits_now =
        |name: &str| names_now.contains(name) && !misfits_now.services.contains_key(name);
    let mut gone = names_now.difference(&names_next);
    let removes = gone.any(|name| fits_now(name));
    for (name, report) in &misfits.services {
        let new = !misfits_now.services.contains_key(name);
        if fits_now(name) || (removes && new) {
            harm.extend(report.findings.iter().cloned());
        }
    }
    harm
}

/// Everything that does not fit.
pub fn cross_check(world: &World) -> Misfits {
    let mut misfits = Misfits::default();
    check_files(world, &mut misfits.files);
    let zones = world.zones();
    let Some(file) = &world.services else {
        return misfits;
    };
    for service in &file.services.services {
        let mut report = Report::default();
        // What is wrong with a zone that is not loaded has been said already.
        if !world.is_unloaded(&wire(&service.owner)) {
            check_owner(file, service, &zones, &mut report);
            check_tokens(file, service, &zones, &mut report);
        }
        if let Some(release) = &world.release {
            check_class(file, service, &release.map, &mut report);
        }
        if !report.is_empty() {
            misfits.services.insert(service.name.clone(), report);
        }
    }
    check_client_names(world, file, &mut misfits.files);
    misfits
}

/// Why a map should not be taken into this world: a service that fits the rest is not in it.
pub fn check_map(world: &World, map: &Map) -> Report {
    let mut report = Report::default();
    let Some(file) = &world.services else {
        return report;
    };
    let misfits = cross_check(world).services;
    for service in &file.services.services {
        if !misfits.contains_key(&service.name) {
            check_class(file, service, map, &mut report);
        }
    }
    report
}

/// Two files must not be the same zone (names differ in case only).
fn check_files(world: &World, report: &mut Report) {
    for (path, zone) in &world.zones {
        let first = world
            .zones
            .iter()
            .find(|(_, other)| other.origin() == zone.origin());
        if let Some((first, _)) = first.filter(|(first, _)| *first != path) {
            let message = format!(
                "zone {} is loaded from {} already",
                name::text(zone.origin()),
                first.display()
            );
            report.push(Diagnostic::error(path.display().to_string(), 0, 0, message));
        }
    }
}

/// The owner needs an SRV record of its own, the default answer, with targets that are no aliases.
fn check_owner(file: &ServicesFile, service: &Service, zones: &Zones, report: &mut Report) {
    let mut error = |message: String, hint: String| {
        report.push(finding(file, &service.name, "owner", message).with_hint(hint));
    };
    let owner = wire(&service.owner);
    let Some(zone) = zones.find(&owner) else {
        let message = format!("owner {} is in no zone that is served", service.owner);
        return error(message, "add its zone file to the zones folder".to_owned());
    };
    let origin = name::text(zone.origin());
    if let Some(cut) = zone.delegation(&owner) {
        let message = format!("owner {} is delegated away from {origin}", service.owner);
        return error(
            message,
            format!("the NS records of {} are above it", name::text(cut)),
        );
    }
    let Some(default) = zone.rrset(&owner, rtype::SRV) else {
        let message = format!("owner {} has no SRV record in zone {origin}", service.owner);
        let hint = format!(
            "add the default answer: `{} 30 IN SRV 0 0 554 …`",
            service.owner
        );
        return error(message, hint);
    };
    for data in default.rdatas() {
        let target = name::lowered(data.get(6..).unwrap_or_default());
        if zones
            .find(&target)
            .is_some_and(|zone| zone.rrset(&target, rtype::CNAME).is_some())
        {
            let target = name::text(&target);
            error(
                format!(
                    "the default answer of {} points to an alias, {target}",
                    service.owner
                ),
                "an SRV target has addresses of its own (RFC 2782)".to_owned(),
            );
        }
    }
}

/// Tokens are names in a zone that the owner's zone delegates to the second level.
fn check_tokens(file: &ServicesFile, service: &Service, zones: &Zones, report: &mut Report) {
    let mut error = |message: String, hint: &str| {
        report.push(finding(file, &service.name, "tokens", message).with_hint(hint));
    };
    let (tokens, owner) = (wire(&service.tokens), wire(&service.owner));
    if !sealing::fits(&tokens) {
        let message = format!(
            "a token in front of {} is longer than a name may be",
            service.tokens
        );
        error(message, "a name has at most 255 octets, a token 28 of them");
    }
    if zones.exact(&tokens).is_some() {
        let message = format!("token zone {} is served here itself", service.tokens);
        return error(
            message,
            "it is the second level's: move its file to that server",
        );
    }
    let Some(zone) = zones.find(&owner) else {
        return;
    }; // reported with the owner
    let delegated = zone
        .delegation(&tokens)
        .is_some_and(|cut| name::lowered(cut) == tokens);
    if !name::is_within(&tokens, zone.origin()) || !delegated {
        let origin = name::text(zone.origin());
        let message = format!(
            "token zone {} is not delegated in zone {origin}",
            service.tokens
        );
        error(
            message,
            "add NS records for it, naming the second level's servers",
        );
    }
}

/// The map has to know the service's class. No generation in the finding: the next one may lack it as well,
/// which is no news.
fn check_class(file: &ServicesFile, service: &Service, map: &Map, report: &mut Report) {
    let classes = map.class_count();
    if usize::from(service.class) >= classes {
        let message = format!(
            "class {} is not in the map, which has {classes}",
            service.class
        );
        let finding = finding(file, &service.name, "class", message);
        report.push(finding.with_hint("publish a release built from this file first"));
    }
}

/// Names that stand for a client network below a service would hide records of the zone.
fn check_client_names(world: &World, file: &ServicesFile, report: &mut Report) {
    let mut names = ServiceNames::default();
    for (index, service) in file.services.services.iter().enumerate() {
        names.insert(&wire(&service.owner), index);
    }
    for (path, zone) in &world.zones {
        for node in zone.nodes() {
            let hidden = !matches!(
                names.find(&HashedName::new(node.owner())),
                Place::Outside | Place::Owner(_)
            );
            if hidden {
                let owner = name::text(node.owner());
                let message =
                    format!("{owner} is never answered: it reads as a client id of a service");
                let finding = Diagnostic::error(path.display().to_string(), 0, 0, message);
                report.push(finding.with_hint("`ip4-…` and `ip6-…` below a service are taken"));
            }
        }
    }
}

/// A finding at `[service.NAME] key`, or at the table if the key is not written out.
fn finding(file: &ServicesFile, service: &str, key: &str, message: String) -> Diagnostic {
    let (line, column) = place(&file.text, service, key).unwrap_or((0, 0));
    Diagnostic::error(
        &*file.file,
        line,
        column,
        format!("service {service}: {message}"),
    )
}

fn place(text: &str, service: &str, key: &str) -> Option<(usize, usize)> {
    let root = DeTable::parse(text).ok()?;
    let services = root.get_ref().get("service")?.get_ref().as_table()?;
    let table = services.get(service)?;
    let value = table
        .get_ref()
        .as_table()
        .and_then(|table: &DeTable<'_>| table.get(key));
    let span = value.map_or_else(
        || table.span(),
        |value: &toml::Spanned<DeValue<'_>>| value.span(),
    );
    Some(line_and_column(text, span.start))
}
