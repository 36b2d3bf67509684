//! The session state machine of one connection: may this request proceed, and as what? (RFC 2326 §A)
//!
//! ```text
//!           SETUP            PLAY
//!   Init ─────────► Ready ─────────► Playing ──┐ SETUP of a further stream, PLAY for it
//!     ▲               ▲ ◄───── PAUSE ──┘ ▲─────┘
//!     └── TEARDOWN ───┴── end of title
//! ```
//! `step` only decides; the program acts and then tells the machine what came of it (`set_up`, `played`, …).
//! One connection carries at most one session, and a session cannot be reached from another connection.

use std::collections::BTreeMap;

use rtsp_types::{Method, StatusCode, Url};

use crate::{
    capabilities,
    locator::Locator,
    message::{Request, cseq, header, session_id},
    range::NptRange,
    transport::{Policy, Transport, negotiate},
};

/// Most streams in one session: descriptions of one title, with room to grow.
pub const STREAMS_MAX: usize = 8;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No stream set up.
    Init,
    /// Streams set up, nothing sent.
    Ready,
    /// Sending.
    Playing,
}

/// What the program shall do for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Say what the edge can do.
    Options,
    /// Describe the title.
    Describe(Locator),
    /// Set a stream up; the locator names its description, or the title's only line if it names none.
    SetUp {
        /// Title and description.
        locator: Locator,
        /// The transport agreed on.
        transport: Transport,
    },
    /// Start, continue or seek.
    Play {
        /// The range asked for, if any.
        range: Option<NptRange>,
    },
    /// Stop sending, keep the position.
    Pause,
    /// End the session.
    TearDown,
    /// GET_PARAMETER: a sign of life unless its body asks for something.
    GetParameter,
    /// SET_PARAMETER: race report, handoff confirmation, or a sign of life.
    SetParameter,
}

/// Why a request may not proceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// Further headers of the answer (`Unsupported`, `Allow`).
    pub headers: Vec<(&'static str, String)>,
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Refusal {
        Refusal {
            status,
            headers: Vec::new(),
        }
    }
}

/// The session of one connection.
#[derive(Debug, Default)]
pub struct Machine {
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    id: String,
    title: String,
    playing: bool,
    streams: BTreeMap<u8, Transport>,
}

impl Machine {
    /// A connection without a session.
    pub fn new() -> Machine {
        Machine::default()
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        match &self.session {
            None => State::Init,
            Some(session) if session.playing => State::Playing,
            Some(_) => State::Ready,
        }
    }

    /// The session's id once there is one.
    pub fn id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    /// Decides about a request; nothing changes here.
    pub fn step(&self, request: &Request, policy: Policy) -> Result<Action, Refusal> {
        if cseq(request).is_none() {
            return Err(StatusCode::BadRequest.into());
        }
        let unsupported = capabilities::unsupported(request);
        if !unsupported.is_empty() {
            return Err(Refusal {
                status: StatusCode::OptionNotSupported,
                headers: vec![("Unsupported", unsupported.join(", "))],
            });
        }
        if let Some(id) = session_id(request)
            && self.id() != Some(id)
        {
            return Err(StatusCode::SessionNotFound.into());
        }
        match request.method() {
            Method::Options => Ok(Action::Options),
            Method::Describe => Ok(Action::Describe(locate(request.request_uri())?)),
            Method::Setup => self.step_setup(request, policy),
            Method::Play => {
                self.need_session(request)?;
                Ok(Action::Play {
                    range: range(request)?,
                })
            }
            Method::Pause => {
                self.need_session(request)?;
                Ok(Action::Pause)
            }
            Method::Teardown => {
                self.need_session(request)?;
                Ok(Action::TearDown)
            }
            Method::GetParameter => Ok(Action::GetParameter),
            Method::SetParameter => Ok(Action::SetParameter),
            Method::Announce | Method::Record | Method::Redirect | Method::PlayNotify => {
                Err(Refusal {
                    status: StatusCode::MethodNotAllowed,
                    headers: vec![("Allow", capabilities::PUBLIC.to_owned())],
                })
            }
            Method::Extension(_) => Err(Refusal {
                status: StatusCode::NotImplemented,
                headers: vec![("Public", capabilities::PUBLIC.to_owned())],
            }),
        }
    }

    /// PLAY, PAUSE and TEARDOWN: 455 without a session, 454 if the request does not name it.
    fn need_session(&self, request: &Request) -> Result<(), Refusal> {
        if self.session.is_none() {
            return Err(StatusCode::MethodNotValidInThisState.into());
        }
        if session_id(request).is_none() {
            return Err(StatusCode::SessionNotFound.into());
        }
        Ok(())
    }

    fn step_setup(&self, request: &Request, policy: Policy) -> Result<Action, Refusal> {
        let locator = locate(request.request_uri())?;
        if let Some(session) = &self.session {
            // A second session on this connection, the same stream again, another title: all refused, so that
            // nothing already set up can be swapped under a running sender.
            let named = session_id(request).is_some();
            let again = session
                .streams
                .contains_key(&locator.description.unwrap_or(0));
            if !named || again || session.streams.len() >= STREAMS_MAX {
                return Err(StatusCode::MethodNotValidInThisState.into());
            }
            if session.title != locator.title {
                return Err(StatusCode::AggregateOperationNotAllowed.into());
            }
        }
        let Some(offer) = header(request, "Transport") else {
            return Err(StatusCode::BadRequest.into());
        };
        match negotiate(offer, policy, self.free_channels(), |channel| {
            self.channel_taken(channel)
        }) {
            Some(transport) => Ok(Action::SetUp { locator, transport }),
            None => Err(StatusCode::UnsupportedTransport.into()),
        }
    }

    /// Whether an interleaved channel belongs to a stream of this session.
    pub fn channel_taken(&self, channel: u8) -> bool {
        self.session.iter().flat_map(|session| session.streams.values()).any(|transport| {
            matches!(*transport, Transport::Tcp { rtp, rtcp } if rtp == channel || rtcp == channel)
        })
    }

    /// The lowest even pair of channels that is free.
    fn free_channels(&self) -> (u8, u8) {
        let pairs = (0_u8..=254).step_by(2).map(|first| (first, first + 1));
        let free =
            |&(first, second): &(u8, u8)| !self.channel_taken(first) && !self.channel_taken(second);
        pairs.into_iter().find(free).unwrap_or((0, 1))
    }

    /// A stream was set up; `id` starts the session if there is none.
    pub fn set_up(&mut self, id: &str, title: &str, description: u8, transport: Transport) {
        let session = self.session.get_or_insert_with(|| Session {
            id: id.to_owned(),
            title: title.to_owned(),
            playing: false,
            streams: BTreeMap::new(),
        });
        session.streams.insert(description, transport);
    }

    /// Sending started.
    pub fn played(&mut self) {
        self.set_playing(true);
    }

    /// Sending stopped: by PAUSE or at the end of the title.
    pub fn paused(&mut self) {
        self.set_playing(false);
    }

    fn set_playing(&mut self, playing: bool) {
        if let Some(session) = &mut self.session {
            session.playing = playing;
        }
    }

    /// The session is over.
    pub fn torn_down(&mut self) {
        self.session = None;
    }
}

fn locate(url: Option<&Url>) -> Result<Locator, Refusal> {
    let url = url.ok_or(StatusCode::BadRequest)?;
    if url.scheme() != "rtsp" && url.scheme() != "rtspu" {
        return Err(StatusCode::BadRequest.into());
    }
    Locator::parse(url).ok_or_else(|| StatusCode::NotFound.into())
}

fn range(request: &Request) -> Result<Option<NptRange>, Refusal> {
    match header(request, "Range") {
        None => Ok(None),
        Some(value) => match NptRange::parse(value) {
            Some(range) => Ok(Some(range)),
            None => Err(StatusCode::InvalidRange.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use rtsp_types::Version;

    use super::*;
    use crate::message::name;

    /// Method, path, headers, status expected in Init, Ready and Playing.
    type Row = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        [u16; 3],
    );

    const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

    fn request(method: &str, url: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut builder = rtsp_types::Request::builder(Method::from(method), Version::V1_0)
            .request_uri(Url::parse(url).unwrap())
            .header(name("CSeq"), "1");
        for (header, value) in headers {
            builder = builder.header(name(header), *value);
        }
        builder.build(Vec::new())
    }

    /// A machine in the state asked for, session `s`, stream `d0` on channels 0 and 1.
    fn machine(state: State) -> Machine {
        let mut machine = Machine::new();
        if state != State::Init {
            machine.set_up("s", "t", 0, Transport::Tcp { rtp: 0, rtcp: 1 });
        }
        if state == State::Playing {
            machine.played();
        }
        assert_eq!(machine.state(), state);
        machine
    }

    fn status(state: State, request: &Request) -> u16 {
        match machine(state).step(request, Policy::default()) {
            Ok(_) => 200,
            Err(refusal) => u16::from(refusal.status),
        }
    }

    #[test]
    fn every_method_in_every_state() {
        let session: &'static [(&'static str, &'static str)] = &[("Session", "s")];
        let new_stream: &'static [(&'static str, &'static str)] = &[
            ("Session", "s"),
            ("Transport", "RTP/AVP/TCP;interleaved=2-3"),
        ];
        let same_stream: &'static [(&'static str, &'static str)] =
            &[("Session", "s"), ("Transport", TCP)];
        let first: &'static [(&'static str, &'static str)] = &[("Transport", TCP)];
        let none: &'static [(&'static str, &'static str)] = &[];
        let table: &[Row] = &[
            ("OPTIONS", "/t", none, [200, 200, 200]),
            ("OPTIONS", "/t", session, [454, 200, 200]),
            ("DESCRIBE", "/t", none, [200, 200, 200]),
            ("SETUP", "/t/d0", first, [200, 455, 455]),
            ("SETUP", "/t/d0", same_stream, [454, 455, 455]),
            ("SETUP", "/t", same_stream, [454, 455, 455]),
            ("SETUP", "/t/d1", new_stream, [454, 200, 200]),
            ("SETUP", "/other/d1", new_stream, [454, 459, 459]),
            ("SETUP", "/t/d1", same_stream, [454, 461, 461]),
            ("PLAY", "/t", none, [455, 454, 454]),
            ("PLAY", "/t", session, [454, 200, 200]),
            ("PAUSE", "/t", none, [455, 454, 454]),
            ("PAUSE", "/t", session, [454, 200, 200]),
            ("TEARDOWN", "/t", none, [455, 454, 454]),
            ("TEARDOWN", "/t", session, [454, 200, 200]),
            ("GET_PARAMETER", "/t", session, [454, 200, 200]),
            ("SET_PARAMETER", "/t", none, [200, 200, 200]),
            ("ANNOUNCE", "/t", none, [405, 405, 405]),
            ("RECORD", "/t", session, [454, 405, 405]),
            ("REDIRECT", "/t", none, [405, 405, 405]),
            ("BREW", "/t", none, [501, 501, 501]),
        ];
        for (method, path, headers, expected) in table {
            let request = request(method, &format!("rtsp://edge{path}"), headers);
            for (state, expected) in [State::Init, State::Ready, State::Playing]
                .into_iter()
                .zip(expected)
            {
                assert_eq!(
                    status(state, &request),
                    *expected,
                    "{method} {path} in {state:?}"
                );
            }
        }
    }

    #[test]
    fn refuses_bad_requests_with_the_right_status() {
        for (expected, method, url, headers) in [
            (454, "PLAY", "rtsp://e/t", vec![("Session", "unknown")]),
            (
                457,
                "PLAY",
                "rtsp://e/t",
                vec![("Session", "s"), ("Range", "smpte=1-")],
            ),
            (
                461,
                "SETUP",
                "rtsp://e/t/d1",
                vec![("Session", "s"), ("Transport", "RAW/RAW/UDP")],
            ),
            (
                461,
                "SETUP",
                "rtsp://e/t/d1",
                vec![
                    ("Session", "s"),
                    (
                        "Transport",
                        "RTP/AVP;client_port=5000-5001;destination=203.0.113.9",
                    ),
                ],
            ),
            (400, "SETUP", "rtsp://e/t/d1", vec![("Session", "s")]),
            (
                551,
                "PLAY",
                "rtsp://e/t",
                vec![("Session", "s"), ("Require", "funky-feature")],
            ),
            (404, "DESCRIBE", "rtsp://e/", vec![]),
            (400, "DESCRIBE", "http://e/t", vec![]),
        ] {
            let request = request(method, url, &headers);
            assert_eq!(
                status(State::Ready, &request),
                expected,
                "{method} {url} {headers:?}"
            );
        }
        let mut without = request("OPTIONS", "rtsp://e/t", &[]);
        without.remove_header(&name("CSeq"));
        assert_eq!(status(State::Ready, &without), 400);
    }

    #[test]
    fn names_the_feature_it_does_not_have() {
        let request = request(
            "PLAY",
            "rtsp://e/t",
            &[("Require", "a, handoff.media-edge, b")],
        );
        let refusal = machine(State::Ready)
            .step(&request, Policy::default())
            .unwrap_err();
        assert_eq!(refusal.headers, [("Unsupported", "a, b".to_owned())]);
    }

    #[test]
    fn hands_out_free_channels_when_the_client_names_none() {
        let request = request(
            "SETUP",
            "rtsp://e/t/d1",
            &[("Session", "s"), ("Transport", "RTP/AVP/TCP;unicast")],
        );
        let action = machine(State::Ready)
            .step(&request, Policy::default())
            .unwrap();
        let Action::SetUp { transport, .. } = action else {
            panic!("{action:?}")
        };
        assert_eq!(transport, Transport::Tcp { rtp: 2, rtcp: 3 });
    }

    #[test]
    fn a_torn_down_session_is_gone() {
        let mut machine = machine(State::Playing);
        machine.torn_down();
        assert_eq!(machine.state(), State::Init);
        let again = request("PLAY", "rtsp://e/t", &[("Session", "s")]);
        let refusal = machine.step(&again, Policy::default()).unwrap_err();
        assert_eq!(u16::from(refusal.status), 454);
    }
}
