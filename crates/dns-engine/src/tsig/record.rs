//! The TSIG record on the wire (RFC 8945 §4.2) and what a signature covers (§4.3.3).

use ring::hmac;

use super::{Key, Mac};
use crate::message::Reader;
use crate::name;
use crate::request::HEADER;
use crate::rtype;

/// Octets of a record between its owner and its data.
pub(super) const HEAD: usize = 10;
/// Octets of the data besides algorithm, signature and other data.
pub(super) const FIXED: usize = 16;
/// CLASS of the record.
const CLASS_ANY: u16 = 255;

/// A TSIG record as it was read; names are lower-cased.
pub(super) struct Tsig<'m> {
    /// Where it begins; the signature covers what is in front.
    pub(super) start: usize,
    pub(super) key_name: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) stamp: Stamp<'m>,
    pub(super) mac: &'m [u8],
    pub(super) original_id: u16,
}

/// What a TSIG record says besides names and signature.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'m> {
    /// Unix seconds, 48 bits on the wire.
    pub(super) time: u64,
    /// Seconds.
    pub(super) fudge: u16,
    pub(super) error: u16,
    pub(super) other: &'m [u8],
}

impl<'m> Tsig<'m> {
    /// Reads the record at `start`, which must be the end of the message (RFC 8945 §5.1).
    pub(super) fn read(message: &'m [u8], start: usize) -> Option<Self> {
        let mut reader = Reader::from(message, start);
        let (mut key_name, mut algorithm) = (Vec::new(), Vec::new());
        reader.name(&mut key_name)?;
        let (rtype, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let length = usize::from(reader.u16()?);
        let data_at = reader.position();
        if (rtype, class, ttl) != (rtype::TSIG, CLASS_ANY, 0) {
            return None;
        }
        reader.name(&mut algorithm)?;
        let time = u64::from(reader.u16()?) << 32 | u64::from(reader.u32()?);
        let fudge = reader.u16()?;
        let mac_length = reader.u16()?;
        let mac = reader.take(usize::from(mac_length))?;
        let (original_id, error) = (reader.u16()?, reader.u16()?);
        let other_length = reader.u16()?;
        let other = reader.take(usize::from(other_length))?;
        let whole = reader.is_at_end() && reader.position() == data_at + length;
        key_name.make_ascii_lowercase();
        algorithm.make_ascii_lowercase();
        whole.then_some(Self {
            start,
            key_name,
            algorithm,
            stamp: Stamp {
                time,
                fudge,
                error,
                other,
            },
            mac,
            original_id,
        })
    }

    /// Finds the record in a message of any kind: `Ok(None)` without one, `Err` if the message is
    /// malformed or the record is not the last of all.
    pub(super) fn find(message: &'m [u8]) -> Result<Option<Self>, ()> {
        let mut reader = Reader::new(message);
        let header = reader.header().ok_or(())?;
        for _ in 0..header.counts[0] {
            reader.question().ok_or(())?;
        }
        let records: u32 = header.counts[1..]
            .iter()
            .map(|&count| u32::from(count))
            .sum();
        for left in (0..records).rev() {
            let start = reader.position();
            if reader.skip_record().ok_or(())? != rtype::TSIG {
                continue;
            }
            let is_last = left == 0 && header.counts[3] > 0;
            let found = is_last.then(|| Self::read(message, start)).flatten();
            return found.map(Some).ok_or(());
        }
        if reader.is_at_end() {
            Ok(None)
        } else {
            Err(())
        }
    }

    /// The message as it was signed: its first identifier, and without this record.
    pub(super) fn digest_message(&self, message: &[u8], context: &mut hmac::Context) {
        let (head, body) = message.split_at(HEADER.min(message.len()));
        let Some(&[_, _, ref middle @ .., a0, a1]) = head.first_chunk::<HEADER>() else {
            return;
        };
        let additional = u16::from_be_bytes([a0, a1]).saturating_sub(1);
        context.update(&self.original_id.to_be_bytes());
        context.update(middle);
        context.update(&additional.to_be_bytes());
        let end = self.start.saturating_sub(HEADER).min(body.len());
        context.update(&body[..end]);
    }
}

impl Stamp<'_> {
    /// Time and fudge: all that later messages of a stream sign (RFC 8945 §5.3.1).
    pub(super) fn digest_timers(&self, context: &mut hmac::Context) {
        let [_, _, time @ ..] = self.time.to_be_bytes();
        context.update(&time);
        context.update(&self.fudge.to_be_bytes());
    }

    /// The TSIG variables (RFC 8945 §4.3.3).
    pub(super) fn digest(&self, key: &Key, context: &mut hmac::Context) {
        context.update(key.name());
        context.update(&CLASS_ANY.to_be_bytes());
        context.update(&[0; 4]);
        context.update(key.algorithm().wire());
        self.digest_timers(context);
        context.update(&self.error.to_be_bytes());
        context.update(&(self.other.len() as u16).to_be_bytes());
        context.update(self.other);
    }

    /// Appends the record to the message of `length` octets in `out` and counts it; `None` without room.
    pub(super) fn append(
        &self,
        out: &mut [u8],
        length: usize,
        key_name: &[u8],
        algorithm: &[u8],
        mac: &Mac,
    ) -> Option<usize> {
        let mut record = Vec::with_capacity(name::NAME_MAX);
        let put = |record: &mut Vec<u8>, number: u16| record.extend(number.to_be_bytes());
        record.extend(key_name);
        put(&mut record, rtype::TSIG);
        put(&mut record, CLASS_ANY);
        record.extend([0; 4]);
        let data = algorithm.len() + FIXED + usize::from(mac.length) + self.other.len();
        put(&mut record, data as u16);
        record.extend(algorithm);
        record.extend(&self.time.to_be_bytes()[2..]);
        put(&mut record, self.fudge);
        put(&mut record, u16::from(mac.length));
        record.extend(&mac.octets[..usize::from(mac.length)]);
        record.extend(out.get(..2)?);
        put(&mut record, self.error);
        put(&mut record, self.other.len() as u16);
        record.extend(self.other);
        let end = length + record.len();
        out.get_mut(length..end)?.copy_from_slice(&record);
        let count = out.get_mut(10..HEADER)?;
        let additional = u16::from_be_bytes([count[0], count[1]]).checked_add(1)?;
        count.copy_from_slice(&additional.to_be_bytes());
        Some(end)
    }
}
