//! `text/parameters` bodies: one `name: value` a line, as SET_PARAMETER carries them (RFC 2326 §10.9).

/// The media type of these bodies.
pub const CONTENT_TYPE: &str = "text/parameters";

/// The pairs of a body in their order, blanks trimmed. `None` if it is not text or a line has no colon.
pub fn parse(body: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = std::str::from_utf8(body).ok()?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.trim(), value.trim()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_in_order_and_refuses_other_text() {
        let pairs = parse(b"handoff: 7f\r\nd1: ok\r\n\r\n").unwrap();
        assert_eq!(pairs, [("handoff", "7f"), ("d1", "ok")]);
        assert_eq!(parse(b""), Some(vec![]));
        assert_eq!(parse(b"no colon\r\n"), None);
        assert_eq!(parse(b"\xff: x"), None);
    }
}
