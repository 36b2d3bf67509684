//! Bytes of an RTSP connection to events, fed in any slices. Every length is bounded before anything is kept,
//! and a message is handed to the parser once, when it is whole, so that a slow sender costs no repeated parsing.

use rtsp_types::{Message, StatusCode};

use crate::message::{Request, Response};

/// Longest header block in octets, start line included: far above what players send (about 1 KiB with a ticket).
pub const HEADER_OCTETS_MAX: usize = 8 * 1024;
/// Longest body in octets: session descriptions and race reports stay below 8 KiB.
pub const BODY_OCTETS_MAX: usize = 16 * 1024;
/// Most header lines in one message.
pub const HEADERS_MAX: usize = 64;
/// Empty lines tolerated in front of a message (RFC 2326 §4 lets receivers skip them).
const BLANK_OCTETS_MAX: usize = 64;

/// One thing read from the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request with its body.
    Request(Request),
    /// A response with its body.
    Response(Response),
    /// A binary frame between the messages (RFC 2326 §10.12).
    Interleaved {
        /// The channel announced in SETUP.
        channel: u8,
        /// One RTP or RTCP packet.
        payload: Vec<u8>,
    },
}

/// Why the connection cannot be read any further. After one of these the codec stays silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The header block exceeds [`HEADER_OCTETS_MAX`].
    #[error("header block longer than {HEADER_OCTETS_MAX} octets")]
    HeaderTooLong,
    /// More than [`HEADERS_MAX`] header lines.
    #[error("more than {HEADERS_MAX} header lines")]
    TooManyHeaders,
    /// `Content-Length` exceeds [`BODY_OCTETS_MAX`].
    #[error("body longer than {BODY_OCTETS_MAX} octets")]
    BodyTooLong,
    /// Neither RTSP 1.0 nor 2.0.
    #[error("unknown RTSP version")]
    Version,
    /// Not an RTSP message.
    #[error("not an RTSP message")]
    Malformed,
}

impl CodecError {
    /// The status a server answers with before it closes.
    pub fn status(self) -> StatusCode {
        match self {
            CodecError::BodyTooLong => StatusCode::RequestMessageBodyTooLarge,
            CodecError::Version => StatusCode::RTSPVersionNotSupported,
            CodecError::HeaderTooLong | CodecError::TooManyHeaders | CodecError::Malformed => {
                StatusCode::BadRequest
            }
        }
    }
}

/// The reading side of one connection.
#[derive(Debug, Default)]
pub struct Codec {
    buffer: Vec<u8>,
    /// Octets at the front of `buffer` that are used up.
    used: usize,
    /// Octets after `used` already searched for the end of the header block.
    searched: usize,
    failed: Option<CodecError>,
}

impl Codec {
    /// An empty codec.
    pub fn new() -> Codec {
        Codec::default()
    }

    /// Takes what the connection delivered; call [`Codec::next_event`] until it returns `None` afterwards.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Octets held that do not form an event yet (a server starts its request deadline when this is not zero).
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// The next whole event; `None` when more bytes are needed.
    pub fn next_event(&mut self) -> Result<Option<Event>, CodecError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let found = self.take();
        if let Err(error) = &found {
            self.failed = Some(*error);
            self.buffer = Vec::new();
            self.used = 0;
        }
        found
    }

    fn take(&mut self) -> Result<Option<Event>, CodecError> {
        self.skip_blank_lines()?;
        match self.rest().first() {
            None => Ok(None),
            Some(b'$') => Ok(self.take_interleaved()),
            Some(first) if first.is_ascii_alphabetic() => self.take_message(),
            Some(b'\r') if self.rest().len() == 1 => Ok(None),
            Some(_) => Err(CodecError::Malformed),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    fn consume(&mut self, octets: usize) {
        self.used = (self.used + octets).min(self.buffer.len());
        self.searched = 0;
    }

    fn skip_blank_lines(&mut self) -> Result<(), CodecError> {
        let mut skipped = 0;
        while self.rest().starts_with(b"\r\n") {
            self.consume(2);
            skipped += 2;
            if skipped > BLANK_OCTETS_MAX {
                return Err(CodecError::Malformed);
            }
        }
        Ok(())
    }

    fn take_interleaved(&mut self) -> Option<Event> {
        let &[_, channel, high, low, ref after @ ..] = self.rest() else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let payload = after.get(..length)?.to_vec();
        self.consume(4 + length);
        Some(Event::Interleaved { channel, payload })
    }

    fn take_message(&mut self) -> Result<Option<Event>, CodecError> {
        let Some(head) = self.find_head()? else {
            return Ok(None);
        };
        let body = body_length(self.rest().get(..head).unwrap_or_default())?;
        let Some(whole) = self.rest().get(..head + body) else {
            return Ok(None);
        };
        let event = parse(whole)?;
        self.consume(head + body);
        Ok(Some(event))
    }

    /// Length of the header block with its closing empty line, once that has arrived.
    fn find_head(&mut self) -> Result<Option<usize>, CodecError> {
        let from = self.searched.saturating_sub(3);
        let rest = self.rest();
        let end = rest
            .get(from..)
            .unwrap_or_default()
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| from + at + 4);
        match end {
            Some(end) if end <= HEADER_OCTETS_MAX => Ok(Some(end)),
            Some(_) => Err(CodecError::HeaderTooLong),
            None if rest.len() >= HEADER_OCTETS_MAX => Err(CodecError::HeaderTooLong),
            None => {
                self.searched = rest.len();
                Ok(None)
            }
        }
    }
}

/// `Content-Length` of a header block, 0 without one; several that differ are an attack on framing.
fn body_length(head: &[u8]) -> Result<usize, CodecError> {
    let mut length = None;
    let mut lines = 0;
    for line in head.split(|&octet| octet == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        lines += 1;
        if lines > HEADERS_MAX {
            return Err(CodecError::TooManyHeaders);
        }
        let Some(colon) = line.iter().position(|&octet| octet == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if !name.eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let value = number(value).ok_or(CodecError::Malformed)?;
        if length.replace(value).is_some_and(|before| before != value) {
            return Err(CodecError::Malformed);
        }
    }
    match length.unwrap_or(0) {
        length if length > BODY_OCTETS_MAX => Err(CodecError::BodyTooLong),
        length => Ok(length),
    }
}

/// Decimal digits only: no sign, no blank, at most nine digits.
fn number(digits: &[u8]) -> Option<usize> {
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
    if !plain {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// One whole message; the parser has to use up exactly what the framing found.
fn parse(whole: &[u8]) -> Result<Event, CodecError> {
    match Message::<Vec<u8>>::parse(whole) {
        Ok((message, used)) if used == whole.len() => match message {
            Message::Request(request) => Ok(Event::Request(request)),
            Message::Response(response) => Ok(Event::Response(response)),
            Message::Data(_) => Err(CodecError::Malformed),
        },
        _ if foreign_version(whole) => Err(CodecError::Version),
        _ => Err(CodecError::Malformed),
    }
}

/// Whether the first line names an RTSP version other than 1.0 and 2.0.
fn foreign_version(whole: &[u8]) -> bool {
    let line = whole
        .split(|&octet| octet == b'\r')
        .next()
        .unwrap_or_default();
    let word = line
        .split(|&octet| octet == b' ')
        .find(|word| word.starts_with(b"RTSP/"));
    word.is_some_and(|word| word != b"RTSP/1.0" && word != b"RTSP/2.0")
}

/// The bytes of a request.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    // Writing to a `Vec` cannot fail.
    let _ = request.write(&mut bytes);
    bytes
}

/// The bytes of a response.
pub fn encode_response(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    // Writing to a `Vec` cannot fail.
    let _ = response.write(&mut bytes);
    bytes
}

/// The four octets in front of an interleaved packet (RFC 2326 §10.12).
pub fn interleaved_header(channel: u8, length: u16) -> [u8; 4] {
    let [high, low] = length.to_be_bytes();
    [b'$', channel, high, low]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtsp_types::{Method, Url};

    use super::*;
    use crate::message::{request, respond};

    fn events(slices: &[&[u8]]) -> Result<Vec<Event>, CodecError> {
        let mut codec = Codec::new();
        let mut events = Vec::new();
        for slice in slices {
            codec.push(slice);
            while let Some(event) = codec.next_event()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn conversation() -> Vec<u8> {
        let url = Url::parse("rtsp://edge/title").unwrap();
        let asked = request(
            Method::SetParameter,
            &url,
            3,
            &[],
            b"race: 127.0.0.1 40 ok\r\n",
        );
        let answer = respond(&asked, StatusCode::Ok, &[], b"body");
        let mut bytes = b"\r\n".to_vec();
        bytes.extend(encode_request(&asked));
        bytes.extend(interleaved_header(1, 3));
        bytes.extend(b"$\r\n");
        bytes.extend(encode_response(&answer));
        bytes.extend(interleaved_header(0, 0));
        bytes.extend(encode_request(&request(Method::Options, &url, 4, &[], b"")));
        bytes
    }

    #[test]
    fn reads_the_same_events_wherever_the_bytes_are_split() {
        let bytes = conversation();
        let whole = events(&[&bytes]).unwrap();
        assert_eq!(whole.len(), 5);
        for at in 0..=bytes.len() {
            let (front, back) = bytes.split_at(at);
            assert_eq!(events(&[front, back]).unwrap(), whole, "split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single).unwrap(), whole);
    }

    fn refused(bytes: &[u8], error: CodecError) {
        assert_eq!(events(&[bytes]), Err(error));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single), Err(error), "octet by octet");
    }

    #[test]
    fn refuses_what_exceeds_a_limit() {
        let long = format!(
            "OPTIONS * RTSP/1.0\r\nX: {}\r\n\r\n",
            "x".repeat(HEADER_OCTETS_MAX)
        );
        refused(long.as_bytes(), CodecError::HeaderTooLong);
        let many = format!(
            "OPTIONS * RTSP/1.0\r\n{}\r\n",
            "X: y\r\n".repeat(HEADERS_MAX + 1)
        );
        refused(many.as_bytes(), CodecError::TooManyHeaders);
        refused(
            b"OPTIONS * RTSP/1.0\r\nContent-Length: 16385\r\n\r\n",
            CodecError::BodyTooLong,
        );
    }

    #[test]
    fn refuses_ambiguous_and_foreign_messages() {
        for text in [
            "OPTIONS * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
            "OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS http//bad url RTSP/1.0\r\n\r\n",
        ] {
            refused(text.as_bytes(), CodecError::Malformed);
        }
        refused(
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            CodecError::Malformed,
        );
        refused(
            b"OPTIONS * RTSP/3.0\r\nCSeq: 1\r\n\r\n",
            CodecError::Version,
        );
    }

    #[test]
    fn stays_silent_after_a_failure() {
        let mut codec = Codec::new();
        codec.push(b"\x00");
        assert_eq!(codec.next_event(), Err(CodecError::Malformed));
        codec.push(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert_eq!(codec.next_event(), Err(CodecError::Malformed));
        assert_eq!(codec.pending(), 0);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_keeps_more_than_its_limits(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let _ = events(&[&bytes]);
        }

        #[test]
        fn survives_mutations_of_a_real_conversation(
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = conversation();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let (front, back) = bytes.split_at(cut.index(bytes.len()));
            let split = events(&[front, back]);
            prop_assert_eq!(split, events(&[&bytes]));
        }

        #[test]
        fn interleaved_frames_round_trip(
            channel in any::<u8>(), payload in proptest::collection::vec(any::<u8>(), 0..1_500),
        ) {
            let mut bytes = interleaved_header(channel, payload.len() as u16).to_vec();
            bytes.extend(&payload);
            prop_assert_eq!(events(&[&bytes]).unwrap(), vec![Event::Interleaved { channel, payload }]);
        }
    }
}
