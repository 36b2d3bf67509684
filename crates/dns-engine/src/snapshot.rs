//! Everything an answer is made from.

use std::sync::Arc;

use crate::cookie::Cookies;
use crate::dnssec::Signing;
use crate::rate::RateLimit;
use crate::tailor::{Tailor, ZonesOnly};
use crate::zones::Zones;
use crate::{transfer, tsig};

/// Largest UDP answer by default: it passes unfragmented almost everywhere (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;
/// Answer size without EDNS (RFC 1035 §4.2.1), and the least a client can ask for (RFC 6891 §6.2.3).
pub const PLAIN_PAYLOAD: u16 = 512;
/// Longest server identifier that is sent, so that question and OPT always fit in 512 octets.
pub(crate) const NSID_MAX: usize = 128;

/// Everything an answer is made from: built aside, frozen, swapped whole.
pub struct Snapshot {
    /// The static zones.
    pub zones: Zones,
    /// The per-client answers.
    pub tailor: Box<dyn Tailor>,
    /// Sizes.
    pub limits: Limits,
    /// What the server says about itself; nothing by default.
    pub identity: Identity,
    /// Server cookies (RFC 7873); `None` ignores the option.
    pub cookies: Option<Cookies>,
    /// How many datagrams a source may have answered; `None` answers all.
    pub rate: Option<RateLimit>,
    /// Which zones are signed; none by default.
    pub signing: Option<Arc<Signing>>,
    /// Who may have which zone, and whose NOTIFY is heard; nobody by default.
    pub transfers: transfer::Policy,
    /// The keys of transaction signatures; none by default.
    pub tsig: tsig::Keys,
}

impl Snapshot {
    /// Zones and per-client answers, everything else as by default.
    pub fn new(zones: Zones, tailor: impl Tailor + 'static) -> Self {
        Self {
            zones,
            tailor: Box::new(tailor),
            limits: Limits::default(),
            identity: Identity::default(),
            cookies: None,
            rate: None,
            signing: None,
            transfers: transfer::Policy::default(),
            tsig: tsig::Keys::default(),
        }
    }

    /// Zones alone.
    pub fn of_zones(zones: Zones) -> Self {
        Self::new(zones, ZonesOnly)
    }
}

/// What an operator may set about answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest UDP answer in octets; below 512 counts as 512.
    pub udp_payload: u16,
    /// How long an idle connection is kept, in units of 100 ms, told to TCP and TLS clients that ask
    /// (RFC 7828); `None` does not tell. The transport's own limit should be a little longer.
    pub keepalive: Option<u16>,
    /// Composes every record by itself instead of copying prepared ones: the same octets, more slowly. For
    /// tests and for finding faults.
    pub composes_all: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_payload: UDP_PAYLOAD,
            keepalive: None,
            composes_all: false,
        }
    }
}

/// What the server says about itself to who asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The server's identifier (RFC 5001), at most 128 octets of it; `None` keeps it off.
    pub nsid: Option<Box<[u8]>>,
    /// Answer to `id.server` and `hostname.bind` of class CHAOS (RFC 4892), at most 255 octets of it.
    pub id_server: Option<Box<str>>,
    /// Answer to `version.server` and `version.bind` of class CHAOS, at most 255 octets of it.
    pub version: Option<Box<str>>,
}
