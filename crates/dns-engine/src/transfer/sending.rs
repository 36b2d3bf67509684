//! A transfer on its way out: one message after another, for as long as the client takes. It holds the
//! zone it began with, so that a reload half-way changes nothing.

use std::sync::Arc;

use super::compose::{Composer, Places};
use super::journal::{Change, Step};
use crate::rrset::RrSet;
use crate::rtype;
use crate::tsig::Signer;
use crate::zone::{Node, Zone};

/// A message is closed when it has this many octets: pointers reach no further, and a secondary can
/// work on it while the next one travels.
const MESSAGE_OCTETS: usize = 16 << 10;
/// Octets of a DNS message over a stream.
const MESSAGE_MAX: usize = u16::MAX as usize;

/// What a transfer brings.
pub(super) enum Content {
    /// The SOA record alone: "this is the newest version" (RFC 1995 §2).
    Soa,
    /// The SOA record, every record, the SOA record again (RFC 5936 §2.2).
    Whole,
    /// The differences between SOA records (RFC 1995 §4).
    Steps(Vec<Arc<Step>>),
}

/// What a transfer is to the client, for counters and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// It has the newest version.
    Current,
    /// The whole zone.
    Whole,
    /// Differences.
    Differences,
}

/// What the messages have in common.
#[derive(Clone)]
pub(super) struct Frame {
    /// Identifier and flags of the answer, RCODE 0.
    pub(super) head: [u8; 4],
    /// The question as it was asked, only in the first message (RFC 5936 §2.2.2).
    pub(super) question: Box<[u8]>,
    /// The OPT record, only in the first message (RFC 5936 §2.2.5); empty without EDNS.
    pub(super) opt: Vec<u8>,
    /// Signs every message.
    pub(super) signer: Option<Signer>,
    /// Unix seconds, for signatures.
    pub(super) now: u64,
}

/// A transfer in the making; see [`next`](Self::next).
pub struct Sending {
    zone: Arc<Zone>,
    content: Content,
    frame: Frame,
    places: Places,
    at: Place,
}

/// What comes next: the part, the RRset in it, and the octet in that.
#[derive(Clone, Copy, Default)]
struct Place {
    part: usize,
    set: usize,
    offset: usize,
}

/// RRsets that go out together.
enum Part<'s> {
    Soa(&'s RrSet),
    Node(&'s Node),
    Changes(&'s [Change]),
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let zone = crate::name::Text(self.origin());
        write!(f, "Sending({zone} {})", self.serial())
    }
}

impl Sending {
    pub(super) fn new(zone: Arc<Zone>, content: Content, frame: Frame) -> Self {
        Self {
            zone,
            content,
            frame,
            places: Places::default(),
            at: Place::default(),
        }
    }

    /// Sets the time that the next signatures carry, for transfers that take long (Unix seconds).
    pub fn set_now(&mut self, now: u64) {
        self.frame.now = now;
    }

    /// The zone, by its lower-cased wire name.
    pub fn origin(&self) -> &[u8] {
        self.zone.origin()
    }

    /// The serial of the version that is sent.
    pub fn serial(&self) -> u32 {
        self.zone.serial()
    }

    /// What is sent.
    pub fn sent(&self) -> Sent {
        match self.content {
            Content::Soa => Sent::Current,
            Content::Whole => Sent::Whole,
            Content::Steps(_) => Sent::Differences,
        }
    }

    /// True when every record is sent.
    pub fn is_done(&self) -> bool {
        self.at.part >= self.parts()
    }

    /// Writes the next message and returns its length; `None` at the end, or if `out` cannot hold one record.
    pub fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.is_done() {
            return None;
        }
        let whole = out.len().min(MESSAGE_MAX);
        // Both belong to the first message alone.
        let question = std::mem::take(&mut self.frame.question);
        let opt = std::mem::take(&mut self.frame.opt);
        let signature = self.frame.signer.as_ref().map_or(0, Signer::length);
        let room = out.get_mut(..whole.checked_sub(opt.len() + signature)?)?;
        let mut places = std::mem::take(&mut self.places);
        let mut composer = Composer::new(room, &question, &mut places)?;
        let mut count = 0_u16;
        while let Some((owner, set, data)) = self.record() {
            if composer.record(owner, set.rtype, set.ttl, data).is_err() {
                break;
            }
            self.at.offset += 2 + data.len();
            count += 1;
            if composer.length() >= MESSAGE_OCTETS {
                break;
            }
        }
        let mut length = composer.length();
        self.places = places;
        self.settle();
        if count == 0 {
            // A record larger than any message cannot be transferred by anyone.
            self.at.part = self.parts();
            return None;
        }
        let opt_count = u16::from(!opt.is_empty());
        out.get_mut(length..length + opt.len())?
            .copy_from_slice(&opt);
        length += opt.len();
        let counts = [u16::from(!question.is_empty()), count, 0, opt_count];
        write_header(out, self.frame.head, counts);
        match &mut self.frame.signer {
            Some(signer) => signer.sign(out, length, self.frame.now),
            None => Some(length),
        }
    }

    /// The record at hand.
    fn record(&mut self) -> Option<(&[u8], &RrSet, &[u8])> {
        self.settle();
        let (owner, set) = self.set()?;
        Some((owner, set, set.rdata_at(self.at.offset)?))
    }

    /// Moves on until a record is at hand, or everything is done.
    fn settle(&mut self) {
        while !self.is_done() {
            let Place { part, set, offset } = self.at;
            self.at = match self.set() {
                Some((_, rrset)) if rrset.rdata_at(offset).is_some() => return,
                Some(_) => Place {
                    part,
                    set: set + 1,
                    offset: 0,
                },
                None => Place {
                    part: part + 1,
                    ..Place::default()
                },
            };
        }
    }

    fn set(&self) -> Option<(&[u8], &RrSet)> {
        let number = self.at.set;
        match self.part(self.at.part)? {
            Part::Soa(soa) => (number == 0).then_some((self.zone.shown_origin(), soa)),
            Part::Node(node) => {
                let mut sets = node.rrsets().iter().filter(|set| set.rtype != rtype::SOA);
                Some((node.owner(), sets.nth(number)?))
            }
            Part::Changes(changes) => {
                let Change { owner, set } = changes.get(number)?;
                Some((owner, set))
            }
        }
    }

    /// How many parts there are; the SOA record is the first and, if there is more, the last.
    fn parts(&self) -> usize {
        match &self.content {
            Content::Soa => 1,
            Content::Whole => self.zone.ordered().len() + 2,
            Content::Steps(steps) => steps.len() * 4 + 2,
        }
    }

    fn part(&self, number: usize) -> Option<Part<'_>> {
        if number == 0 || number + 1 == self.parts() {
            return Some(Part::Soa(self.zone.soa()));
        }
        match &self.content {
            Content::Soa => None,
            Content::Whole => self.zone.ordered_at(number - 1).map(Part::Node),
            Content::Steps(steps) => {
                let step = steps.get((number - 1) / 4)?;
                Some(match (number - 1) % 4 {
                    0 => Part::Soa(&step.before),
                    1 => Part::Changes(&step.removed),
                    2 => Part::Soa(&step.after),
                    _ => Part::Changes(&step.added),
                })
            }
        }
    }
}

fn write_header(out: &mut [u8], head: [u8; 4], counts: [u16; 4]) {
    let numbers = counts.into_iter().flat_map(u16::to_be_bytes);
    for (place, octet) in out.iter_mut().zip(head.into_iter().chain(numbers)) {
        *place = octet;
    }
}
