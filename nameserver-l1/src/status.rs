//! What the admin port tells beside metrics: `GET /v1/explain?client=NET&service=NAME`, the same as the
//! `explain` command says, about what is being served at this moment.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    Json, Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use traffic_map::Subnet;

use crate::explain::Explainer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    client: String,
    service: String,
}

/// The routes for the admin port.
pub fn routes(current: Arc<ArcSwap<Explainer>>) -> Router {
    Router::new().route(
        "/v1/explain",
        get(move |Query(ask): Query<Ask>| std::future::ready(answer(&current, &ask))),
    )
}

fn answer(current: &ArcSwap<Explainer>, ask: &Ask) -> Response {
    let client: Subnet = match ask.client.parse() {
        Ok(client) => client,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match current.load().explain(&ask.service, client) {
        Ok(explanation) => Json(explanation).into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    }
}
