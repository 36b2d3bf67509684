//! Record sets: all records of one owner and type, packed into one run of octets.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::rdata;

/// Octets that many RRsets share. Behind one thin pointer, as a large zone has a million of them.
#[derive(Default)]
pub(crate) struct Octets(pub(crate) Box<[u8]>);

/// All records of one owner and type.
pub struct RrSet {
    /// Each record's data behind its length in two octets, from `start` to `end`.
    octets: Arc<Octets>,
    start: u32,
    end: u32,
    /// Seconds, below 2³¹ (RFC 2181 §8).
    pub ttl: u32,
    /// Type number, see [`rtype`](crate::rtype).
    pub rtype: u16,
    count: u16,
}

/// A copy has its octets for itself: it does not keep those of its zone.
impl Clone for RrSet {
    fn clone(&self) -> Self {
        Self::packed(self.rtype, self.ttl, self.count, self.data().to_vec())
    }
}

impl PartialEq for RrSet {
    fn eq(&self, other: &Self) -> bool {
        self.rtype == other.rtype && self.ttl == other.ttl && self.data() == other.data()
    }
}

impl Eq for RrSet {}

impl fmt::Debug for RrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rtype, ttl, .. } = self;
        write!(f, "{ttl} {}", crate::rtype::text(*rtype))?;
        let rtype = *rtype;
        let mut datas = self
            .rdatas()
            .map(|data| crate::zonefile::DataText { rtype, data });
        datas.try_for_each(|data| write!(f, " [{data}]"))
    }
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
        (count > 0).then(|| Self::packed(rtype, ttl, count, data))
    }

    /// `data` is each record's data behind its length.
    fn packed(rtype: u16, ttl: u32, count: u16, data: Vec<u8>) -> Self {
        let end = data.len() as u32; // a count of 16 bits of data of 16 bits
        let octets = Arc::new(Octets(data.into()));
        Self::shared(
            &octets,
            Part {
                start: 0,
                end,
                ttl,
                rtype,
                count,
            },
        )
    }

    /// A part of octets that others share.
    pub(crate) fn shared(octets: &Arc<Octets>, part: Part) -> Self {
        let Part {
            start,
            end,
            ttl,
            rtype,
            count,
        } = part;
        Self {
            octets: Arc::clone(octets),
            start,
            end,
            ttl,
            rtype,
            count,
        }
    }

    fn data(&self) -> &[u8] {
        let range = self.start as usize..self.end as usize;
        self.octets.0.get(range).unwrap_or_default()
    }

    /// The data of each record, names uncompressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data();
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
        let (length, after) = self.data().get(offset..)?.split_first_chunk::<2>()?;
        after.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// Octets of the packed data.
    pub(crate) fn octets(&self) -> usize {
        self.data().len()
    }

    /// The records whose data is wanted; `None` if there is none.
    pub(crate) fn filtered(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let (mut data, mut count) = (Vec::new(), 0);
        for rdata in self.rdatas().filter(|rdata| wanted(rdata)) {
            data.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            data.extend_from_slice(rdata);
            count += 1;
        }
        (count > 0).then(|| Self::packed(self.rtype, self.ttl, count, data))
    }

    /// How many records there are.
    pub fn count(&self) -> u16 {
        self.count
    }
}

/// An RRset that has its place in shared octets, which are not frozen yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) ttl: u32,
    pub(crate) rtype: u16,
    pub(crate) count: u16,
}

impl Part {
    /// Appends the records of one owner and type: identical ones are one (RFC 2181 §5), and the lowest TTL is
    /// everyone's (RFC 2181 §5.2). `None` without any, and if the octets are too many.
    pub(crate) fn pack<'r>(
        rtype: u16,
        records: impl Iterator<Item = (u32, &'r [u8])> + Clone,
        octets: &mut Vec<u8>,
    ) -> Option<Self> {
        let start = u32::try_from(octets.len()).ok()?;
        let ttl = records.clone().map(|(ttl, _)| ttl).min()?;
        let single = records.clone().nth(1).is_none();
        let mut count = 0_u16;
        let mut push = |data: &[u8], repeated: bool| {
            if !repeated && count < u16::MAX {
                octets.extend_from_slice(&(data.len() as u16).to_be_bytes());
                octets.extend_from_slice(data);
                count += 1;
            }
        };
        let datas = records.map(|(_, data)| data);
        if single {
            datas.for_each(|data| push(data, false));
        } else {
            let repeated = repetitions(rtype, datas.clone());
            datas
                .zip(repeated)
                .for_each(|(data, repeated)| push(data, repeated));
        }
        let end = u32::try_from(octets.len()).ok()?;
        Some(Self {
            start,
            end,
            ttl,
            rtype,
            count,
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
