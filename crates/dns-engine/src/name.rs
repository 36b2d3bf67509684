//! Domain names in wire form: a run of length-prefixed labels that ends with the empty root label.
//!
//! Names stay plain byte slices, so the hot path copies nothing. Length octets are at most 63, below
//! `A` in ASCII, which is why a whole wire name can be lower-cased in one sweep.

use std::fmt;

/// Longest wire name in octets, root label included (RFC 1035 §3.1).
pub const NAME_MAX: usize = 255;
/// Longest label in octets (RFC 1035 §3.1).
pub const LABEL_MAX: usize = 63;
/// Most labels a name of 255 octets can have, the root label not counted.
pub const LABELS_MAX: usize = 127;
/// The root name.
pub const ROOT: &[u8] = &[0];

/// Why a text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty; the root is written `.`.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or a dot in front.
    #[error("the name has an empty label (two dots in a row, or a dot in front)")]
    EmptyLabel,
    /// A label is longer than 63 octets.
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    /// The whole name is longer than 255 octets.
    #[error("the name is longer than 255 octets in wire form")]
    TooLong,
    /// A backslash at the end, or `\DDD` above 255.
    #[error("a backslash must be followed by a character or by three digits up to 255")]
    BadEscape,
    /// An octet outside printable ASCII.
    #[error("the name holds a character outside printable ASCII")]
    NotAscii,
    /// A name without a final dot where no origin is known.
    #[error("the name is relative, but no origin is known here")]
    NoOrigin,
}

/// Reads a name from text (RFC 1035 §5.1, escapes `\X` and `\DDD`); case is kept.
///
/// A name without a final dot is completed by `origin` (wire form); with the root as origin,
/// `stream.example` and `stream.example.` are the same.
pub fn parse(text: &str, origin: Option<&[u8]>) -> Result<Vec<u8>, NameError> {
    let mut wire = Vec::with_capacity(text.len() + 1 + origin.map_or(1, <[u8]>::len));
    parse_onto(&mut wire, text, origin)?;
    Ok(wire)
}

/// Reads a name as [`parse`] does and appends it to `wire`, which then holds rubbish behind its old
/// end if there is an error.
pub(crate) fn parse_onto(
    wire: &mut Vec<u8>,
    text: &str,
    origin: Option<&[u8]>,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let start = wire.len();
    let mut label_at = start;
    wire.push(0);
    if text == "." {
        return Ok(());
    }
    let mut octets = text.bytes();
    let mut ended = false;
    while let Some(octet) = octets.next() {
        ended = octet == b'.';
        if ended {
            close_label(wire, label_at)?;
            label_at = wire.len();
            wire.push(0);
            continue;
        }
        let octet = match octet {
            b'\\' => unescape(&mut octets).ok_or(NameError::BadEscape)?,
            b'!'..=b'~' => octet,
            _ => return Err(NameError::NotAscii),
        };
        wire.push(octet);
    }
    if !ended {
        close_label(wire, label_at)?;
        wire.extend_from_slice(origin.ok_or(NameError::NoOrigin)?);
    }
    if wire.len() - start > NAME_MAX {
        Err(NameError::TooLong)
    } else {
        Ok(())
    }
}

/// Writes the length of the label that starts at `label_at` and runs to the end.
fn close_label(wire: &mut [u8], label_at: usize) -> Result<(), NameError> {
    match wire.len() - label_at - 1 {
        0 => Err(NameError::EmptyLabel),
        length @ 1..=LABEL_MAX => {
            wire[label_at] = length as u8;
            Ok(())
        }
        _ => Err(NameError::LabelTooLong),
    }
}

/// Reads what follows a backslash: three digits or any single character.
pub(crate) fn unescape(octets: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

/// The uncompressed name at the start of `wire`, root label included; `None` if there is none.
pub fn read(wire: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        let length = usize::from(*wire.get(at)?);
        at += 1 + length;
        if length > LABEL_MAX || at > NAME_MAX {
            return None;
        }
        if length == 0 {
            return wire.get(..at);
        }
    }
}

/// The labels of a wire name from the left, the root label left out.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    suffixes(name).filter_map(|suffix| {
        let length = usize::from(*suffix.first()?);
        if length == 0 {
            None
        } else {
            suffix.get(1..=length)
        }
    })
}

/// The name itself, then its parent, and so on to the root.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name).filter(|name| !name.is_empty()), |name| {
        parent(name)
    })
}

/// The name without its first label; `None` for the root.
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    match name.first() {
        None | Some(0) => None,
        Some(&length) => name
            .get(1 + usize::from(length)..)
            .filter(|rest| !rest.is_empty()),
    }
}

/// How many labels a wire name has, the root label not counted.
pub fn label_count(name: &[u8]) -> usize {
    labels(name).count()
}

/// Writes where each label that starts before `end` starts; returns how many there are.
pub(crate) fn label_starts(name: &[u8], end: usize, starts: &mut [u8; LABELS_MAX]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < end
        && let (Some(&length @ 1..), Some(start)) = (name.get(at), starts.get_mut(count))
    {
        *start = at as u8;
        at += 1 + usize::from(length);
        count += 1;
    }
    count
}

/// True if `name` is `ancestor` or below it, whatever the case (RFC 4343).
pub fn is_within(name: &[u8], ancestor: &[u8]) -> bool {
    // Most names that are not within differ in the octets already.
    let end = name.len().checked_sub(ancestor.len());
    end.is_some_and(|start| name[start..].eq_ignore_ascii_case(ancestor))
        && suffixes(name).any(|suffix| suffix.len() == ancestor.len())
}

/// A lower-cased copy, for keys and comparisons (RFC 4343).
pub fn lowered(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

/// Octets whose plain order is the canonical order of names (RFC 4034 §6.1), case set aside.
///
/// The labels from the right, each ended by a zero; an octet 0 or 1 becomes two, so that the end of a
/// label comes before everything else.
pub(crate) fn sort_key(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 1);
    let all: Vec<&[u8]> = labels(name).collect();
    for label in all.into_iter().rev() {
        for octet in label {
            match octet.to_ascii_lowercase() {
                low @ (0 | 1) => key.extend([1, low + 1]),
                other => key.push(other),
            }
        }
        key.push(0);
    }
    key
}

/// A wire name as text with a final dot, special octets escaped.
pub fn text(name: &[u8]) -> String {
    Text(name).to_string()
}

/// Shows a wire name as text; see [`text`].
pub struct Text<'a>(
    /// The wire name.
    pub &'a [u8],
);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ROOT {
            return f.write_str(".");
        }
        for label in labels(self.0) {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?;
                    }
                    b'!'..=b'~' => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// A wire name in a buffer of its own, for names made per query without allocation.
#[derive(Clone, Copy)]
pub(crate) struct NameBuffer {
    length: u8,
    octets: [u8; NAME_MAX],
}

impl NameBuffer {
    pub(crate) const fn new() -> Self {
        Self {
            length: 1,
            octets: [0; NAME_MAX],
        }
    }

    /// Takes a copy of `name`; false (and the root) if it is longer than a name may be.
    pub(crate) fn set(&mut self, name: &[u8]) -> bool {
        self.join(name, &[])
    }

    /// Becomes `front` followed by `back`; false (and the root) if that is too long.
    pub(crate) fn join(&mut self, front: &[u8], back: &[u8]) -> bool {
        let length = front.len() + back.len();
        let (Some(head), true) = (self.octets.get_mut(..length), length > 0) else {
            *self = Self::new();
            return false;
        };
        head[..front.len()].copy_from_slice(front);
        head[front.len()..].copy_from_slice(back);
        self.length = length as u8;
        true
    }

    pub(crate) fn lower(&mut self) {
        self.octets[..usize::from(self.length)].make_ascii_lowercase();
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_absolute_relative_and_escaped_names() {
        let origin = parse("example.", None).unwrap();
        let check = |input: &str, expected: &[u8]| {
            assert_eq!(parse(input, Some(&origin)).unwrap(), expected, "{input}");
        };
        check("a.b.", b"\x01a\x01b\0");
        check("a", b"\x01a\x07example\0");
        check("a\\.b", b"\x03a.b\x07example\0");
        check("\\065x.", b"\x02Ax\0");
        check(".", b"\0");
    }

    #[test]
    fn refuses_what_is_no_name() {
        let check = |input: &str, expected: NameError| {
            assert_eq!(parse(input, Some(ROOT)), Err(expected), "{input}");
        };
        check("", NameError::Empty);
        check("a..b", NameError::EmptyLabel);
        check(".a", NameError::EmptyLabel);
        check(&"x".repeat(64), NameError::LabelTooLong);
        check(&"x.".repeat(128), NameError::TooLong);
        check("a\\", NameError::BadEscape);
        check("a\\256", NameError::BadEscape);
        check("ä.example.", NameError::NotAscii);
        assert_eq!(parse("a", None), Err(NameError::NoOrigin));
    }

    #[test]
    fn tells_what_lies_within_a_zone_by_whole_labels() {
        let name = |text| parse(text, None).unwrap();
        assert!(is_within(&name("a.example."), &name("example.")));
        assert!(is_within(&name("example."), &name("example.")));
        assert!(is_within(&name("example."), ROOT));
        assert!(is_within(&name("a.Example."), &name("eXample.")));
        assert!(!is_within(&name("anexample."), &name("example.")));
        assert!(!is_within(&name("example."), &name("a.example.")));
    }

    #[test]
    fn names_sort_as_in_rfc_4034() {
        // The list of RFC 4034 §6.1.
        let expected = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        let mut names = expected;
        names.reverse();
        names.sort_by_key(|text| sort_key(&parse(text, None).unwrap()));
        assert_eq!(names, expected);
        let (zero, one) = (
            parse("\\000.", None).unwrap(),
            parse("\\001.", None).unwrap(),
        );
        assert!(sort_key(&zero) < sort_key(&one));
        assert!(sort_key(b"\x01a\0") < sort_key(b"\x02a\0\0"));
    }

    proptest! {
        #[test]
        fn text_and_wire_are_each_others_inverse(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
        ) {
            let mut wire = Vec::new();
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
            wire.push(0);
            prop_assert_eq!(parse(&text(&wire), None).unwrap(), wire.clone());
            prop_assert_eq!(read(&wire), Some(&wire[..]));
            prop_assert_eq!(label_count(&wire), labels.len());
        }

        #[test]
        fn reading_any_octets_ends_within_a_name(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(name) = read(&octets) {
                prop_assert!(name.len() <= NAME_MAX && name.last() == Some(&0));
            }
        }
    }
}
