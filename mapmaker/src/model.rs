//! Writes a worked example of measurements: a seeded model, not data. Its only use is to show the whole way.
//!
//! For each of `networks` networks, picked evenly from the prefix tables, and each region with coordinates:
//! distance at 10 µs/km, times a detour drawn per AS and region around 2.0, plus a last mile drawn per
//! network. One AS in eight has a bad path (detour × 2.5) to its nearest region, which is what
//! measurements are for: the second-nearest region is better there, and the distance alone does not say so.

use traffic_map::Subnet;
use traffic_map::build::great_circle_km;
use traffic_map::world::World;

use distribution::measurement::Measurement;

use crate::inputs::Inputs;

/// How to draw the example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Equal seeds give equal lines.
    pub seed: u64,
    /// Networks that are measured.
    pub networks: usize,
    /// Time of every line, in Unix seconds.
    pub ts: u64,
}

/// The source that every line names.
pub const SOURCE: &str = "model";

/// Draws the lines, by network and then by region.
pub fn draw(inputs: &Inputs, model: Model) -> Vec<Measurement> {
    let placed: Vec<_> = inputs
        .prefixes
        .iter()
        .filter(|prefix| prefix.at.is_some())
        .collect();
    let step = (placed.len() / model.networks.max(1)).max(1);
    let mut lines = Vec::new();
    for prefix in placed.into_iter().step_by(step).take(model.networks) {
        let Some((lat, lon)) = prefix.at else {
            continue;
        };
        let from = (f64::from(lat), f64::from(lon));
        let len = if prefix.first.is_ipv4() { 24 } else { 56 };
        let network = Subnet {
            address: prefix.first,
            len,
        }
        .to_string();
        let last_mile_us = 2_000.0 + 18_000.0 * fraction(model.seed, &network, "");
        let nearest = nearest(&inputs.world, from);
        let asn = prefix.asn.to_string();
        for region in &inputs.world.regions {
            let Some(at) = region.at else { continue };
            let mut detour = 1.5 + fraction(model.seed, &asn, &region.name);
            let unlucky = fraction(model.seed, &asn, "") < 0.125;
            if unlucky && Some(region.name.as_str()) == nearest {
                detour *= 2.5;
            }
            let rtt_us = last_mile_us + great_circle_km(from, at) * 10.0 * detour;
            lines.push(Measurement {
                ts: model.ts,
                prefix: network.clone(),
                region: region.name.clone(),
                rtt_us: rtt_us.round() as u32,
                loss: 0.0,
                n: 5,
                source: SOURCE.to_owned(),
            });
        }
    }
    lines
}

fn nearest(world: &World, from: (f64, f64)) -> Option<&str> {
    let placed = world
        .regions
        .iter()
        .filter_map(|region| Some((region, region.at?)));
    let near =
        placed.min_by(|a, b| great_circle_km(from, a.1).total_cmp(&great_circle_km(from, b.1)));
    near.map(|(region, _)| region.name.as_str())
}

/// A number in 0..1 that depends on nothing but its arguments (FNV-1a and SplitMix64's mix).
fn fraction(seed: u64, a: &str, b: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in a.bytes().chain([0]).chain(b.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
