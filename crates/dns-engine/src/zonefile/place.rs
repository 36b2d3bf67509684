//! Where things stand in the files of a zone, and the findings about them.
//!
//! A place is an offset, so that reading counts no lines; lines and columns are counted once at the end,
//! for the places that something is wrong with.

use std::borrow::Cow;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The zone is not loaded.
    Error,
    /// The zone can be loaded, and probably says something else than was meant.
    Warning,
}

/// One thing that is wrong with a zone file, or odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the file as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it; for an included file also where it was included.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            severity,
            message,
            hint,
        } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{file}:{line}:{column}: {severity}: {message} ({hint})")
    }
}

/// An offset in one of the zone's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) source: u16,
    pub(super) at: u32,
}

impl Place {
    /// The beginning of the zone's own file, for what stands nowhere.
    pub(super) const START: Self = Self { source: 0, at: 0 };
}

/// A file of the zone; one that is included twice counts twice.
pub(super) struct Source<'t> {
    pub(super) name: String,
    pub(super) text: Cow<'t, str>,
    /// The directive that asked for it.
    pub(super) included: Option<Place>,
}

/// A finding that does not know its line yet.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fault {
    /// An error.
    pub(super) fn new(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            place,
            severity: Severity::Error,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The same as a warning.
    pub(super) fn warning(
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::new(place, message, hint)
        }
    }
}

/// More findings of one severity are only counted: nobody reads them, and a large file may be wrong in every line.
const FINDINGS_MAX: usize = 1_000;

/// All that was found, before lines are counted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    errors: Vec<Fault>,
    warnings: Vec<Fault>,
    errors_more: usize,
    warnings_more: usize,
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        let (kept, more) = match fault.severity {
            Severity::Error => (&mut self.errors, &mut self.errors_more),
            Severity::Warning => (&mut self.warnings, &mut self.warnings_more),
        };
        if kept.len() < FINDINGS_MAX {
            kept.push(fault);
        } else {
            *more += 1;
        }
    }

    /// An error; see [`Fault::new`].
    pub(super) fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Fault::new(place, message, hint));
    }

    /// A warning; see [`Fault::warning`].
    pub(super) fn warning(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Fault::warning(place, message, hint));
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The findings with their lines, file by file, in the order in which they stand there.
    pub(super) fn findings(self, sources: &[Source<'_>]) -> Vec<Finding> {
        let mut faults = self.errors;
        faults.extend(self.warnings);
        faults.sort_by_key(|fault| fault.place);
        let mut findings = Vec::with_capacity(faults.len());
        for faults in faults.chunk_by(|one, next| one.place.source == next.place.source) {
            let Some(source) = faults.first().map(|first| usize::from(first.place.source)) else {
                continue;
            };
            let Some(file) = sources.get(source) else {
                continue;
            };
            let trail = trail(sources, file);
            let mut counter = Counter::new(&file.text);
            for fault in faults {
                let (line, column) = counter.line_and_column(fault.place.at);
                findings.push(Finding {
                    file: file.name.clone(),
                    line,
                    column,
                    severity: fault.severity,
                    message: fault.message.clone(),
                    hint: format!("{}{trail}", fault.hint),
                });
            }
        }
        let more = [
            (self.errors_more, Severity::Error),
            (self.warnings_more, Severity::Warning),
        ];
        for (more, severity) in more {
            if more > 0 {
                findings.push(Finding {
                    file: sources
                        .first()
                        .map(|file| file.name.clone())
                        .unwrap_or_default(),
                    line: 1,
                    column: 1,
                    severity,
                    message: format!("{more} more findings like these"),
                    hint: "they are shown once these are gone".to_owned(),
                });
            }
        }
        findings
    }
}

/// How the zone's own file comes to a file: `; included at a.zone:3:1`.
fn trail(sources: &[Source<'_>], file: &Source<'_>) -> String {
    let mut trail = String::new();
    let mut included = file.included;
    while let Some(place) = included
        && let Some(above) = sources.get(usize::from(place.source))
    {
        let (line, column) = Counter::new(&above.text).line_and_column(place.at);
        let word = if trail.is_empty() { "; included" } else { "," };
        trail += &format!("{word} at {}:{line}:{column}", above.name);
        included = above.included;
    }
    trail
}

/// Counts lines and columns of rising offsets.
struct Counter<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'t> Counter<'t> {
    fn new(text: &'t str) -> Self {
        // A byte order mark takes no column.
        let start = if text.starts_with('\u{FEFF}') { 3 } else { 0 };
        Self {
            text,
            at: start,
            line: 1,
            line_start: start,
        }
    }

    fn line_and_column(&mut self, at: u32) -> (u32, u32) {
        let at = (at as usize).max(self.at);
        let between = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        for (offset, _) in between
            .iter()
            .enumerate()
            .filter(|(_, octet)| **octet == b'\n')
        {
            self.line += 1;
            self.line_start = self.at + offset + 1;
        }
        self.at = at;
        let before = self.text.get(self.line_start..at).unwrap_or("");
        (self.line, before.chars().count() as u32 + 1)
    }
}
