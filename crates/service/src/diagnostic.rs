//! Findings about files an operator wrote: one line each for editors and scripts, an excerpt on a terminal.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use miette::{LabeledSpan, MietteDiagnostic, MietteHandlerOpts, NamedSource, ReportHandler};
use serde::Serialize;

/// How bad a finding is. Only errors make a `check` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and probably says something else than was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One finding. `Display` gives `file:line:column: error: message`, and the hint in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// File name as the operator wrote it.
    pub file: String,
    /// Line, from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// Column in characters, from 1; 0 when unknown.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a hint.
    pub fn error(
        file: impl Into<String>,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            file: file.into(),
            line,
            column,
            severity: Severity::Error,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning about a file as a whole.
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(file, 0, 0, message)
        }
    }

    /// The same finding with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// The finding with the operator's line shown, as wide as the terminal. `source` is the file's text.
    pub fn excerpt(&self, source: &str) -> String {
        let severity = match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let mut shown = MietteDiagnostic::new(self.message.clone()).with_severity(severity);
        if let Some(hint) = &self.hint {
            shown = shown.with_help(hint.clone());
        }
        if self.column > LINE_MAX {
            return self.to_string(); // nobody would find the place in such a line
        }
        let source = with_lines_cut(source, self.line);
        let Some(offset) = offset(&source, self.line, self.column) else {
            return self.to_string();
        };
        let length = word_length(source.get(offset..).unwrap_or(""));
        shown = shown.with_label(LabeledSpan::new(None, offset, length));
        let report =
            miette::Report::new(shown).with_source_code(NamedSource::new(&self.file, source));
        Drawn(report).to_string()
    }

    /// Prints to stderr: an excerpt when stderr is a terminal and `source` is known, one plain line otherwise.
    pub fn show(&self, source: Option<&str>) {
        match source {
            Some(source) if std::io::stderr().is_terminal() => {
                eprintln!("{}", self.excerpt(source))
            }
            _ => eprintln!("{self}"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.severity, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A report as miette draws it.
struct Drawn(miette::Report);

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MietteHandlerOpts::new().build().debug(self.0.as_ref(), f)
    }
}

/// Longer lines of a file are shown in part: keys and texts may have thousands of characters.
const LINE_MAX: usize = 160;

/// The text with the lines around this one (from 1) cut to what is shown of them.
fn with_lines_cut(source: &str, line: usize) -> String {
    let near = line.saturating_sub(2)..=line + 2;
    let mut cut = String::with_capacity(source.len());
    for (number, text) in (1..).zip(source.split_inclusive('\n')) {
        let end = text.char_indices().nth(LINE_MAX + 1);
        match end.filter(|_| near.contains(&number)) {
            Some((end, _)) => {
                cut.push_str(text.get(..end).unwrap_or_default());
                cut.push_str("…\n");
            }
            None => cut.push_str(text),
        }
    }
    cut
}

/// Many findings of one run, in the order in which they were found. As an error it means "at least one of these is bad".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Diagnostic>,
}

impl Report {
    /// Adds one finding.
    pub fn push(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Number of findings that are errors.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .count()
    }

    /// For a file that will be made later: while it is not there, that is a warning. `meanwhile` says what happens
    /// until then. Findings about a file that is there stay as they are.
    pub fn soften_missing(&mut self, path: &Path, meanwhile: &str) {
        let missing =
            std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let file = path.display().to_string();
        let about = self.findings.iter_mut();
        for finding in about.filter(|finding| missing && finding.file == file) {
            let message = format!("it is not there yet: {meanwhile}");
            *finding = Diagnostic::warning(file.clone(), message);
        }
    }

    /// True when nothing was found at all.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Prints every finding to stderr; on a terminal with the line of the file, read again from disk.
    pub fn show(&self) {
        for finding in &self.findings {
            finding.show(std::fs::read_to_string(&finding.file).ok().as_deref());
        }
    }

    /// `{"errors":1,"warnings":0,"findings":[{"file":…,"line":…,"column":…,"severity":…,"message":…,"hint":…}]}`
    pub fn to_json(&self) -> serde_json::Value {
        let errors = self.errors();
        serde_json::json!({
            "errors": errors,
            "warnings": self.findings.len() - errors,
            "findings": self.findings,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl From<Diagnostic> for Report {
    fn from(finding: Diagnostic) -> Report {
        Report {
            findings: vec![finding],
        }
    }
}

impl Extend<Diagnostic> for Report {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, findings: I) {
        self.findings.extend(findings);
    }
}

/// Line and column (both from 1, column in characters) of a byte offset; past the end counts as the end.
pub fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = source.get(..end).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The inverse of [`line_and_column`]; `None` when the file has no such line.
fn offset(source: &str, line: usize, column: usize) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += source.get(start..)?.find('\n')? + 1;
    }
    let text = source.get(start..)?.lines().next().unwrap_or("");
    let within = text
        .char_indices()
        .nth(column.checked_sub(1)?)
        .map_or(text.len(), |(at, _)| at);
    (line > 0).then_some(start + within)
}

/// How much to underline: the word at the front, at least one character.
fn word_length(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || "=,;()[]{}".contains(c));
    end.unwrap_or(text.len()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_file_line_column_and_hint() {
        let finding = Diagnostic::error("a.toml", 4, 21, "no such region")
            .with_hint("did you mean `us-east`?");
        assert_eq!(
            finding.to_string(),
            "a.toml:4:21: error: no such region (did you mean `us-east`?)"
        );
    }

    #[test]
    fn a_finding_about_the_whole_file_has_no_position() {
        assert_eq!(
            Diagnostic::error("a.toml", 0, 0, "gone").to_string(),
            "a.toml: error: gone"
        );
    }

    #[test]
    fn the_excerpt_shows_the_line_and_the_hint() {
        let text = Diagnostic::error("a.toml", 2, 9, "no such region")
            .with_hint("try `b`")
            .excerpt("first = 1\norder = [\"us-eats\"]\n");
        for expected in ["a.toml:2:9", "us-eats", "no such region", "try `b`"] {
            assert!(text.contains(expected), "{expected:?} missing in {text}");
        }
    }

    #[test]
    fn of_a_long_line_as_much_is_shown_as_anyone_reads() {
        let long = "x".repeat(5_000);
        let source = format!("{long}\nkey \"{long}\"\n{long}\n");
        let finding = Diagnostic::error("a.zone", 2, 5, "too long").with_hint("w ".repeat(100));
        let text = finding.excerpt(&source);
        assert!(text.contains("a.zone:2:5") && text.contains('…'), "{text}");
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(2 * LINE_MAX), "{text}");
        let hint = text.lines().filter(|line| line.contains("w w w"));
        assert!(hint.clone().count() > 1 && hint.clone().all(|line| line.chars().count() < 120));
        let behind = Diagnostic::error("a.zone", 2, 4_000, "odd");
        assert_eq!(behind.excerpt(&source), behind.to_string());
    }

    #[test]
    fn a_position_outside_the_file_falls_back_to_the_plain_line() {
        let finding = Diagnostic::error("a.toml", 9, 1, "odd");
        assert_eq!(finding.excerpt("x\n"), finding.to_string());
    }

    #[test]
    fn offset_and_position_are_inverse_for_every_character() {
        let source = "a = 1\nü = \"é\"\n\nlast";
        for (at, _) in source.char_indices() {
            let (line, column) = line_and_column(source, at);
            assert_eq!(offset(source, line, column), Some(at), "offset {at}");
        }
    }

    #[test]
    fn only_a_file_that_is_not_there_is_softened() {
        let folder = tempfile::tempdir().unwrap();
        let (there, later) = (folder.path().join("there"), folder.path().join("later"));
        std::fs::write(&there, "").unwrap();
        let mut report = Report::default();
        for path in [&there, &later] {
            report.push(Diagnostic::error(path.display().to_string(), 0, 0, "bad"));
        }
        for path in [&there, &later] {
            report.soften_missing(path, "nothing works");
        }
        assert_eq!(report.errors(), 1);
        assert!(
            report
                .to_string()
                .ends_with("later: warning: it is not there yet: nothing works"),
            "{report}"
        );
    }

    #[test]
    fn json_counts_errors_and_warnings() {
        let mut report = Report::from(Diagnostic::error("a", 1, 1, "x"));
        report.push(Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error("a", 2, 1, "y")
        });
        let json = report.to_json();
        assert_eq!(
            (json["errors"].as_u64(), json["warnings"].as_u64()),
            (Some(1), Some(1))
        );
        assert_eq!(json["findings"][0]["severity"], "error");
    }
}
