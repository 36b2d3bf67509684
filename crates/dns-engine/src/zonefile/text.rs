//! Records as text, in one canonical form that reads back to the same octets.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::encoding::{Base32, Base64, Hex};
use super::time::date_text;
use super::{location, network, svcb};
use crate::name::Text as NameText;
use crate::rdata::{self, Field, Host, Prefix};
use crate::rtype;

/// Shows a record as one line of a zone file without the line end: `owner ttl IN type data`.
#[derive(Debug, Clone, Copy)]
pub struct RecordText<'a> {
    /// Wire name of the owner.
    pub owner: &'a [u8],
    /// Type number.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// Data, names uncompressed.
    pub data: &'a [u8],
}

impl fmt::Display for RecordText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            rtype,
            ttl,
            data,
        } = *self;
        let data = DataText { rtype, data };
        let rtype = rtype::text(rtype);
        write!(f, "{} {ttl} IN {rtype} {data}", NameText(owner))
    }
}

/// Shows record data as a zone file has it; data of unknown types, and data that is not well-formed,
/// as `\# length hex` (RFC 3597 §5).
#[derive(Debug, Clone, Copy)]
pub struct DataText<'a> {
    /// Type number.
    pub rtype: u16,
    /// Data, names uncompressed.
    pub data: &'a [u8],
}

impl fmt::Display for DataText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = rdata::fields(self.rtype);
        let known = fields.filter(|_| rdata::is_well_formed(self.rtype, self.data));
        let Some(fields) = known else {
            write!(f, "\\# {}", self.data.len())?;
            let space = if self.data.is_empty() { "" } else { " " };
            return write!(f, "{space}{}", Hex(self.data));
        };
        let mut rest = self.data;
        for (place, &field) in fields.iter().enumerate() {
            let Some((data, after)) = field.split(rest) else {
                return Ok(());
            };
            if place > 0 && !brings_its_spaces(field) && !vanishes(field, data) {
                f.write_char(' ')?;
            }
            write(field, data, f)?;
            rest = after;
        }
        Ok(())
    }
}

/// Lists write a space in front of each item.
fn brings_its_spaces(field: Field) -> bool {
    matches!(field, Field::Names | Field::Types | Field::Parameters)
}

/// Fields that may be missing at the end.
fn vanishes(field: Field, data: &[u8]) -> bool {
    matches!(field, Field::OptionalText | Field::OptionalBase64) && data.is_empty()
}

fn write(field: Field, data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match field {
        Field::Name => write!(f, "{}", NameText(data)),
        Field::Names => items(Field::Name, data, " ", f),
        Field::U8 | Field::U16 | Field::U32 | Field::Seconds => write!(f, "{}", number(data)),
        Field::Word8(_) | Field::Word16(_) => write!(f, "{}", number(data)),
        Field::Date => f.write_str(&date_text(number(data))),
        Field::Type => f.write_str(&rtype::text(number(data) as u16)),
        Field::Types => {
            let mut types = rdata::types::iter(data);
            types.try_for_each(|number| write!(f, " {}", rtype::text(number)))
        }
        Field::V4 => rdata::a(data)
            .iter()
            .try_for_each(|address: &Ipv4Addr| write!(f, "{address}")),
        Field::V6 => {
            let address: Option<Ipv6Addr> = rdata::aaaa(data);
            address
                .iter()
                .try_for_each(|address| write!(f, "{address}"))
        }
        Field::Groups => network::write_groups(data, f),
        Field::Mac(_) => network::write_mac(data, f),
        Field::OptionalText if data.is_empty() => Ok(()),
        Field::Text | Field::OptionalText => write!(f, "{}", Quoted(behind_length(data))),
        Field::Texts => {
            let (first, rest) = Field::Text.split(data).unwrap_or((data, &[]));
            write!(f, "{}", Quoted(behind_length(first)))?;
            items(Field::Text, rest, " ", f)
        }
        Field::Tag => f.write_str(str::from_utf8(behind_length(data)).unwrap_or_default()),
        Field::Rest => write!(f, "{}", Quoted(data)),
        Field::Hex => write!(f, "{}", Hex(data)),
        Field::Base64 | Field::OptionalBase64 => write!(f, "{}", Base64(data)),
        Field::Salt if data == [0] => f.write_char('-'),
        Field::Salt => write!(f, "{}", Hex(behind_length(data))),
        Field::Hash => write!(f, "{}", Base32(behind_length(data))),
        Field::Location => location::write(data, f),
        Field::Prefixes => prefixes(data, f),
        Field::Gateway => match data {
            [kind, algorithm, gateway @ ..] => {
                write!(f, "{kind} {algorithm} ")?;
                network::write_relay(*kind, gateway, f)
            }
            _ => Ok(()),
        },
        Field::Relay => match data {
            [kind, relay @ ..] => {
                write!(f, "{} {} ", kind >> 7, kind & 0x7F)?;
                network::write_relay(kind & 0x7F, relay, f)
            }
            _ => Ok(()),
        },
        Field::Host => match Host::read(data) {
            Some((host, _)) => {
                let (identity, key) = (Hex(host.identity), Base64(host.key));
                write!(f, "{} {identity} {key}", host.algorithm)
            }
            None => Ok(()),
        },
        Field::Parameters => svcb::write(data, f),
    }
}

/// Big-endian octets as a number.
fn number(data: &[u8]) -> u32 {
    data.iter()
        .fold(0, |value, octet| value << 8 | u32::from(*octet))
}

fn behind_length(data: &[u8]) -> &[u8] {
    data.get(1..).unwrap_or_default()
}

/// Writes items of one kind to the end, `front` in front of each.
fn items(field: Field, data: &[u8], front: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = data;
    while let Some((item, after)) = field.split(rest) {
        f.write_str(front)?;
        write(field, item, f)?;
        rest = after;
    }
    Ok(())
}

fn prefixes(data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = data;
    while let Some((prefix, length)) = Prefix::read(rest) {
        if rest.len() < data.len() {
            f.write_char(' ')?;
        }
        network::write_prefix(&prefix, f)?;
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Shows octets as a quoted string.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for &octet in self.0 {
            match octet {
                b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                b' '..=b'~' => f.write_char(octet.into())?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('"')
    }
}
