//! Record sets: all records of one owner and type, packed into one run of octets.

use std::collections::HashSet;

use crate::rdata;

/// All records of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    /// Type number, see [`rtype`](crate::rtype).
    pub rtype: u16,
    /// Seconds, below 2³¹ (RFC 2181 §8).
    pub ttl: u32,
    count: u16,
    /// Each record's data behind its length in two octets.
    data: Box<[u8]>,
}

impl RrSet {
    /// The records of one type that are not in a zone file, in the order given; `None` without any, and if they are
    /// more than a message holds.
    pub fn new(
        rtype: u16,
        ttl: u32,
        rdatas: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Option<Self> {
        let (mut data, mut count) = (Vec::new(), 0_u16);
        for rdata in rdatas {
            let rdata = rdata.as_ref();
            data.extend(u16::try_from(rdata.len()).ok()?.to_be_bytes());
            data.extend_from_slice(rdata);
            count = count.checked_add(1)?;
        }
        (count > 0).then(|| Self {
            rtype,
            ttl,
            count,
            data: data.into(),
        })
    }

    /// The data of each record, names uncompressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.data[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = after;
            Some(data)
        })
    }

    /// The data of the record that begins at this octet of the packed data; the next one begins two
    /// octets and its length further on.
    pub(crate) fn rdata_at(&self, offset: usize) -> Option<&[u8]> {
        let (length, after) = self.data.get(offset..)?.split_first_chunk::<2>()?;
        after.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// Octets of the packed data.
    pub(crate) fn octets(&self) -> usize {
        self.data.len()
    }

    /// The records whose data is wanted; `None` if there is none.
    pub(crate) fn filtered(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let (mut data, mut count) = (Vec::new(), 0);
        for rdata in self.rdatas().filter(|rdata| wanted(rdata)) {
            data.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            data.extend_from_slice(rdata);
            count += 1;
        }
        (count > 0).then(|| Self {
            rtype: self.rtype,
            ttl: self.ttl,
            count,
            data: data.into(),
        })
    }

    /// How many records there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Joins records of one owner and type; identical ones are one (RFC 2181 §5), and the lowest TTL is
    /// everyone's (RFC 2181 §5.2).
    pub(crate) fn gather(records: &[Record]) -> Option<Self> {
        let first = records.first()?;
        let rtype = first.rtype;
        let ttl = records.iter().map(|record| record.ttl).min()?;
        let length = records.iter().map(|record| 2 + record.data.len()).sum();
        let (mut data, mut count) = (Vec::with_capacity(length), 0_u16);
        let repeated = repetitions(rtype, records.iter().map(|record| &record.data[..]));
        for (record, repeated) in records.iter().zip(repeated) {
            if !repeated && count < u16::MAX {
                data.extend_from_slice(&(record.data.len() as u16).to_be_bytes());
                data.extend_from_slice(&record.data);
                count += 1;
            }
        }
        Some(Self {
            rtype,
            ttl,
            count,
            data: data.into(),
        })
    }
}

/// Up to so many records, comparing each with each is faster than a table.
const PAIRS_MAX: usize = 16;

/// For each record of an RRset, whether one before it says the same.
pub(crate) fn repetitions<'d>(
    rtype: u16,
    datas: impl Iterator<Item = &'d [u8]>,
) -> impl Iterator<Item = bool> {
    let mut few: Vec<&[u8]> = Vec::new();
    let mut many = HashSet::new();
    datas.map(move |data| {
        if few.len() < PAIRS_MAX {
            let known = few.iter().any(|other| rdata::is_same(rtype, data, other));
            if !known {
                few.push(data);
            }
            return known;
        }
        if many.is_empty() {
            let known = few.iter().map(|data| rdata::canonical_form(rtype, data));
            many.extend(known);
        }
        !many.insert(rdata::canonical_form(rtype, data))
    })
}

/// One record on its way into a zone.
pub(crate) struct Record {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}
