//! One primary is asked for news of a zone: which version it has, then for the differences, else for the whole zone.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dns_engine::transfer::{
    Complete, Heard, Limits, Probe, Progress, Receiving, TransferError, is_newer,
};
use dns_engine::tsig::Key;
use dns_engine::{Zone, name};
use dns_transport::ask::ask;
use dns_transport::transfer::{self, Broken, Identity, IdentityError, Patience};

use super::settings::Primary;
use crate::unix_seconds;

/// How long to wait for an answer over UDP, each time it is asked; then it is asked over TCP.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// What a primary has.
#[derive(Debug)]
pub(super) enum News {
    /// The version at hand is the newest.
    Same,
    /// A new version.
    Version(Box<Arrived>),
}

/// A version of a zone that came, and how.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) complete: Complete,
    /// Octets of all messages.
    pub(super) octets: u64,
}

/// Why a primary did not help.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("there is no secret for the key {}", name::text(.0))]
    NoKey(Box<[u8]>),
    #[error("{} cannot be read: {error}", file.display())]
    Authorities {
        file: PathBuf,
        error: std::io::Error,
    },
    #[error("its identity cannot be checked: {0}")]
    Identity(#[from] IdentityError),
    #[error("there is no socket to ask from: {0}")]
    Socket(std::io::Error),
    #[error(transparent)]
    Connection(#[from] Broken),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("its serial {serial} is older than {held}, which is served")]
    Older { serial: u32, held: u32 },
    #[error("the catalog is broken: {0}")]
    Catalog(String),
    #[error("the transfer panicked")]
    Panic,
}

/// A primary, ready to be asked.
pub(super) struct Asking {
    primary: transfer::Primary,
    key: Option<Arc<Key>>,
}

/// The version at hand.
pub(super) struct Held {
    pub(super) zone: Arc<Zone>,
    /// It may be served; else the primary's version is taken whatever its serial.
    pub(super) servable: bool,
}

impl Asking {
    /// Finds what is needed to ask: the key, and who may vouch for a primary's name.
    pub(super) fn new(primary: &Primary, keys: &dns_engine::tsig::Keys) -> Result<Self, Failure> {
        let key = match &primary.key {
            None => None,
            Some(name) => {
                let key = keys.find(name.wire()).cloned();
                Some(key.ok_or_else(|| Failure::NoKey(name.wire().into()))?)
            }
        };
        let tls = match &primary.tls {
            None => None,
            Some(tls) => {
                let authorities = std::fs::read(&tls.authorities);
                let authorities = authorities.map_err(|error| Failure::Authorities {
                    file: tls.authorities.clone(),
                    error,
                })?;
                Some(Identity::new(&tls.name, &authorities)?)
            }
        };
        Ok(Self {
            primary: transfer::Primary {
                address: primary.address,
                source: None,
                tls,
            },
            key,
        })
    }

    /// Asks for news of a zone by its lower-cased wire name.
    pub(super) async fn news(&self, zone: &[u8], held: Option<&Held>) -> Result<News, Failure> {
        let Some(Held {
            zone: base,
            servable,
        }) = held
        else {
            return self.whole(zone, None).await;
        };
        let (serial, held) = (self.serial(zone).await?, base.serial());
        if serial == held {
            return Ok(News::Same);
        }
        if !servable {
            return self.whole(zone, None).await;
        }
        if !is_newer(serial, held) {
            return Err(Failure::Older { serial, held });
        }
        let differences =
            Receiving::incremental(Arc::clone(base), rand::random(), Limits::default());
        match self.receive(differences).await {
            // It may not know how, or its differences may be wrong: the whole zone helps then.
            Err(Failure::Transfer(error)) if !matches!(error, TransferError::Unproven(_)) => {
                let zone = name::text(zone);
                tracing::debug!(zone, %error, "no differences; asking for the whole zone");
                self.whole(base.origin(), Some(base)).await
            }
            done => done,
        }
    }

    async fn whole(&self, zone: &[u8], base: Option<&Arc<Zone>>) -> Result<News, Failure> {
        let base = base.cloned();
        let whole = Receiving::whole(zone, base, rand::random(), Limits::default());
        self.receive(whole).await
    }

    async fn receive(&self, mut receiving: Receiving) -> Result<News, Failure> {
        let request = receiving.request(self.key.as_ref(), unix_seconds());
        let mut octets = 0;
        let take = |message: &[u8]| {
            octets += message.len() as u64;
            match receiving.take(message, unix_seconds()) {
                Ok(Progress::More) => ControlFlow::Continue(()),
                end => ControlFlow::Break(end),
            }
        };
        let end = transfer::fetch(&self.primary, Patience::default(), &request, take).await?;
        Ok(match end? {
            Progress::Complete(complete) => News::Version(Box::new(Arrived {
                complete: *complete,
                octets,
            })),
            Progress::Current(_) | Progress::More => News::Same,
        })
    }

    /// The serial that the primary has: asked over UDP, and over a stream if that does not help or all is to be encrypted.
    async fn serial(&self, zone: &[u8]) -> Result<u32, Failure> {
        let probe = Probe::new(zone, rand::random(), self.key.as_ref(), unix_seconds());
        if self.primary.tls.is_none() {
            let read = |datagram: &[u8]| probe.answered(datagram, unix_seconds());
            let server = self.primary.address;
            let heard = ask(server, self.primary.source, probe.octets(), &WAITS, read).await;
            match heard.map_err(Failure::Socket)?.transpose()? {
                Some(Heard::Serial(serial)) => return Ok(serial),
                Some(Heard::Truncated) | None => {}
            }
        }
        let take = |message: &[u8]| match probe.answered(message, unix_seconds()) {
            Some(heard) => ControlFlow::Break(heard),
            None => ControlFlow::Continue(()),
        };
        let heard = transfer::fetch(&self.primary, Patience::default(), probe.octets(), take);
        match heard.await?? {
            Heard::Serial(serial) => Ok(serial),
            Heard::Truncated => Err(TransferError::Malformed.into()),
        }
    }
}
