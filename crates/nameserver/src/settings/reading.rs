//! How configuration files are read and shown.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads one path, or a list of paths: `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// When it is neither.
pub fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path or a list of paths")
        }

        fn visit_str<E>(self, path: &str) -> Result<Vec<PathBuf>, E> {
            Ok(vec![path.into()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, paths: A) -> Result<Vec<PathBuf>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(paths))
        }
    }

    from.deserialize_any(OneOrMore)
}

/// An example configuration with its commented keys (`# key = …`) and tables (`# [[table]]`) as such, for the tests that
/// load every example.
pub fn uncommented(text: &str) -> String {
    let is_table = |line: &str| line.starts_with('[') && line.trim_end().ends_with(']');
    let is_key = |line: &str| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim_end());
        !key.is_empty()
            && key
                .bytes()
                .all(|octet| octet.is_ascii_lowercase() || octet == b'_')
    };
    let line = |line| match str::strip_prefix(line, "# ") {
        Some(key) if is_key(key) || is_table(key) => key,
        _ => line,
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
