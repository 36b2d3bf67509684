//! Which title and which of its descriptions a URL means:
//! `rtsp://edge/title` one plain line, `…/title/d1` one description, `…/title?mdc=1` all of them.

use rtsp_types::Url;

/// Longest title name in octets.
pub const TITLE_OCTETS_MAX: usize = 64;
/// Most descriptions a title may have.
pub const DESCRIPTIONS_MAX: u8 = 16;

/// What a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// The title's name.
    pub title: String,
    /// The one description named, if any.
    pub description: Option<u8>,
    /// Whether the client wants every description grouped (`?mdc=1`).
    pub grouped: bool,
}

impl Locator {
    /// Reads a request URL; `None` if it names no title. A trailing slash does not matter.
    ///
    /// Players that resolve `control:d0` against a base with a query put the query anywhere: both
    /// `/title?mdc=1/d0` and `/title/d0?mdc=1` mean description 0.
    pub fn parse(url: &Url) -> Option<Locator> {
        let query = url.query().unwrap_or_default();
        let (query, after_query) = query.split_once('/').unwrap_or((query, ""));
        let mut parts = url
            .path()
            .split('/')
            .chain(after_query.split('/'))
            .filter(|p| !p.is_empty());
        let title = parts.next()?;
        if !is_title(title) {
            return None;
        }
        let description = match parts.next() {
            None => None,
            Some(control) => Some(description(control)?),
        };
        if parts.next().is_some() {
            return None;
        }
        let grouped = query.split('&').any(|pair| pair == "mdc=1");
        Some(Locator {
            title: title.to_owned(),
            description,
            grouped,
        })
    }

    /// The URL path and query that [`Locator::parse`] reads back, starting with `/`.
    pub fn path(&self) -> String {
        let mut path = format!("/{}", self.title);
        if let Some(number) = self.description {
            path.push_str(&format!("/{}", control(number)));
        }
        if self.grouped {
            path.push_str("?mdc=1");
        }
        path
    }
}

/// Whether a text may name a title: letters, digits, `.`, `_`, `-`, no leading dot, at most 64 octets.
/// Names become folder names, so nothing else gets through.
pub fn is_title(text: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
    (1..=TITLE_OCTETS_MAX).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(plain)
}

/// The control name of a description: `d0`, `d1`, …
pub fn control(description: u8) -> String {
    format!("d{description}")
}

/// The description a control name means; one spelling each, so `d01` is none.
pub fn description(control: &str) -> Option<u8> {
    let digits = control.strip_prefix('d')?;
    let number: u8 = digits.parse().ok()?;
    (number < DESCRIPTIONS_MAX && number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<(String, Option<u8>, bool)> {
        let url = Url::parse(&format!("rtsp://edge:8554{path}")).unwrap();
        let found = Locator::parse(&url)?;
        let canonical = Url::parse(&format!("rtsp://edge{}", found.path())).unwrap();
        assert_eq!(Locator::parse(&canonical).as_ref(), Some(&found));
        Some((found.title, found.description, found.grouped))
    }

    #[test]
    fn reads_titles_descriptions_and_the_group_flag() {
        let title = || "t-1".to_owned();
        assert_eq!(parse("/t-1"), Some((title(), None, false)));
        assert_eq!(parse("/t-1/"), Some((title(), None, false)));
        assert_eq!(parse("/t-1/d1"), Some((title(), Some(1), false)));
        assert_eq!(parse("/t-1?mdc=1"), Some((title(), None, true)));
        assert_eq!(parse("/t-1/?mdc=1"), Some((title(), None, true)));
        assert_eq!(parse("/t-1?mdc=1/d0"), Some((title(), Some(0), true)));
        assert_eq!(parse("/t-1/d0?mdc=1"), Some((title(), Some(0), true)));
    }

    #[test]
    fn refuses_paths_that_are_no_title() {
        for path in [
            "", "/", "/.hidden", "/a%2fb", "/t/x", "/t/d01", "/t/d16", "/t/d1/d0", "/t/d",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
        // The URL parser resolves dots itself, so nothing climbs out of the titles' folder.
        assert_eq!(parse("/../../etc"), Some(("etc".into(), None, false)));
        assert!(!is_title(&"x".repeat(65)));
    }
}
