//! Reading the TOML files operators write, with errors that point at the line and say what was probably meant.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::diagnostic::{Diagnostic, line_and_column};

/// Why a file could not be used. `Display` is `file:line:col: error: text (hint)`.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// Where and what.
    pub diagnostic: Diagnostic,
    source_text: Option<String>,
}

impl ConfigError {
    /// Prints to stderr: with an excerpt on a terminal, else as one plain line.
    pub fn show(&self) {
        self.diagnostic.show(self.source_text.as_deref());
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for ConfigError {}

/// Reads and parses a TOML file into a typed struct.
///
/// # Errors
/// When the file cannot be read, is not TOML, or does not fit the struct.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text),
        Err(error) => Err(ConfigError {
            diagnostic: Diagnostic::error(name, 0, 0, format!("cannot be read: {error}")),
            source_text: None,
        }),
    }
}

/// Parses TOML text; `name` is what messages call the file.
///
/// # Errors
/// When the text is not TOML or does not fit the struct.
pub fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = error
            .span()
            .map_or((0, 0), |span| line_and_column(text, span.start));
        let mut diagnostic = Diagnostic::error(name, line, column, error.message().trim_end());
        diagnostic.hint = suggestion(error.message());
        ConfigError {
            diagnostic,
            source_text: Some(text.to_owned()),
        }
    })
}

/// A path in a config file: relative ones are meant beside the config file, whatever the working folder.
pub fn beside(config_file: &Path, path: &Path) -> PathBuf {
    match config_file.parent() {
        Some(folder) if path.is_relative() => folder.join(path),
        _ => path.to_owned(),
    }
}

/// `did you mean …?` for serde's "unknown field `x`, expected one of `a`, `b`", when one of them is close.
fn suggestion(message: &str) -> Option<String> {
    let unknown = ["unknown field ", "unknown variant "]
        .iter()
        .find_map(|p| message.strip_prefix(p))?;
    let mut quoted = unknown.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    let meant = closest(written, quoted)?;
    Some(format!("did you mean `{meant}`?"))
}

/// The candidate with the fewest edits from `written`, if at most a third of its letters (and at least one edit) is wrong.
pub fn closest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let (distance, best) = candidates
        .into_iter()
        .map(|candidate| (edits(written, candidate), candidate))
        .min()?;
    (distance <= (best.chars().count() / 3).max(1)).then_some(best)
}

/// Edit distance where a swap of two neighbours counts once (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        listen: Vec<SocketAddr>,
        #[allow(dead_code)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Careful,
    }

    fn check(text: &str, expected: &str) {
        let error = parse::<Sample>("x.toml", text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_good_file_is_read() {
        let sample: Sample =
            parse("x.toml", "listen = [\"127.0.0.1:0\"]\nmode = \"fast\"\n").unwrap();
        assert!(
            matches!(sample.mode, Some(Mode::Fast)),
            "and not {:?}",
            Mode::Careful
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_was_meant() {
        check(
            "# comment\nlisten = []\n  lisetn = []\n",
            "x.toml:3:3: error: unknown field `lisetn`, expected `listen` or `mode` (did you mean `listen`?)",
        );
    }

    #[test]
    fn a_key_far_from_all_others_gets_no_suggestion() {
        check(
            "listen = []\nbanana = 1\n",
            "x.toml:2:1: error: unknown field `banana`, expected `listen` or `mode`",
        );
    }

    #[test]
    fn a_wrong_value_is_pointed_at() {
        check(
            "listen = [\"127.0.0.1\"]",
            "x.toml:1:11: error: invalid socket address syntax",
        );
        check(
            "listen = []\nmode = \"carefull\"",
            "x.toml:2:8: error: unknown variant `carefull`, expected `fast` or `careful` (did you mean `careful`?)",
        );
    }

    #[test]
    fn broken_toml_is_pointed_at() {
        let error = parse::<Sample>("x.toml", "listen = [\n\nmode = 1").unwrap_err();
        assert!(
            error.diagnostic.line >= 1 && error.diagnostic.column >= 1,
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_one_plain_line() {
        let error = load::<Sample>(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/x.toml: error: cannot be read"),
            "{error}"
        );
    }

    #[test]
    fn relative_paths_are_beside_the_config() {
        let config = Path::new("/etc/signpost/l1.toml");
        assert_eq!(
            beside(config, Path::new("zones/a")),
            Path::new("/etc/signpost/zones/a")
        );
        assert_eq!(beside(config, Path::new("/var/a")), Path::new("/var/a"));
        assert_eq!(beside(Path::new("l1.toml"), Path::new("a")), Path::new("a"));
    }

    #[test]
    fn swapped_letters_are_one_edit() {
        assert_eq!(edits("us-eats", "us-east"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(closest("us-eats", ["eu-west", "us-east"]), Some("us-east"));
    }
}
