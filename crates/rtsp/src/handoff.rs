//! Handoff between an edge and a player, tier A: header names, start times, confirmations.
//!
//! ```text
//!  first edge ── PLAY_NOTIFY (Handoff-Id, Location, Ticket, Handoff-Start) ──► player
//!  second edge ◄─ OPTIONS (Ticket) ── player    ── 200 (Handoff-Challenge) ──►
//!  second edge ◄─ SETUP …/d1 (Ticket, Handoff-Proof), PLAY ── player
//!  first edge ◄── SET_PARAMETER "handoff: id, d1: ok" ── player      then the same for d0
//! ```

use crate::{locator, parameters, range::Npt};

/// Player → edge on SETUP: its ephemeral Ed25519 key, base64url.
pub const KEY: &str = "Handoff-Key";
/// Edge → player in PLAY_NOTIFY: the handoff's id.
pub const ID: &str = "Handoff-Id";
/// Edge → player in PLAY_NOTIFY: first normal play time of each description at the second edge, first moved first.
pub const START: &str = "Handoff-Start";
/// Edge → player in PLAY_NOTIFY and player → second edge: the ticket.
pub const TICKET: &str = "Ticket";
/// Second edge → player in the answer to OPTIONS: what to sign.
pub const CHALLENGE: &str = "Handoff-Challenge";
/// Player → second edge on SETUP: the signature over challenge and ticket.
pub const PROOF: &str = "Handoff-Proof";
/// `Notify-Reason` of the PLAY_NOTIFY that starts a handoff.
pub const REASON: &str = "handoff.media-edge";

/// Most descriptions in a start header or a confirmation.
const ENTRIES_MAX: usize = 16;

/// The value of `Handoff-Start`: `d1=12.000000, d0=13.000000`.
pub fn start_to_header(starts: &[(u8, Npt)]) -> String {
    let one = |(description, npt): &(u8, Npt)| {
        format!(
            "{}={}",
            locator::control(*description),
            npt.to_seconds_text()
        )
    };
    starts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads `Handoff-Start`; order matters, the first entry moves first.
pub fn parse_start(value: &str) -> Option<Vec<(u8, Npt)>> {
    let entries: Vec<&str> = value.split(',').collect();
    if entries.len() > ENTRIES_MAX {
        return None;
    }
    entries
        .into_iter()
        .map(|entry| {
            let (control, seconds) = entry.trim().split_once('=')?;
            Some((locator::description(control)?, Npt::parse(seconds.trim())?))
        })
        .collect()
}

/// What the player tells the first edge about one description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first frame from the second edge has arrived.
    Ok,
    /// It will not come; the first edge carries on.
    Failed,
}

/// The body of the player's SET_PARAMETER to the first edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The handoff's id.
    pub handoff: String,
    /// What came of each description named.
    pub outcomes: Vec<(u8, Outcome)>,
}

impl Confirmation {
    /// A single description's outcome.
    pub fn new(handoff: &str, description: u8, outcome: Outcome) -> Confirmation {
        Confirmation {
            handoff: handoff.to_owned(),
            outcomes: vec![(description, outcome)],
        }
    }

    /// The body's text.
    pub fn to_body(&self) -> String {
        let mut body = format!("handoff: {}\r\n", self.handoff);
        for (description, outcome) in &self.outcomes {
            let word = match outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "failed",
            };
            body.push_str(&format!("{}: {word}\r\n", locator::control(*description)));
        }
        body
    }

    /// Reads a body; `None` if it is not a confirmation.
    pub fn parse(body: &[u8]) -> Option<Confirmation> {
        let pairs = parameters::parse(body)?;
        let (&("handoff", handoff), rest) = pairs.split_first()? else {
            return None;
        };
        if rest.len() > ENTRIES_MAX || handoff.is_empty() {
            return None;
        }
        let outcomes = rest
            .iter()
            .map(|(control, word)| {
                let outcome = match *word {
                    "ok" => Outcome::Ok,
                    "failed" => Outcome::Failed,
                    _ => return None,
                };
                Some((locator::description(control)?, outcome))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Confirmation {
            handoff: handoff.to_owned(),
            outcomes,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_times_keep_their_order() {
        let starts = vec![(1, Npt(1_083_000)), (0, Npt(1_170_000))];
        let text = start_to_header(&starts);
        assert_eq!(text, "d1=12.033333, d0=13.000000");
        assert_eq!(parse_start(&text), Some(starts));
        for bad in ["", "d1", "d1=", "x=1", "d1=1;d0=2", "d1=-1"] {
            assert_eq!(parse_start(bad), None, "{bad}");
        }
    }

    #[test]
    fn confirmations_round_trip() {
        let body = Confirmation::new("7f3a", 1, Outcome::Ok);
        assert_eq!(body.to_body(), "handoff: 7f3a\r\nd1: ok\r\n");
        assert_eq!(Confirmation::parse(body.to_body().as_bytes()), Some(body));
        let failed = Confirmation::new("7f3a", 0, Outcome::Failed);
        assert_eq!(
            Confirmation::parse(failed.to_body().as_bytes()),
            Some(failed)
        );
        for bad in [
            "",
            "d1: ok",
            "handoff: \r\nd1: ok",
            "handoff: x\r\nd1: maybe",
        ] {
            assert_eq!(Confirmation::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,120}") {
            let _ = parse_start(&text);
            let _ = Confirmation::parse(text.as_bytes());
        }
    }
}
