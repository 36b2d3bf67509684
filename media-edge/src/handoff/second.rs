//! The second edge's side: keep a place for an offered session, check who comes to claim it, tell the first edge.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rtsp::peer::{Message, Offer, Secret};
use rtsp::ticket::{Spent, Ticket, TicketError, proof};
use tokio::sync::mpsc;

use crate::content::{Availability, Title};
use crate::edge::{Edge, unix_ms};
use crate::peers::Link;
use crate::serve::schedule::Clock;

/// Longest lease given: a client that has not come by then will not come.
const LEASE_MAX: Duration = Duration::from_secs(12);
/// Longest wait for the first frames.
const FRAMES_DEADLINE: Duration = Duration::from_secs(2);
/// Most tickets remembered as used, and most sessions prepared: thousands a second would be an attack.
const PREPARED_MAX: usize = 10_000;
/// Most descriptions in an offer.
const DESCRIPTIONS_MAX: usize = 8;
/// The first description's start lies at most this far from the session's position (90 kHz ticks): IDRs are seconds
/// apart and an offer takes seconds; anything further would set this edge's clock to nonsense.
const APART_MAX: u64 = 60 * 90_000;
/// The link is kept this long after the client came, for the release.
const LINK_MAX: Duration = Duration::from_secs(30);

/// A session that another edge is about to hand over.
#[derive(Debug)]
pub struct Prepared {
    /// What the first edge said.
    pub offer: Offer,
    /// From which the numbering follows.
    pub secret: Secret<[u8; 32]>,
    /// The title, its first frames at hand.
    pub title: Arc<Title>,
    /// The first edge's clock, as well as it can be known here.
    pub clock: Clock,
    taken: AtomicBool,
    to_first: mpsc::Sender<Message>,
}

impl Prepared {
    /// Tells the first edge something, if the link still stands.
    pub fn tell(&self, message: Message) {
        let _ = self.to_first.try_send(message);
    }
}

/// All prepared sessions of this edge.
#[derive(Debug)]
pub struct Incoming {
    prepared: Mutex<HashMap<String, Arc<Prepared>>>,
    spent: Mutex<Spent>,
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming {
            prepared: Mutex::default(),
            spent: Mutex::new(Spent::new(PREPARED_MAX)),
        }
    }
}

impl Incoming {
    /// Places kept for clients that have not come yet.
    pub fn reserved(&self) -> usize {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared
            .values()
            .filter(|p| !p.taken.load(Ordering::Relaxed))
            .count()
    }

    /// Whether a ticket is good, as far as can be said before its holder proves who it is.
    pub fn check(&self, text: &str, edge: &Edge) -> Result<Arc<Prepared>, TicketError> {
        Ok(self.open(text, edge)?.1)
    }

    /// Lets the client in: good ticket, proof of the key it names, first use.
    pub fn admit(
        &self,
        text: &str,
        challenge: &str,
        given_proof: &str,
        edge: &Edge,
    ) -> Result<Arc<Prepared>, TicketError> {
        let (ticket, prepared) = self.open(text, edge)?;
        proof::verify(&ticket.client_key, challenge, text, given_proof)?;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.spend(&ticket, unix_ms())?;
        prepared.taken.store(true, Ordering::Relaxed);
        Ok(prepared)
    }

    fn open(&self, text: &str, edge: &Edge) -> Result<(Ticket, Arc<Prepared>), TicketError> {
        let issuer = Ticket::peek(text)?.issuer;
        let fleet = edge.fleet.load();
        let key = fleet
            .edge(&issuer)
            .and_then(|e| e.public_key)
            .ok_or(TicketError::Signature)?;
        let ticket = Ticket::open(text, &key, &edge.config.name, unix_ms())?;
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = prepared.get(&ticket.handoff).filter(|prepared| {
            let offer = &prepared.offer;
            offer.from == ticket.issuer
                && offer.title == ticket.title
                && offer.client_key == ticket.client_key
        });
        let found = Arc::clone(found.ok_or(TicketError::Unknown)?);
        Ok((ticket, found))
    }

    fn insert(&self, prepared: Arc<Prepared>) -> Result<(), &'static str> {
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let id = prepared.offer.handoff.clone();
        if all.len() >= PREPARED_MAX {
            return Err("full");
        }
        if all.contains_key(&id) {
            return Err("malformed");
        }
        all.insert(id, prepared);
        Ok(())
    }

    fn remove(&self, handoff: &str) {
        self.prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(handoff);
    }
}

/// Answers an offer and stays with it until the handoff is over.
pub async fn receive(
    mut link: Link,
    peer: &str,
    offer: Offer,
    edge: &Arc<Edge>,
) -> anyhow::Result<()> {
    let handoff = offer.handoff.clone();
    let (to_first, from_session) = mpsc::channel(16);
    let lease = Duration::from_millis(offer.lease_ms).min(LEASE_MAX);
    let prepared = match prepare(peer, offer, edge, to_first).await {
        Ok(prepared) => prepared,
        Err(reason) => {
            edge.metrics.offers.with_label_values(&[reason]).inc();
            link.send(&Message::Refused {
                handoff,
                reason: reason.to_owned(),
            })
            .await?;
            link.finish();
            return Ok(());
        }
    };
    edge.metrics.offers.with_label_values(&["prepared"]).inc();
    let result = follow(&mut link, &prepared, from_session, lease).await;
    edge.incoming.remove(&handoff);
    link.finish();
    result
}

/// Room, title and first frames; the reason if one is missing.
async fn prepare(
    peer: &str,
    offer: Offer,
    edge: &Arc<Edge>,
    to_first: mpsc::Sender<Message>,
) -> Result<Arc<Prepared>, &'static str> {
    let received = Instant::now();
    let secret = check(peer, &offer, edge)?;
    if edge.is_draining() {
        return Err("draining");
    }
    let busy = edge.sessions.len() + edge.incoming.reserved() >= edge.config.limits.sessions_soft;
    if edge.room() == 0 || (offer.reason == "load" && busy) {
        return Err("full");
    }
    let title = edge
        .library
        .title(&offer.title, Some(peer), 0)
        .await
        .ok_or("no_title")?;
    if title.digest != offer.title_digest {
        return Err("other_title");
    }
    for &(description, start) in &offer.starts {
        let position = title
            .idr_before(description, start, offer.repeat)
            .ok_or("malformed")?;
        let frame = title
            .frame(description, position, offer.repeat)
            .ok_or("malformed")?;
        if frame.rtp_time != start || !frame.idr {
            return Err("malformed");
        }
    }
    let (first, start) = *offer.starts.first().ok_or("malformed")?;
    let position = title
        .idr_before(first, start, offer.repeat)
        .ok_or("malformed")?;
    let at_hand = async {
        loop {
            match title.data(first, position) {
                Availability::Ready(_) => return true,
                Availability::Coming => title.wait(first, position).await,
                Availability::Failed => return false,
            }
        }
    };
    if !tokio::time::timeout(FRAMES_DEADLINE, at_hand)
        .await
        .unwrap_or(false)
    {
        return Err("no_title");
    }
    let clock = Clock {
        anchor: received,
        npt: offer.position,
    };
    let taken = AtomicBool::new(false);
    let prepared = Arc::new(Prepared {
        offer,
        secret,
        title,
        clock,
        taken,
        to_first,
    });
    edge.incoming.insert(Arc::clone(&prepared))?;
    Ok(prepared)
}

/// The offer's own sense: from the peer that sent it, for this edge, with usable values. Gives the session secret.
fn check(peer: &str, offer: &Offer, edge: &Edge) -> Result<Secret<[u8; 32]>, &'static str> {
    let addressed = offer.from == peer && offer.to == edge.config.name;
    let sized = (1..=DESCRIPTIONS_MAX).contains(&offer.starts.len()) && offer.handoff.len() <= 64;
    let near = |(_, start): &(u8, u64)| start.abs_diff(offer.position) <= APART_MAX;
    if !addressed || !sized || !offer.starts.first().is_some_and(near) {
        return Err("malformed");
    }
    if proof::parse_key(&offer.client_key).is_none() {
        return Err("malformed");
    }
    let secret = URL_SAFE_NO_PAD
        .decode(&offer.session_secret.0)
        .map_err(|_| "malformed")?;
    let secret: [u8; 32] = secret.try_into().map_err(|_| "malformed")?;
    Ok(Secret(secret))
}

/// Says "prepared", then carries messages until the first edge has released the client or the lease has run out.
async fn follow(
    link: &mut Link,
    prepared: &Prepared,
    mut from_session: mpsc::Receiver<Message>,
    lease: Duration,
) -> anyhow::Result<()> {
    let handoff = prepared.offer.handoff.clone();
    link.send(&Message::Prepared {
        handoff: handoff.clone(),
    })
    .await?;
    let mut until = tokio::time::Instant::now() + lease;
    let mut extended = false;
    loop {
        tokio::select! {
            message = from_session.recv() => {
                if let Some(message) = message {
                    link.send(&message).await?;
                }
            }
            message = link.receive() => match message? {
                Some(Message::Released { .. } | Message::Aborted { .. }) | None => return Ok(()),
                Some(_) => {}
            },
            () = tokio::time::sleep_until(until) => {
                if prepared.taken.load(Ordering::Relaxed) && !extended {
                    extended = true;
                    until = tokio::time::Instant::now() + LINK_MAX;
                    continue;
                }
                let reason = "lease".to_owned();
                link.send(&Message::Aborted { handoff, reason }).await?;
                return Ok(());
            }
        }
    }
}
