//! The first edge's side: find an edge that takes the session, and keep the link to it while the player moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rtsp::peer::{Message, Offer};
use tokio::sync::mpsc;

use crate::edge::Edge;
use crate::fleet;
use crate::peers::{Link, OfferError};
use crate::serve::schedule::Clock;

/// Most edges asked for one session before the next pause.
const CANDIDATES_MAX: usize = 5;
/// Messages on their way between the session and the link.
const CHANNEL_MESSAGES: usize = 16;

/// What the session learns.
#[derive(Debug)]
pub enum Progress {
    /// An edge is ready.
    Prepared {
        /// Its name.
        edge: String,
        /// Where the player reaches it.
        authority: std::net::SocketAddr,
    },
    /// It said something further.
    Message(Message),
    /// The link to it is gone.
    Lost,
    /// No edge takes the session.
    NoTaker,
}

/// The session's end of a negotiation; dropping it ends the link.
#[derive(Debug)]
pub struct Negotiation {
    progress: mpsc::Receiver<Progress>,
    to_second: mpsc::Sender<Message>,
    asked: Asked,
}

/// The names of the edges asked so far, in that order.
type Asked = Arc<Mutex<Vec<String>>>;

impl Negotiation {
    /// The next news; `Lost` for ever once the link is gone. May be dropped and called again.
    pub async fn next(&mut self) -> Progress {
        self.progress.recv().await.unwrap_or(Progress::Lost)
    }

    /// The edges asked so far, whatever they said, in that order.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    /// Tells the second edge something, if the link still stands.
    pub fn tell(&self, message: Message) {
        // A full or closed channel means a link that is stuck or gone, which the second edge notices by itself.
        let _ = self.to_second.try_send(message);
    }
}

/// Starts asking the candidates in order. `offer` is complete except for the receiver and the position.
pub fn negotiate(edge: Arc<Edge>, offer: Offer, clock: Clock, avoid: Vec<String>) -> Negotiation {
    let (progress_sender, progress) = mpsc::channel(CHANNEL_MESSAGES);
    let (to_second, from_session) = mpsc::channel(CHANNEL_MESSAGES);
    let asked = Asked::default();
    tokio::spawn(run(
        edge,
        offer,
        clock,
        avoid,
        Arc::clone(&asked),
        progress_sender,
        from_session,
    ));
    Negotiation {
        progress,
        to_second,
        asked,
    }
}

async fn run(
    edge: Arc<Edge>,
    mut offer: Offer,
    clock: Clock,
    avoid: Vec<String>,
    asked: Asked,
    progress: mpsc::Sender<Progress>,
    from_session: mpsc::Receiver<Message>,
) {
    let fleet = edge.fleet.load_full();
    let candidates = in_turn(fleet.candidates(&edge.config.name), &avoid);
    for candidate in candidates.into_iter().take(CANDIDATES_MAX) {
        let Some(authority) = candidate.rtsp_authority(offer.client_address) else {
            continue;
        };
        offer.to.clone_from(&candidate.name);
        asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(candidate.name.clone());
        let position = |travel| clock.position(Instant::now() + travel);
        match edge.peers.offer(&candidate.name, &offer, position).await {
            Ok(link) => {
                let prepared = Progress::Prepared {
                    edge: candidate.name.clone(),
                    authority,
                };
                if progress.send(prepared).await.is_ok() {
                    carry(link, progress, from_session).await;
                }
                return;
            }
            Err(OfferError::Refused(reason)) => {
                tracing::info!(
                    edge = candidate.name,
                    reason,
                    "another edge refuses a session"
                );
            }
            Err(OfferError::Failed(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    edge = candidate.name,
                    error,
                    "another edge cannot be offered a session"
                );
            }
        }
        if progress.is_closed() {
            return; // the session has ended meanwhile
        }
    }
    let _ = progress.send(Progress::NoTaker).await;
}

/// Edges that failed come last rather than never, as they may be the only ones, the one that failed longest ago first.
fn in_turn<'a>(mut candidates: Vec<&'a fleet::Edge>, avoid: &[String]) -> Vec<&'a fleet::Edge> {
    candidates.sort_by_key(|candidate| avoid.iter().position(|name| *name == candidate.name));
    candidates
}

/// Carries messages both ways until either end is gone.
async fn carry(
    mut link: Link,
    progress: mpsc::Sender<Progress>,
    mut from_session: mpsc::Receiver<Message>,
) {
    loop {
        tokio::select! {
            message = from_session.recv() => match message {
                Some(message) => {
                    if link.send(&message).await.is_err() {
                        break;
                    }
                }
                None => {
                    link.finish();
                    return;
                }
            },
            message = link.receive() => match message {
                Ok(Some(message)) => {
                    if progress.send(Progress::Message(message)).await.is_err() {
                        return;
                    }
                }
                Ok(None) | Err(_) => break,
            },
        }
    }
    let _ = progress.send(Progress::Lost).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_failed_are_asked_last_and_the_latest_failure_very_last() {
        let edge = |name: &str| fleet::Edge {
            name: name.to_owned(),
            region: "here".to_owned(),
            at: None,
            addresses: Vec::new(),
            rtsp_port: 8554,
            handoff: None,
            public_key: None,
        };
        let edges = ["a", "b", "c", "d"].map(edge);
        let avoid = ["c".to_owned(), "gone".to_owned(), "a".to_owned()];
        let order = in_turn(edges.iter().collect(), &avoid);
        let names: Vec<&str> = order.iter().map(|edge| edge.name.as_str()).collect();
        assert_eq!(names, ["b", "d", "c", "a"]);
    }
}
