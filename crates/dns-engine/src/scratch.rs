//! What one worker keeps from query to query: buffers, and the facts about its last answer.

use crate::answer::Chain;
use crate::dnssec::Bench;
use crate::hashed::HashedName;
use crate::rate::Limiter;
use crate::summary::Summary;
use crate::tailor::Tailored;
use crate::writer::Suffixes;

/// Buffers of one worker, reused from query to query, and what the last answer was.
pub struct Scratch {
    pub(crate) qname: HashedName,
    pub(crate) chain: Chain,
    pub(crate) tailored: Tailored,
    pub(crate) suffixes: Suffixes,
    pub(crate) bench: Bench,
    pub(crate) limiter: Limiter,
    pub(crate) summary: Summary,
    /// The last query was a NOTIFY from a primary of the zone `qname`.
    pub(crate) notified: bool,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// Allocates everything that queries will need, but for the table of a rate limit, which the first
    /// datagram brings.
    pub fn new() -> Self {
        Self {
            qname: HashedName::default(),
            chain: Chain::new(),
            tailored: Tailored::new(),
            suffixes: Suffixes::new(),
            bench: Bench::new(),
            limiter: Limiter::new(),
            summary: Summary::default(),
            notified: false,
        }
    }

    /// The lower-cased wire name of the zone that the last query, an accepted NOTIFY, says has changed.
    pub fn notified(&self) -> Option<&[u8]> {
        self.notified.then(|| self.qname.as_slice())
    }

    /// What the last answer was, for counters.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The lower-cased wire name of the zone that was asked last; `None` if no loaded zone was.
    pub fn zone(&self) -> Option<&[u8]> {
        let name = self.qname.as_slice();
        let start = name.len().checked_sub(self.summary.zone_octets?.into())?;
        name.get(start..)
    }
}
