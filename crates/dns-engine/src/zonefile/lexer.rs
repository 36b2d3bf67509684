//! Cuts a zone file into entries of tokens, each with its line and column (RFC 1035 §5.1).

use super::Place;

/// One word or quoted string, still escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    pub(super) quoted: bool,
    pub(super) place: Place,
}

/// One logical line: what stands between line ends, parentheses joined.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    /// The line starts with white space: the owner of the line before is meant.
    pub(super) indented: bool,
    pub(super) tokens: Vec<Token<'t>>,
    /// Where the line could not be cut, and why; the entry is then not to be trusted.
    pub(super) fault: Option<(Place, &'static str, &'static str)>,
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    place: Place,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        // A byte order mark is no part of the first owner.
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        Self {
            text,
            at: 0,
            place: Place { line: 1, column: 1 },
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        match self.peek() {
            Some(b'\n') => {
                self.place = Place {
                    line: self.place.line.saturating_add(1),
                    column: 1,
                }
            }
            // Continuation octets of UTF-8 do not move the column.
            Some(octet) if octet & 0xC0 == 0x80 => {}
            _ => self.place.column = self.place.column.saturating_add(1),
        }
        self.at += 1;
    }

    /// The text from `start` to here; both are next to ASCII octets, so on character boundaries.
    fn since(&self, start: usize) -> &'t str {
        self.text
            .get(start..self.at.min(self.text.len()))
            .unwrap_or("")
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|octet| octet != b'\n') {
            self.step();
        }
    }

    fn word(&mut self) -> Token<'t> {
        let (start, place) = (self.at, self.place);
        while let Some(octet) = self.peek() {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => break,
                b'\\' => self.step_over_escape(),
                _ => self.step(),
            }
        }
        Token {
            text: self.since(start),
            quoted: false,
            place,
        }
    }

    /// A backslash and what it protects, except the end of the line.
    fn step_over_escape(&mut self) {
        self.step();
        if self.peek().is_some_and(|octet| octet != b'\n') {
            self.step();
        }
    }

    /// A string in double quotes; `None` if it does not end on its line.
    fn quoted(&mut self) -> Option<Token<'t>> {
        let place = self.place;
        self.step();
        let start = self.at;
        loop {
            match self.peek()? {
                b'\n' => return None,
                b'\\' => self.step_over_escape(),
                b'"' => break,
                _ => self.step(),
            }
        }
        let text = self.since(start);
        self.step();
        Some(Token {
            text,
            quoted: true,
            place,
        })
    }
}

impl<'t> Iterator for Lexer<'t> {
    type Item = Entry<'t>;

    /// The next entry that is not empty.
    fn next(&mut self) -> Option<Entry<'t>> {
        let mut entry = Entry {
            indented: false,
            tokens: Vec::new(),
            fault: None,
        };
        let mut open: Option<Place> = None;
        let mut line_start = true;
        while let Some(octet) = self.peek() {
            match octet {
                b'\n' => {
                    self.step();
                    if open.is_none() {
                        if !entry.tokens.is_empty() || entry.fault.is_some() {
                            return Some(entry);
                        }
                        entry.indented = false;
                        line_start = true;
                        continue;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    entry.indented |= line_start;
                    self.step();
                }
                b';' => self.skip_comment(),
                b'(' => {
                    if open.is_some() {
                        let hint = "close the first one before opening another";
                        entry
                            .fault
                            .get_or_insert((self.place, "parentheses do not nest", hint));
                    }
                    open = Some(self.place);
                    self.step();
                }
                b')' => {
                    if open.take().is_none() {
                        let hint = "remove it, or open one where the record continues";
                        let message = "closing parenthesis without an opening one";
                        entry.fault.get_or_insert((self.place, message, hint));
                    }
                    self.step();
                }
                b'"' => {
                    let place = self.place;
                    match self.quoted() {
                        Some(token) => entry.tokens.push(token),
                        None => {
                            let hint = "end the string on its line; write a line end as \\010";
                            entry
                                .fault
                                .get_or_insert((place, "quoted string without end", hint));
                        }
                    }
                }
                _ => {
                    let token = self.word();
                    entry.tokens.push(token);
                }
            }
            line_start = false;
        }
        if let Some(place) = open {
            let hint = "every line after it was read as part of this record";
            entry
                .fault
                .get_or_insert((place, "parenthesis without end", hint));
        }
        (!entry.tokens.is_empty() || entry.fault.is_some()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        Lexer::new(text)
            .map(|entry| {
                let tokens = entry.tokens.iter().map(|token| {
                    let mark = if token.quoted { "'" } else { "" };
                    format!(
                        "{mark}{}@{}:{}",
                        token.text, token.place.line, token.place.column
                    )
                });
                let indent = if entry.indented { "> " } else { "" };
                let fault = entry.fault.map(|(_, message, _)| format!(" !{message}"));
                indent.to_owned()
                    + &tokens.collect::<Vec<_>>().join(" ")
                    + &fault.unwrap_or_default()
            })
            .collect()
    }

    #[test]
    fn cuts_lines_comments_parentheses_and_quotes() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text:?}");
        check("a b\n\n ; only a comment\nc", &["a@1:1 b@1:3", "c@4:1"]);
        check("\tb ; x\n", &["> b@1:2"]);
        check(
            "a ( b ; x\n c ) d\ne",
            &["a@1:1 b@1:5 c@2:2 d@2:6", "e@3:1"],
        );
        check("a \"x;( y\" \"\"", &["a@1:1 'x;( y@1:3 '@1:11"]);
        check("a\\ b\\\"c d", &["a\\ b\\\"c@1:1 d@1:9"]);
        check("ä b", &["ä@1:1 b@1:3"]);
        check("a \"x\nb", &["a@1:1 !quoted string without end", "b@2:1"]);
        check("a ( b\nc", &["a@1:1 b@1:5 c@2:1 !parenthesis without end"]);
        check(
            "a ) b\nc",
            &[
                "a@1:1 b@1:5 !closing parenthesis without an opening one",
                "c@2:1",
            ],
        );
        check("a\r\nb\r\n", &["a@1:1", "b@2:1"]);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_panic_and_ends(text in "[a\"\\\\();\\n äß\\t0]{0,200}") {
            let octets: usize = Lexer::new(&text)
                .flat_map(|entry| entry.tokens)
                .map(|token| token.text.len())
                .sum();
            prop_assert!(octets <= text.len());
        }
    }
}
