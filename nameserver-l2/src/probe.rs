//! Probing edges as a player would meet them: connect, `OPTIONS`, a sane status line, in bounded time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::config::Probe;
use crate::rendezvous;
use crate::view::View;

/// Every server has to understand this one (RFC 2326 §10.1), and it changes nothing.
const REQUEST: &[u8] =
    b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: signpost-nameserver-l2\r\nConnection: close\r\n\r\n";

/// Connections that a single look opens at the same time.
const ROUND: usize = 64;

/// "RTSP/1.0 200"
const STATUS_LENGTH: usize = 12;

/// Probes every address of the release in force until shutdown; follows new releases.
pub(crate) async fn run(view: Arc<View>, probe: Probe, shutdown: Shutdown) {
    let mut adoptions = view.adoptions();
    let mut running: HashMap<SocketAddr, AbortHandle> = HashMap::new();
    loop {
        adoptions.borrow_and_update();
        let wanted: HashSet<SocketAddr> = view
            .table()
            .as_ref()
            .map(|table| table.plan.targets.iter().copied().collect())
            .unwrap_or_default();
        running.retain(|target, task| {
            let keep = wanted.contains(target);
            if !keep {
                task.abort();
            }
            keep
        });
        for target in wanted {
            running
                .entry(target)
                .or_insert_with(|| tokio::spawn(watch(view.clone(), target, probe)).abort_handle());
        }
        tokio::select! {
            () = shutdown.wait() => break,
            changed = adoptions.changed() => if changed.is_err() { break },
        }
    }
    running.values().for_each(AbortHandle::abort);
}

/// Probes every address once and believes what it finds: for a single look. Takes one time-out at most for each
/// [`ROUND`] addresses.
pub(crate) async fn once(view: &View, probe: Probe) {
    let targets = view
        .table()
        .as_ref()
        .map_or(Vec::new(), |table| table.plan.targets.clone());
    for round in targets.chunks(ROUND) {
        let mut probes: JoinSet<(SocketAddr, bool)> = JoinSet::new();
        for target in round.iter().copied() {
            probes.spawn(async move { (target, options(target, probe.timeout()).await.is_ok()) });
        }
        while let Some(Ok((target, good))) = probes.join_next().await {
            (0..probe.fall.max(1)).for_each(|_| {
                view.report(target, good);
            });
        }
    }
}

/// Probes one address for ever. The first probe comes at a place of its own in the interval, so that the edges of a large
/// map are not all probed in the same millisecond.
async fn watch(view: Arc<View>, target: SocketAddr, probe: Probe) {
    let interval = probe.interval();
    let spread = rendezvous::seed(&target.to_string()) % 1000;
    let mut ticks = interval_at(Instant::now() + interval * spread as u32 / 1000, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outcome = options(target, probe.timeout()).await;
        if outcome.as_ref().is_err_and(is_our_own) {
            continue;
        }
        if view.report(target, outcome.is_ok()) {
            match outcome {
                Ok(()) => tracing::info!(%target, "edge address is live again"),
                Err(error) => tracing::warn!(%target, %error, "edge address is dead"),
            }
        }
    }
}

/// One probe.
pub(crate) async fn options(target: SocketAddr, limit: Duration) -> io::Result<()> {
    let exchange = async {
        let mut stream = TcpStream::connect(target).await?;
        stream.write_all(REQUEST).await?;
        let mut status = [0; STATUS_LENGTH];
        stream.read_exact(&mut status).await?;
        Ok(status)
    };
    match timeout(limit, exchange).await {
        Ok(Ok(status)) => judge(&status),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// True for errors that say nothing about the edge: this process or this host has run out of descriptors, ports or memory.
/// Taken for news, a flood of connections to us would look like the death of every edge at once.
fn is_our_own(error: &io::Error) -> bool {
    let out_of = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| out_of.contains(&number))
}

/// Any RTSP status shows a server at work, but for 5xx: that one says itself that it cannot serve.
fn judge(status: &[u8; STATUS_LENGTH]) -> io::Result<()> {
    let text = String::from_utf8_lossy(status);
    let code = text
        .strip_prefix("RTSP/1.0 ")
        .or_else(|| text.strip_prefix("RTSP/2.0 "))
        .and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..500) => Ok(()),
        Some(code) => Err(io::Error::other(format!("it answers OPTIONS with {code}"))),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not speak RTSP",
        )),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_server_that_can_serve_counts_as_live() {
        for (status, live) in [
            (b"RTSP/1.0 200", true),
            (b"RTSP/2.0 401", true),
            (b"RTSP/1.0 503", false),
            (b"HTTP/1.1 200", false),
            (b"RTSP/1.0 2x0", false),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false),
        ] {
            assert_eq!(
                judge(status).is_ok(),
                live,
                "{}",
                String::from_utf8_lossy(status)
            );
        }
    }

    #[test]
    fn what_we_lack_ourselves_says_nothing_about_an_edge() {
        for (number, ours) in [
            (libc::EMFILE, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::ECONNREFUSED, false),
            (libc::EHOSTUNREACH, false),
        ] {
            assert_eq!(is_our_own(&io::Error::from_raw_os_error(number)), ours);
        }
        assert!(!is_our_own(&io::ErrorKind::TimedOut.into()));
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_dead_in_bounded_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = silent.local_addr().unwrap();
        let error = options(target, Duration::from_millis(20))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(silent);
        assert!(
            options(target, Duration::from_secs(5)).await.is_err(),
            "refused"
        );
    }
}
