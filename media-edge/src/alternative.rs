//! Where players are sent while this edge has no room. It is full because many come at once, so one question to the
//! others serves all who come within a second.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::fleet::Fleet;
use crate::peers::Peers;

/// Longest wait for all answers together: a player waits for this.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(1);
/// How long an outcome serves.
const OUTCOME_KEPT: Duration = Duration::from_secs(1);
/// Most edges asked at once, the nearest ones: each may mean a new connection.
const PROBES_MAX: usize = 32;

/// The last outcome; locked while the others are asked, so that this happens once.
#[derive(Debug, Default)]
pub struct Alternative {
    last: Mutex<Option<Outcome>>,
}

#[derive(Debug)]
struct Outcome {
    at: Instant,
    /// Another map means other edges.
    fleet: Arc<Fleet>,
    edge: Option<String>,
}

impl Alternative {
    /// The nearest edge with room, as it was at most a second ago.
    pub async fn find(&self, own: &str, fleet: &Arc<Fleet>, peers: &Peers) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some(outcome) = &*last
            && outcome.at.elapsed() < OUTCOME_KEPT
            && Arc::ptr_eq(&outcome.fleet, fleet)
        {
            return outcome.edge.clone();
        }
        let probe = |name: String| {
            let peers = peers.clone();
            async move { matches!(peers.probe(&name).await, Ok(1..)) }
        };
        let candidates = fleet.candidates(own).into_iter();
        let names = candidates
            .filter(|edge| !edge.addresses.is_empty())
            .map(|edge| edge.name.clone())
            .take(PROBES_MAX)
            .collect();
        let edge = first_with_room(names, ANSWERS_DEADLINE, probe).await;
        *last = Some(Outcome {
            at: Instant::now(),
            fleet: Arc::clone(fleet),
            edge: edge.clone(),
        });
        edge
    }
}

/// Asks all at once. The first of the list that says yes, as soon as all before it have said no; when time is over,
/// the first that has said yes by then.
async fn first_with_room<F>(
    names: Vec<String>,
    deadline: Duration,
    probe: impl Fn(String) -> F,
) -> Option<String>
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut answers: Vec<Option<bool>> = vec![None; names.len()];
    let mut probes = JoinSet::new();
    for (at, name) in names.iter().enumerate() {
        let answer = probe(name.clone());
        probes.spawn(async move { (at, answer.await) });
    }
    let decide = async {
        while let Some(answered) = probes.join_next().await {
            if let Ok((at, room)) = answered
                && let Some(answer) = answers.get_mut(at)
            {
                *answer = Some(room);
            }
            let nearest = answers.iter().find(|answer| **answer != Some(false));
            if nearest == Some(&Some(true)) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(deadline, decide).await;
    let at = answers.iter().position(|answer| *answer == Some(true))?;
    names.into_iter().nth(at)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn the_nearest_with_room_wins_even_if_it_answers_last() {
        let (say, heard) = oneshot::channel();
        let slots = std::sync::Mutex::new((Some(say), Some(heard)));
        let probe = |name: String| {
            let mut slots = slots.lock().unwrap();
            let (say, heard) = match name.as_str() {
                "near" => (None, slots.1.take()),
                "far" => (slots.0.take(), None),
                _ => (None, None),
            };
            async move {
                if let Some(heard) = heard {
                    let _ = heard.await; // the far one has answered
                }
                if let Some(say) = say {
                    let _ = say.send(());
                }
                name != "full"
            }
        };
        let found = first_with_room(names(&["full", "near", "far"]), ANSWERS_DEADLINE, probe).await;
        assert_eq!(found.as_deref(), Some("near"));
    }

    #[tokio::test]
    async fn silent_edges_cost_one_deadline_together() {
        let deadline = Duration::from_millis(50);
        let begun = Instant::now();
        let probe = |name: String| async move {
            if name != "alive" {
                std::future::pending::<()>().await;
            }
            true
        };
        let found = first_with_room(names(&["dead", "dead too", "alive"]), deadline, probe).await;
        assert_eq!(found.as_deref(), Some("alive"));
        assert!(
            begun.elapsed() >= deadline,
            "the nearer ones had their time"
        );
        let probe = |_| std::future::pending::<bool>();
        assert_eq!(
            first_with_room(names(&["dead"]), deadline, probe).await,
            None
        );
    }

    #[tokio::test]
    async fn nobody_waits_when_all_have_said_no() {
        let probe = |_| async { false };
        let found = first_with_room(names(&["a", "b"]), Duration::MAX, probe).await;
        assert_eq!(found, None);
    }
}
