//! Another server of our own accord (C8, C10): the SRV query is repeated while we play, so that a further
//! token is at hand; when service is not acceptable, the servers it leads to are raced, and the next parts
//! of the title are taken from the winner. The old server is left once the new one has caught up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use mdc::rtp::Clock;
use mdc::title::Timing;
use rand::RngExt;
use rand::rngs::StdRng;
use rtsp::capabilities;
use rtsp::range::Npt;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::connection::{Event, RtspError};
use crate::dns::Resolvers;
use crate::handoff::clock;
use crate::name::{ClientNet, ServiceName};
use crate::plan::{Plan, PlanError, set_up};
use crate::race::{Lap, race, title_url};
use crate::resolve::{ResolveError, Server, ServerSet, resolve};
use crate::session::{Carrier, Described, Session, SetUp, describe};
use crate::stage;

/// The SRV query is not repeated more often than this, however short its TTL.
pub const REQUERY_MIN: Duration = Duration::from_secs(5);
/// Tokens remembered; more than this in one play is a name server that makes them up.
const TOKENS_MAX: usize = 256;

/// All that is needed to find another server.
#[derive(Clone)]
pub struct Finder {
    /// The service played.
    pub service: ServiceName,
    /// Where we say we are.
    pub client: Option<ClientNet>,
    /// Name servers, with their cache.
    pub resolvers: Resolvers,
    /// The title's path.
    pub title: String,
    /// What connections say.
    pub events: mpsc::Sender<Event>,
    /// Shortest time between two SRV queries.
    pub requery_min: Duration,
}

impl Finder {
    /// Asks both levels (or the cache, within the records' TTL).
    pub async fn resolve(&self) -> Result<ServerSet, ResolveError> {
        let mut rng: StdRng = rand::make_rng();
        resolve(
            &self.resolvers,
            &self.service,
            self.client.as_ref(),
            &mut rng,
        )
        .await
    }

    /// Repeats the SRV query when its answer expires, a little later each time by chance, for as long as
    /// somebody listens. `first` is the answer at hand.
    pub async fn keep_asking(self, first: ServerSet, steps: mpsc::Sender<stage::Step>) {
        let mut seen: Vec<String> = tokens(&first).collect();
        let mut valid_until = first.valid_until;
        loop {
            let wait = valid_until
                .saturating_duration_since(Instant::now())
                .max(self.requery_min);
            // Players that started together shall not ask together for ever.
            let wait = wait.mul_f64(rand::rng().random_range(1.0..1.1));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = steps.closed() => return,
            }
            let Ok(set) = self.resolve().await else {
                valid_until = Instant::now();
                continue; // what we have goes on being used
            };
            valid_until = set.valid_until;
            let new: Vec<_> = tokens(&set).filter(|token| !seen.contains(token)).collect();
            let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
            seen.extend(new);
            seen.truncate(TOKENS_MAX);
            if count > 0 && steps.send(stage::Step::FurtherTokens(count)).await.is_err() {
                return;
            }
        }
    }
}

fn tokens(set: &ServerSet) -> impl Iterator<Item = String> {
    set.servers.iter().map(|server| server.token().to_owned())
}

/// What the play loop has to do on the way.
pub enum Step {
    /// The new session's packets will come on these channels.
    SetUp(Arc<Session>, Vec<SetUp>),
    /// PLAY is answered.
    Started(u64, Vec<(u8, Option<Clock>)>),
    /// The new server plays; the token that led to it. Or why none was found.
    Over(Result<String, String>),
}

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("no token leads to another server")]
    NobodyElse,
    #[error("no other server answered ({0} tried)")]
    NobodyAnswered(usize),
    #[error(transparent)]
    Rtsp(#[from] RtspError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("the other server has not the same title")]
    OtherTitle,
    #[error("the play has ended")]
    Ended,
}

/// One attempt.
pub struct Switch {
    /// How to find servers.
    pub finder: Finder,
    /// Servers not to go to: the present one, and those that failed.
    pub avoid: Vec<SocketAddr>,
    /// The frames' numbers must mean the same there.
    pub timing: Timing,
    /// The first frame needed; looked at when the new server is asked to play.
    pub first: Arc<AtomicU32>,
    /// The player's key, for handoffs to come.
    pub key: SigningKey,
    /// Transport.
    pub carrier: Carrier,
    /// To the play loop.
    pub steps: mpsc::Sender<stage::Step>,
}

impl Switch {
    /// Runs to its end; the last step says how it went.
    pub async fn run(self) {
        let outcome = self.attempt().await.map_err(|failure| failure.to_string());
        self.step(Step::Over(outcome)).await.ok();
    }

    async fn attempt(&self) -> Result<String, Failure> {
        let set = self.finder.resolve().await?;
        let others = elsewhere(set.servers, &self.avoid);
        if others.is_empty() {
            return Err(Failure::NobodyElse);
        }
        let won = race(&others, &self.finder.title, &self.finder.events)
            .await
            .map_err(|laps| Failure::NobodyAnswered(laps.len()))?;
        let token = token_of(&others, &won.lap);
        let mut url = title_url(won.winner.peer, &self.finder.title)?;
        if !won.lap.supports(capabilities::MDC) {
            return Err(Failure::OtherTitle);
        }
        url.set_query(Some("mdc=1"));
        let described = describe(won.winner, url, &self.finder.events).await?;
        let Described {
            connection,
            mut base,
            description,
        } = described;
        let plan = Plan::of(&description)?;
        if !plan.merged || plan.timing.as_ref() != Some(&self.timing) {
            return Err(Failure::OtherTitle);
        }
        base.set_query(None);
        let events = self.finder.events.clone();
        let session = Arc::new(Session::new(connection, base.clone(), self.carrier, events));
        let set_ups = set_up(&session, &base, &plan, &self.key).await?;
        let flows = set_ups.iter().map(|(set_up, _)| *set_up).collect();
        self.step(Step::SetUp(session.clone(), flows)).await?;
        let from = Npt(self.timing.rtp_time(self.first.load(Ordering::Relaxed)));
        let started = session.play(Some(from)).await?;
        let clocks = set_ups
            .iter()
            .map(|(set_up, control)| (set_up.description, clock(&started, control, from)));
        self.step(Step::Started(session.connection.id, clocks.collect()))
            .await?;
        Ok(token)
    }

    async fn step(&self, step: Step) -> Result<(), Failure> {
        self.steps
            .send(stage::Step::Switch(step))
            .await
            .map_err(|_| Failure::Ended)
    }
}

/// The servers without the addresses to avoid.
fn elsewhere(mut servers: Vec<Server>, avoid: &[SocketAddr]) -> Vec<Server> {
    for server in &mut servers {
        let port = server.port;
        server
            .addresses
            .retain(|address| !avoid.contains(&SocketAddr::new(*address, port)));
    }
    servers.retain(|server| !server.addresses.is_empty());
    servers
}

fn token_of(servers: &[Server], lap: &Lap) -> String {
    let found = servers.iter().find(|server| server.target == lap.target);
    found
        .map(|server| server.token().to_owned())
        .unwrap_or_default()
}
