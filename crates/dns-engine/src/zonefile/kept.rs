//! A zone of another server as this one keeps it: plain text that other tools can read, one record a
//! line. Reading it back asks only for the shape, as the records were checked when they came and a
//! primary's odd ones must not be lost over a restart.

use std::fmt;

use super::data;
use super::lexer::{Entry, Lexer};
use super::place::Fault;
use super::text::RecordText;
use crate::name;
use crate::rrset::Record;
use crate::rtype;
use crate::zone::Zone;

/// Shows a zone as text, the SOA record first, then by owner in canonical order.
pub struct KeptText<'z>(
    /// The zone.
    pub &'z Zone,
);

impl fmt::Display for KeptText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.0;
        let mut line = |owner, rtype, ttl, data| {
            let record = RecordText {
                owner,
                rtype,
                ttl,
                data,
            };
            writeln!(f, "{record}")
        };
        for data in zone.soa().rdatas() {
            line(zone.shown_origin(), rtype::SOA, zone.soa().ttl, data)?;
        }
        for (_, node) in zone.ordered() {
            let sets = node.rrsets().iter().filter(|set| set.rtype != rtype::SOA);
            for (set, data) in sets.flat_map(|set| set.rdatas().map(move |data| (set, data))) {
                line(node.owner(), set.rtype, set.ttl, data)?;
            }
        }
        Ok(())
    }
}

/// Reads the zone of this wire name back from its text.
///
/// # Errors
/// What is wrong with the first line that is not one of [`KeptText`].
pub fn read_kept(text: &str, origin: &[u8]) -> Result<Zone, String> {
    let mut records = Vec::new();
    let (mut lexer, mut entry) = (Lexer::new(text, 0), Entry::default());
    while lexer.read(&mut entry) {
        let number = records.len() + 1;
        let record = record(&entry).map_err(|reason| format!("record {number}: {reason}"))?;
        if !name::is_within(&record.owner, origin) {
            return Err(format!("record {number}: it is outside the zone"));
        }
        records.push(record);
    }
    Zone::build(origin, records).ok_or_else(|| "it has no SOA record".to_owned())
}

fn record(entry: &Entry<'_>) -> Result<Record, String> {
    if let Some((_, message, _)) = entry.fault {
        return Err(message.to_owned());
    }
    let [owner, ttl, class, rtype, rest @ ..] = &entry.tokens[..] else {
        return Err("expected `owner ttl IN type data`".to_owned());
    };
    if class.text != "IN" {
        return Err("expected class IN".to_owned());
    }
    let end = rest.last().unwrap_or(rtype).place;
    let owner = name::parse(owner.text, None).map_err(|error| error.to_string())?;
    let ttl = ttl.text.parse().map_err(|_| "expected a TTL".to_owned())?;
    let rtype = rtype::parse(rtype.text).ok_or("expected a type")?;
    let mut data = Vec::new();
    data::read_shape(rtype, rest, None, end, &mut data).map_err(|Fault { message, .. }| message)?;
    Ok(Record {
        owner,
        rtype,
        ttl,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zonefile;

    #[test]
    fn a_zone_is_kept_as_it_came() {
        let record = |owner: &[u8], rtype: u16, data: &[u8]| Record {
            owner: owner.to_vec(),
            rtype,
            ttl: 60,
            data: data.to_vec(),
        };
        let apex = b"\x01Z\0";
        let soa = [&[1, b'n', 0, 0][..], &[0; 20]].concat();
        let records = vec![
            record(apex, rtype::SOA, &soa),
            // Another case, octets that need escapes, an alias beside an address, a digest of a wrong length, a
            // signature, an unknown type, data that is not of its type's shape in a zone file.
            record(b"\x04a.\"B\x01z\0", rtype::TXT, b"\x03\0\"\xff\0"),
            record(b"\x01c\x01z\0", rtype::CNAME, b"\x01d\x01Z\0"),
            record(b"\x01c\x01z\0", rtype::A, &[192, 0, 2, 1]),
            record(b"\x01c\x01z\0", rtype::DS, &[0, 1, 13, 2, 0xAB]),
            record(
                apex,
                rtype::RRSIG,
                b"\0\x06\x0d\x01\0\0\0\x3c\0\0\0\0\0\0\0\0\0\x01\x01Z\0signature",
            ),
            record(b"\x01u\x01z\0", 65_280, b""),
            record(b"\x01*\x01z\0", 65_281, b"\0\xff"),
        ];
        let zone = Zone::build(apex, records).unwrap();
        let text = KeptText(&zone).to_string();
        let back = read_kept(&text, b"\x01z\0").unwrap();
        assert_eq!(KeptText(&back).to_string(), text);
        assert_eq!(back.octets(), zone.octets());
        assert!(
            text.starts_with("Z. 60 IN SOA n. . 0 0 0 0 0\nZ. 60 IN RRSIG"),
            "{text}"
        );
        assert!(zonefile::parse("z", &text, None).is_err());
    }

    #[test]
    fn what_is_no_kept_zone_is_refused() {
        let good = "z. 60 IN SOA n. . 1 2 3 4 5\n";
        assert!(read_kept(good, b"\x01z\0").is_ok());
        for bad in [
            "",
            "z. 60 IN",
            "z. 60 IN A 192.0.2.1\n",
            "z. 60 CH SOA n. . 1 2 3 4 5\n",
            "z. x IN SOA n. . 1 2 3 4 5\n",
            "z. 60 IN SOA n. . 1 2 3 4\n",
            "z. 60 IN SOA n. . 1 2 3 4 5\ny. 60 IN A 192.0.2.1\n",
            "z. 60 IN SOA n. . 1 2 3 4 5\n\"",
        ] {
            assert!(read_kept(bad, b"\x01z\0").is_err(), "{bad}");
        }
    }
}
