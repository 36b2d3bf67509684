//! The admin routes: the list of sessions, drain and resume. Metrics and health come from `service`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::edge::{Edge, Mode};

/// `GET /sessions`, `POST /drain`, `POST /resume`.
pub fn routes(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/sessions", get(sessions))
        .route("/drain", post(drain))
        .route("/resume", post(resume))
        .with_state(edge)
}

async fn sessions(State(edge): State<Arc<Edge>>) -> Json<Value> {
    let sessions: Vec<Value> = edge
        .sessions
        .list()
        .iter()
        .map(|session| {
            let position = session.position.load(Ordering::Relaxed) as f64 / 90_000.0;
            let mut entry = json!(session.view());
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("position_seconds".into(), json!(position));
                entry.insert(
                    "age_seconds".into(),
                    json!(session.since.elapsed().as_secs()),
                );
            }
            entry
        })
        .collect();
    Json(json!({
        "edge": edge.config.name,
        "draining": edge.is_draining(),
        "room": edge.room(),
        "map_edges": edge.fleet.load().len(),
        "sessions": sessions,
    }))
}

async fn drain(State(edge): State<Arc<Edge>>) -> Json<Value> {
    edge.set_mode(Mode::Draining);
    Json(json!({ "draining": true, "sessions": edge.sessions.len() }))
}

async fn resume(State(edge): State<Arc<Edge>>) -> Json<Value> {
    edge.set_mode(Mode::Serving);
    Json(json!({ "draining": false, "sessions": edge.sessions.len() }))
}
