//! What two edges say to each other: the control messages of a handoff and the request for a title's data.
//! One message is a length in four octets, big endian, and that much JSON.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Longest message read: far above an offer (about 1 KiB).
pub const MESSAGE_OCTETS_MAX: usize = 64 * 1024;

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub enum Message {
    /// First → second: will you take this session?
    Offer(Box<Offer>),
    /// Second → first: room is kept and the first description is at hand, until the offer's lease ends.
    Prepared {
        /// The handoff's id.
        handoff: String,
    },
    /// No: to an offer or a fetch.
    Refused {
        /// The handoff's id; empty for a fetch.
        handoff: String,
        /// A word for logs and metrics: `full`, `draining`, `no_title`, `other_title`, `malformed`.
        reason: String,
    },
    /// Second → first: the client proved itself and this description is being sent to it.
    Serving {
        /// The handoff's id.
        handoff: String,
        /// The description.
        description: u8,
    },
    /// Second → first: every description is being sent.
    Committed {
        /// The handoff's id.
        handoff: String,
    },
    /// First → second: the first edge has dropped the client.
    Released {
        /// The handoff's id.
        handoff: String,
    },
    /// Either way: the handoff is off; the first edge carries on, the second forgets it.
    Aborted {
        /// The handoff's id.
        handoff: String,
        /// A word for logs and metrics.
        reason: String,
    },
    /// On its own stream: send me data of a title. The answer is `Granted` and the data, or `Refused`.
    Fetch(Fetch),
    /// The data follows on this stream.
    Granted {},
    /// On its own stream: would you take a session? The answer is `Room`.
    Probe {},
    /// How many more sessions the edge takes; 0 while it drains.
    Room {
        /// Free sessions.
        sessions: u32,
    },
}

/// Prefetch information: all that the second edge needs to continue the very same packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Random id of this handoff.
    pub handoff: String,
    /// Name of the first edge.
    pub from: String,
    /// Name of the second edge.
    pub to: String,
    /// The title.
    pub title: String,
    /// BLAKE3 of the title's outline: with another encoding of the same name the packets would not fit together.
    pub title_digest: String,
    /// Whether the title starts again when it ends.
    pub repeat: bool,
    /// Each description and the normal play time (90 kHz ticks) of the IDR it starts with, first moved first.
    pub starts: Vec<(u8, u64)>,
    /// The session's position when the offer arrives, as well as the sender can tell (90 kHz ticks): the second edge
    /// keeps the same clock.
    pub position: u64,
    /// From which sequence numbers, timestamps and sources follow; base64url of 32 octets.
    pub session_secret: Secret<String>,
    /// The client's ephemeral key, base64url.
    pub client_key: String,
    /// Where the client was last seen.
    pub client_address: IpAddr,
    /// Mean rate of the session, kbit/s.
    pub kbit_per_second: u32,
    /// How long the second edge keeps room, milliseconds from receipt.
    pub lease_ms: u64,
    /// Why the session shall move: `drain` or `load`. An edge that is busy itself refuses the latter.
    pub reason: String,
}

/// A value that must not get into logs and error texts: its `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Message {
    /// What kind of message it is: for logs, where the content, being another's words, has no place.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Offer(_) => "offer",
            Message::Prepared { .. } => "prepared",
            Message::Refused { .. } => "refused",
            Message::Serving { .. } => "serving",
            Message::Committed { .. } => "committed",
            Message::Released { .. } => "released",
            Message::Aborted { .. } => "aborted",
            Message::Fetch(_) => "fetch",
            Message::Granted {} => "granted",
            Message::Probe {} => "probe",
            Message::Room { .. } => "room",
        }
    }
}

/// Which part of a title is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The title.
    pub title: String,
    /// What of it.
    pub part: Part,
    /// How many edges this request has passed already: two edges that name each other as a source must not go round.
    pub hops: u32,
}

/// A part of a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// The manifest and every description's index.
    Outline,
    /// Frames of one description by position in its index, from an IDR up to before the next one.
    Frames {
        /// The description.
        description: u8,
        /// Position of the first frame in the description's index.
        first: u32,
        /// How many frames.
        count: u32,
    },
}

/// The message with its length in front.
pub fn encode(message: &Message) -> Vec<u8> {
    // These types always serialise.
    let body = serde_json::to_vec(message).unwrap_or_default();
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// The message in a body without its length; `None` if it is none of ours.
pub fn decode(body: &[u8]) -> Option<Message> {
    if body.len() > MESSAGE_OCTETS_MAX {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer() -> Message {
        Message::Offer(Box::new(Offer {
            handoff: "h".into(),
            from: "a".into(),
            to: "b".into(),
            title: "t".into(),
            title_digest: "00".into(),
            repeat: false,
            starts: vec![(1, 93_000), (0, 180_000)],
            position: 90_000,
            session_secret: Secret("hush-hush".into()),
            client_key: "k".into(),
            client_address: "192.0.2.7".parse().unwrap(),
            kbit_per_second: 700,
            lease_ms: 8_000,
            reason: "drain".into(),
        }))
    }

    #[test]
    fn messages_round_trip() {
        let fetch = Fetch {
            title: "t".into(),
            part: Part::Frames {
                description: 1,
                first: 30,
                count: 30,
            },
            hops: 0,
        };
        for message in [
            offer(),
            Message::Refused {
                handoff: "h".into(),
                reason: "full".into(),
            },
            Message::Serving {
                handoff: "h".into(),
                description: 1,
            },
            Message::Fetch(fetch),
            Message::Granted {},
            Message::Probe {},
            Message::Room { sessions: 3 },
            Message::Fetch(Fetch {
                title: "t".into(),
                part: Part::Outline,
                hops: 1,
            }),
        ] {
            let bytes = encode(&message);
            let (length, body) = bytes.split_at(4);
            assert_eq!(length, (body.len() as u32).to_be_bytes());
            assert_eq!(decode(body), Some(message));
        }
    }

    #[test]
    fn the_session_secret_travels_but_is_not_shown() {
        let text = String::from_utf8(encode(&offer()).split_off(4)).unwrap();
        assert!(text.contains("\"session_secret\":\"hush-hush\""), "{text}");
        let shown = format!("{:?}", offer());
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(offer().kind(), "offer");
    }

    proptest! {
        #[test]
        fn hostile_bodies_are_refused_quietly(
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = encode(&offer()).split_off(4);
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = decode(&bytes);
        }
    }
}
