//! What one worker keeps from query to query: buffers, and the facts about its last answer.

use crate::answer::Chain;
use crate::dnssec::Bench;
use crate::name::NameBuffer;
use crate::rcode::Rcode;
use crate::tailor::Tailored;
use crate::writer::Suffixes;

/// Buffers of one worker, reused from query to query, and what the last answer was.
pub struct Scratch {
    pub(crate) qname: NameBuffer,
    pub(crate) chain: Chain,
    pub(crate) tailored: Tailored,
    pub(crate) suffixes: Suffixes,
    pub(crate) bench: Bench,
    pub(crate) summary: Summary,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// Allocates everything that queries will need.
    pub fn new() -> Self {
        Self {
            qname: NameBuffer::new(),
            chain: Chain::new(),
            tailored: Tailored::new(),
            suffixes: Suffixes::new(),
            bench: Bench::new(),
            summary: Summary::default(),
        }
    }

    /// What the last answer was, for counters.
    pub fn summary(&self) -> Summary {
        self.summary
    }
}

/// Facts about an answer that counters want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// The response code.
    pub rcode: Rcode,
    /// The type asked; 0 if there was no readable question.
    pub rtype: u16,
    /// The query carried a client subnet.
    pub subnet: bool,
    /// The tailor answered, not the zone.
    pub tailored: bool,
    /// The answer was cut (TC).
    pub truncated: bool,
}
