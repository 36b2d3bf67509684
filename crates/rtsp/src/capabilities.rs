//! What an edge can do and what a client says it understands: feature tags and the list of methods.

use rtsp_types::Headers;

use crate::message::header;

/// The client merges several descriptions of one title; the edge may describe the pair.
pub const MDC: &str = "mdc.media-edge";
/// The client follows a handoff to another edge, as in [`crate::handoff`].
pub const HANDOFF: &str = "handoff.media-edge";

/// Every feature tag of ours, as `Supported` lists them in answers.
pub const ALL: [&str; 2] = [MDC, HANDOFF];

/// The methods a media edge answers, as `Public` lists them (RFC 2326 §12.28).
pub const PUBLIC: &str =
    "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// The value of our `Supported` header.
pub fn supported() -> String {
    ALL.join(", ")
}

/// Whether the message's `Supported` header lists `tag`.
pub fn supports(message: &impl AsRef<Headers>, tag: &str) -> bool {
    header(message, "Supported").is_some_and(|value| {
        value
            .split(',')
            .any(|item| item.trim().eq_ignore_ascii_case(tag))
    })
}

/// The tags a message requires that are none of ours; an empty list means the request may proceed (RFC 2326 §12.32).
pub fn unsupported(message: &impl AsRef<Headers>) -> Vec<String> {
    ["Require", "Proxy-Require"]
        .into_iter()
        .filter_map(|name| header(message, name))
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty() && !ALL.iter().any(|ours| ours.eq_ignore_ascii_case(tag)))
        .map(str::to_owned)
        .collect()
}
