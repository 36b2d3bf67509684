//! What all connections of one edge share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use service::shutdown::Shutdown;
use tokio::sync::watch;

use crate::alternative::Alternative;
use crate::config::Config;
use crate::content::Library;
use crate::fleet::Fleet;
use crate::handoff::second::Incoming;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::sessions::{Reason, Session, Sessions};

/// How often load is compared with its limits.
const LOAD_INTERVAL: Duration = Duration::from_millis(500);
/// Most sessions moved for load at one go, so that the others' answers are seen before more follow.
const LOAD_STEP: usize = 8;

/// How long a shutdown waits for goodbyes: at most a second and a half.
const GOODBYE_STEPS: u32 = 75;
const GOODBYE_STEP: Duration = Duration::from_millis(20);

/// Whether the edge takes new sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As usual.
    Serving,
    /// No new ones; those here move to other edges.
    Draining,
}

/// One running edge.
#[derive(Debug)]
pub struct Edge {
    /// Its configuration.
    pub config: Config,
    /// The networks whose stated client networks are believed.
    pub believed: Vec<(IpAddr, u8)>,
    /// Its identity.
    pub key: SigningKey,
    /// The public half of its identity.
    pub public_key: [u8; 32],
    /// The map's edges.
    pub fleet: Arc<ArcSwap<Fleet>>,
    /// Titles.
    pub library: Library,
    /// The way to other edges.
    pub peers: Peers,
    /// Sessions at present.
    pub sessions: Arc<Sessions>,
    /// Sessions that other edges are about to hand over.
    pub incoming: Incoming,
    /// Where players are sent that find no room here.
    pub alternative: Alternative,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Serving or draining.
    pub mode: watch::Sender<Mode>,
    /// The end.
    pub shutdown: Shutdown,
}

impl Edge {
    /// Whether the edge is draining.
    pub fn is_draining(&self) -> bool {
        *self.mode.borrow() == Mode::Draining
    }

    /// Drains the edge, or ends that.
    pub fn set_mode(&self, mode: Mode) {
        if self.mode.send_replace(mode) != mode {
            tracing::info!(?mode, "the operator has changed the mode");
        }
    }

    /// How many more sessions it takes, handoffs on their way included; 0 while draining.
    pub fn room(&self) -> usize {
        if self.is_draining() || self.shutdown.is_set() {
            return 0;
        }
        self.sessions
            .room()
            .saturating_sub(self.incoming.reserved())
    }

    /// Returns when the last session has ended, or after a short while: players are told goodbye in that time.
    pub async fn finished(&self) {
        for _ in 0..GOODBYE_STEPS {
            if self.sessions.is_empty() {
                return;
            }
            tokio::time::sleep(GOODBYE_STEP).await;
        }
    }

    /// The RTSP address of another edge that takes sessions now, for a player on `client`'s address family.
    pub async fn alternative(&self, client: IpAddr) -> Option<std::net::SocketAddr> {
        let fleet = self.fleet.load_full();
        let name = self
            .alternative
            .find(&self.config.name, &fleet, &self.peers)
            .await?;
        fleet.edge(&name)?.rtsp_authority(client)
    }

    /// Moves sessions away while there are more than `sessions_soft`, those longest here first.
    pub async fn watch_load(self: Arc<Self>) {
        let soft = self.config.limits.sessions_soft;
        let stay = Duration::from_secs(self.config.limits.handoff_min_stay_seconds);
        while tokio::time::timeout(LOAD_INTERVAL, self.shutdown.wait())
            .await
            .is_err()
        {
            let sessions = self.sessions.list();
            self.metrics
                .sessions
                .set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
            let moving = sessions
                .iter()
                .filter(|s| s.view().moving_to.is_some())
                .count();
            let excess = sessions.len().saturating_sub(soft).saturating_sub(moving);
            for session in to_move(&sessions, stay, excess.min(LOAD_STEP)) {
                session.hand_off(Reason::Load);
            }
        }
    }
}

/// So many sessions that can move, those asked least often first, so that one that stays does not stand in the way of
/// the others; among them those longest here.
fn to_move(sessions: &[Arc<Session>], stay: Duration, most: usize) -> Vec<&Arc<Session>> {
    let movable = |session: &&Arc<Session>| {
        let view = session.view();
        view.movable && view.moving_to.is_none() && session.since.elapsed() >= stay
    };
    let mut movable: Vec<_> = sessions.iter().filter(movable).collect();
    movable.sort_by_key(|session| session.asked.load(Ordering::Relaxed));
    movable.truncate(most);
    movable
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock as NTP writes it: seconds since 1900 in the upper half (RFC 3550 §4).
pub fn ntp_now() -> u64 {
    const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    since.as_secs().wrapping_add(SECONDS_1900_TO_1970) << 32 | fraction
}

/// A point in time for code that takes both clocks.
pub fn tokio_instant(at: Instant) -> tokio::time::Instant {
    tokio::time::Instant::from_std(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::View;

    #[test]
    fn sessions_that_cannot_move_or_did_not_want_to_let_others_go_first() {
        let all = Arc::new(Sessions::new(10));
        let view = |movable| View {
            number: 0,
            title: "t".to_owned(),
            client: IpAddr::from([127, 0, 0, 1]),
            product: String::new(),
            transport: "tcp",
            descriptions: Vec::new(),
            sending: Vec::new(),
            movable,
            came_from: None,
            moving_to: None,
        };
        let enter = |movable| all.enter(view(movable), 0).unwrap();
        let _sessions = [enter(false), enter(true), enter(true), enter(true)];
        let list = all.list();
        let next = |most| {
            let chosen = to_move(&list, Duration::ZERO, most);
            chosen.iter().for_each(|s| s.hand_off(Reason::Load));
            chosen.iter().map(|s| s.view().number).collect::<Vec<_>>()
        };
        assert_eq!(next(2), [2, 3]);
        assert_eq!(next(2), [4, 2]);
        assert_eq!(next(9), [3, 4, 2]);
        list[1].update(|view| view.moving_to = Some("b".to_owned()));
        assert_eq!(next(9), [3, 4]);
        assert!(to_move(&list, Duration::from_secs(3_600), 9).is_empty());
    }
}
