//! Walking a parsed TOML file by hand, so that every mistake in it is found in one run and each has a place.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::{Findings, nearest};

/// A value with its place in the file.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// Parses the syntax; every syntax error becomes a finding and what could be read is still returned.
pub(crate) fn parse<'t>(text: &'t str, findings: &mut Findings<'_>) -> Spanned<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        findings.error(
            &error.span().unwrap_or(0..0),
            error.message().replace('\n', "; "),
        );
    }
    table
}

/// A table being read: remembers which keys were asked for, so that `finish` can refuse the others.
pub(crate) struct Table<'a, 't> {
    name: String,
    place: Range<usize>,
    entries: &'a DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'a, 't> Table<'a, 't> {
    /// `name` is how messages call it: `[region.eu-west]`.
    pub(crate) fn root(table: &'a Spanned<DeTable<'t>>, name: &str) -> Table<'a, 't> {
        let entries = table.get_ref();
        Table {
            name: name.to_owned(),
            place: 0..0,
            entries,
            asked: Vec::new(),
        }
    }

    /// The value as a table, or a finding that it is none.
    pub(crate) fn of(
        name: String,
        value: &'a Value<'t>,
        findings: &mut Findings<'_>,
    ) -> Option<Table<'a, 't>> {
        let Some(entries) = value.get_ref().as_table() else {
            findings.error(
                &value.span(),
                format!("{name} must be a table, not {}", kind(value)),
            );
            return None;
        };
        Some(Table {
            name,
            place: value.span(),
            entries,
            asked: Vec::new(),
        })
    }

    pub(crate) fn place(&self) -> &Range<usize> {
        &self.place
    }

    /// Keys and values of a table whose keys are names chosen by the operator.
    pub(crate) fn named(
        &self,
    ) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Value<'t>)> + use<'a, 't> {
        self.entries
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    pub(crate) fn optional(&mut self, key: &'static str) -> Option<&'a Value<'t>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    pub(crate) fn required(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<&'a Value<'t>> {
        let value = self.optional(key);
        if value.is_none() {
            findings.error(&self.place, format!("{} lacks `{key}`", self.name));
        }
        value
    }

    pub(crate) fn table(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<Table<'a, 't>> {
        let value = self.optional(key)?;
        Table::of(format!("`{key}` in {}", self.name), value, findings)
    }

    pub(crate) fn text(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<&'a str> {
        let value = self.optional(key)?;
        text(key, value, findings)
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        findings: &mut Findings<'_>,
    ) -> Option<u64> {
        let value = self.optional(key)?;
        integer(key, value, allowed, findings)
    }

    /// A list of texts; one text stands for a list of one. Each comes with its place.
    pub(crate) fn texts(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Vec<(&'a str, Range<usize>)> {
        let Some(value) = self.optional(key) else {
            return Vec::new();
        };
        let items: Vec<&'a Value<'t>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        items
            .into_iter()
            .filter_map(|item| Some((text(key, item, findings)?, item.span())))
            .collect()
    }

    /// One finding for each key that nobody asked for.
    pub(crate) fn finish(self, findings: &mut Findings<'_>) {
        for (key, _) in self.entries.iter() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, self.asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            findings.error_with_hint(
                &key.span(),
                format!("unknown key `{name}` in {}", self.name),
                hint,
            );
        }
    }
}

pub(crate) fn text<'a>(
    key: &str,
    value: &'a Value<'_>,
    findings: &mut Findings<'_>,
) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        findings.error(
            &value.span(),
            format!("`{key}` must be a text, not {}", kind(value)),
        );
    }
    text
}

pub(crate) fn integer(
    key: &str,
    value: &Value<'_>,
    allowed: RangeInclusive<u64>,
    findings: &mut Findings<'_>,
) -> Option<u64> {
    let Some(integer) = value.get_ref().as_integer() else {
        findings.error(
            &value.span(),
            format!("`{key}` must be a whole number, not {}", kind(value)),
        );
        return None;
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    let number = number.filter(|number| allowed.contains(number));
    if number.is_none() {
        let (low, high) = allowed.into_inner();
        findings.error(
            &value.span(),
            format!("`{key}` must be between {low} and {high}"),
        );
    }
    number
}

/// A whole number or a decimal one.
pub(crate) fn decimal(key: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<f64> {
    let digits = match value.get_ref() {
        DeValue::Float(float) => float.as_str(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        _ => "",
    };
    let number = digits
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    if number.is_none() {
        findings.error(
            &value.span(),
            format!("`{key}` must be a number, not {}", kind(value)),
        );
    }
    number
}

pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
