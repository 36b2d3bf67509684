//! Cuts a zone file into entries of tokens, each with its place (RFC 1035 §5.1).

use super::place::Place;

/// One word or quoted string, still escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    pub(super) quoted: bool,
    /// It stands right behind the token before, as in `key="value"`.
    pub(super) joined: bool,
    pub(super) place: Place,
}

/// One logical line: what stands between line ends, parentheses joined.
#[derive(Debug, Default)]
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
    source: u16,
    /// The place of every token, where the text is not the file's.
    fixed: Option<Place>,
}

impl<'t> Lexer<'t> {
    /// `source` is the file's number.
    pub(super) fn new(text: &'t str, source: u16) -> Self {
        // A byte order mark is no part of the first owner.
        let at = if text.starts_with('\u{FEFF}') { 3 } else { 0 };
        Self {
            text,
            at,
            source,
            fixed: None,
        }
    }

    /// For a line that was made from one that stands at `place`.
    pub(super) fn of_generated(text: &'t str, place: Place) -> Self {
        Self {
            fixed: Some(place),
            ..Self::new(text, place.source)
        }
    }

    fn place(&self) -> Place {
        self.fixed.unwrap_or(Place {
            source: self.source,
            at: self.at as u32,
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text from `start` to here; both are next to ASCII octets, so on character boundaries.
    fn since(&self, start: usize) -> &'t str {
        self.text
            .get(start..self.at.min(self.text.len()))
            .unwrap_or("")
    }

    /// Goes on to the next octet that `stops`, or to the end.
    fn skip_until(&mut self, stops: impl Fn(u8) -> bool) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&octet| stops(octet));
        self.at += length.unwrap_or(rest.len());
    }

    fn word(&mut self) -> Token<'t> {
        let (start, place) = (self.at, self.place());
        loop {
            self.skip_until(|octet| ENDS_WORD[usize::from(octet)]);
            if self.peek() != Some(b'\\') {
                break;
            }
            self.step_over_escape();
        }
        self.token(start, false, place)
    }

    fn token(&self, start: usize, quoted: bool, place: Place) -> Token<'t> {
        let text = self.since(start);
        let joined = false;
        Token {
            text,
            quoted,
            joined,
            place,
        }
    }

    /// A backslash and what it protects, except the end of the line.
    fn step_over_escape(&mut self) {
        self.at += 1;
        if self.peek().is_some_and(|octet| octet != b'\n') {
            self.at += 1;
        }
    }

    /// A string in double quotes; `None` if it does not end on its line.
    fn quoted(&mut self) -> Option<Token<'t>> {
        let place = self.place();
        self.at += 1;
        let start = self.at;
        loop {
            self.skip_until(|octet| matches!(octet, b'\n' | b'\\' | b'"'));
            match self.peek()? {
                b'\\' => self.step_over_escape(),
                b'"' => break,
                _ => return None,
            }
        }
        let token = self.token(start, true, place);
        self.at += 1;
        Some(token)
    }

    /// Fills `entry` with the next one that is not empty; false at the end.
    pub(super) fn read(&mut self, entry: &mut Entry<'t>) -> bool {
        entry.indented = false;
        entry.tokens.clear();
        entry.fault = None;
        let mut open: Option<Place> = None;
        let (mut line_start, mut token_end) = (true, usize::MAX);
        while let Some(octet) = self.peek() {
            match octet {
                b'\n' => {
                    self.at += 1;
                    if open.is_none() {
                        if !entry.tokens.is_empty() || entry.fault.is_some() {
                            return true;
                        }
                        entry.indented = false;
                        line_start = true;
                        continue;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    entry.indented |= line_start;
                    self.at += 1;
                }
                b';' => self.skip_until(|octet| octet == b'\n'),
                b'(' => {
                    if open.is_some() {
                        let hint = "close the first one before opening another";
                        let fault = (self.place(), "parentheses do not nest", hint);
                        entry.fault.get_or_insert(fault);
                    }
                    open = Some(self.place());
                    self.at += 1;
                }
                b')' => {
                    if open.take().is_none() {
                        let hint = "remove it, or open one where the record continues";
                        let message = "closing parenthesis without an opening one";
                        entry.fault.get_or_insert((self.place(), message, hint));
                    }
                    self.at += 1;
                }
                _ => {
                    let (start, place) = (self.at, self.place());
                    let token = match octet {
                        b'"' => self.quoted(),
                        _ => Some(self.word()),
                    };
                    match token {
                        Some(token) => entry.tokens.push(Token {
                            joined: start == token_end,
                            ..token
                        }),
                        None => {
                            let hint = "end the string on its line; write a line end as \\010";
                            let fault = (place, "quoted string without end", hint);
                            entry.fault.get_or_insert(fault);
                        }
                    }
                    token_end = self.at;
                }
            }
            line_start = false;
        }
        if let Some(place) = open {
            let hint = "every line after it was read as part of this record";
            let fault = (place, "parenthesis without end", hint);
            entry.fault.get_or_insert(fault);
        }
        !entry.tokens.is_empty() || entry.fault.is_some()
    }
}

/// Octets that a word does not go over; a backslash takes the next one along.
const ENDS_WORD: [bool; 256] = {
    let mut ends = [false; 256];
    let octets = b" \t\r\n;()\"\\";
    let mut at = 0;
    while at < octets.len() {
        ends[octets[at] as usize] = true;
        at += 1;
    }
    ends
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each entry's tokens with their offsets.
    fn words(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text, 0);
        let mut entry = Entry::default();
        let mut lines = Vec::new();
        while lexer.read(&mut entry) {
            let tokens = entry.tokens.iter().map(|token| {
                let mark = if token.quoted { "'" } else { "" };
                let joined = if token.joined { "+" } else { "" };
                format!("{joined}{mark}{}@{}", token.text, token.place.at)
            });
            let indent = if entry.indented { "> " } else { "" };
            let fault = entry.fault.map(|(_, message, _)| format!(" !{message}"));
            let tokens = tokens.collect::<Vec<_>>().join(" ");
            lines.push(indent.to_owned() + &tokens + &fault.unwrap_or_default());
        }
        lines
    }

    #[test]
    fn cuts_lines_comments_parentheses_and_quotes() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text:?}");
        check("a b\n\n ; only a comment\nc", &["a@0 b@2", "c@23"]);
        check("\tb ; x\n", &["> b@1"]);
        check("a ( b ; x\n c ) d\ne", &["a@0 b@4 c@11 d@15", "e@17"]);
        check("a \"x;( y\" \"\"", &["a@0 'x;( y@2 '@10"]);
        check("a k=\"v\"w", &["a@0 k=@2 +'v@4 +w@7"]);
        check("a\\ b\\\"c d", &["a\\ b\\\"c@0 d@8"]);
        check("ä b", &["ä@0 b@3"]);
        check("\u{FEFF}a", &["a@3"]);
        check("a \"x\nb", &["a@0 !quoted string without end", "b@5"]);
        check("a ( b\nc", &["a@0 b@4 c@6 !parenthesis without end"]);
        let message = "closing parenthesis without an opening one";
        check("a ) b\nc", &[&format!("a@0 b@4 !{message}"), "c@6"]);
        check("a\r\nb\r\n", &["a@0", "b@3"]);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_panic_and_ends(text in "[a\"\\\\();\\n äß\\t0]{0,200}") {
            let (mut lexer, mut entry) = (Lexer::new(&text, 0), Entry::default());
            let mut octets = 0;
            while lexer.read(&mut entry) {
                octets += entry.tokens.iter().map(|token| token.text.len()).sum::<usize>();
            }
            prop_assert!(octets <= text.len());
        }
    }
}
