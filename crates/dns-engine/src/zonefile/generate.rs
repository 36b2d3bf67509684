//! `$GENERATE range left [ttl] [class] type right` as BIND has it: one record for each number of the range.
//!
//! `$` stands for the number, `${offset,width,base}` for the number plus an offset in so many digits of base `d`, `o`,
//! `x`, `X`, or `n` and `N` for hexadecimal digits with dots, the last one first; `\$` and `$$` stand for a dollar.
//! A right side in quotes is taken out of them, as `"10 mail$"`; here it may also stand without.

use super::data::decimal;
use super::lexer::{Entry, Lexer, Token};
use super::place::Fault;
use super::reader::Reader;

/// Records that the directives of a zone may make altogether: enough for the addresses of a /16.
const GENERATED_MAX: u32 = 65_536;
/// Digits a number may be given.
const WIDTH_MAX: usize = 128;

const HINT: &str =
    "write `$GENERATE 1-100 host-$ A 192.0.2.$`, or a part of it as ${offset,width,base}";

/// Reads the records that the directive `word` stands for.
pub(super) fn expand(
    reader: &mut Reader<'_, '_>,
    word: &Token<'_>,
    tokens: &[Token<'_>],
) -> Result<(), Fault> {
    let [range, left, rest @ ..] = tokens else {
        let message = "$GENERATE takes a range, an owner, a type and data";
        return Err(Fault::new(word.place, message, HINT));
    };
    let (first, last, step) = read_range(range.text).ok_or_else(|| {
        let message = format!("`{}` is not a range", range.text);
        Fault::new(range.place, message, "write start-stop or start-stop/step")
    })?;
    let count = (last - first) / step + 1;
    if count > GENERATED_MAX - reader.generated {
        let message =
            format!("$GENERATE would make more than {GENERATED_MAX} records in this zone");
        let hint = "use a wildcard, or write the records into a file";
        return Err(Fault::new(range.place, message, hint));
    }
    reader.generated += count;
    let (fixed, right) = rest.split_at(rest.len() - right_length(rest));
    let outer = reader.scope.clone();
    for number in (first..=last).step_by(step as usize) {
        let line = line(left, fixed, right, number)?;
        let mut entry = Entry::default();
        Lexer::of_generated(&line, left.place).read(&mut entry);
        let places = fixed.iter().map(|token| token.place);
        let places = places.chain(std::iter::repeat(right.first().unwrap_or(left).place));
        for (token, place) in entry.tokens.iter_mut().skip(1).zip(places) {
            token.place = place;
        }
        let read = match entry.fault {
            Some((place, message, hint)) => Err(Fault::new(place, message, hint)),
            None => reader.record_entry(&entry),
        };
        if let Err(mut fault) = read {
            // The next ones would be wrong in the same way.
            fault.hint = format!("{}; the line made for {number} is `{line}`", fault.hint);
            reader.scope = outer;
            return Err(fault);
        }
    }
    reader.scope = outer;
    Ok(())
}

/// Of `[ttl] [class] type right`, the tokens of the right side: what follows the first word that is neither
/// number nor class.
fn right_length(tokens: &[Token<'_>]) -> usize {
    let front = tokens.iter().take(2).take_while(|token| {
        let text = token.text;
        let class = ["IN", "CH", "HS"]
            .iter()
            .any(|class| class.eq_ignore_ascii_case(text));
        class || text.starts_with(|first: char| first.is_ascii_digit()) || starts_class(text)
    });
    tokens.len().saturating_sub(front.count() + 1)
}

fn starts_class(text: &str) -> bool {
    crate::rtype::numbered(text, "CLASS").is_some()
}

/// `start-stop[/step]`.
fn read_range(text: &str) -> Option<(u32, u32, u32)> {
    let (bounds, step) = text.split_once('/').unwrap_or((text, "1"));
    let (first, last) = bounds.split_once('-')?;
    let (first, last, step) = (decimal(first)?, decimal(last)?, decimal(step)?);
    let good = first <= last && last < u32::MAX && step > 0;
    good.then_some((first, last, step))
}

/// The line for one number.
fn line(
    left: &Token<'_>,
    fixed: &[Token<'_>],
    right: &[Token<'_>],
    number: u32,
) -> Result<String, Fault> {
    let mut line = filled(left, number)?;
    for token in fixed {
        line += " ";
        line += token.text;
    }
    for token in right {
        if !token.joined {
            line += " ";
        }
        let text = filled(token, number)?;
        line += &match right {
            [_, _, ..] if token.quoted => format!("\"{text}\""),
            _ => text,
        };
    }
    Ok(line)
}

/// The text of a token with its dollars replaced.
fn filled(token: &Token<'_>, number: u32) -> Result<String, Fault> {
    let fault = || {
        let message = format!("`{}` has a dollar that is no number here", token.text);
        Fault::new(token.place, message, HINT)
    };
    let mut out = String::with_capacity(token.text.len() + 8);
    let mut rest = token.text;
    while let Some(at) = rest.find(['$', '\\']) {
        let (before, special) = rest.split_at(at);
        out += before;
        let mut after = special.chars();
        match (after.next(), after.clone().next()) {
            (Some('\\'), next) => {
                out.push('\\');
                out.extend(next);
                after.next();
            }
            (_, Some('$')) => {
                out.push('$');
                after.next();
            }
            (_, Some('{')) => {
                let (inside, behind) = after
                    .as_str()
                    .get(1..)
                    .and_then(|text| text.split_once('}'))
                    .ok_or_else(fault)?;
                out += &formatted(inside, number).ok_or_else(fault)?;
                after = behind.chars();
            }
            _ => out += &number.to_string(),
        }
        rest = after.as_str();
    }
    out += rest;
    Ok(out)
}

/// The number as `offset[,width[,base]]` asks for; `None` also if it would be below zero.
fn formatted(form: &str, number: u32) -> Option<String> {
    let mut parts = form.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width = parts.next().map_or(Some(0), |width| width.parse().ok())?;
    let base = parts.next().unwrap_or("d");
    let value = u64::try_from(i64::from(number).checked_add(offset)?).ok()?;
    if width > WIDTH_MAX || parts.next().is_some() {
        return None;
    }
    Some(match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        "n" => nibbles(value, width, false),
        "N" => nibbles(value, width, true),
        _ => return None,
    })
}

/// Hexadecimal digits from the last one with dots between; dots count for the width, so that an even one ends with a dot.
fn nibbles(mut value: u64, mut width: usize, upper: bool) -> String {
    let mut text = String::new();
    loop {
        let digit = char::from_digit((value & 15) as u32, 16).unwrap_or('0');
        text.push(if upper {
            digit.to_ascii_uppercase()
        } else {
            digit
        });
        value >>= 4;
        if value == 0 && width <= 1 {
            return text;
        }
        text.push('.');
        width = width.saturating_sub(2);
        if value == 0 && width == 0 {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_bind_does() {
        // Expected values from named-compilezone 9.18.
        let check = |form: &str, number, expected: Option<&str>| {
            assert_eq!(
                formatted(form, number).as_deref(),
                expected,
                "{form} {number}"
            );
        };
        check("0", 7, Some("7"));
        check("-1", 7, Some("6"));
        check("+1", 7, Some("8"));
        check("1,3", 7, Some("008"));
        check("0,3,o", 64, Some("100"));
        check("0,4,x", 171, Some("00ab"));
        check("0,0,X", 171, Some("AB"));
        check("0,0,n", 171, Some("b.a"));
        check("0,5,n", 10, Some("a.0.0"));
        check("0,4,N", 10, Some("A.0."));
        check("0,1,N", 171, Some("B.A"));
        check("-8", 7, None);
        check("0,129", 7, None);
        check("0,1,q", 7, None);
        check("0,1,d,1", 7, None);
        check("", 7, None);
    }
}
