//! The server's side: checks a signed query in the order of RFC 8945 §5.2 and signs what is answered.

use std::sync::Arc;

use ring::hmac;

use super::record::{self, Stamp, Tsig};
use super::{BADKEY, BADSIG, BADTIME, BADTRUNC, FUDGE_SECONDS, Key, Keys, Mac, is_same, is_timely};

/// Shortest signature of any lawful message (RFC 8945 §5.2.2.1).
const MAC_OCTETS_MIN: usize = 10;
/// Octets of the server's time in an answer of BADTIME (RFC 8945 §5.2.3).
const SERVER_TIME_OCTETS: usize = 6;

/// The record is malformed: the answer is FORMERR, unsigned (RFC 8945 §5.1, §5.2.2.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A signed query after its check, and how its answer is closed.
pub(crate) struct Exchange {
    /// 0 for a genuine query.
    error: u16,
    /// Signs the answer; without one the answer has an empty signature (RFC 8945 §5.3.2).
    signer: Option<Signer>,
    /// Echoed where nothing can be signed.
    key_name: Vec<u8>,
    algorithm: Vec<u8>,
    /// The client's time, for BADTIME.
    time: u64,
}

impl Exchange {
    /// Checks the query whose last record, at `start`, is a TSIG record; `now` is Unix seconds.
    pub(crate) fn check(
        keys: &Keys,
        query: &[u8],
        start: usize,
        now: u64,
    ) -> Result<Self, Malformed> {
        let tsig = Tsig::read(query, start).ok_or(Malformed)?;
        let (error, signer) = judge(keys, query, &tsig, now)?;
        Ok(Self {
            error,
            signer,
            key_name: tsig.key_name,
            algorithm: tsig.algorithm,
            time: tsig.stamp.time,
        })
    }

    /// The key of a genuine query; `None` if the answer is NOTAUTH.
    pub(crate) fn key(&self) -> Option<&Arc<Key>> {
        let signer = self.signer.as_ref().filter(|_| self.error == 0)?;
        Some(&signer.key)
    }

    /// What is wrong with the query, 0 if nothing is.
    pub(crate) fn error(&self) -> u16 {
        self.error
    }

    /// Octets that [`finish`](Self::finish) will append.
    pub(crate) fn length(&self) -> usize {
        let other = if self.error == BADTIME {
            SERVER_TIME_OCTETS
        } else {
            0
        };
        let unsigned = self.key_name.len() + record::HEAD + self.algorithm.len() + record::FIXED;
        let signed = self
            .signer
            .as_ref()
            .map(|signer| signer.key.record_length());
        other + signed.unwrap_or(unsigned)
    }

    /// Closes the answer of `length` octets in `out`; returns its new length.
    pub(crate) fn finish(&mut self, out: &mut [u8], length: usize, now: u64) -> Option<usize> {
        let server_time = now.to_be_bytes();
        let late = self.error == BADTIME;
        let stamp = Stamp {
            time: if late { self.time } else { now },
            fudge: FUDGE_SECONDS,
            error: self.error,
            other: if late { &server_time[2..] } else { &[] },
        };
        match &mut self.signer {
            Some(signer) => signer.sign_stamped(out, length, &stamp),
            None => {
                let empty = Mac::new(&[]);
                stamp.append(out, length, &self.key_name, &self.algorithm, &empty)
            }
        }
    }

    /// The signer of a genuine query, for an answer of many messages.
    pub(crate) fn into_signer(self) -> Option<Signer> {
        self.signer.filter(|_| self.error == 0)
    }
}

/// Key, signature, time, length, in this order: the error (0 if there is none), and the signer where
/// the answer can be signed.
fn judge(
    keys: &Keys,
    query: &[u8],
    tsig: &Tsig<'_>,
    now: u64,
) -> Result<(u16, Option<Signer>), Malformed> {
    let key = keys.find(&tsig.key_name);
    let Some(key) = key.filter(|key| key.algorithm().wire() == tsig.algorithm) else {
        return Ok((BADKEY, None));
    };
    let whole = key.algorithm().octets();
    let lawful = MAC_OCTETS_MIN.max(whole / 2)..=whole;
    if !lawful.contains(&tsig.mac.len()) {
        return Err(Malformed);
    }
    let mut context = hmac::Context::with_key(&key.secret);
    tsig.digest_message(query, &mut context);
    tsig.stamp.digest(key, &mut context);
    let tag = context.sign();
    let start_of_tag = tag.as_ref().get(..tsig.mac.len()).unwrap_or_default();
    if !is_same(start_of_tag, tsig.mac) {
        return Ok((BADSIG, None));
    }
    let error = if !is_timely(tsig.stamp.time, now, tsig.stamp.fudge) {
        BADTIME
    } else if tsig.mac.len() < whole {
        BADTRUNC
    } else {
        0
    };
    Ok((error, Some(Signer::new(key, tsig.mac))))
}

/// Signs the messages of an answer, each bound to the one before (RFC 8945 §5.3.1).
#[derive(Clone)]
pub(crate) struct Signer {
    key: Arc<Key>,
    prior: Mac,
    first: bool,
}

impl Signer {
    fn new(key: &Arc<Key>, request_mac: &[u8]) -> Self {
        Self {
            key: Arc::clone(key),
            prior: Mac::new(request_mac),
            first: true,
        }
    }

    /// Octets that a signature takes.
    pub(crate) fn length(&self) -> usize {
        self.key.record_length()
    }

    /// Signs the message of `length` octets in `out`; returns its new length.
    pub(crate) fn sign(&mut self, out: &mut [u8], length: usize, now: u64) -> Option<usize> {
        let stamp = Stamp {
            time: now,
            fudge: FUDGE_SECONDS,
            error: 0,
            other: &[],
        };
        self.sign_stamped(out, length, &stamp)
    }

    fn sign_stamped(&mut self, out: &mut [u8], length: usize, stamp: &Stamp<'_>) -> Option<usize> {
        let mut context = hmac::Context::with_key(&self.key.secret);
        self.prior.digest(&mut context);
        context.update(out.get(..length)?);
        if std::mem::take(&mut self.first) {
            stamp.digest(&self.key, &mut context);
        } else {
            stamp.digest_timers(&mut context);
        }
        self.prior = Mac::new(context.sign().as_ref());
        let algorithm = self.key.algorithm().wire();
        stamp.append(out, length, self.key.name(), algorithm, &self.prior)
    }
}
