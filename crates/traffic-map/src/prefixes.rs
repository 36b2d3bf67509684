//! The prefix table (`start,end,asn,lat,lon,country`) and the demand table (`prefix,weight`), both CSV.
//!
//! A malformed line is reported with its place and skipped: one bad row in a million must not stop a map.

use std::net::IpAddr;

use crate::finding::{Finding, Findings};
use crate::subnet::Subnet;

/// The first line of a prefix table.
pub const PREFIX_HEADER: &str = "start,end,asn,lat,lon,country";
/// The first line of a demand table.
pub const DEMAND_HEADER: &str = "prefix,weight";
/// Findings kept of one file; the rest is counted by their absence from the rows.
const FINDINGS_MAX: usize = 100;

/// One row: a range of addresses, who announces it and where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prefix {
    /// First address.
    pub first: IpAddr,
    /// Last address, of the same family, not before the first.
    pub last: IpAddr,
    /// Origin AS; 0 if unknown.
    pub asn: u32,
    /// Latitude and longitude in degrees; `None` if the fields are empty.
    pub at: Option<(f32, f32)>,
    /// Country in ISO 3166-1 letters; two spaces if unknown.
    pub country: [u8; 2],
    /// Which file, by the number the reader was given.
    pub file: u16,
    /// Line in the file.
    pub line: u32,
}

/// One row of a demand table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Where the demand comes from.
    pub net: Subnet,
    /// How much, in any unit of measure; not negative.
    pub weight: f64,
}

/// Reads a prefix table: the good rows, and what is wrong with the others.
pub fn parse_prefixes(name: &str, file: u16, text: &str) -> (Vec<Prefix>, Vec<Finding>) {
    rows(name, text, PREFIX_HEADER, |line, fields| {
        prefix(file, line, fields)
    })
}

/// Writes one row, with coordinates to a tenth of a degree and without the line end.
pub fn write_prefix(prefix: &Prefix) -> String {
    let (lat, lon) = match prefix.at {
        Some((lat, lon)) => (format!("{lat:.1}"), format!("{lon:.1}")),
        None => (String::new(), String::new()),
    };
    let country = std::str::from_utf8(&prefix.country).unwrap_or("").trim();
    format!(
        "{},{},{},{lat},{lon},{country}",
        prefix.first, prefix.last, prefix.asn
    )
}

/// Reads a demand table: the good rows, and what is wrong with the others.
pub fn parse_demand(name: &str, text: &str) -> (Vec<Demand>, Vec<Finding>) {
    rows(name, text, DEMAND_HEADER, |_, fields| {
        let [net, weight] = *fields else {
            return Err((0, "expected prefix,weight".to_owned()));
        };
        let net = net
            .parse::<Subnet>()
            .map_err(|error| (0, error.to_string()))?;
        let weight = weight
            .parse::<f64>()
            .ok()
            .filter(|weight| weight.is_finite() && *weight >= 0.0);
        let Some(weight) = weight else {
            return Err((1, "the weight is no number".to_owned()));
        };
        Ok(Demand {
            net: net.normalized(),
            weight,
        })
    })
}

/// A field that is wrong, by its number, and why.
type BadField = (usize, String);

fn rows<T>(
    name: &str,
    text: &str,
    header: &str,
    read: impl Fn(u32, &[&str]) -> Result<T, BadField>,
) -> (Vec<T>, Vec<Finding>) {
    let mut findings = Findings::new(name, "");
    let mut rows = Vec::new();
    let mut count = 0;
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') || line == header {
            continue;
        }
        let mut fields = [""; 8];
        let mut used = 0;
        for (slot, field) in fields.iter_mut().zip(line.split(',')) {
            *slot = field;
            used += 1;
        }
        let fields = fields.get(..used).unwrap_or(&[]);
        match read(number, fields) {
            Ok(row) => rows.push(row),
            Err((field, message)) => {
                count += 1;
                if count <= FINDINGS_MAX {
                    let before: usize = fields
                        .iter()
                        .take(field)
                        .map(|field| field.chars().count() + 1)
                        .sum();
                    findings.at(number as usize, before + 1, message);
                }
            }
        }
    }
    (rows, findings.into_inner())
}

fn prefix(file: u16, line: u32, fields: &[&str]) -> Result<Prefix, BadField> {
    let [first, last, asn, lat, lon, country] = *fields else {
        return Err((0, format!("expected {PREFIX_HEADER}")));
    };
    let address = |field, text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| (field, format!("\"{text}\" is no IP address")))
    };
    let (first, last) = (address(0, first)?, address(1, last)?);
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err((
            1,
            "the range ends before it begins, or in the other family".to_owned(),
        ));
    }
    let asn_text = asn.strip_prefix("AS").unwrap_or(asn);
    let asn = match asn_text {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| (2, format!("\"{text}\" is no AS number")))?,
    };
    let at = match (lat, lon) {
        ("", "") => None,
        _ => Some((degrees(3, lat, 90.0)?, degrees(4, lon, 180.0)?)),
    };
    let country = match country.as_bytes() {
        [] => *b"  ",
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => [*a, *b],
        _ => return Err((5, format!("\"{country}\" is no country code"))),
    };
    Ok(Prefix {
        first,
        last,
        asn,
        at,
        country,
        file,
        line,
    })
}

fn degrees(field: usize, text: &str, limit: f32) -> Result<f32, BadField> {
    match text.parse::<f32>() {
        Ok(degrees) if degrees.abs() <= limit => Ok(degrees),
        _ => Err((field, format!("\"{text}\" is not within {limit} degrees"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_good_rows_and_places_bad_ones() {
        let text = "start,end,asn,lat,lon,country\n\
                    1.0.0.0,1.0.0.255,13335,-33.9,151.2,AU\n\
                    1.0.1.0,1.0.0.255,1,0,0,AU\n\
                    2001:db8::,2001:db8::ffff,AS64500,,,\n\
                    1.0.1.0,1.0.1.255,1,91,0,AU\n\
                    \n\
                    hello\n";
        let (rows, findings) = parse_prefixes("p.csv", 3, text);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            write_prefix(&rows[0]),
            "1.0.0.0,1.0.0.255,13335,-33.9,151.2,AU"
        );
        assert_eq!(write_prefix(&rows[1]), "2001:db8::,2001:db8::ffff,64500,,,");
        assert_eq!((rows[1].file, rows[1].line), (3, 4));
        let all: Vec<_> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(
            all,
            [
                "p.csv:3:9: warning: the range ends before it begins, or in the other family",
                "p.csv:5:21: warning: \"91\" is not within 90 degrees",
                "p.csv:7:1: warning: expected start,end,asn,lat,lon,country",
            ]
        );
    }

    #[test]
    fn reads_demand() {
        let (rows, findings) = parse_demand("d", "prefix,weight\n10.0.0.1/8,2.5\n10.0.0.0/8,-1\n");
        assert_eq!(
            (rows[0].net.to_string(), rows[0].weight),
            ("10.0.0.0/8".to_owned(), 2.5)
        );
        assert_eq!(
            findings[0].to_string(),
            "d:3:12: warning: the weight is no number"
        );
    }
}
