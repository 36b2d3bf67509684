//! Zone files (RFC 1035 §5, RFC 2308 §4, RFC 3597): one run reports every finding with its place, and
//! a file with findings gives no zone at all.

mod data;
mod lexer;
mod validate;

use std::fmt;

use crate::name;
use crate::rrset::Record;
use crate::rtype;
use crate::zone::Zone;
use lexer::{Entry, Lexer, Token};

/// One thing that is wrong with a zone file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the file as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            hint,
        } = self;
        write!(f, "{file}:{line}:{column}: error: {message} ({hint})")
    }
}

/// Where something stands in the file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: u32,
    column: u32,
}

/// A finding that does not know its file yet.
#[derive(Debug)]
struct Fault {
    place: Place,
    message: String,
    hint: String,
}

impl Fault {
    fn new(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// A record with the places of its owner and its data, for the checks that see the whole zone.
struct Placed {
    record: Record,
    owner: Place,
    data: Place,
}

/// Reads a zone file of class IN.
///
/// `origin` is the zone's name as text (the final dot may be missing); without it the owner of the SOA
/// record names the zone. On any finding there is no zone, and all findings are returned in file order.
pub fn parse(file_name: &str, text: &str, origin: Option<&str>) -> Result<Zone, Vec<Finding>> {
    let mut reader = Reader::default();
    if let Some(origin) = origin {
        match name::parse(origin, Some(name::ROOT)) {
            Ok(wire) => reader.origin = Some(wire),
            Err(error) => reader.faults.push(Fault::new(
                Place { line: 1, column: 1 },
                format!("the zone's name `{origin}` is no name: {error}"),
                "correct it where the zone is configured",
            )),
        }
    }
    let apex = reader.origin.clone();
    for entry in Lexer::new(text) {
        if let Err(fault) = reader.entry(&entry) {
            reader.faults.push(fault);
        }
    }
    let Reader {
        records,
        mut faults,
        ..
    } = reader;
    let apex = validate::apex(apex, &records, &mut faults);
    if let Some(apex) = &apex {
        validate::zone(apex, &records, &mut faults);
    }
    match apex {
        Some(apex) if faults.is_empty() => {
            let records = records.into_iter().map(|placed| placed.record).collect();
            let zone = Zone::build(&apex, records);
            zone.ok_or_else(|| findings(file_name, vec![validate::no_soa(&apex)]))
        }
        _ => Err(findings(file_name, faults)),
    }
}

fn findings(file: &str, mut faults: Vec<Fault>) -> Vec<Finding> {
    faults.sort_by_key(|fault| fault.place);
    let finding = |Fault {
                       place,
                       message,
                       hint,
                   }| Finding {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message,
        hint,
    };
    faults.into_iter().map(finding).collect()
}

/// What carries over from line to line.
#[derive(Default)]
struct Reader {
    origin: Option<Vec<u8>>,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// The last TTL stated in a record (RFC 1035 §5.1).
    stated_ttl: Option<u32>,
    owner: Option<Vec<u8>>,
    records: Vec<Placed>,
    faults: Vec<Fault>,
}

impl Reader {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        if let Some((place, message, hint)) = entry.fault {
            return Err(Fault::new(place, message, hint));
        }
        let [first, rest @ ..] = &entry.tokens[..] else {
            return Ok(());
        };
        if first.text.starts_with('$') && !first.quoted && !entry.indented {
            return self.directive(first, rest);
        }
        let (place, rest) = if entry.indented {
            (first.place, &entry.tokens[..])
        } else {
            self.owner = None; // a bad owner must not lend its records to the one before
            self.owner = Some(data::name_of(first, self.origin.as_deref())?);
            (first.place, rest)
        };
        self.record(place, rest)
    }

    fn directive(&mut self, word: &Token<'_>, rest: &[Token<'_>]) -> Result<(), Fault> {
        match (word.text.to_ascii_uppercase().as_str(), rest) {
            ("$ORIGIN", [origin]) => {
                self.origin = Some(data::name_of(origin, self.origin.as_deref())?);
                Ok(())
            }
            ("$TTL", [ttl]) => {
                self.default_ttl = Some(read_ttl(ttl)?);
                Ok(())
            }
            ("$ORIGIN", _) => Err(Fault::new(
                word.place,
                "$ORIGIN takes one name",
                "write `$ORIGIN zone.`",
            )),
            ("$TTL", _) => Err(Fault::new(
                word.place,
                "$TTL takes one time",
                "write `$TTL 1h`",
            )),
            ("$INCLUDE" | "$GENERATE", _) => Err(Fault::new(
                word.place,
                format!("{} is not supported", word.text),
                "write the records into this file",
            )),
            _ => Err(Fault::new(
                word.place,
                format!("unknown directive `{}`", word.text),
                "known are $ORIGIN and $TTL; write an owner that starts with a dollar as \\$",
            )),
        }
    }

    /// Reads `[ttl] [class] type data` (ttl and class in either order) for the current owner.
    fn record(&mut self, place: Place, tokens: &[Token<'_>]) -> Result<(), Fault> {
        let end = tokens.last().map_or(place, |token| token.place);
        let mut rest = tokens;
        let (mut ttl, mut class) = (None, None);
        let (word, data) = loop {
            let [word, after @ ..] = rest else {
                let hint = "write `owner [ttl] [class] type data`; a line that begins with white space \
                            belongs to the owner above";
                return Err(Fault::new(end, "this record has no type", hint));
            };
            if ttl.is_none() && word.text.starts_with(|first: char| first.is_ascii_digit()) {
                ttl = Some(read_ttl(word)?);
            } else if let (None, Some(number)) = (class, class_number(word.text)) {
                class = Some(number);
                if number != CLASS_IN {
                    let message = format!("class {} is not served", word.text);
                    return Err(Fault::new(
                        word.place,
                        message,
                        "write IN, or leave the class out",
                    ));
                }
            } else {
                break (word, after);
            }
            rest = after;
        };
        self.stated_ttl = ttl.or(self.stated_ttl);
        let rtype = read_type(word)?;
        let data = data::read(rtype, data, self.origin.as_deref(), end)?;
        let Some(owner) = self.owner.clone() else {
            let hint = "give this record an owner of its own";
            return Err(Fault::new(
                place,
                "there is no owner above to continue",
                hint,
            ));
        };
        let Some(ttl) = ttl.or(self.default_ttl).or(self.stated_ttl) else {
            let hint = "write `$TTL 1h` near the top of the file";
            return Err(Fault::new(
                word.place,
                "no TTL is stated for this record",
                hint,
            ));
        };
        let record = Record {
            owner,
            rtype,
            ttl,
            data,
        };
        self.records.push(Placed {
            record,
            owner: place,
            data: word.place,
        });
        Ok(())
    }
}

const CLASS_IN: u16 = 1;

fn class_number(text: &str) -> Option<u16> {
    match text.to_ascii_uppercase().as_str() {
        "IN" => Some(CLASS_IN),
        "CH" => Some(3),
        "HS" => Some(4),
        other => rtype::numbered(other, "CLASS"),
    }
}

fn read_type(word: &Token<'_>) -> Result<u16, Fault> {
    let Some(rtype) = rtype::parse(word.text) else {
        let message = format!("unknown record type `{}`", word.text);
        let hint =
            "check the spelling, or write TYPEnnn (RFC 3597); an owner must begin in column 1";
        return Err(Fault::new(word.place, message, hint));
    };
    let refused = rtype::is_meta(rtype)
        || matches!(
            rtype,
            rtype::RRSIG | rtype::NSEC | rtype::NSEC3 | rtype::NSEC3PARAM
        );
    if refused || rtype == 0 {
        let message = format!("type {} cannot be loaded from a zone file", word.text);
        let hint =
            "leave it out: signatures, denials and questions are not kept in zone files here";
        return Err(Fault::new(word.place, message, hint));
    }
    Ok(rtype)
}

/// A TTL: seconds below 2³¹ (RFC 2181 §8), with or without units.
fn read_ttl(token: &Token<'_>) -> Result<u32, Fault> {
    seconds(token.text)
        .filter(|&ttl| ttl <= i32::MAX as u32)
        .ok_or_else(|| {
            let message = format!("`{}` is not a TTL", token.text);
            Fault::new(
                token.place,
                message,
                "write seconds below 2^31, or units as in 1h30m (w d h m s)",
            )
        })
}

/// Reads `3600`, `1h` or `1w2d3h4m5s`.
fn seconds(text: &str) -> Option<u32> {
    let (mut total, mut number, mut digits) = (0_u32, 0_u32, false);
    for octet in text.bytes() {
        let unit = match octet.to_ascii_lowercase() {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)?
                    .checked_add(u32::from(octet - b'0'))?;
                digits = true;
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if !std::mem::take(&mut digits) {
            return None;
        }
        total = total.checked_add(std::mem::take(&mut number).checked_mul(unit)?)?;
    }
    // Seconds without a unit may stand alone, not behind units.
    match (digits, total) {
        (true, 0) => Some(number),
        (false, _) if !text.is_empty() => Some(total),
        _ => None,
    }
}
