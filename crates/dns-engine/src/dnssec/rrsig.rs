//! RRSIG records: what a signature is made over (RFC 4034 §3.1.8.1), and how long it holds.

use std::hash::Hasher;

use super::canonical;
use super::key::Key;
use crate::hash::NameHasher;

/// Octets of RRSIG data in front of the signer's name.
const FRONT: usize = 18;

/// How long signatures hold. All servers of a zone must agree, so that they sign alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Seconds a new signature holds.
    pub lifetime: u32,
    /// Seconds after which a new one is made; the old one then still holds for the rest of its life, which
    /// has to be longer than any TTL.
    pub refresh: u32,
    /// Seconds by which the start lies in the past, for validators whose clock is late.
    pub backdate: u32,
}

impl Default for Validity {
    /// Two weeks, made anew at half life, one hour back.
    fn default() -> Self {
        const DAY: u32 = 86_400;
        Self {
            lifetime: 14 * DAY,
            refresh: 7 * DAY,
            backdate: 3600,
        }
    }
}

/// From when to when one signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) inception: u32,
    pub(crate) expiration: u32,
    /// Unix seconds from which the next signature is made.
    pub(crate) until: u64,
}

impl Validity {
    /// The window for a name at a time: one of a fixed row of windows, so that every server, and each one
    /// after a restart, takes the same. The row is shifted by the name, lest all signatures be made anew at once.
    pub(crate) fn window(&self, owner: &[u8], now: u64) -> Window {
        let refresh = u64::from(self.refresh.max(1));
        let mut hasher = NameHasher::default();
        hasher.write(owner);
        let shift = hasher.finish() % refresh;
        let start = (now + shift) / refresh * refresh;
        // Serial number arithmetic: the numbers wrap in 2106 (RFC 4034 §3.1.5).
        let wrapped = |seconds: u64| (seconds.wrapping_sub(shift) & u64::from(u32::MAX)) as u32;
        Window {
            inception: wrapped(start.wrapping_sub(u64::from(self.backdate))),
            expiration: wrapped(start + u64::from(self.lifetime)),
            until: (start + refresh).saturating_sub(shift),
        }
    }
}

/// An RRset on its way to a signature.
#[derive(Clone, Copy)]
pub(crate) struct ToSign<'a> {
    /// Lower-cased wire name.
    pub(crate) owner: &'a [u8],
    pub(crate) rtype: u16,
    /// The original TTL: what is sent may be less (RFC 4034 §3.1.4).
    pub(crate) ttl: u32,
    /// Lower-cased wire name of the zone.
    pub(crate) signer: &'a [u8],
    pub(crate) window: Window,
}

/// Buffers of one worker in which the octets to sign are put together.
pub(crate) struct Composer {
    /// All that the signature depends on but for the key, records in the order and case in which they came.
    gathered: Vec<u8>,
    /// Where in it the records' data begins, each behind its length.
    records_at: usize,
    data: Vec<u8>,
    rdata: Vec<u8>,
    /// Where each record's data stands in `rdata`.
    places: Vec<(usize, usize)>,
}

impl Composer {
    pub(crate) fn new() -> Self {
        Self {
            gathered: Vec::with_capacity(2048),
            records_at: 0,
            data: Vec::with_capacity(2048),
            rdata: Vec::with_capacity(1024),
            places: Vec::with_capacity(32),
        }
    }

    /// Takes an RRset in and returns what its signatures are known by: octets that no other RRset has, nor any other
    /// time. To put them in canonical form and order is left to when there is something to sign.
    pub(crate) fn gather<'r>(
        &mut self,
        set: &ToSign<'_>,
        rdatas: impl Iterator<Item = &'r [u8]>,
    ) -> &[u8] {
        const LENGTH_AT: usize = 16;
        let gathered = &mut self.gathered;
        gathered.clear();
        let mut head = [0; LENGTH_AT + 4];
        head[..2].copy_from_slice(&set.rtype.to_be_bytes());
        // Names have 255 octets at most, and the owner ends with the signer.
        (head[2], head[3]) = (set.owner.len() as u8, set.signer.len() as u8);
        head[4..8].copy_from_slice(&set.ttl.to_be_bytes());
        head[8..12].copy_from_slice(&set.window.inception.to_be_bytes());
        head[12..16].copy_from_slice(&set.window.expiration.to_be_bytes());
        gathered.extend_from_slice(&head);
        gathered.extend_from_slice(set.owner);
        self.records_at = gathered.len();
        for data in rdatas {
            gathered.extend_from_slice(&(data.len() as u16).to_be_bytes());
            gathered.extend_from_slice(data);
        }
        let length = gathered.len() as u32;
        gathered[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        gathered
    }

    /// The data of the RRSIG record of a key over an RRset up to the signature (RFC 4034 §3.1).
    pub(crate) fn front(&mut self, set: &ToSign<'_>, key: &Key) -> &[u8] {
        let mut front = [0; FRONT];
        front[..2].copy_from_slice(&set.rtype.to_be_bytes());
        (front[2], front[3]) = (key.algorithm().number(), label_count(set.owner));
        front[4..8].copy_from_slice(&set.ttl.to_be_bytes());
        front[8..12].copy_from_slice(&set.window.expiration.to_be_bytes());
        front[12..16].copy_from_slice(&set.window.inception.to_be_bytes());
        front[16..].copy_from_slice(&key.tag().to_be_bytes());
        self.data.clear();
        self.data.extend_from_slice(&front);
        self.data.extend_from_slice(set.signer);
        &self.data
    }

    /// All that is signed, of the RRset taken in last, once its front is there (RFC 4034 §3.1.8.1, order of §6.3).
    pub(crate) fn compose(&mut self, set: &ToSign<'_>) -> &[u8] {
        self.sort(set.rtype);
        let (rtype, ttl) = (set.rtype.to_be_bytes(), set.ttl.to_be_bytes());
        let data = &mut self.data;
        for &(start, end) in &self.places {
            data.extend_from_slice(set.owner);
            data.extend_from_slice(&rtype);
            data.extend_from_slice(&[0, 1]);
            data.extend_from_slice(&ttl);
            data.extend_from_slice(&((end - start) as u16).to_be_bytes());
            data.extend_from_slice(&self.rdata[start..end]);
        }
        data
    }

    /// Puts the data of all records in canonical form and order, each once (RFC 4034 §6.3).
    fn sort(&mut self, rtype: u16) {
        self.rdata.clear();
        self.places.clear();
        let mut rest = &self.gathered[self.records_at..];
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (data, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            let start = self.rdata.len();
            canonical::push(rtype, data, &mut self.rdata);
            self.places.push((start, self.rdata.len()));
            rest = after;
        }
        if self.places.len() > 1 {
            let rdata = &self.rdata;
            let octets = |&(start, end): &(usize, usize)| &rdata[start..end];
            self.places
                .sort_unstable_by(|one, other| octets(one).cmp(octets(other)));
            self.places
                .dedup_by(|one, other| octets(one) == octets(other));
        }
    }
}

/// Labels of an owner, the root and a leading `*` left out (RFC 4034 §3.1.3).
fn label_count(owner: &[u8]) -> u8 {
    let count = crate::name::label_count(owner) as u8; // at most 127
    count - u8::from(owner.starts_with(b"\x01*"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dnssec::key::tests::example;
    use crate::{name, rtype};

    #[test]
    fn records_are_signed_in_order_each_once() {
        let set = ToSign {
            owner: b"\x01*\x01a\0",
            rtype: rtype::NS,
            ttl: 0x0102_0304,
            signer: b"\x01a\0",
            window: Window {
                inception: 0x1111_1111,
                expiration: 0x2222_2222,
                until: 0,
            },
        };
        let mut composer = Composer::new();
        let rdatas = [&b"\x01b\0"[..], b"\0", b"\x01B\0", b"\x01A\0"];
        composer.gather(&set, rdatas.into_iter());
        let key = example(1);
        assert_eq!(composer.front(&set, &key).len(), 21);
        let record = |data: &[u8]| {
            let front = b"\x01*\x01a\0\0\x02\0\x01\x01\x02\x03\x04\0";
            [&front[..], &[data.len() as u8], data].concat()
        };
        let expected = [
            b"\0\x02\x0f\x01\x01\x02\x03\x04\x22\x22\x22\x22\x11\x11\x11\x11".to_vec(),
            3613_u16.to_be_bytes().to_vec(),
            b"\x01a\0".to_vec(),
            record(b"\0"),
            record(b"\x01a\0"),
            record(b"\x01b\0"),
        ];
        assert_eq!(composer.compose(&set), expected.concat());
    }

    #[test]
    fn windows_wrap_with_the_clock_of_32_bits() {
        let owner = name::parse("www.example.", None).unwrap();
        let now = u64::from(u32::MAX) - 5;
        let validity = Validity::default();
        let window = validity.window(&owner, now);
        let left = window.expiration.wrapping_sub(now as u32);
        assert!(left >= validity.refresh && left <= validity.lifetime);
        assert!(validity.window(&owner, 0).until > 0);
    }

    proptest! {
        #[test]
        fn a_signature_holds_for_half_its_life_at_least_and_changes_at_its_hour(
            owner in "[a-z]{1,20}\\.example\\.",
            now in 1_000_000_000_u64..4_000_000_000,
        ) {
            let owner = name::parse(&owner, None).unwrap();
            let validity = Validity::default();
            let window = validity.window(&owner, now);
            let (from, to) = (u64::from(window.inception), u64::from(window.expiration));
            prop_assert!(from + 3600 <= now);
            prop_assert!(to > now + u64::from(validity.lifetime - validity.refresh));
            prop_assert_eq!(to - from, u64::from(validity.lifetime) + 3600);
            prop_assert_eq!(validity.window(&owner, window.until - 1), window);
            let next = validity.window(&owner, window.until);
            prop_assert_eq!(next.inception, window.inception + validity.refresh);
        }
    }

    #[test]
    fn windows_of_different_names_do_not_change_together() {
        let validity = Validity::default();
        let mut hours = std::collections::HashSet::new();
        for number in 0..1000 {
            let owner = name::parse(&format!("h{number}.example."), None).unwrap();
            hours.insert(validity.window(&owner, 1_800_000_000).until / 3600);
        }
        // A week has 168 hours; a thousand names leave hardly one of them out.
        assert!(hours.len() > 150, "{}", hours.len());
    }
}
