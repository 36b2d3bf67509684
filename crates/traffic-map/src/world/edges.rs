//! `[edge.…]`: where each edge is reached, and which region it is in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use toml::de::DeValue;

use crate::finding::Findings;
use crate::map::Edge;
use crate::services::check_name;
use crate::tree::{self, Table, Value};
use crate::world::values::public_key;
use crate::world::{Listed, World, WorldRegion, unknown_region};

/// RTSP (RFC 7826 gives 554; players of ours run unprivileged edges).
const RTSP_PORT: u16 = 8554;
/// Sessions an edge is meant to carry when the file does not say.
const SESSIONS: u64 = 1000;

pub(super) fn read_edges(
    root: &mut Table<'_, '_>,
    world: &mut World,
    listed: &BTreeMap<String, Listed>,
    findings: &mut Findings<'_>,
) {
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    let mut defined = Vec::new();
    if let Some(edges) = root.table("edge", findings) {
        for (name, place, value) in edges.named() {
            defined.push(name);
            check_name("edge", name, &place, findings);
            let Some(mut table) = Table::of(format!("[edge.{name}]"), value, findings) else {
                continue;
            };
            let region = edge_region(name, &place, &mut table, listed, &world.regions, findings);
            let mut own = Vec::new();
            for (text, place) in table.texts("addr", findings) {
                let Ok(address) = text.parse::<IpAddr>() else {
                    findings.error(&place, format!("\"{text}\" is no IP address"));
                    continue;
                };
                if let Some(first) = addresses.insert(address, name) {
                    let message =
                        format!("edges {first} and {name} have the same address {address}");
                    findings.error(&place, message);
                }
                own.push(address);
            }
            if own.is_empty() {
                findings.error(&place, format!("[edge.{name}] lacks a usable `addr`"));
            }
            let rtsp = table.integer("rtsp", 1..=65535, findings);
            let handoff = table.optional("handoff");
            let key = table.optional("public_key");
            world.edges.push(Edge {
                name: name.to_owned(),
                region: region.unwrap_or(0),
                rtsp_port: rtsp.map_or(RTSP_PORT, |port| port as u16),
                handoff: handoff.and_then(|value| handoff_address(value, &own, findings)),
                addresses: own,
                capacity_sessions: table
                    .integer("sessions", 1..=u64::from(u32::MAX), findings)
                    .unwrap_or(SESSIONS) as u32,
                public_key: key.and_then(|value| public_key("public_key", value, findings)),
                profiles: table
                    .texts("profiles", findings)
                    .into_iter()
                    .map(|p| p.0.to_owned())
                    .collect(),
            });
            table.finish(findings);
        }
    }
    for (name, entry) in listed {
        if !defined.contains(&name.as_str()) {
            let message = format!(
                "region {} lists edge {name}, but there is no [edge.{name}]",
                entry.region_name
            );
            findings.error(&entry.place, message);
        }
    }
}

/// The region an edge says it is in, or the one that lists it; both may say so if they agree.
fn edge_region(
    name: &str,
    place: &Range<usize>,
    table: &mut Table<'_, '_>,
    listed: &BTreeMap<String, Listed>,
    regions: &[WorldRegion],
    findings: &mut Findings<'_>,
) -> Option<u16> {
    let listed = listed.get(name);
    let Some(value) = table.optional("region") else {
        if listed.is_none() {
            let hint = format!("set `region`, or name {name} in a region's `edges`");
            findings.error_with_hint(place, format!("edge {name} is in no region"), hint);
        }
        return listed.map(|listed| listed.region);
    };
    let said = tree::text("region", value, findings)?;
    let Some(region) = regions.iter().find(|region| region.name == said) else {
        unknown_region(said, &value.span(), regions, findings);
        return None;
    };
    if let Some(listed) = listed
        && listed.region != region.id
    {
        let hint = format!("it says {said}, and {} lists it", listed.region_name);
        findings.error_with_hint(
            &value.span(),
            format!("edge {name} is in two regions"),
            hint,
        );
    }
    Some(region.id)
}

/// A port on the edge's first address, or a whole `address:port`.
fn handoff_address(
    value: &Value<'_>,
    addresses: &[IpAddr],
    findings: &mut Findings<'_>,
) -> Option<SocketAddr> {
    if let DeValue::Integer(_) = value.get_ref() {
        let port = tree::integer("handoff", value, 1..=65535, findings)? as u16;
        return addresses
            .first()
            .map(|address| SocketAddr::new(*address, port));
    }
    let text = tree::text("handoff", value, findings)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let hint = "a port, or such as \"192.0.2.11:8555\"";
            findings.error_with_hint(
                &value.span(),
                format!("`handoff` \"{text}\" is no address"),
                hint,
            );
            None
        }
    }
}
