//! A transfer on its way in: messages in, a whole new version of the zone out, or nothing.
//!
//! ```text
//! AXFR   SOA(n) … records … SOA(n)
//! IXFR   SOA(n)                                        nothing new
//!        SOA(n) [SOA(a) gone … SOA(b) come …]+ SOA(n)  differences, a is ours
//!        SOA(n) … records … SOA(n)                     everything after all
//! ```
//!
//! What would make the zone unservable refuses the transfer: no SOA record at its ends, one anywhere
//! else, a class other than IN, a type no zone can hold, data that has not the shape of its type, more
//! than the limits allow. What is merely odd is kept as the primary has it and answered as the look-up
//! rules say: no NS record, an alias beside other records, missing glue, records hidden below
//! delegations. Records outside the zone are left out and counted, as other secondaries do.

use std::sync::Arc;

use super::is_newer;
use super::patch::Patch;
use crate::Rcode;
use crate::message::{Header, Reader, Received as Record};
use crate::name;
use crate::rrset;
use crate::rtype;
use crate::tsig::{self, Key, Unproven, Verifier};
use crate::zone::Zone;

const CLASS_IN: u16 = 1;
/// Octets of numbers at the end of a SOA record, the serial first (RFC 1035 §3.3.13).
const SOA_NUMBERS: usize = 20;

/// How much a primary may send before the transfer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records, of the transfer and of the zone.
    pub records: usize,
    /// Octets of owners and data once names are expanded.
    pub octets: usize,
}

impl Default for Limits {
    /// Ten million records, two gigabytes: beyond every zone this server is made for.
    fn default() -> Self {
        Self {
            records: 10_000_000,
            octets: 2 << 30,
        }
    }
}

/// Why a transfer came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Wrong identifier, opcode or question, or no answer at all.
    #[error("the message is no answer to this request")]
    NotAnAnswer,
    /// The message cannot be read, or holds what no zone can.
    #[error("the message is malformed")]
    Malformed,
    /// The primary says no.
    #[error("the primary answers {0}")]
    Refused(Rcode),
    /// It answers, and does not say that the zone is its own.
    #[error("the primary has no authority over the zone")]
    NotAuthoritative,
    /// Something else stands where the first SOA record should.
    #[error("the transfer does not begin with the zone's SOA record")]
    NoSoa,
    /// A SOA record that is not the zone's, or not one that belongs here.
    #[error("a SOA record stands where none belongs")]
    StraySoa,
    /// Records behind the last SOA record.
    #[error("the transfer goes on behind its end")]
    TooLong,
    /// More records or octets than allowed.
    #[error("the zone is larger than the limits allow")]
    TooLarge,
    /// Differences that do not begin at our version, or do not follow each other.
    #[error("the differences do not begin at this version of the zone")]
    NotOurs,
    /// A difference takes away what is not there, or brings what is.
    #[error("the differences do not fit this version of the zone")]
    Misfit,
    /// The signature that was agreed on is missing or wrong.
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

/// Where a transfer stands after a message.
#[derive(Debug)]
pub enum Progress {
    /// More messages follow.
    More,
    /// The primary has nothing newer; this is its serial.
    Current(u32),
    /// A new version of the zone.
    Complete(Box<Complete>),
}

/// A new version of a zone and how it came.
#[derive(Debug)]
pub struct Complete {
    /// The zone.
    pub zone: Zone,
    /// It came as differences.
    pub incremental: bool,
    /// Records outside the zone, left out.
    pub outside: usize,
    /// Records that were sent.
    pub records: usize,
}

/// One transfer being received.
pub struct Receiving {
    origin: Box<[u8]>,
    id: u16,
    /// The version at hand; only a newer one is of use.
    base: Option<Arc<Zone>>,
    /// Differences were asked for.
    incremental: bool,
    limits: Limits,
    records: usize,
    octets: usize,
    outside: usize,
    begun: bool,
    /// Checks the signatures of the answer, where the request was signed.
    verifier: Option<Verifier>,
    state: State,
}

enum State {
    Start,
    /// The first SOA record of what may be differences.
    Undecided(Soa),
    Whole(Soa, Vec<rrset::Record>),
    Steps(Box<Steps>),
    Done,
}

/// A SOA record and its serial.
#[derive(Clone, PartialEq, Eq)]
struct Soa {
    serial: u32,
    record: Record,
}

struct Steps {
    newest: Soa,
    patch: Patch,
    /// The version the patch has reached, or is about to.
    serial: u32,
    adding: bool,
}

impl Receiving {
    /// A whole transfer (AXFR). With a version at hand, an older or equal one is no news.
    pub fn whole(origin: &[u8], base: Option<Arc<Zone>>, id: u16, limits: Limits) -> Self {
        Self {
            origin: name::lowered(origin).into(),
            id,
            base,
            incremental: false,
            limits,
            records: 0,
            octets: 0,
            outside: 0,
            begun: false,
            verifier: None,
            state: State::Start,
        }
    }

    /// Differences to a version at hand (IXFR).
    pub fn incremental(base: Arc<Zone>, id: u16, limits: Limits) -> Self {
        let mut receiving = Self::whole(base.origin(), Some(Arc::clone(&base)), id, limits);
        receiving.incremental = true;
        receiving
    }

    /// True if differences were asked for, so that a failure may be mended by asking for the whole zone.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// The request that starts the transfer. With a key it is signed, and so must be the answer;
    /// `now` is Unix seconds.
    pub fn request(&mut self, key: Option<&Arc<Key>>, now: u64) -> Vec<u8> {
        let mut request = self.unsigned_request();
        self.verifier = key.map(|key| tsig::sign(key, &mut request, now));
        request
    }

    fn unsigned_request(&self) -> Vec<u8> {
        let base = self.base.as_ref().filter(|_| self.incremental);
        let mut request = self.id.to_be_bytes().to_vec();
        request.extend([0, 0, 0, 1, 0, 0, 0, u8::from(base.is_some()), 0, 0]);
        request.extend(&*self.origin);
        request.extend(self.rtype().to_be_bytes());
        request.extend(CLASS_IN.to_be_bytes());
        let Some(data) = base.and_then(|base| base.soa().rdatas().next()) else {
            return request;
        };
        // The version at hand, in the authority section (RFC 1995 §3); its owner is the question's name.
        request.extend([0xC0, 12]);
        request.extend(rtype::SOA.to_be_bytes());
        request.extend(CLASS_IN.to_be_bytes());
        request.extend([0; 4]);
        request.extend((data.len() as u16).to_be_bytes());
        request.extend(data);
        request
    }

    fn rtype(&self) -> u16 {
        if self.incremental {
            rtype::IXFR
        } else {
            rtype::AXFR
        }
    }

    /// Takes the next message; after an error or an end, nothing more. `now` is Unix seconds.
    pub fn take(&mut self, message: &[u8], now: u64) -> Result<Progress, TransferError> {
        let mut reader = Reader::new(message);
        let header = reader.header().ok_or(TransferError::Malformed)?;
        if !header.is_response || header.id != self.id || header.opcode != 0 {
            return Err(TransferError::NotAnAnswer);
        }
        if let Some(verifier) = &mut self.verifier {
            let checked = verifier.check(message, now);
            // A refusal tells more than the lack of a signature under it.
            if header.rcode == 0 || checked != Err(Unproven::Unsigned) {
                checked?;
            }
        }
        if header.rcode != 0 {
            return Err(TransferError::Refused(Rcode(header.rcode.into())));
        }
        let answers = self.begin(&header, &mut reader)?;
        for left in (0..answers).rev() {
            let record = reader.record().ok_or(TransferError::Malformed)?;
            if let Some(progress) = self.record(record)? {
                self.state = State::Done;
                // A primary that has nothing newer may send everything all the same.
                if left > 0 && !matches!(progress, Progress::Current(_)) {
                    return Err(TransferError::TooLong);
                }
                // The last message must be signed (RFC 8945 §5.3.1).
                let proven = self.verifier.as_ref().is_none_or(Verifier::is_proven);
                return if proven {
                    Ok(progress)
                } else {
                    Err(Unproven::Unsigned.into())
                };
            }
        }
        // One SOA record of a newer version and no more to come is for UDP; a stream goes on.
        Ok(Progress::More)
    }

    /// Checks header and question (RFC 5936 §2.2.1, §2.2.2); returns how many answers follow.
    fn begin(&mut self, header: &Header, reader: &mut Reader<'_>) -> Result<u16, TransferError> {
        if header.truncated || matches!(self.state, State::Done) {
            return Err(TransferError::Malformed);
        }
        // Later messages may leave the question out.
        let first = !std::mem::replace(&mut self.begun, true);
        match header.counts[0] {
            0 if !first => return Ok(header.counts[1]),
            1 => {}
            _ => return Err(TransferError::NotAnAnswer),
        }
        let asked = reader.question().ok_or(TransferError::Malformed)?;
        let same = asked.name.eq_ignore_ascii_case(&self.origin)
            && (asked.rtype, asked.class) == (self.rtype(), CLASS_IN);
        if same {
            Ok(header.counts[1])
        } else {
            Err(TransferError::NotAnAnswer)
        }
    }

    /// Takes one record; `Some` at the end.
    fn record(&mut self, record: Record) -> Result<Option<Progress>, TransferError> {
        if record.class != CLASS_IN || record.rtype == 0 || rtype::is_meta(record.rtype) {
            return Err(TransferError::Malformed);
        }
        self.records += 1;
        self.octets += record.owner.len() + record.data.len();
        if self.records > self.limits.records || self.octets > self.limits.octets {
            return Err(TransferError::TooLarge);
        }
        if record.rtype == rtype::SOA {
            if !record.owner.eq_ignore_ascii_case(&self.origin) {
                return Err(TransferError::StraySoa);
            }
            return self.soa(Soa::read(record).ok_or(TransferError::Malformed)?);
        }
        if !name::is_within(&record.owner, &self.origin) {
            self.outside += 1;
            return Ok(None);
        }
        match &mut self.state {
            State::Start | State::Done => return Err(TransferError::NoSoa),
            State::Undecided(soa) => {
                self.state = State::Whole(soa.clone(), vec![plain(record)]);
            }
            State::Whole(_, records) => records.push(plain(record)),
            State::Steps(steps) if steps.adding => steps.patch.add(plain(record))?,
            State::Steps(steps) => steps.patch.remove(&plain(record))?,
        }
        Ok(None)
    }

    /// Takes a SOA record: they are the joints of every transfer.
    fn soa(&mut self, soa: Soa) -> Result<Option<Progress>, TransferError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Start => return Ok(self.start(soa)),
            State::Undecided(newest) => {
                if soa == newest {
                    return self.complete(newest, Vec::new(), false).map(Some);
                }
                let base = self.base.as_ref().ok_or(TransferError::NotOurs)?;
                if soa.serial != base.serial() {
                    return Err(TransferError::NotOurs);
                }
                self.state = State::Steps(Box::new(Steps {
                    newest,
                    patch: Patch::new(base),
                    serial: soa.serial,
                    adding: false,
                }));
            }
            State::Whole(first, records) => {
                if soa != first {
                    return Err(TransferError::StraySoa);
                }
                return self.complete(first, records, false).map(Some);
            }
            State::Steps(mut steps) => {
                if !steps.adding {
                    // From what goes to what comes; a step back would let a transfer run in circles.
                    if !is_newer(soa.serial, steps.serial) {
                        return Err(TransferError::NotOurs);
                    }
                    (steps.serial, steps.adding) = (soa.serial, true);
                } else if soa == steps.newest && steps.serial == soa.serial {
                    let Steps { newest, patch, .. } = *steps;
                    return self.complete(newest, patch.into_records(), true).map(Some);
                } else if soa.serial == steps.serial {
                    steps.adding = false;
                } else {
                    return Err(TransferError::NotOurs);
                }
                self.state = State::Steps(steps);
            }
            State::Done => return Err(TransferError::TooLong),
        }
        Ok(None)
    }

    /// Takes the first SOA record, which says whether there is anything to have.
    fn start(&mut self, soa: Soa) -> Option<Progress> {
        let base = self.base.as_ref().map(|base| base.serial());
        if base.is_some_and(|base| !is_newer(soa.serial, base)) {
            return Some(Progress::Current(soa.serial));
        }
        self.state = if self.incremental {
            State::Undecided(soa)
        } else {
            State::Whole(soa, Vec::new())
        };
        None
    }

    fn complete(
        &self,
        soa: Soa,
        mut records: Vec<rrset::Record>,
        incremental: bool,
    ) -> Result<Progress, TransferError> {
        records.push(plain(soa.record));
        if records.len() > self.limits.records {
            return Err(TransferError::TooLarge);
        }
        let zone = Zone::build(&self.origin, records).ok_or(TransferError::Malformed)?;
        Ok(Progress::Complete(Box::new(Complete {
            zone,
            incremental,
            outside: self.outside,
            records: self.records,
        })))
    }
}

impl Soa {
    fn read(record: Record) -> Option<Self> {
        let numbers = record.data.last_chunk::<SOA_NUMBERS>()?;
        let serial = u32::from_be_bytes(*numbers.first_chunk::<4>()?);
        Some(Self { serial, record })
    }
}

/// Drops the class; a TTL with the highest bit set is 0 (RFC 2181 §8).
fn plain(record: Record) -> rrset::Record {
    let Record {
        owner,
        rtype,
        ttl,
        data,
        ..
    } = record;
    rrset::Record {
        owner,
        rtype,
        ttl: i32::try_from(ttl).map_or(0, |_| ttl),
        data,
    }
}
