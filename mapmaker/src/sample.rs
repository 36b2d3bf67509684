//! Derives the compact prefix table from the whole public ones: origin AS per range, and a place for it.
//!
//! Ranges of at least a /20 (IPv4) or a /32 (IPv6) are kept, which is nine tenths of what is routed; they are
//! cut into pieces of at most a /16 or a /28. A piece's place is the commonest one among sixteen probes spread
//! evenly over it, to a tenth of a degree. Neighbouring pieces alike in AS and place are joined.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use maxminddb::Reader;
use serde::Deserialize;
use traffic_map::prefixes::{PREFIX_HEADER, Prefix, write_prefix};

use crate::progress::Progress;

/// Where the whole tables are, and where the sample goes.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleOptions {
    /// AS table for IPv4: CSV `start,end,asn,name`.
    #[arg(long)]
    pub asn_v4: PathBuf,
    /// AS table for IPv6: CSV `start,end,asn,name`.
    #[arg(long)]
    pub asn_v6: PathBuf,
    /// City database for IPv4 (MMDB with `latitude`, `longitude`, `country_code`).
    #[arg(long)]
    pub city_v4: PathBuf,
    /// City database for IPv6.
    #[arg(long)]
    pub city_v6: PathBuf,
    /// Folder that `prefixes-v4.csv.zst` and `prefixes-v6.csv.zst` are written to.
    #[arg(long)]
    pub out: PathBuf,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// IPv4 rows.
    pub v4: usize,
    /// IPv6 rows.
    pub v6: usize,
    /// Octets of both files.
    pub size: usize,
}

/// How one family is cut; sizes in addresses, as powers of two.
struct Cut {
    /// Smaller ranges are left out.
    smallest: u32,
    /// Larger ranges are cut at multiples of this.
    largest: u32,
    bits: u32,
}

const V4: Cut = Cut {
    smallest: 12,
    largest: 16,
    bits: 32,
};
const V6: Cut = Cut {
    smallest: 96,
    largest: 100,
    bits: 128,
};
/// Addresses that are looked up in each piece.
const PROBES: u128 = 16;
/// Best compression that one-time work may take.
const ZSTD_LEVEL: i32 = 19;

/// Derives both tables.
///
/// # Errors
/// A table that cannot be read or has a malformed row, or an output that cannot be written.
pub fn sample(options: &SampleOptions, progress: &Progress) -> anyhow::Result<Sampled> {
    progress.step("sampling IPv4");
    let v4 = family(&options.asn_v4, &options.city_v4, &V4)?;
    progress.step("sampling IPv6");
    let v6 = family(&options.asn_v6, &options.city_v6, &V6)?;
    progress.step("compressing");
    let size = write(&options.out.join("prefixes-v4.csv.zst"), &v4)?
        + write(&options.out.join("prefixes-v6.csv.zst"), &v6)?;
    Ok(Sampled {
        v4: v4.len(),
        v6: v6.len(),
        size,
    })
}

fn family(asn: &Path, city: &Path, cut: &Cut) -> anyhow::Result<Vec<Prefix>> {
    let places = Reader::open_readfile(city).with_context(|| city.display().to_string())?;
    let file = File::open(asn).with_context(|| asn.display().to_string())?;
    let mut table = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(file);
    let mut rows: Vec<Prefix> = Vec::new();
    for record in table.records() {
        let record = record.with_context(|| asn.display().to_string())?;
        let field = |at| record.get(at).unwrap_or("");
        let (first, last) = (number(field(0))?, number(field(1))?);
        let asn = field(2)
            .parse()
            .with_context(|| format!("AS number {:?}", field(2)))?;
        if last < first || last - first + 1 < 1 << cut.smallest {
            continue;
        }
        for (first, last) in pieces(first, last, cut.largest) {
            let (at, country) = place(&places, first, last, cut.bits)?;
            let (first, last) = (address(first, cut.bits), address(last, cut.bits));
            let row = Prefix {
                first,
                last,
                asn,
                at,
                country,
                file: 0,
                line: 0,
            };
            match rows.last_mut().filter(|before| joins(before, &row)) {
                Some(before) => before.last = last,
                None => rows.push(row),
            }
        }
    }
    Ok(rows)
}

/// Cuts `[first, last]` at the multiples of `2^largest`.
fn pieces(first: u128, last: u128, largest: u32) -> impl Iterator<Item = (u128, u128)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let start = next.filter(|start| *start <= last)?;
        let end = (start | ((1 << largest) - 1)).min(last);
        next = end.checked_add(1);
        Some((start, end))
    })
}

fn joins(before: &Prefix, row: &Prefix) -> bool {
    let adjacent = match (before.last, row.first) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u32::from(a).checked_add(1) == Some(u32::from(b)),
        (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(a).checked_add(1) == Some(u128::from(b)),
        _ => false,
    };
    adjacent && before.asn == row.asn && before.at == row.at && before.country == row.country
}

#[derive(Deserialize)]
struct City<'a> {
    latitude: Option<f32>,
    longitude: Option<f32>,
    country_code: Option<&'a str>,
}

/// Tenths of degrees and the country.
type Place = (Option<(i16, i16)>, [u8; 2]);
/// What a piece is given: degrees and the country.
type Found = (Option<(f32, f32)>, [u8; 2]);

/// The commonest place among the probes; the smallest of equally common ones.
fn place(places: &Reader<Vec<u8>>, first: u128, last: u128, bits: u32) -> anyhow::Result<Found> {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    let step = ((last - first) / PROBES).max(1);
    for probe in 0..PROBES {
        let at = first.saturating_add(probe * step).min(last);
        let found = places.lookup(address(at, bits))?;
        let Some(city) = found.decode::<City<'_>>()? else {
            continue;
        };
        let tenth = |degrees: f32| (degrees * 10.0).round() as i16;
        let at = city
            .latitude
            .zip(city.longitude)
            .map(|(lat, lon)| (tenth(lat), tenth(lon)));
        let country = city
            .country_code
            .and_then(|code| code.as_bytes().try_into().ok());
        *counts.entry((at, country.unwrap_or(*b"  "))).or_default() += 1;
    }
    let commonest = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    let (at, country) = commonest.map_or((None, *b"  "), |(place, _)| place);
    Ok((
        at.map(|(lat, lon)| (f32::from(lat) / 10.0, f32::from(lon) / 10.0)),
        country,
    ))
}

fn number(text: &str) -> anyhow::Result<u128> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(u32::from(address).into()),
        Ok(IpAddr::V6(address)) => Ok(address.into()),
        Err(_) => bail!("{text:?} is no IP address"),
    }
}

fn address(number: u128, bits: u32) -> IpAddr {
    match bits {
        32 => IpAddr::V4(Ipv4Addr::from(number as u32)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

fn write(path: &Path, rows: &[Prefix]) -> anyhow::Result<usize> {
    let mut text = Vec::new();
    writeln!(text, "{PREFIX_HEADER}")?;
    for row in rows {
        writeln!(text, "{}", write_prefix(row))?;
    }
    let packed = zstd::encode_all(text.as_slice(), ZSTD_LEVEL)?;
    std::fs::write(path, &packed).with_context(|| path.display().to_string())?;
    Ok(packed.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_multiples_of_the_largest_piece() {
        let all: Vec<_> = pieces(0x0001_8000, 0x0003_0fff, 16).collect();
        assert_eq!(
            all,
            [(0x18000, 0x1ffff), (0x20000, 0x2ffff), (0x30000, 0x30fff)]
        );
        assert_eq!(pieces(u128::MAX - 1, u128::MAX, 100).count(), 1);
    }
}
