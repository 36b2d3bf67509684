//! Reads the data of one record from tokens, guided by the field table of its type.

use super::encoding::{read_base32, read_base64, read_hex};
use super::lexer::Token;
use super::place::{Fault, Place};
use super::time::{date, seconds};
use super::{hints, location, network, svcb};
use crate::name::{self, NameError};
use crate::rdata::{self, Field};
use crate::rtype;

/// Octets that record data may have at most (RFC 1035 §3.2.1).
const DATA_MAX: usize = u16::MAX as usize;

/// Appends the wire form of record data to `out`, which holds rubbish behind its old end if there is a
/// fault; `end` is where the line ends, for what is missing there.
pub(super) fn read(
    rtype: u16,
    tokens: &[Token<'_>],
    origin: Option<&[u8]>,
    end: Place,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    let place = tokens.first().map_or(end, |token| token.place);
    read_shape(rtype, tokens, origin, end, out)?;
    let data = out.get(start..).unwrap_or_default();
    match rdata::nonsense(rtype, data) {
        Some((message, hint)) => Err(Fault::new(place, message, hint)),
        None => Ok(()),
    }
}

/// Reads as [`read`] does, and does not ask whether the data makes sense.
pub(super) fn read_shape(
    rtype: u16,
    tokens: &[Token<'_>],
    origin: Option<&[u8]>,
    end: Place,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    let place = tokens.first().map_or(end, |token| token.place);
    match tokens {
        [mark, rest @ ..] if mark.text == "\\#" && !mark.quoted => generic(rtype, mark, rest, out)?,
        _ => {
            let mut reading = Reading {
                rtype,
                tokens,
                origin,
                end,
            };
            reading.fields(out)?;
        }
    }
    if out.len() - start > DATA_MAX {
        let message = format!("record data longer than {DATA_MAX} octets");
        return Err(Fault::new(place, message, "split the record"));
    }
    Ok(())
}

/// The tokens of a record's data that are still to be read.
pub(super) struct Reading<'a, 't> {
    rtype: u16,
    tokens: &'a [Token<'t>],
    origin: Option<&'a [u8]>,
    end: Place,
}

impl<'a, 't> Reading<'a, 't> {
    /// The next token, which has to be there.
    pub(super) fn next(&mut self) -> Result<&'a Token<'t>, Fault> {
        let [token, rest @ ..] = self.tokens else {
            let message = format!("{} record ends too early", rtype::text(self.rtype));
            return Err(Fault::new(self.end, message, hints::shape(self.rtype)));
        };
        self.tokens = rest;
        Ok(token)
    }

    /// The next token without taking it.
    pub(super) fn peek(&self) -> Option<&'a Token<'t>> {
        self.tokens.first()
    }

    /// All further tokens, perhaps none.
    pub(super) fn rest(&mut self) -> &'a [Token<'t>] {
        std::mem::take(&mut self.tokens)
    }

    /// Appends the next token as a name.
    pub(super) fn name(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        name_onto(self.next()?, self.origin, out)
    }

    /// The next token as a number up to `max`.
    pub(super) fn number(&mut self, max: u32) -> Result<u32, Fault> {
        let token = self.next()?;
        decimal(token.text)
            .filter(|&value| value <= max)
            .ok_or_else(|| {
                let message = format!("`{}` is not a number from 0 to {max}", token.text);
                Fault::new(token.place, message, "write it in decimal")
            })
    }

    fn fields(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(fields) = rdata::fields(self.rtype) else {
            let place = self.tokens.first().map_or(self.end, |token| token.place);
            let rtype = rtype::text(self.rtype);
            let message = format!("data of type {rtype} is not read in its own form");
            let hint = r"write it as `\# length hexadecimal` (RFC 3597)";
            return Err(Fault::new(place, message, hint));
        };
        for &field in fields {
            self.field(field, out)?;
        }
        let Some(extra) = self.tokens.first() else {
            return Ok(());
        };
        let rtype = rtype::text(self.rtype);
        let message = format!("`{}` is more than a {rtype} record takes", extra.text);
        Err(Fault::new(extra.place, message, hints::shape(self.rtype)))
    }

    fn field(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), Fault> {
        match field {
            Field::Name => self.name(out)?,
            Field::Names => {
                while !self.tokens.is_empty() {
                    self.name(out)?;
                }
            }
            Field::U8 => out.push(self.number(u8::MAX.into())? as u8),
            Field::U16 => out.extend((self.number(u16::MAX.into())? as u16).to_be_bytes()),
            Field::U32 => out.extend(self.number(u32::MAX)?.to_be_bytes()),
            Field::Word8(words) => out.push(self.word(words, u8::MAX.into())? as u8),
            Field::Word16(words) => out.extend(self.word(words, u16::MAX)?.to_be_bytes()),
            Field::Seconds => {
                let token = self.next()?;
                let hint = "write seconds, or units as in 1h30m (w d h m s)";
                let value = seconds(token.text).ok_or_else(|| wrong(token, "a time", hint))?;
                out.extend(value.to_be_bytes());
            }
            Field::Date => {
                let token = self.next()?;
                let hint = "write YYYYMMDDHHMMSS, as in 20261231235959";
                let value = date(token.text).ok_or_else(|| wrong(token, "a date", hint))?;
                out.extend(value.to_be_bytes());
            }
            Field::Type => out.extend(record_type(self.next()?)?.to_be_bytes()),
            Field::Types => {
                let types = self.rest().iter().map(record_type);
                let mut types = types.collect::<Result<Vec<u16>, _>>()?;
                types.sort_unstable();
                rdata::types::push(&types, out);
            }
            Field::V4 => out.extend(network::v4(self.next()?)?),
            Field::V6 => out.extend(network::v6(self.next()?)?),
            Field::Groups => out.extend(network::groups(self.next()?)?),
            Field::Mac(length) => network::mac(self.next()?, length, out)?,
            Field::Text => text(self.next()?, out)?,
            Field::OptionalText | Field::Texts => {
                if field == Field::Texts {
                    text(self.next()?, out)?;
                }
                let most = if field == Field::Texts { usize::MAX } else { 1 };
                for _ in 0..self.tokens.len().min(most) {
                    text(self.next()?, out)?;
                }
            }
            Field::Tag => {
                let token = self.next()?;
                let hint = "a tag has letters and digits only, as in `issue`";
                let plain = token
                    .text
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric());
                if !plain || token.text.is_empty() {
                    return Err(wrong(token, "a tag", hint));
                }
                text(token, out)?;
            }
            Field::Rest => out.extend(decoded(self.next()?)?),
            Field::Hex => {
                let hint = "write an even number of the digits 0-9 and a-f";
                self.digits(read_hex, "hexadecimal", hint, out)?;
            }
            Field::OptionalBase64 if self.tokens.is_empty() => {}
            Field::Base64 | Field::OptionalBase64 => {
                let hint = "write whole groups of four characters, `=` only at the end";
                self.digits(read_base64, "base 64", hint, out)?;
            }
            Field::Salt => {
                let token = self.next()?;
                let text = if token.text == "-" { "" } else { token.text };
                let hint = "write an even number of the digits 0-9 and a-f, or `-`";
                counted(token, text, read_hex, "hexadecimal", hint, out)?;
            }
            Field::Hash => {
                let (token, hint) = (self.next()?, "write the digits 0-9 and a-v");
                counted(token, token.text, read_base32, "base 32", hint, out)?;
            }
            Field::Location => location::read(self, out)?,
            Field::Prefixes => {
                for token in self.rest() {
                    network::prefix(token, out)?;
                }
            }
            Field::Gateway => network::gateway(self, out)?,
            Field::Relay => network::relay(self, out)?,
            Field::Host => self.host(out)?,
            Field::Parameters => svcb::read(self.rest(), out)?,
        }
        Ok(())
    }

    /// A number, or a word that stands for one.
    fn word(&mut self, words: rdata::Words, max: u16) -> Result<u16, Fault> {
        let text = self.peek().map_or("", |token| token.text);
        let mut known = words.iter();
        match known.find(|(_, word)| word.eq_ignore_ascii_case(text)) {
            Some((number, _)) => self.next().map(|_| *number),
            None => self.number(max.into()).map(|number| number as u16),
        }
    }

    /// All further tokens joined, as octets.
    fn digits(
        &mut self,
        read: impl Fn(&str, &mut Vec<u8>) -> Option<()>,
        what: &str,
        hint: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let token = self.next()?;
        let rest = self.rest();
        let text = match rest {
            [] => read(token.text, out),
            _ => {
                let rest = rest.iter().map(|token| token.text);
                let digits: String = std::iter::once(token.text).chain(rest).collect();
                read(&digits, out)
            }
        };
        text.ok_or_else(|| wrong(token, what, hint))
    }

    /// The front of a HIP record: lengths come first on the wire, the algorithm first in the text.
    fn host(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let algorithm = self.number(u8::MAX.into())? as u8;
        let (mut identity, mut key) = (Vec::new(), Vec::new());
        let token = self.next()?;
        let hint = "write up to 255 octets in hexadecimal";
        read_hex(token.text, &mut identity)
            .filter(|()| (1..=255).contains(&identity.len()))
            .ok_or_else(|| wrong(token, "a host identity tag", hint))?;
        let token = self.next()?;
        let hint = "write the key in base 64, without white space";
        read_base64(token.text, &mut key)
            .filter(|()| (1..=DATA_MAX).contains(&key.len()))
            .ok_or_else(|| wrong(token, "base 64", hint))?;
        out.extend([identity.len() as u8, algorithm]);
        out.extend((key.len() as u16).to_be_bytes());
        out.extend(identity);
        out.extend(key);
        Ok(())
    }
}

/// "`…` is not …".
pub(super) fn wrong(token: &Token<'_>, what: &str, hint: &str) -> Fault {
    Fault::new(token.place, format!("`{}` is not {what}", token.text), hint)
}

/// A name, `@` for the origin, relative ones completed.
pub(super) fn name_onto(
    token: &Token<'_>,
    origin: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let result = match (token.text, token.quoted, origin) {
        ("@", false, Some(origin)) => {
            out.extend_from_slice(origin);
            Ok(())
        }
        ("@", false, None) => Err(NameError::NoOrigin),
        _ => name::parse_onto(out, token.text, origin),
    };
    result.map_err(|error| {
        let hint = match error {
            NameError::NoOrigin => "end the name with a dot, or write `$ORIGIN zone.` first",
            NameError::NotAscii => "write other letters in their xn-- form, octets as \\DDD",
            NameError::BadEscape => "write a backslash itself as \\\\",
            _ => "labels are 1 to 63 octets, whole names up to 255",
        };
        Fault::new(token.place, format!("`{}`: {error}", token.text), hint)
    })
}

/// Plain decimal digits.
pub(super) fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u32, |value, octet| match octet {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u32::from(octet - b'0')),
        _ => None,
    })
}

fn record_type(token: &Token<'_>) -> Result<u16, Fault> {
    let hint = "write a mnemonic, or TYPEnnn (RFC 3597)";
    rtype::parse(token.text).ok_or_else(|| wrong(token, "a record type", hint))
}

fn text(token: &Token<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let octets = decoded(token)?;
    let Ok(length) = u8::try_from(octets.len()) else {
        let message = format!("string of {} octets, but 255 is the most", octets.len());
        let hint = "split it: \"first part\" \"second part\"";
        return Err(Fault::new(token.place, message, hint));
    };
    out.push(length);
    out.extend(octets);
    Ok(())
}

/// The octets of a string with its escapes resolved.
pub(super) fn decoded(token: &Token<'_>) -> Result<Vec<u8>, Fault> {
    unescaped(token.text).ok_or_else(|| {
        let message = NameError::BadEscape.to_string();
        Fault::new(token.place, message, "write a backslash itself as \\\\")
    })
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'\\' => name::unescape(&mut octets)?,
            _ => octet,
        });
    }
    Some(decoded)
}

/// A length octet and what `text` says.
fn counted(
    token: &Token<'_>,
    text: &str,
    read: impl Fn(&str, &mut Vec<u8>) -> Option<()>,
    what: &str,
    hint: &str,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut octets = Vec::new();
    let length = read(text, &mut octets).and_then(|()| u8::try_from(octets.len()).ok());
    out.push(length.ok_or_else(|| wrong(token, what, hint))?);
    out.extend(octets);
    Ok(())
}

/// `\# length hex` (RFC 3597 §5), checked against the shape of the type where it is known.
fn generic(
    rtype: u16,
    mark: &Token<'_>,
    rest: &[Token<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let hint = r"write `\# length hexadecimal`, as in `\# 4 C0000201`";
    let [length, digits @ ..] = rest else {
        return Err(Fault::new(mark.place, r"`\#` without a length", hint));
    };
    let most = DATA_MAX as u32;
    let wanted = decimal(length.text)
        .filter(|&value| value <= most)
        .ok_or_else(|| wrong(length, &format!("a number from 0 to {most}"), hint))?;
    let text: String = digits.iter().map(|token| token.text).collect();
    let place = digits.first().map_or(length.place, |token| token.place);
    let start = out.len();
    read_hex(&text, out).ok_or_else(|| Fault::new(place, "this is not hexadecimal", hint))?;
    let data = out.get(start..).unwrap_or_default();
    if data.len() != wanted as usize {
        let message = format!("{} octets follow, but {wanted} were announced", data.len());
        return Err(Fault::new(length.place, message, hint));
    }
    if !rdata::is_well_formed(rtype, data) {
        let message = format!("these octets are no data of type {}", rtype::text(rtype));
        return Err(Fault::new(place, message, hints::shape(rtype)));
    }
    Ok(())
}
