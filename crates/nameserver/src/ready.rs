//! `GET /readyz`: whether queries should be sent here. `/healthz` only says that the program runs.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::{Door, InForce};

/// What a server needs before it can answer as it is meant to.
#[derive(Clone)]
pub(crate) struct Ready {
    door: Door,
    release: Option<InForce>,
}

impl Ready {
    /// Zones alone.
    pub(crate) fn new(door: Door) -> Self {
        Self {
            door,
            release: None,
        }
    }

    /// A release as well.
    pub(crate) fn await_release(&mut self, in_force: InForce) {
        self.release = Some(in_force);
    }

    /// Status and text.
    fn look(&self) -> (StatusCode, &'static str) {
        let lacks_release = |in_force: &InForce| !in_force.is_there();
        if !self.door.has_zones() {
            (StatusCode::SERVICE_UNAVAILABLE, "no zone is loaded\n")
        } else if self.release.as_ref().is_some_and(lacks_release) {
            (StatusCode::SERVICE_UNAVAILABLE, "no release is in force\n")
        } else {
            (StatusCode::OK, "ready\n")
        }
    }

    /// The route for the admin port.
    pub(crate) fn route(self) -> Router {
        let shared = Arc::new(self);
        Router::new().route("/readyz", get(move || std::future::ready(shared.look())))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.look().1).finish()
    }
}
