//! The client's side: signs a request and checks the answer, which may be a stream of messages of which
//! not every one is signed (RFC 8945 §5.3.1, §5.4).

use std::sync::Arc;

use ring::hmac;

use super::record::{Stamp, Tsig};
use super::{BADTIME, FUDGE_SECONDS, Key, Mac, is_same, is_timely};

/// Most messages in a row without a signature (RFC 8945 §5.3.1).
const UNSIGNED_MAX: u8 = 99;

/// Why an answer is not proven to come from whom it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The message is no DNS message, or its signature stands in the wrong place.
    #[error("the answer is malformed")]
    Malformed,
    /// No signature where one must be.
    #[error("the answer is not signed")]
    Unsigned,
    /// Signed with another key or algorithm.
    #[error("the answer is signed with another key")]
    OtherKey,
    /// The signature does not fit the message.
    #[error("the answer's signature is wrong")]
    WrongSignature,
    /// The clocks differ by more than the fudge.
    #[error("the answer's time of signature is too far from now")]
    WrongTime,
    /// The server says what it did not like about our signature.
    #[error("the server refuses the signature: {}", error_text(*.0))]
    Refused(u16),
}

fn error_text(error: u16) -> &'static str {
    match error {
        super::BADSIG => "BADSIG, the secrets differ",
        super::BADKEY => "BADKEY, it does not know the key by this name and algorithm",
        BADTIME => "BADTIME, the clocks differ",
        super::BADTRUNC => "BADTRUNC, it wants a longer signature",
        _ => "for a reason without a name",
    }
}

/// Signs a request in place; the result checks the answer. `now` is Unix seconds.
pub fn sign(key: &Arc<Key>, request: &mut Vec<u8>, now: u64) -> Verifier {
    let mut context = hmac::Context::with_key(&key.secret);
    context.update(request);
    let stamp = Stamp {
        time: now,
        fudge: FUDGE_SECONDS,
        error: 0,
        other: &[],
    };
    stamp.digest(key, &mut context);
    let mac = Mac::new(context.sign().as_ref());
    let length = request.len();
    request.resize(length + key.record_length(), 0);
    let (name, algorithm) = (key.name(), key.algorithm().wire());
    let end = stamp.append(request, length, name, algorithm, &mac);
    request.truncate(end.unwrap_or(length));
    Verifier::new(key, &mac)
}

/// Checks the messages of an answer in their order.
#[derive(Clone)]
pub struct Verifier {
    key: Arc<Key>,
    /// What the next signature covers so far.
    context: hmac::Context,
    first: bool,
    unsigned: u8,
}

impl Verifier {
    fn new(key: &Arc<Key>, request_mac: &Mac) -> Self {
        Self {
            key: Arc::clone(key),
            context: seeded(key, request_mac),
            first: true,
            unsigned: 0,
        }
    }

    /// Takes the next message; after an error nothing that came may be used.
    ///
    /// A message may pass without a signature of its own: only when
    /// [`is_proven`](Self::is_proven) says so is everything up to here proven.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<(), Unproven> {
        let tsig = Tsig::find(message).map_err(|()| Unproven::Malformed)?;
        let Some(tsig) = tsig else {
            if self.first || self.unsigned == UNSIGNED_MAX {
                return Err(Unproven::Unsigned);
            }
            self.unsigned += 1;
            self.context.update(message);
            return Ok(());
        };
        if tsig.stamp.error != 0 {
            return Err(Unproven::Refused(tsig.stamp.error));
        }
        if tsig.key_name != self.key.name() || tsig.algorithm != self.key.algorithm().wire() {
            return Err(Unproven::OtherKey);
        }
        let mac = Mac::new(tsig.mac);
        let next = seeded(&self.key, &mac);
        let mut context = std::mem::replace(&mut self.context, next);
        tsig.digest_message(message, &mut context);
        if std::mem::take(&mut self.first) {
            tsig.stamp.digest(&self.key, &mut context);
        } else {
            tsig.stamp.digest_timers(&mut context);
        }
        if !is_same(context.sign().as_ref(), tsig.mac) {
            return Err(Unproven::WrongSignature);
        }
        if !is_timely(tsig.stamp.time, now, tsig.stamp.fudge) {
            return Err(Unproven::WrongTime);
        }
        self.unsigned = 0;
        Ok(())
    }

    /// True if the last message was signed, so that everything up to it is proven.
    pub fn is_proven(&self) -> bool {
        !self.first && self.unsigned == 0
    }
}

/// A hash that has taken in the signature before.
fn seeded(key: &Key, prior: &Mac) -> hmac::Context {
    let mut context = hmac::Context::with_key(&key.secret);
    prior.digest(&mut context);
    context
}
