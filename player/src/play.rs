//! A whole play: find a server, join the title, play it to its end, report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use mdc::title::Timing;
use rtsp::{Url, capabilities};
use service::shutdown::Shutdown;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::connection::{Connection, Event, RtspError};
use crate::dns::{ResolverSpec, Resolvers};
use crate::events::{Happening, Listener};
use crate::location;
use crate::name::{ClientNet, ServiceName};
use crate::plan::{Plan, PlanError, set_up, started_flow};
use crate::race::{self, Lap, race, title_url};
use crate::report::Report;
use crate::resolve::{ResolveError, ServerSet, millis};
use crate::session::{Carrier, Described, Session, describe};
use crate::stage::{Manner, Stage, StageError};
use crate::switch::{Finder, REQUERY_MIN};

/// Events on their way to the play loop: at most so many packets are held, the rest waits in the sockets.
const EVENTS: usize = 1024;
/// The jitter buffer unless told otherwise.
pub const BUFFER: Duration = Duration::from_millis(400);

/// What to play.
#[derive(Clone, Debug)]
pub enum Source {
    /// A routed service, by its SRV name.
    Service(ServiceName),
    /// A title at a server.
    Address(Url),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            let url = Url::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
            return match url.scheme() {
                "rtsp" => Ok(Source::Address(url)),
                other => Err(format!("`{other}` is not rtsp")),
            };
        }
        text.parse()
            .map(Source::Service)
            .map_err(|error: ResolveError| error.to_string())
    }
}

/// How to play it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What.
    pub source: Source,
    /// The title at the server, instead of the service's label.
    pub title: Option<String>,
    /// Name servers.
    pub resolvers: Vec<ResolverSpec>,
    /// Where we say we are.
    pub client: Option<ClientNet>,
    /// Stop after so many seconds of the title.
    pub seconds: Option<f64>,
    /// Write the pictures here (y4m).
    pub out: Option<PathBuf>,
    /// Transport.
    pub carrier: Carrier,
    /// Jitter buffer.
    pub buffer: Duration,
    /// The SRV query is not repeated more often than this (C8).
    pub requery_min: Duration,
}

impl Options {
    /// Everything as usual.
    pub fn new(source: Source) -> Options {
        Options {
            source,
            title: None,
            resolvers: Vec::new(),
            client: None,
            seconds: None,
            out: None,
            carrier: Carrier::Tcp,
            buffer: BUFFER,
            requery_min: REQUERY_MIN,
        }
    }
}

/// Why nothing, or not everything, was played.
#[derive(Debug, Error)]
pub enum PlayError {
    /// DNS.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The race had no winner.
    #[error("no server answered: {0}")]
    NobodyAnswered(String),
    /// The URL leads nowhere.
    #[error("{0}")]
    Address(String),
    /// A server's answer.
    #[error("{0}: {1}")]
    Rtsp(&'static str, RtspError),
    /// The description has nothing for us.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Told to end before it began.
    #[error("stopped before the first packet")]
    Stopped,
    /// While playing.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Plays to the end, to `seconds`, or until `shutdown`; whatever happens, the report says it.
pub async fn play(options: Options, listener: Listener, shutdown: Shutdown) -> Report {
    let mut report = Report {
        asked: match &options.source {
            Source::Service(name) => name.to_string(),
            Source::Address(url) => url.to_string(),
        },
        transport: match options.carrier {
            Carrier::Tcp => "tcp".into(),
            Carrier::Udp => "udp".into(),
        },
        ..Report::default()
    };
    let joined = tokio::select! {
        joined = join(&options, &listener, &mut report) => joined,
        () = shutdown.wait() => Err(PlayError::Stopped),
    };
    let outcome = match joined {
        Err(error) => Err(error),
        Ok(joined) => {
            let (played, outcome) = joined.run(report.clone(), shutdown).await;
            report = played;
            outcome
        }
    };
    report.ok = outcome.is_ok();
    report.error = outcome.err().map(|error| error.to_string());
    report
}

/// A server found, its connection open.
struct Found {
    connection: Connection,
    url: Url,
    laps: Option<oneshot::Receiver<Vec<Lap>>>,
    /// For a service: how to find another server, and what the first look-up gave.
    finder: Option<(Finder, ServerSet)>,
}

/// Everything ready for the loop.
struct Joined {
    stage: Stage,
    session: Arc<Session>,
    laps: Option<oneshot::Receiver<Vec<Lap>>>,
    client: Option<ClientNet>,
}

async fn join(
    options: &Options,
    listener: &Listener,
    report: &mut Report,
) -> Result<Joined, PlayError> {
    let began = Instant::now();
    let (sender, receiver) = mpsc::channel(EVENTS);
    let found = find(options, &sender, listener, report).await?;

    let step = Instant::now();
    let described = describe(found.connection, found.url, &sender).await;
    let Described {
        connection,
        base,
        description,
    } = described.map_err(|error| PlayError::Rtsp("describing the title", error))?;
    report.describe_ms = Some(millis(step.elapsed()));
    let plan = Plan::of(&description)?;
    (listener)(Happening::Described {
        fps: plan.timing.as_ref().map(Timing::fps),
        frames: plan.frames,
        descriptions: u8::try_from(plan.streams.len()).unwrap_or(u8::MAX),
    });
    report.server = Some(connection.peer.to_string());
    report.url = Some(base.to_string());

    let step = Instant::now();
    let key = SigningKey::from_bytes(&rand::random());
    let mut url = base.clone();
    if plan.merged {
        url.set_query(None);
    }
    let session = Arc::new(Session::new(
        connection,
        url,
        options.carrier,
        sender.clone(),
    ));
    let set_ups = set_up(&session, &base, &plan, &key)
        .await
        .map_err(|error| PlayError::Rtsp("setting up", error))?;
    report.setup_ms = Some(millis(step.elapsed()));

    let step = Instant::now();
    let started = session
        .play(None)
        .await
        .map_err(|error| PlayError::Rtsp("starting to play", error))?;
    report.play_ms = Some(millis(step.elapsed()));

    let timing = plan.timing.as_ref().filter(|_| plan.merged);
    let manner = Manner {
        merged: plan.merged,
        start: timing
            .zip(started.start)
            .and_then(|(timing, start)| timing.frame_at(start.0)),
        frames: plan.frames,
        timing: plan.timing.clone(),
        seconds: options.seconds,
        buffer: options.buffer,
        carrier: options.carrier,
        out: options.out.clone(),
    };
    let events = (sender, receiver);
    let mut stage = Stage::new(manner, key, listener.clone(), began, events, report.clone());
    stage.seat(session.clone());
    for (set_up, control) in &set_ups {
        stage.add_flow(started_flow(
            &session, set_up, control, &started, &plan, began,
        ));
    }
    if let Some((finder, set)) = found.finder {
        stage.watch_over(finder.clone());
        tokio::spawn(finder.keep_asking(set, stage.steps()));
    }
    Ok(Joined {
        stage,
        session,
        laps: found.laps,
        client: options.client,
    })
}

async fn find(
    options: &Options,
    events: &mpsc::Sender<Event>,
    listener: &Listener,
    report: &mut Report,
) -> Result<Found, PlayError> {
    match &options.source {
        Source::Address(url) => {
            let address = location::look_up(None, url)
                .await
                .map_err(PlayError::Address)?;
            let connection = Connection::open(address, events.clone())
                .await
                .map_err(|error| PlayError::Rtsp("connecting", error))?;
            Ok(Found {
                connection,
                url: url.clone(),
                laps: None,
                finder: None,
            })
        }
        Source::Service(service) => {
            let title = options
                .title
                .clone()
                .unwrap_or_else(|| service.default_title());
            let finder = Finder {
                service: service.clone(),
                client: options.client,
                resolvers: Resolvers::new(&options.resolvers)?,
                title: title.clone(),
                events: events.clone(),
                requery_min: options.requery_min,
            };
            let set = look_up(&finder, report).await?;
            (listener)(Happening::Resolved(set.clone()));
            let raced = race(&set.servers, &title, events).await;
            let won = raced.map_err(|laps| {
                report.race = laps;
                PlayError::NobodyAnswered(laps_text(&report.race))
            })?;
            report.race_ms = Some(won.race_ms);
            let winner = set
                .servers
                .iter()
                .find(|server| server.target == won.lap.target);
            report.token = winner.map(|server| server.token().to_owned());
            report.race = vec![won.lap.clone()];
            (listener)(Happening::Raced(won.lap.clone(), won.race_ms));
            let mut url = title_url(won.winner.peer, &title)
                .map_err(|error| PlayError::Rtsp("the title", error))?;
            if won.lap.supports(capabilities::MDC) {
                url.set_query(Some("mdc=1"));
            }
            Ok(Found {
                connection: won.winner,
                url,
                laps: Some(won.laps),
                finder: Some((finder, set)),
            })
        }
    }
}

async fn look_up(finder: &Finder, report: &mut Report) -> Result<ServerSet, PlayError> {
    let set = finder.resolve().await?;
    report.name = Some(set.name.clone());
    report.srv = set.servers.clone();
    report.srv_ms = Some(set.srv_ms);
    report.address_ms = Some(set.address_ms);
    Ok(set)
}

fn laps_text(laps: &[Lap]) -> String {
    let one = |lap: &Lap| format!("{}: {}", lap.address, lap.reason.as_deref().unwrap_or("?"));
    laps.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Joined {
    /// Plays; meanwhile the race's other results come in and are told to the server.
    async fn run(self, report: Report, shutdown: Shutdown) -> (Report, Result<(), PlayError>) {
        let Joined {
            mut stage,
            session,
            laps,
            client,
        } = self;
        stage.report = report;
        let telling = laps.map(|laps| tokio::spawn(tell_race(session, laps, client)));
        let (mut report, outcome) = stage.run(shutdown).await;
        if let Some(telling) = telling
            && let Ok(Some((laps, told))) = telling.await
        {
            report.race = laps;
            report.race_reported = told;
        }
        (report, outcome.map_err(PlayError::Stage))
    }
}

/// Waits for the race's last finisher, then tells the chosen server (C6).
async fn tell_race(
    session: Arc<Session>,
    laps: oneshot::Receiver<Vec<Lap>>,
    client: Option<ClientNet>,
) -> Option<(Vec<Lap>, bool)> {
    let laps = laps.await.ok()?;
    let told = session
        .tell(&race::report(&laps, client.as_ref()).to_body())
        .await;
    if let Err(error) = &told {
        tracing::info!(%error, "the race report was not taken");
    }
    Some((laps, told.is_ok()))
}
