//! What is wrong in a file an operator wrote, with the place to look at and what to do about it.

use std::fmt;
use std::ops::Range;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used all the same.
    Warning,
}

/// One thing found in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file as the caller named it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted in characters from 1.
    pub column: usize,
    /// Refused or only remarked on.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// `file:line:column: error: message (hint)`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}:{}:{}: {word}: {}",
            self.file, self.line, self.column, self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// The findings of one file while it is read; knows the text, so byte offsets become lines.
#[derive(Debug)]
pub(crate) struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    all: Vec<Finding>,
}

impl<'t> Findings<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Findings<'t> {
        Findings {
            file,
            text,
            all: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, at: &Range<usize>, message: impl Into<String>) {
        self.push(at, Severity::Error, message.into(), None);
    }

    pub(crate) fn error_with_hint(
        &mut self,
        at: &Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(at, Severity::Error, message.into(), Some(hint.into()));
    }

    pub(crate) fn warning(&mut self, at: &Range<usize>, message: String, hint: Option<String>) {
        self.push(at, Severity::Warning, message, hint);
    }

    fn push(
        &mut self,
        at: &Range<usize>,
        severity: Severity,
        message: String,
        hint: Option<String>,
    ) {
        let (line, column) = self.place(at.start);
        let file = self.file.to_owned();
        self.all.push(Finding {
            file,
            line,
            column,
            severity,
            message,
            hint,
        });
    }

    /// A warning at a known line and column, for files that are read line by line.
    pub(crate) fn at(&mut self, line: usize, column: usize, message: String) {
        let file = self.file.to_owned();
        let severity = Severity::Warning;
        self.all.push(Finding {
            file,
            line,
            column,
            severity,
            message,
            hint: None,
        });
    }

    /// Everything found, in the order it was found.
    pub(crate) fn into_inner(self) -> Vec<Finding> {
        self.all
    }

    /// Line and column, both from 1, of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// The value if nothing worse than a warning was found, with the warnings; else everything found.
    pub(crate) fn finish<T>(self, value: T) -> Result<(T, Vec<Finding>), Vec<Finding>> {
        let mut all = self.all;
        all.sort_by_key(|finding| (finding.line, finding.column));
        all.dedup();
        if all
            .iter()
            .any(|finding| finding.severity == Severity::Error)
        {
            return Err(all);
        }
        Ok((value, all))
    }
}

/// The candidate closest to `word`, if it is close enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, by rows.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(from != to))
                .min(*cell + 1)
                .min(left + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_from_one_in_characters() {
        let mut findings = Findings::new("f.toml", "ä = 1\nöb = 2\n");
        findings.error_with_hint(&(9..10), "no", "do");
        let all = findings.finish(()).unwrap_err();
        assert_eq!(all[0].to_string(), "f.toml:2:2: error: no (do)");
    }

    #[test]
    fn suggests_the_nearest_known_word() {
        let known = ["capacity", "edges", "at"];
        assert_eq!(nearest("capactiy", known.into_iter()), Some("capacity"));
        assert_eq!(nearest("edge", known.into_iter()), Some("edges"));
        assert_eq!(nearest("zebra", known.into_iter()), None);
    }
}
