//! Reads entries one after the other: directives, and records with what carries over from line to line.

use std::borrow::Cow;

use super::Open;
use super::lexer::{Entry, Lexer, Token};
use super::place::{Fault, Faults, Place, Source};
use super::records::{Head, Owner, Records};
use super::time::seconds;
use super::{data, generate};
use crate::rtype;

/// Included files may include others this deep; more is a mistake that only ends with a bound.
const DEPTH_MAX: usize = 8;
/// Files of one zone in all: `$INCLUDE` twice in each of eight files is 255 already.
const SOURCES_MAX: usize = 1_000;

const CLASS_IN: u16 = 1;

/// A zone on its way from text to records.
pub(super) struct Reader<'t, 'o> {
    open: Option<&'o mut Open<'o>>,
    pub(super) sources: Vec<Source<'t>>,
    pub(super) scope: Scope,
    pub(super) records: Records,
    pub(super) faults: Faults,
    /// Records made by `$GENERATE` so far.
    pub(super) generated: u32,
    /// The type read last and its word: most zones have long runs of one type.
    last_type: (String, u16),
}

/// What carries over from line to line, and from a file into those it includes, but not back.
#[derive(Clone, Default)]
pub(super) struct Scope {
    /// Completes relative names.
    pub(super) origin: Option<Vec<u8>>,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// The last TTL stated in a record (RFC 1035 §5.1).
    stated_ttl: Option<u32>,
    owner: Option<Owner>,
    /// `$ORIGIN` changed since the owner was read.
    owner_is_old: bool,
}

impl<'t, 'o> Reader<'t, 'o> {
    pub(super) fn new(origin: Option<Vec<u8>>, open: Option<&'o mut Open<'o>>) -> Self {
        Self {
            open,
            sources: Vec::new(),
            scope: Scope {
                origin,
                ..Scope::default()
            },
            records: Records::default(),
            faults: Faults::default(),
            generated: 0,
            last_type: (String::new(), 0),
        }
    }

    /// Reads a whole file, which is number `source`.
    pub(super) fn file(&mut self, source: u16, text: &str) {
        if u32::try_from(text.len()).is_err() {
            let place = Place { source, at: 0 };
            let hint = "split it with $INCLUDE";
            return self
                .faults
                .error(place, "the file is larger than 4 GiB", hint);
        }
        self.records.reserve(text);
        let mut lexer = Lexer::new(text, source);
        let mut entry = Entry::default();
        while lexer.read(&mut entry) {
            if let Err(fault) = self.entry(&entry) {
                self.faults.push(fault);
            }
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        if let Some((place, message, hint)) = entry.fault {
            return Err(Fault::new(place, message, hint));
        }
        match &entry.tokens[..] {
            [word, rest @ ..] if word.text.starts_with('$') && !word.quoted && !entry.indented => {
                self.directive(word, rest)
            }
            _ => self.record_entry(entry),
        }
    }

    /// Reads an entry that is no directive.
    pub(super) fn record_entry(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let [first, rest @ ..] = &entry.tokens[..] else {
            return Ok(());
        };
        if entry.indented {
            if std::mem::take(&mut self.scope.owner_is_old) && self.scope.owner.is_some() {
                let message = "this record belongs to the owner from before $ORIGIN";
                let hint = "give it an owner of its own, `@` for the new origin";
                self.faults.warning(first.place, message, hint);
            }
            return self.record(first.place, &entry.tokens);
        }
        // A bad owner must not lend its records to the one before.
        let before = self.scope.owner.take();
        let origin = self.scope.origin.as_deref();
        let read = |out: &mut Vec<u8>| data::name_onto(first, origin, out);
        self.scope.owner = Some(self.records.owner(before, first.place, read)?);
        self.scope.owner_is_old = false;
        self.record(first.place, rest)
    }

    fn directive(&mut self, word: &Token<'_>, rest: &[Token<'_>]) -> Result<(), Fault> {
        let fault = |message: &str, hint: &str| Err(Fault::new(word.place, message, hint));
        match (word.text.to_ascii_uppercase().as_str(), rest) {
            ("$ORIGIN", [origin]) => {
                self.scope.origin = Some(self.name(origin)?);
                self.scope.owner_is_old = true;
                Ok(())
            }
            ("$TTL", [ttl]) => {
                self.scope.default_ttl = Some(read_ttl(ttl)?);
                Ok(())
            }
            ("$INCLUDE", [path]) => self.include(word, path, self.scope.origin.clone()),
            ("$INCLUDE", [path, origin]) => {
                let origin = self.name(origin)?;
                self.include(word, path, Some(origin))
            }
            ("$GENERATE", rest) => generate::expand(self, word, rest),
            ("$ORIGIN", _) => fault("$ORIGIN takes one name", "write `$ORIGIN zone.`"),
            ("$TTL", _) => fault("$TTL takes one time", "write `$TTL 1h`"),
            ("$INCLUDE", _) => fault(
                "$INCLUDE takes a file and perhaps an origin",
                "write `$INCLUDE hosts.inc` or `$INCLUDE hosts.inc sub.zone.`",
            ),
            _ => fault(
                &format!("unknown directive `{}`", word.text),
                "known are $ORIGIN, $TTL, $INCLUDE and $GENERATE; write an owner that starts with a dollar as \\$",
            ),
        }
    }

    fn name(&self, token: &Token<'_>) -> Result<Vec<u8>, Fault> {
        let mut name = Vec::new();
        data::name_onto(token, self.scope.origin.as_deref(), &mut name)?;
        Ok(name)
    }

    /// Reads another file in between; its origin, owner and TTL end with it (RFC 1035 §5.1).
    fn include(
        &mut self,
        word: &Token<'_>,
        path: &Token<'_>,
        origin: Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let fault = |message: String, hint: &str| Err(Fault::new(path.place, message, hint));
        let chain: Vec<usize> = std::iter::successors(Some(word.place), |place| {
            self.sources.get(usize::from(place.source))?.included
        })
        .map(|place| place.source.into())
        .collect();
        if chain.len() > DEPTH_MAX || self.sources.len() >= SOURCES_MAX {
            let message = format!(
                "included files more than {DEPTH_MAX} deep, or more than {SOURCES_MAX} of them"
            );
            return fault(message, "include files directly, and each once");
        }
        let written = String::from_utf8(data::decoded(path)?).unwrap_or_default();
        let Some(open) = &mut self.open else {
            let message = "there is no folder here to include files from";
            return fault(message.to_owned(), "write the records into this file");
        };
        let including = self.sources.get(usize::from(word.place.source));
        let (name, text) = match open(&written, including.map_or("", |source| &source.name)) {
            Ok(opened) => opened,
            Err(why) => {
                let message = format!("cannot include `{written}`: {why}");
                return fault(message, "the path is taken from the folder of this file");
            }
        };
        let mut above = chain.iter().filter_map(|number| self.sources.get(*number));
        if above.any(|source| source.name == name) {
            let message = format!("`{written}` includes itself");
            return fault(message, "take one of the directives out");
        }
        let number = self.sources.len();
        self.sources.push(Source {
            name,
            text: Cow::Borrowed(""),
            included: Some(word.place),
        });
        let inner = Scope {
            origin,
            ..self.scope.clone()
        };
        let outer = std::mem::replace(&mut self.scope, inner);
        self.file(number as u16, &text);
        self.scope = outer;
        if let Some(source) = self.sources.get_mut(number) {
            source.text = Cow::Owned(text);
        }
        Ok(())
    }

    /// Reads `[ttl] [class] type data` (ttl and class in either order) for the current owner.
    fn record(&mut self, place: Place, tokens: &[Token<'_>]) -> Result<(), Fault> {
        let end = tokens.last().map_or(place, |token| token.place);
        let mut rest = tokens;
        let (mut ttl, mut class) = (None, None);
        let (word, tokens) = loop {
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
                    let hint = "write IN, or leave the class out";
                    return Err(Fault::new(word.place, message, hint));
                }
            } else {
                break (word, after);
            }
            rest = after;
        };
        self.scope.stated_ttl = ttl.or(self.scope.stated_ttl);
        let rtype = self.record_type(word)?;
        let Some(owner) = self.scope.owner else {
            // The data may have a finding of its own.
            data::read(
                rtype,
                tokens,
                self.scope.origin.as_deref(),
                end,
                &mut Vec::new(),
            )?;
            let hint = "give this record an owner of its own";
            let message = "there is no owner above to continue";
            return Err(Fault::new(place, message, hint));
        };
        let known = self.scope.default_ttl.or(self.scope.stated_ttl);
        let head = Head {
            owner,
            owner_place: place,
            rtype,
            type_place: word.place,
            ttl: ttl.or(known).unwrap_or_default(),
        };
        let origin = self.scope.origin.as_deref();
        self.records
            .record(&head, |out| data::read(rtype, tokens, origin, end, out))?;
        if ttl.or(known).is_none() {
            let hint = "write `$TTL 1h` near the top of the file";
            let message = "no TTL is stated for this record";
            return Err(Fault::new(word.place, message, hint));
        }
        Ok(())
    }

    fn record_type(&mut self, word: &Token<'_>) -> Result<u16, Fault> {
        if self.last_type.0 == word.text {
            return Ok(self.last_type.1);
        }
        let rtype = read_type(word)?;
        self.last_type.0.clear();
        self.last_type.0.push_str(word.text);
        self.last_type.1 = rtype;
        Ok(rtype)
    }
}

fn class_number(text: &str) -> Option<u16> {
    let class = |name| text.eq_ignore_ascii_case(name);
    match text.len() {
        2 if class("IN") => Some(CLASS_IN),
        2 if class("CH") => Some(3),
        2 if class("HS") => Some(4),
        _ => rtype::numbered(text, "CLASS"),
    }
}

fn read_type(word: &Token<'_>) -> Result<u16, Fault> {
    let Some(rtype) = rtype::parse(word.text) else {
        let message = format!("unknown record type `{}`", word.text);
        let hint = match word.text.starts_with('$') {
            true => "a directive begins in column 1",
            false => {
                "check the spelling, or write TYPEnnn (RFC 3597); an owner must begin in column 1"
            }
        };
        return Err(Fault::new(word.place, message, hint));
    };
    let hint = match rtype {
        rtype::RRSIG | rtype::NSEC | rtype::NSEC3 | rtype::NSEC3PARAM => {
            "leave it out: signatures and denials are made for each answer, keys come from the configuration"
        }
        0 => "type 0 is reserved",
        _ if rtype::is_meta(rtype) => "leave it out: this type stands in messages only",
        _ => return Ok(rtype),
    };
    let message = format!("type {} cannot be loaded from a zone file", word.text);
    Err(Fault::new(word.place, message, hint))
}

/// A TTL: seconds below 2³¹ (RFC 2181 §8), with or without units.
fn read_ttl(token: &Token<'_>) -> Result<u32, Fault> {
    let value = seconds(token.text).filter(|&ttl| ttl <= i32::MAX as u32);
    value.ok_or_else(|| {
        let hint = "write seconds below 2^31, or units as in 1h30m (w d h m s)";
        data::wrong(token, "a TTL", hint)
    })
}
