//! Requests and their answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rtsp::handoff::{self, Confirmation};
use rtsp::locator::{self, Locator};
use rtsp::message::{header, respond};
use rtsp::peer::{Message, Secret};
use rtsp::range::NptRange;
use rtsp::report::RaceReport;
use rtsp::session::Action;
use rtsp::ticket::{TicketError, proof};
use rtsp::transport::{Policy, Transport};
use rtsp::{Request, Response, StatusCode, Url, capabilities, rtp_info};

use super::connection::Connection;
use super::describe::describe;
use super::moving::Outlook;
use super::play::Play;
use super::schedule::Schedule;
use crate::content::Title;
use crate::edge::unix_ms;
use crate::handoff::second::Prepared;
use crate::report;
use crate::sessions::{Reason, View};

/// Race reports taken from one connection; a player sends one per choice.
const REPORTS_MAX: u32 = 8;
/// Longest product name kept.
const PRODUCT_CHARACTERS_MAX: usize = 80;

type Headers = Vec<(&'static str, String)>;

/// A refusal, or a redirect: status and headers.
struct Refusal(StatusCode, Headers);

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Refusal {
        Refusal(status, Vec::new())
    }
}

impl Connection {
    /// The answer to a request, its effects done.
    pub(super) async fn answer(&mut self, request: &Request) -> Response {
        let action = match self.machine.step(request, Policy::default()) {
            Ok(action) => action,
            Err(refusal) => return respond(request, refusal.status, &refusal.headers, b""),
        };
        let done = match action {
            Action::Options => self.options(request),
            Action::Describe(locator) => self.describe(request, &locator).await,
            Action::SetUp { locator, transport } => self.set_up(request, &locator, transport).await,
            Action::Play { range } => self.play(request, range),
            Action::Pause => self.pause(),
            Action::TearDown => self.tear_down(),
            Action::GetParameter => self.parameter_asked(request),
            Action::SetParameter => self.parameter_given(request),
        };
        match done {
            Ok((headers, body)) => respond(request, StatusCode::Ok, &headers, &body),
            Err(Refusal(status, headers)) => respond(request, status, &headers, b""),
        }
    }

    /// What a player races several edges for: no disk, no lock held for long.
    fn options(&mut self, request: &Request) -> Result<(Headers, Vec<u8>), Refusal> {
        let mut headers = vec![
            ("Public", capabilities::PUBLIC.to_owned()),
            ("Supported", capabilities::supported()),
        ];
        if let Some(ticket) = header(request, handoff::TICKET) {
            self.edge
                .incoming
                .check(ticket, &self.edge)
                .map_err(|error| self.refuse_ticket(error))?;
            let challenge = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
            headers.push((handoff::CHALLENGE, challenge.clone()));
            self.challenge = Some(challenge);
        }
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    async fn describe(
        &mut self,
        request: &Request,
        locator: &Locator,
    ) -> Result<(Headers, Vec<u8>), Refusal> {
        if self.play.is_none() && self.edge.room() == 0 {
            return Err(self.elsewhere(request).await);
        }
        let title = self.edge.library.title(&locator.title, None, 0).await;
        let title = title.ok_or(StatusCode::NotFound)?;
        let repeat = self.edge.config.repeat_titles;
        let description = describe(&title, locator, repeat).ok_or(StatusCode::NotFound)?;
        let local = self
            .stream
            .local_addr()
            .map_err(|_| StatusCode::InternalServerError)?;
        let body = description.write(local.ip().to_canonical(), unix_ms() / 1_000);
        let headers = vec![
            ("Content-Type", "application/sdp".to_owned()),
            (
                "Content-Base",
                format!("{}/", base(request, &locator.title)?),
            ),
            ("Supported", capabilities::supported()),
        ];
        Ok((headers, body))
    }

    /// 302 to another edge that takes sessions; without one 453 when full, 503 when draining.
    async fn elsewhere(&self, request: &Request) -> Refusal {
        let Some(url) = request.request_uri() else {
            return StatusCode::BadRequest.into();
        };
        if let Some(authority) = self.edge.alternative(self.peer.ip()).await {
            self.edge.metrics.redirects.inc();
            let query = url
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default();
            let location = format!("rtsp://{authority}{}{query}", url.path());
            return Refusal(StatusCode::Found, vec![("Location", location)]);
        }
        if self.edge.is_draining() {
            return StatusCode::ServiceUnavailable.into();
        }
        StatusCode::NotEnoughBandwidth.into()
    }

    async fn set_up(
        &mut self,
        request: &Request,
        locator: &Locator,
        transport: Transport,
    ) -> Result<(Headers, Vec<u8>), Refusal> {
        let description = locator.description.unwrap_or(0);
        let base = base(request, &locator.title)?;
        if self.play.is_none() {
            let play = match header(request, handoff::TICKET) {
                Some(ticket) => self.claim(request, ticket, locator)?,
                None => self.begin(request, locator).await?,
            };
            if play.title.description(description).is_none() {
                return Err(StatusCode::NotFound.into());
            }
            self.play = Some(play);
            self.url = Url::parse(&base).ok();
        }
        let Some(play) = &mut self.play else {
            return Err(StatusCode::InternalServerError.into());
        };
        if play.title.description(description).is_none() {
            return Err(StatusCode::NotFound.into());
        }
        let continuity = play.set_up(description, transport);
        let server_ports = match transport {
            Transport::Tcp { .. } => None,
            Transport::Udp { rtcp, .. } => {
                // Only ever to the address of this connection.
                let from = SocketAddr::new(self.peer.ip(), rtcp);
                play.registrations.push(self.ports.register(from));
                Some(self.ports.numbers)
            }
        };
        let (id, title) = (play.id.0.clone(), locator.title.clone());
        self.machine.set_up(&id, &title, description, transport);
        let mut headers = vec![(
            "Transport",
            transport.to_response_header(server_ports, continuity.ssrc),
        )];
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    /// A session that starts here.
    async fn begin(&mut self, request: &Request, locator: &Locator) -> Result<Play, Refusal> {
        if self.edge.room() == 0 {
            return Err(self.elsewhere(request).await);
        }
        let title = self.edge.library.title(&locator.title, None, 0).await;
        let title = title.ok_or(StatusCode::NotFound)?;
        let repeat = self.edge.config.repeat_titles;
        let client_key = header(request, handoff::KEY).map(str::to_owned);
        if client_key
            .as_deref()
            .is_some_and(|key| proof::parse_key(key).is_none())
        {
            return Err(StatusCode::BadRequest.into());
        }
        let movable = capabilities::supports(request, capabilities::HANDOFF);
        let client_key = client_key.filter(|_| movable);
        self.enter(
            request,
            title,
            repeat,
            Secret(rand::random()),
            client_key,
            None,
        )
    }

    /// A session that another edge hands over.
    fn claim(
        &mut self,
        request: &Request,
        ticket: &str,
        locator: &Locator,
    ) -> Result<Play, Refusal> {
        let (Some(challenge), Some(proof)) =
            (self.challenge.take(), header(request, handoff::PROOF))
        else {
            return Err(self.refuse_ticket(TicketError::Proof));
        };
        let prepared = self
            .edge
            .incoming
            .admit(ticket, &challenge, proof, &self.edge)
            .map_err(|error| self.refuse_ticket(error))?;
        if prepared.offer.title != locator.title {
            return Err(StatusCode::Forbidden.into());
        }
        let (title, repeat) = (Arc::clone(&prepared.title), prepared.offer.repeat);
        let key = Some(prepared.offer.client_key.clone());
        self.enter(request, title, repeat, prepared.secret, key, Some(prepared))
    }

    fn enter(
        &self,
        request: &Request,
        title: Arc<Title>,
        repeat: bool,
        secret: Secret<[u8; 32]>,
        client_key: Option<String>,
        prepared: Option<Arc<Prepared>>,
    ) -> Result<Play, Refusal> {
        let product = header(request, "User-Agent").unwrap_or_default();
        let view = View {
            number: 0,
            title: title.manifest.name.clone(),
            client: self.peer.ip(),
            product: product.chars().take(PRODUCT_CHARACTERS_MAX).collect(),
            transport: "tcp",
            descriptions: Vec::new(),
            sending: Vec::new(),
            movable: false, // not before it plays
            came_from: prepared
                .as_ref()
                .map(|prepared| prepared.offer.from.clone()),
            moving_to: None,
        };
        let reserved = self.edge.incoming.reserved();
        let membership = self
            .edge
            .sessions
            .enter(view, reserved)
            .ok_or(StatusCode::NotEnoughBandwidth)?;
        let sessions = self.edge.sessions.len();
        self.edge
            .metrics
            .sessions
            .set(i64::try_from(sessions).unwrap_or(i64::MAX));
        let wanted = self
            .edge
            .is_draining()
            .then(|| (Reason::Drain, Instant::now()));
        Ok(Play {
            id: Secret(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())),
            title,
            repeat,
            secret,
            schedule: Schedule::default(),
            membership,
            registrations: Vec::new(),
            client_key,
            prepared,
            moving: None,
            wanted,
            avoid: Vec::new(),
            end: None,
            stalled: None,
            not_before: None,
        })
    }

    /// Clients learn "no"; the log and the metrics learn why.
    fn refuse_ticket(&self, error: TicketError) -> Refusal {
        let reason = match error {
            TicketError::Malformed => "malformed",
            TicketError::Signature => "signature",
            TicketError::Expired => "expired",
            TicketError::Audience => "audience",
            TicketError::Unknown => "unknown",
            TicketError::Replayed => "replayed",
            TicketError::Proof => "proof",
            TicketError::Full => "full",
        };
        self.edge
            .metrics
            .tickets_refused
            .with_label_values(&[reason])
            .inc();
        tracing::info!(peer = %self.peer, %error, "a handoff ticket is refused");
        StatusCode::Forbidden.into()
    }

    fn play(
        &mut self,
        request: &Request,
        range: Option<NptRange>,
    ) -> Result<(Headers, Vec<u8>), Refusal> {
        // What was agreed with the second edge holds neither for another time, nor for an end, nor for a stream more.
        let elsewhere = range.is_some_and(|range| range.start.is_some() || range.end.is_some());
        let more = |play: &Play| !play.descriptions(super::schedule::Sending::Idle).is_empty();
        if elsewhere || self.play.as_ref().is_some_and(more) {
            self.stop_moving("seek")?;
        }
        let Some(play) = &mut self.play else {
            return Err(StatusCode::MethodNotValidInThisState.into());
        };
        let base = base(request, &play.title.manifest.name)?;
        let before = play.descriptions(super::schedule::Sending::On);
        let started = play.play(range, &base, Instant::now())?;
        self.machine.played();
        if let Some(prepared) = &play.prepared {
            for description in play.descriptions(super::schedule::Sending::On) {
                if !before.contains(&description) {
                    let handoff = prepared.offer.handoff.clone();
                    prepared.tell(Message::Serving {
                        handoff,
                        description,
                    });
                }
            }
        }
        let mut headers = vec![
            ("Range", started.range.to_header()),
            ("RTP-Info", rtp_info::to_header(&started.info)),
        ];
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    /// Ends a handoff that is under way, if there is one; an edge that drains tries again later.
    fn stop_moving(&mut self, reason: &'static str) -> Result<(), Refusal> {
        let moving = self.play.as_ref().is_some_and(|play| play.moving.is_some());
        if moving {
            self.conclude(Outlook::Off(reason))
                .map_err(|_| StatusCode::InternalServerError)?;
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(Headers, Vec<u8>), Refusal> {
        self.stop_moving("paused")?;
        let now = Instant::now();
        if let Some(play) = &mut self.play
            && play.schedule.clock.is_some()
        {
            play.pause(now);
        }
        self.machine.paused();
        let mut headers = Vec::new();
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    fn tear_down(&mut self) -> Result<(Headers, Vec<u8>), Refusal> {
        let mut headers = Vec::new();
        self.with_session(&mut headers);
        if self.play.as_ref().is_some_and(Play::all_confirmed) {
            self.release();
        } else {
            // The answer may be late or lost then, but the goodbye is said before it.
            let _ = self.goodbye(Instant::now());
            if let Some(play) = &mut self.play {
                play.give_up_moving("gone", Instant::now());
            }
        }
        self.play = None;
        self.machine.torn_down();
        Ok((headers, Vec::new()))
    }

    fn parameter_asked(&mut self, request: &Request) -> Result<(Headers, Vec<u8>), Refusal> {
        if !request.body().is_empty() {
            return Err(StatusCode::ParameterNotUnderstood.into());
        }
        let mut headers = Vec::new();
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    /// A handoff's confirmation, a race report, or nothing but a sign of life.
    fn parameter_given(&mut self, request: &Request) -> Result<(Headers, Vec<u8>), Refusal> {
        let body = request.body();
        if let Some(confirmation) = Confirmation::parse(body) {
            self.confirm(&confirmation)?;
        } else if let Some(races) = RaceReport::parse(body) {
            self.report(&races)?;
        } else if !body.is_empty() {
            return Err(StatusCode::ParameterNotUnderstood.into());
        }
        let mut headers = Vec::new();
        self.with_session(&mut headers);
        Ok((headers, Vec::new()))
    }

    fn confirm(&mut self, confirmation: &Confirmation) -> Result<(), Refusal> {
        let ours = self.play.as_ref().and_then(|play| play.moving.as_ref());
        if ours.is_none_or(|moving| moving.id != confirmation.handoff) {
            // Too late, most likely: this edge has taken the session back, or the client was never asked to move.
            return Err(StatusCode::PreconditionFailed.into());
        }
        let mut outlook = Outlook::Going;
        for (description, outcome) in &confirmation.outcomes {
            if let Some(play) = &mut self.play {
                outlook = play.confirm(*description, *outcome);
            }
        }
        self.conclude(outlook)
            .map_err(|_| StatusCode::InternalServerError)?;
        Ok(())
    }

    fn report(&mut self, races: &RaceReport) -> Result<(), Refusal> {
        self.reports += 1;
        if self.reports > REPORTS_MAX {
            return Err(StatusCode::Forbidden.into());
        }
        self.edge.metrics.reports.inc();
        let Some(path) = self.edge.config.reports.clone() else {
            return Ok(());
        };
        let fleet = self.edge.fleet.load();
        let now = unix_ms() / 1_000;
        let lines =
            report::to_measurements(races, self.peer.ip(), &self.edge.believed, &fleet, now);
        if !lines.is_empty() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = report::spool(&path, &lines) {
                    tracing::warn!(%error, path = %path.display(), "a race report is not kept");
                }
            });
        }
        Ok(())
    }

    fn with_session(&self, headers: &mut Headers) {
        if let Some(id) = self.machine.id() {
            let timeout = self.edge.config.limits.session_timeout_seconds;
            headers.push(("Session", format!("{id};timeout={timeout}")));
        }
    }
}

/// `rtsp://host:port/title` as the client wrote the host, so that names and address translation survive.
fn base(request: &Request, title: &str) -> Result<String, StatusCode> {
    let url: &Url = request.request_uri().ok_or(StatusCode::BadRequest)?;
    let host = url.host_str().ok_or(StatusCode::BadRequest)?;
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    debug_assert!(locator::is_title(title));
    Ok(format!("rtsp://{host}{port}/{title}"))
}
