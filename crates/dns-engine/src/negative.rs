//! The SOA record of negative answers (RFC 2308 §3), composed once per zone, so that saying no costs one copy.

use crate::name;
use crate::rrset::RrSet;
use crate::rtype;

/// The record as it goes out, but for the pointers to the zone's name, which stands in the question.
#[derive(Debug)]
pub(crate) struct NegativeSoa {
    octets: Vec<u8>,
    /// Where in `octets` the pointers belong.
    pointers: Vec<usize>,
    origin_length: usize,
}

impl NegativeSoa {
    /// `None` if the data is not that of a SOA record.
    pub(crate) fn compose(origin: &[u8], soa: &RrSet, ttl: u32) -> Option<Self> {
        let data = soa.rdatas().next()?;
        let primary = name::read(data)?;
        let rest = data.get(primary.len()..)?;
        let mailbox = name::read(rest)?;
        let mut composed = Self {
            octets: Vec::new(),
            pointers: Vec::new(),
            origin_length: origin.len(),
        };
        composed.name(origin, origin);
        composed.octets.extend(rtype::SOA.to_be_bytes());
        composed.octets.extend([0, 1]);
        composed.octets.extend(ttl.to_be_bytes());
        let length_at = composed.octets.len();
        composed.octets.extend([0, 0]);
        composed.name(primary, origin);
        composed.name(mailbox, origin);
        composed.octets.extend(rest.get(mailbox.len()..)?);
        let length = composed.octets.len().checked_sub(length_at + 2)?;
        let place = composed.octets.get_mut(length_at..length_at + 2)?;
        place.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
        Some(composed)
    }

    /// Octets of the zone's name, which is the end of the name in the question.
    pub(crate) fn origin_length(&self) -> usize {
        self.origin_length
    }

    /// Where the pointers belong, from the start of the record.
    pub(crate) fn pointers(&self) -> &[usize] {
        &self.pointers
    }

    /// The record, zeros in the place of its pointers.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// A name whose end is the zone's gets a pointer there; a pointer to the root would be longer than the root.
    fn name(&mut self, name: &[u8], origin: &[u8]) {
        if origin == name::ROOT || !name::is_within(name, origin) {
            self.octets.extend(name);
            return;
        }
        self.octets
            .extend(name.iter().take(name.len() - origin.len()));
        self.pointers.push(self.octets.len());
        self.octets.extend([0, 0]);
    }
}
