//! The admin port: metrics for Prometheus, a health check, and whatever a program adds. Keep it on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};

use crate::shutdown::Shutdown;

/// Where an admin port listens unless the config says otherwise: loopback, any free port.
pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Binds the admin port and serves `GET /metrics`, `GET /healthz` and the routes in `extra` until shutdown.
/// Returns the bound address. Needs a running tokio runtime.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(
    listen: SocketAddr,
    registry: Registry,
    extra: Router,
    shutdown: Shutdown,
) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(tokio::net::TcpListener::from_std)
        .with_context(|| format!("admin port {listen} cannot be bound"))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the admin port is not on loopback: it has no access control of its own");
    }
    let routes = Router::new()
        .route(
            "/metrics",
            get(move || std::future::ready(metrics(&registry))),
        )
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .merge(extra);
    tokio::spawn(async move {
        let until = async move { shutdown.wait().await };
        if let Err(error) = axum::serve(listener, routes)
            .with_graceful_shutdown(until)
            .await
        {
            tracing::error!(%error, "the admin port stopped");
        }
    });
    Ok(address)
}

fn metrics(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get_page(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    #[tokio::test]
    async fn serves_metrics_health_and_extra_routes_until_shutdown() {
        let (trigger, shutdown) = crate::shutdown::channel();
        let extra = Router::new().route("/extra", get(|| async { "more" }));
        let registry = crate::metrics::registry("test");
        let address = serve(LOOPBACK, registry, extra, shutdown).unwrap();

        let metrics = get_page(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(
            metrics.contains("signpost_build_info{program=\"test\""),
            "{metrics}"
        );
        assert!(get_page(address, "/healthz").await.ends_with("ok\n"));
        assert!(get_page(address, "/extra").await.ends_with("more"));
        assert!(
            get_page(address, "/nothing")
                .await
                .starts_with("HTTP/1.1 404")
        );

        trigger.fire();
        let closed = async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(10);
        tokio::time::timeout(patience, closed)
            .await
            .expect("closed in time");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let (_trigger, shutdown) = crate::shutdown::channel();
        let address = taken.local_addr().unwrap();
        let registry = crate::metrics::registry("test");
        let error = serve(address, registry, Router::new(), shutdown).unwrap_err();
        assert!(
            format!("{error:#}").contains(&address.to_string()),
            "{error:#}"
        );
    }
}
