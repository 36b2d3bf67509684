//! Secondaries are told of new versions (RFC 1996): again and again until they answer, and of the newest alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use dns_engine::notify::Notification;
use dns_engine::{Rcode, Zone};
use dns_transport::ask::{WAITS, ask};
use service::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc::UnboundedReceiver};
use tokio::task::{AbortHandle, JoinSet};

use super::Transfers;
use super::metrics::Told;
use super::providing::{Notice, Target};
use super::settings::shown;
use crate::unix_seconds;

/// Secondaries that are told at once: each takes a socket for up to a minute.
const SEATS: usize = 64;

/// Who is being told of which zone, by its lower-cased wire name.
type Telling = BTreeMap<(Box<[u8]>, Target), AbortHandle>;

/// Tells whom the notices name, until the end.
pub(super) async fn run(
    transfers: Arc<Transfers>,
    mut notices: UnboundedReceiver<Notice>,
    ending: Shutdown,
) -> anyhow::Result<()> {
    let seats = Arc::new(Semaphore::new(SEATS));
    let (mut tasks, mut telling) = (JoinSet::new(), Telling::new());
    loop {
        tokio::select! {
            () = ending.wait() => return Ok(()),
            Some(_) = tasks.join_next() => {}
            Some(notice) = notices.recv() => {
                telling.retain(|_, task| !task.is_finished());
                for target in notice.targets {
                    let (transfers, seats) = (Arc::clone(&transfers), Arc::clone(&seats));
                    let (zone, whom) = (Arc::clone(&notice.zone), target.clone());
                    let task = tasks.spawn(async move {
                        if let Ok(_seat) = seats.acquire().await {
                            tell(&transfers, &zone, &whom).await;
                        }
                    });
                    // Who has not answered about an older version need not hear of it any more.
                    if let Some(older) = telling.insert((notice.zone.origin().into(), target), task) {
                        older.abort();
                    }
                }
            }
        }
    }
}

async fn tell(transfers: &Transfers, zone: &Zone, target: &Target) {
    let keys = transfers.keys();
    let key = target.key.as_ref().and_then(|name| keys.find(name));
    let (origin, serial, address) = (shown(zone.origin()), zone.serial(), target.address);
    if target.key.is_some() && key.is_none() {
        transfers.counts.told(zone.origin(), Told::Failed);
        tracing::error!(zone = origin, secondary = %address, "not told: the key has no secret");
        return;
    }
    let (id, now) = (rand::random(), unix_seconds());
    let notification = Notification::new(zone.origin(), zone.soa(), id, key, now);
    let read = |datagram: &[u8]| notification.answered(datagram, unix_seconds());
    let answered = ask(address, None, notification.octets(), &WAITS, read).await;
    let outcome = match answered {
        Ok(Some(Rcode::NOERROR)) => {
            tracing::info!(zone = origin, secondary = %address, serial, "told of the new version");
            Told::Heard
        }
        Ok(Some(rcode)) => {
            tracing::warn!(zone = origin, secondary = %address, serial, %rcode, "does not want to be told");
            Told::Refused
        }
        Ok(None) => {
            tracing::warn!(zone = origin, secondary = %address, serial, "does not answer when it is told");
            Told::Failed
        }
        Err(error) => {
            tracing::error!(zone = origin, secondary = %address, %error, "cannot be told");
            Told::Failed
        }
    };
    transfers.counts.told(zone.origin(), outcome);
}
