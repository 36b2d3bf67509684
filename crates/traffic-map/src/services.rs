//! `services.toml`: which SRV owner names are token services, and how each is answered.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::{Finding, Findings, nearest};
use crate::id_of_name;
use crate::tree::{self, Table, Value};

/// What to answer when the map has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The zone's own SRV record.
    Zone,
    /// The name exists, but has no SRV: NOERROR with the SOA.
    NoData,
    /// REFUSED.
    Refuse,
}

/// The bounds of an answer's TTL, in seconds. The first level follows releases and no live state, so nothing of
/// its own makes an answer shorter-lived than the next: all of them have `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// What answers with tokens have.
    pub max: u32,
    /// Never shorter than this; checked against `max`, and without effect as long as nothing shortens a TTL.
    pub min: u32,
}

/// The fixed parts of the SRV records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Port that players connect to.
    pub port: u16,
    /// Records in an answer at most, 1 to 6.
    pub answers: u8,
}

/// One routed SRV owner name with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of its table: `live`.
    pub name: String,
    /// Stable number that tokens carry: `id`, or a hash of the name.
    pub id: u16,
    /// SRV owner in lower case, with the final dot.
    pub owner: String,
    /// Service class in the map, from 0 without gaps.
    pub class: u8,
    /// Zone that the tokens are names in; lower case, with the final dot.
    pub tokens: String,
    /// `ttl`, by default 30 at most and 5 at least.
    pub ttl: Ttl,
    /// `srv`; `answers` is 2 unless said.
    pub srv: Srv,
    /// For clients in space that the map does not cover; `zone` unless said.
    pub unmapped: Policy,
    /// When no region of the placement is up; `zone` (fail open) unless said.
    pub none_up: Policy,
    /// Format that its edges have to serve; `None`: any edge.
    pub profile: Option<String>,
    /// The map it is routed by, if it says.
    pub map: Option<String>,
    /// How much of the demand is for this service, relative to the others; 1 unless said.
    pub demand: u32,
}

/// `[tokens."zone"]`: what L2 needs to know about a token zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenZone {
    /// Lower case, with the final dot.
    pub zone: String,
    /// Seconds; TTL of address records at most.
    pub ttl: Option<u32>,
    /// Key ring file, as written (relative to this file).
    pub keys: Option<String>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// By name.
    pub services: Vec<Service>,
    /// By zone.
    pub token_zones: Vec<TokenZone>,
    /// What is odd but accepted.
    pub warnings: Vec<Finding>,
}

impl Services {
    /// The service with this name.
    pub fn by_name(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The service with this number.
    pub fn by_id(&self, id: u16) -> Option<&Service> {
        self.services.iter().find(|service| service.id == id)
    }

    /// The service with this SRV owner (lower case, final dot).
    pub fn by_owner(&self, owner: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.owner == owner)
    }

    /// Number of service classes: one more than the highest.
    pub fn class_count(&self) -> u8 {
        self.services
            .iter()
            .map(|service| service.class + 1)
            .max()
            .unwrap_or(0)
    }
}

/// The highest service class; a class costs two bytes a unit in the map.
const CLASS_MAX: u64 = 63;

/// Reads `services.toml`. `file` is how findings name it.
///
/// # Errors
/// Everything that is wrong, in file order; nothing is accepted from a file with an error.
pub fn parse(file: &str, text: &str) -> Result<Services, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let tree = tree::parse(text, &mut findings);
    let mut root = Table::root(&tree, "services.toml");
    let mut read = Vec::new();
    if let Some(services) = root.table("service", &mut findings) {
        for (name, place, value) in services.named() {
            if let Some(service) = service(name, &place, value, &mut findings) {
                read.push((service, place));
            }
        }
    }
    let mut token_zones = Vec::new();
    if let Some(zones) = root.table("tokens", &mut findings) {
        for (name, place, value) in zones.named() {
            token_zones.extend(token_zone(name, &place, value, &mut findings));
        }
    }
    root.finish(&mut findings);
    cross_check(&read, &token_zones, &mut findings);
    let services = read.into_iter().map(|(service, _)| service).collect();
    let (mut services, warnings) = findings.finish(Services {
        services,
        token_zones,
        warnings: Vec::new(),
    })?;
    services.warnings = warnings;
    Ok(services)
}

fn service(
    name: &str,
    place: &Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings<'_>,
) -> Option<Service> {
    let mut table = Table::of(format!("[service.{name}]"), value, findings)?;
    check_name("service", name, place, findings);
    let owner = table
        .required("owner", findings)
        .and_then(|value| owner(value, findings));
    let tokens = table
        .required("tokens", findings)
        .and_then(|value| domain("tokens", value, findings));
    let service = Service {
        id: table
            .integer("id", 0..=65535, findings)
            .map_or(id_of_name(name), |id| id as u16),
        name: name.to_owned(),
        owner: owner.unwrap_or_default(),
        class: table.integer("class", 0..=CLASS_MAX, findings).unwrap_or(0) as u8,
        tokens: tokens.unwrap_or_default(),
        ttl: ttl(&mut table, findings),
        srv: srv(&mut table, findings),
        unmapped: policy(&mut table, "unmapped", findings),
        none_up: policy(&mut table, "none_up", findings),
        profile: table.text("profile", findings).map(str::to_owned),
        map: table.text("map", findings).map(str::to_owned),
        demand: table
            .integer("demand", 0..=1_000_000, findings)
            .unwrap_or(1) as u32,
    };
    table.finish(findings);
    Some(service)
}

fn ttl(table: &mut Table<'_, '_>, findings: &mut Findings<'_>) -> Ttl {
    let mut ttl = Ttl { max: 30, min: 5 };
    let Some(mut inner) = table.table("ttl", findings) else {
        return ttl;
    };
    // RFC 2181 §8: 31 bits; a day is already absurd for an answer that follows the weather.
    ttl.max = inner
        .integer("max", 1..=86_400, findings)
        .unwrap_or(u64::from(ttl.max)) as u32;
    ttl.min = inner
        .integer("min", 0..=86_400, findings)
        .unwrap_or(u64::from(ttl.min.min(ttl.max))) as u32;
    if ttl.min > ttl.max {
        let message = format!("`ttl` has min {} above max {}", ttl.min, ttl.max);
        findings.error(inner.place(), message);
    }
    inner.finish(findings);
    ttl
}

fn srv(table: &mut Table<'_, '_>, findings: &mut Findings<'_>) -> Srv {
    let mut srv = Srv {
        port: 0,
        answers: 2,
    };
    let Some(value) = table.required("srv", findings) else {
        return srv;
    };
    let Some(mut inner) = Table::of("`srv`".to_owned(), value, findings) else {
        return srv;
    };
    if inner.required("port", findings).is_some() {
        srv.port = inner.integer("port", 1..=65535, findings).unwrap_or(0) as u16;
    }
    srv.answers = inner.integer("answers", 1..=6, findings).unwrap_or(2) as u8;
    inner.finish(findings);
    srv
}

fn policy(table: &mut Table<'_, '_>, key: &'static str, findings: &mut Findings<'_>) -> Policy {
    let Some(value) = table.optional(key) else {
        return Policy::Zone;
    };
    match tree::text(key, value, findings) {
        Some("zone") | None => Policy::Zone,
        Some("nodata") => Policy::NoData,
        Some("refuse") => Policy::Refuse,
        Some(other) => {
            let hint = match nearest(other, ["zone", "nodata", "refuse"].into_iter()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => "one of \"zone\", \"nodata\", \"refuse\"".to_owned(),
            };
            findings.error_with_hint(
                &value.span(),
                format!("`{key}` cannot be \"{other}\""),
                hint,
            );
            Policy::Zone
        }
    }
}

fn token_zone(
    name: &str,
    place: &Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings<'_>,
) -> Option<TokenZone> {
    let mut table = Table::of(format!("[tokens.\"{name}\"]"), value, findings)?;
    let zone = absolute("tokens", name, place, findings);
    let ttl = table
        .integer("ttl", 0..=86_400, findings)
        .map(|ttl| ttl as u32);
    let keys = table.text("keys", findings).map(str::to_owned);
    table.finish(findings);
    Some(TokenZone {
        zone: zone?,
        ttl,
        keys,
    })
}

/// An SRV owner: `_service._protocol.` in front of a name (RFC 2782).
fn owner(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let owner = domain("owner", value, findings)?;
    let mut labels = owner.split('.');
    let underscored = labels
        .by_ref()
        .take(2)
        .filter(|label| label.starts_with('_'))
        .count()
        == 2;
    if !underscored {
        findings.error_with_hint(
            &value.span(),
            format!("`owner` {owner} is no SRV name"),
            "RFC 2782: _service._protocol.name, such as _rtsp._tcp.live.stream.example.",
        );
        return None;
    }
    Some(owner)
}

fn domain(key: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let text = tree::text(key, value, findings)?;
    absolute(key, text, &value.span(), findings)
}

/// A domain name in lower case, which has to be written with its final dot and plain characters.
fn absolute(
    key: &str,
    text: &str,
    place: &Range<usize>,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let Some(name) = text.strip_suffix('.') else {
        let hint = format!("write \"{text}.\"");
        findings.error_with_hint(
            place,
            format!("`{key}` \"{text}\" does not end in a dot"),
            hint,
        );
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(plain);
    // RFC 1035 §2.3.4: 255 octets with a length octet for each label and the root.
    if text.len() > 254 || !name.split('.').all(label) {
        findings.error(place, format!("`{key}` \"{text}\" is no domain name"));
        return None;
    }
    Some(text.to_ascii_lowercase())
}

/// Names of services, regions and edges: they become metric labels and map entries.
pub(crate) fn check_name(
    what: &str,
    name: &str,
    place: &Range<usize>,
    findings: &mut Findings<'_>,
) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
        let hint = "1 to 63 letters, digits, `-`, `_` and `.`";
        findings.error_with_hint(place, format!("\"{name}\" is no name for a {what}"), hint);
    }
}

fn cross_check(
    read: &[(Service, Range<usize>)],
    token_zones: &[TokenZone],
    findings: &mut Findings<'_>,
) {
    let (mut owners, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut profiles: BTreeMap<u8, (&str, Option<&str>)> = BTreeMap::new();
    for (service, place) in read {
        if !service.owner.is_empty()
            && let Some(first) = owners.insert(&service.owner, &service.name)
        {
            let owner = &service.owner;
            findings.error(
                place,
                format!("services {first} and {} both own {owner}", service.name),
            );
        }
        if let Some(first) = ids.insert(service.id, &service.name) {
            findings.error_with_hint(
                place,
                format!(
                    "services {first} and {} have the same id {}",
                    service.name, service.id
                ),
                "give one of them an `id` of its own",
            );
        }
        let profile = service.profile.as_deref();
        let (first, expected) = *profiles
            .entry(service.class)
            .or_insert((&service.name, profile));
        if expected != profile {
            findings.error_with_hint(
                place,
                format!(
                    "services {first} and {} share class {} but not `profile`",
                    service.name, service.class
                ),
                "a placement is made per class: give this one another `class`",
            );
        }
        let known = token_zones.iter().any(|zone| zone.zone == service.tokens);
        if !token_zones.is_empty() && !known && !service.tokens.is_empty() {
            findings.error(
                place,
                format!("there is no [tokens.\"{}\"]", service.tokens),
            );
        }
    }
    for (expected, class) in (0..).zip(profiles.keys()) {
        if expected != *class {
            findings.error(
                &(0..0),
                format!("no service has class {expected}, but one has {class}"),
            );
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[service.live]
owner    = "_rtsp._tcp.Live.stream.example."
map      = "world"
tokens   = "edge.stream.example."
ttl      = { max = 30, min = 5 }
srv      = { port = 8554, answers = 2 }
unmapped = "nodata"
[service.vod]
owner  = "_rtsp._tcp.vod.stream.example."
tokens = "edge.stream.example."
srv    = { port = 8554 }
class  = 1
profile = "mdc-h264"
[tokens."edge.stream.example."]
ttl  = 10
keys = "token-keys.toml"
"#;

    fn refused(text: &str) -> String {
        let findings = parse("s.toml", text).unwrap_err();
        findings.iter().map(|f| f.to_string() + "\n").collect()
    }

    #[test]
    fn reads_two_services_with_defaults() {
        let services = parse("s.toml", GOOD).unwrap();
        let live = services.by_name("live").unwrap();
        assert_eq!(live.owner, "_rtsp._tcp.live.stream.example.");
        assert_eq!(
            (live.unmapped, live.none_up),
            (Policy::NoData, Policy::Zone)
        );
        assert_eq!(live.id, id_of_name("live"));
        let vod = services.by_owner("_rtsp._tcp.vod.stream.example.").unwrap();
        assert_eq!(
            (vod.ttl, vod.srv),
            (
                Ttl { max: 30, min: 5 },
                Srv {
                    port: 8554,
                    answers: 2
                }
            )
        );
        assert_eq!(services.class_count(), 2);
        assert_eq!(
            services.token_zones[0].keys.as_deref(),
            Some("token-keys.toml")
        );
    }

    #[test]
    fn reports_every_mistake_in_one_run_with_its_place() {
        let text = GOOD
            .replace("unmapped = \"nodata\"", "unmaped = \"nodata\"")
            .replace("port = 8554, ", "port = 99999, ")
            .replace("class  = 1", "class = 0")
            .replace(
                "tokens = \"edge.stream.example.\"",
                "tokens = \"edge.stream.example\"",
            );
        assert_eq!(
            refused(&text),
            "s.toml:7:21: error: `port` must be between 1 and 65535\n\
             s.toml:8:1: error: unknown key `unmaped` in [service.live] (did you mean `unmapped`?)\n\
             s.toml:9:10: error: services live and vod share class 0 but not `profile` \
             (a placement is made per class: give this one another `class`)\n\
             s.toml:11:10: error: `tokens` \"edge.stream.example\" does not end in a dot \
             (write \"edge.stream.example.\")\n"
        );
    }

    #[test]
    fn refuses_ids_and_owners_used_twice() {
        let text = GOOD
            .replace("[service.live]", "[service.live]\nid = 7")
            .replace("[service.vod]", "[service.vod]\nid = 7")
            .replace("_rtsp._tcp.vod.", "_rtsp._tcp.live.");
        let all = refused(&text);
        assert!(
            all.contains("both own _rtsp._tcp.live.stream.example."),
            "{all}"
        );
        assert!(
            all.contains("have the same id 7 (give one of them an `id` of its own)"),
            "{all}"
        );
    }

    #[test]
    fn reports_syntax_errors_with_their_line() {
        assert!(refused("[service.live\nowner = 1\n").starts_with("s.toml:1:"));
    }
}
