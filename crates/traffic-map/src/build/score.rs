//! How far each unit is from each region, in microseconds, and on what evidence.
//!
//! In order: measured from the unit itself; from the same AS in a neighbouring cell; the distance on the
//! globe, corrected by what the AS's other units measured; the distance alone. A measurement counts by its
//! samples, halved for each day it is older than the newest one. Lost packets cost time.

use std::collections::BTreeMap;

use crate::build::units::{Unit, UnitKey};
use crate::map::UnitId;
use crate::world::WorldRegion;

/// On what a score rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Measured from this unit: how many lines, and the number of the one in the middle.
    Measured {
        /// Lines that say something about this unit and region.
        lines: u32,
        /// The line that decided, by its number in [`crate::build::Inputs::measurements`].
        deciding: u32,
    },
    /// Measured from the same AS in this many of the eight cells around it.
    Neighbours(u32),
    /// By distance, times the AS's usual detour, from this many measured pairs.
    SameAs(u32),
    /// By distance alone.
    Distance,
    /// Neither measured nor both placed on the globe.
    Nothing,
}

/// One unit's distance to one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Microseconds there and back, loss included.
    pub cost_us: u32,
    /// Where it comes from.
    pub evidence: Evidence,
}

/// One measured round trip, already attributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) unit: UnitId,
    /// Place of the region in the list of regions.
    pub(crate) region: usize,
    pub(crate) ts: u64,
    pub(crate) rtt_us: u32,
    pub(crate) loss: f32,
    pub(crate) n: u32,
    /// Its number in the inputs.
    pub(crate) line: u32,
}

/// Round trip over fibre is 10 µs/km; the median detour over the great circle, from 5,178 measured country
/// pairs, is 2.57.
const DISTANCE_US_PER_KM: f64 = 25.7;
/// The last mile and the servers, without which near places would look free.
const DISTANCE_BASE_US: f64 = 8_000.0;
/// Cost of losing everything: one lost packet in a hundred is as bad as ten milliseconds.
const LOSS_US: f32 = 1_000_000.0;
/// Beyond this nothing is comparable any more; also keeps every score below the charge for placing nothing.
pub(crate) const COST_MAX_US: u32 = 900_000;
/// A region that nothing is known about comes after everything that is known (half round the globe: 523 ms).
const NOTHING_US: u32 = 600_000;
/// A measurement loses half its weight in a day.
const HALF_LIFE_SECONDS: u64 = 86_400;
/// Detours per mille that are believed: below 0.2 the place is wrong, above 20 the line is.
const DETOUR_RANGE: (u64, u64) = (200, 20_000);

/// All scores, by unit and then by region in the given order.
pub(crate) fn score(units: &[Unit], regions: &[WorldRegion], samples: &[Sample]) -> Vec<Score> {
    let own = medians(samples);
    let by_as = detours(&own, units, regions);
    let number_of: BTreeMap<UnitKey, u32> = units
        .iter()
        .zip(0..)
        .map(|(unit, number)| (unit.key, number))
        .collect();
    let mut scores = Vec::with_capacity(units.len() * regions.len());
    for (unit, number) in units.iter().zip(0..) {
        let around: Vec<u32> = if own.is_empty() {
            Vec::new()
        } else {
            neighbours(unit.key, &number_of)
        };
        for (index, region) in regions.iter().enumerate() {
            let distance = distance_us(unit, region);
            let score = measured(&own, number, index)
                .or_else(|| from_neighbours(&own, &around, index))
                .or_else(|| from_as(&by_as, unit.key, index, distance))
                .or_else(|| {
                    distance.map(|us| Score {
                        cost_us: us,
                        evidence: Evidence::Distance,
                    })
                })
                .unwrap_or(Score {
                    cost_us: NOTHING_US,
                    evidence: Evidence::Nothing,
                });
            scores.push(Score {
                cost_us: score.cost_us.min(COST_MAX_US),
                ..score
            });
        }
    }
    scores
}

/// A weighted median: the value, how many stand behind it, and which one it is.
#[derive(Clone, Copy)]
struct Median {
    us: u32,
    lines: u32,
    deciding: u32,
}

/// Microseconds, weight, and the number of the line.
type Weighted = (u32, u64, u32);
type Own = BTreeMap<(u32, usize), Median>;

fn medians(samples: &[Sample]) -> Own {
    let newest = samples.iter().map(|sample| sample.ts).max().unwrap_or(0);
    let mut groups: BTreeMap<(u32, usize), Vec<Weighted>> = BTreeMap::new();
    for sample in samples {
        let loss = sample.loss.clamp(0.0, 1.0);
        // A line that lost everything says nothing about the time there, and everything about the loss.
        let rtt_us = if loss >= 1.0 { 0 } else { sample.rtt_us };
        let cost = rtt_us
            .saturating_add((loss * LOSS_US).round() as u32)
            .min(COST_MAX_US);
        let halvings = ((newest - sample.ts) / HALF_LIFE_SECONDS).min(20) as u32;
        let weight = ((u64::from(sample.n) << 20) >> halvings).max(1);
        let group = groups.entry((sample.unit.0, sample.region)).or_default();
        group.push((cost, weight, sample.line));
    }
    groups
        .into_iter()
        .filter_map(|(pair, group)| Some((pair, median(group)?)))
        .collect()
}

fn median(mut group: Vec<Weighted>) -> Option<Median> {
    group.sort_unstable();
    let total: u64 = group.iter().map(|(_, weight, _)| weight).sum();
    let mut sum = 0;
    let lines = group.len() as u32;
    group.into_iter().find_map(|(us, weight, deciding)| {
        sum += weight;
        (sum * 2 >= total).then_some(Median {
            us,
            lines,
            deciding,
        })
    })
}

fn measured(own: &Own, unit: u32, region: usize) -> Option<Score> {
    let Median {
        us,
        lines,
        deciding,
    } = *own.get(&(unit, region))?;
    Some(Score {
        cost_us: us,
        evidence: Evidence::Measured { lines, deciding },
    })
}

/// The same AS in the eight cells around.
fn neighbours(key: UnitKey, number_of: &BTreeMap<UnitKey, u32>) -> Vec<u32> {
    let UnitKey::Area(asn, Some((lat, lon))) = key else {
        return Vec::new();
    };
    let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx)));
    around
        .filter(|step| *step != (0, 0))
        .filter_map(|(dy, dx)| {
            let lon = (i32::from(lon) + dx + 180).rem_euclid(360) - 180;
            let cell = (lat + dy, lon as i16);
            number_of.get(&UnitKey::Area(asn, Some(cell))).copied()
        })
        .collect()
}

fn from_neighbours(own: &Own, around: &[u32], region: usize) -> Option<Score> {
    let known = around.iter().filter_map(|unit| own.get(&(*unit, region)));
    let group: Vec<_> = known
        .map(|median| (median.us, 1, median.deciding))
        .collect();
    let Median { us, lines, .. } = median(group)?;
    Some(Score {
        cost_us: us,
        evidence: Evidence::Neighbours(lines),
    })
}

/// By AS and region: the median detour per mille where both ends are placed, the median time, and of how many.
type Detours = BTreeMap<(u32, usize), (Option<u64>, u32, u32)>;

/// A measured time, and its detour per mille.
type Seen = (u32, Option<u64>);

fn detours(own: &Own, units: &[Unit], regions: &[WorldRegion]) -> Detours {
    let mut groups: BTreeMap<(u32, usize), Vec<Seen>> = BTreeMap::new();
    for ((number, index), median) in own {
        let (Some(unit), Some(region)) = (units.get(*number as usize), regions.get(*index)) else {
            continue;
        };
        // AS 0 is "unknown": its units have nothing in common.
        if let UnitKey::Area(asn, _) = unit.key
            && asn != 0
        {
            let detour = distance_us(unit, region)
                .map(|us| u64::from(median.us) * 1000 / u64::from(us.max(1)))
                .filter(|detour| (DETOUR_RANGE.0..=DETOUR_RANGE.1).contains(detour));
            groups
                .entry((asn, *index))
                .or_default()
                .push((median.us, detour));
        }
    }
    let middle = |mut values: Vec<u64>| {
        values.sort_unstable();
        values.get(values.len().saturating_sub(1) / 2).copied()
    };
    groups
        .into_iter()
        .map(|(key, group)| {
            let detour = middle(group.iter().filter_map(|(_, detour)| *detour).collect());
            let time = middle(group.iter().map(|(us, _)| u64::from(*us)).collect());
            (key, (detour, time.unwrap_or(0) as u32, group.len() as u32))
        })
        .collect()
}

fn from_as(by_as: &Detours, key: UnitKey, region: usize, distance: Option<u32>) -> Option<Score> {
    let UnitKey::Area(asn, _) = key else {
        return None;
    };
    let (detour, time, pairs) = by_as.get(&(asn, region))?;
    let cost_us = match (distance, detour) {
        (Some(us), Some(detour)) => {
            (u64::from(us) * detour / 1000).min(u64::from(COST_MAX_US)) as u32
        }
        (Some(_), None) => return None,
        (None, _) => *time,
    };
    Some(Score {
        cost_us,
        evidence: Evidence::SameAs(*pairs),
    })
}

/// The model for places that nobody measured: `None` unless both ends are placed.
fn distance_us(unit: &Unit, region: &WorldRegion) -> Option<u32> {
    let km = great_circle_km(unit.at?, region.at?);
    Some((DISTANCE_BASE_US + km * DISTANCE_US_PER_KM).round() as u32)
}

/// Haversine on a sphere of 6,371 km.
pub fn great_circle_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let half_lat = ((b.0 - a.0).to_radians() / 2.0).sin();
    let half_lon = ((b.1 - a.1).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
    2.0 * 6371.0 * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(asn: u32, cell: (i16, i16)) -> Unit {
        let at = Some((f64::from(cell.0) + 0.5, f64::from(cell.1) + 0.5));
        Unit {
            key: UnitKey::Area(asn, Some(cell)),
            at,
            demand: 1,
            blocks: 1.0,
        }
    }

    fn region(name: &str, at: Option<(f64, f64)>) -> WorldRegion {
        WorldRegion {
            id: 0,
            name: name.to_owned(),
            at,
            capacity: 1,
            spill: Vec::new(),
        }
    }

    fn sample(unit: u32, rtt_us: u32, n: u32, ts: u64) -> Sample {
        Sample {
            unit: UnitId(unit),
            region: 0,
            ts,
            rtt_us,
            loss: 0.0,
            n,
            line: rtt_us,
        }
    }

    #[test]
    fn paris_to_new_york_is_5837_km() {
        let km = great_circle_km((48.8566, 2.3522), (40.7128, -74.0060));
        assert!((km - 5837.0).abs() < 5.0, "{km}");
    }

    #[test]
    fn evidence_is_taken_in_order_of_nearness() {
        let units = [
            unit(1, (48, 2)),
            unit(1, (49, 2)),
            unit(1, (10, 10)),
            unit(2, (48, 2)),
            Unit {
                at: None,
                ..unit(3, (0, 0))
            },
        ];
        let regions = [region("r", Some((48.5, 2.5)))];
        let scores = score(&units, &regions, &[sample(0, 20_000, 5, 0)]);
        let evidence: Vec<_> = scores.iter().map(|score| score.evidence).collect();
        assert_eq!(
            evidence,
            [
                Evidence::Measured {
                    lines: 1,
                    deciding: 20_000
                },
                Evidence::Neighbours(1),
                Evidence::SameAs(1),
                Evidence::Distance,
                Evidence::Nothing,
            ]
        );
        assert_eq!(scores[0].cost_us, 20_000);
        assert_eq!(scores[1].cost_us, 20_000);
        // 20 ms where the model says 8: this AS's paths to the region take 2.5 times the usual.
        let alone = score(&units, &regions, &[])[2].cost_us;
        assert_eq!(scores[2].cost_us, alone * 5 / 2);
    }

    #[test]
    fn a_region_without_coordinates_is_scored_by_measurements_only() {
        let units = [unit(1, (48, 2)), unit(2, (48, 2))];
        let scores = score(&units, &[region("r", None)], &[sample(0, 20_000, 5, 0)]);
        assert_eq!(scores[0].cost_us, 20_000);
        assert_eq!(
            scores[1],
            Score {
                cost_us: NOTHING_US,
                evidence: Evidence::Nothing
            }
        );
    }

    #[test]
    fn newer_lines_outweigh_older_ones() {
        let units = [unit(1, (48, 2))];
        let regions = [region("r", None)];
        let old = sample(0, 10_000, 100, 0);
        let same_day = [old, sample(0, 50_000, 10, 0)];
        assert_eq!(score(&units, &regions, &same_day)[0].cost_us, 10_000);
        let ten_days_later = [old, sample(0, 50_000, 10, 864_000)];
        assert_eq!(score(&units, &regions, &ten_days_later)[0].cost_us, 50_000);
    }

    #[test]
    fn loss_costs_time() {
        let lossy = Sample {
            loss: 0.05,
            ..sample(0, 10_000, 1, 0)
        };
        let scores = score(&[unit(1, (48, 2))], &[region("r", None)], &[lossy]);
        assert_eq!(scores[0].cost_us, 60_000);
    }
}
