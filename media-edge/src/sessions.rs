//! The sessions at present: how many, whose, how far; and the way to tell one to move to another edge.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::Notify;

/// Why a session shall be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The operator drains the edge.
    Drain,
    /// More sessions than `sessions_soft`.
    Load,
}

/// What a session shows of itself.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// Number since the edge's start; not the session's id, which is a secret.
    pub number: u64,
    /// The title.
    pub title: String,
    /// The client's address.
    pub client: IpAddr,
    /// What the client calls itself.
    pub product: String,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// The descriptions set up.
    pub descriptions: Vec<u8>,
    /// Those being sent by this edge right now.
    pub sending: Vec<u8>,
    /// Whether it can move now: the client can follow a handoff, and it plays without an end asked for.
    pub movable: bool,
    /// The edge the session came from, if it was handed over.
    pub came_from: Option<String>,
    /// The edge it is moving to; empty while one is being looked for.
    pub moving_to: Option<String>,
}

/// One session's entry.
#[derive(Debug)]
pub struct Session {
    view: Mutex<View>,
    /// Position in 90 kHz ticks.
    pub position: AtomicU64,
    /// When it was set up here.
    pub since: Instant,
    /// How often it was asked to move.
    pub asked: AtomicU64,
    wanted: Mutex<Option<Reason>>,
    wake: Notify,
}

impl Session {
    /// Changes what it shows.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it shows.
    pub fn view(&self) -> View {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks the session to move to another edge.
    pub fn hand_off(&self, reason: Reason) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.wake.notify_one();
    }

    /// The next wish of that kind. May be dropped and called again.
    pub async fn wanted(&self) -> Reason {
        loop {
            if let Some(reason) = self
                .wanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                return reason;
            }
            self.wake.notified().await;
        }
    }
}

/// All sessions, with the limit.
#[derive(Debug)]
pub struct Sessions {
    limit: usize,
    next: AtomicU64,
    all: Mutex<HashMap<u64, Arc<Session>>>,
}

/// Keeps a session in the table; it leaves when this is dropped.
#[derive(Debug)]
pub struct Membership {
    /// The entry.
    pub session: Arc<Session>,
    number: u64,
    sessions: Arc<Sessions>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.sessions
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

impl Sessions {
    /// An empty table for at most `limit` sessions.
    pub fn new(limit: usize) -> Sessions {
        Sessions {
            limit,
            next: AtomicU64::new(1),
            all: Mutex::default(),
        }
    }

    /// Enters a session; `None` when the edge is full. `reserved` places are kept for handoffs on their way.
    pub fn enter(self: &Arc<Self>, mut view: View, reserved: usize) -> Option<Membership> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() + reserved >= self.limit {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        view.number = number;
        let session = Arc::new(Session {
            view: Mutex::new(view),
            position: AtomicU64::new(0),
            since: Instant::now(),
            asked: AtomicU64::new(0),
            wanted: Mutex::new(None),
            wake: Notify::new(),
        });
        all.insert(number, Arc::clone(&session));
        Some(Membership {
            session,
            number,
            sessions: Arc::clone(self),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more would fit.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Every entry, in the order of arrival.
    pub fn list(&self) -> Vec<Arc<Session>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<(u64, Arc<Session>)> = all
            .iter()
            .map(|(number, session)| (*number, Arc::clone(session)))
            .collect();
        list.sort_by_key(|(number, _)| *number);
        list.into_iter().map(|(_, session)| session).collect()
    }
}
