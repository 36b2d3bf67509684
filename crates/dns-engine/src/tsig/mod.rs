//! Transaction signatures (RFC 8945): who sent a message, proved by a shared secret.
//!
//! ```text
//! server: query ─ Exchange::check ─ answer ─ Exchange::finish ─►      Signer: each message of a transfer
//! client: sign ─►                                 ◄─ Verifier::check ─ each message of the answer
//! ```
//!
//! A key has one algorithm. Signatures are never shortened, and shortened ones are refused (§5.2.4).

mod client;
mod record;
mod server;

use std::fmt;
use std::sync::Arc;

use ring::hmac;

pub use client::{Unproven, Verifier, sign};
pub(crate) use server::{Exchange, Malformed, Signer};

use crate::hash::NameMap;
use crate::name;

/// How far the clocks of two servers may differ, in seconds (RFC 8945 §10).
pub const FUDGE_SECONDS: u16 = 300;

/// The signature does not fit the message.
pub const BADSIG: u16 = 16;
/// No such key, or not with this algorithm.
pub const BADKEY: u16 = 17;
/// The clocks differ by more than the fudge.
pub const BADTIME: u16 = 18;
/// The signature is shorter than the server accepts.
pub const BADTRUNC: u16 = 22;

/// The algorithms on offer (RFC 8945 §6); those on MD5 and SHA-1 are left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The one every server has.
    HmacSha256,
    /// 48 octets of signature.
    HmacSha384,
    /// 64 octets of signature.
    HmacSha512,
}

impl Algorithm {
    /// All of them, the usual one first.
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Reads a name as key files have it, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.text().eq_ignore_ascii_case(text))
    }

    /// The name as key files have it.
    pub fn text(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// Octets of a signature, and of a secret that is as strong as it (RFC 8945 §8).
    pub fn octets(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha256 => b"\x0bhmac-sha256\0",
            Self::HmacSha384 => b"\x0bhmac-sha384\0",
            Self::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }

    fn hash(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A shared secret with its name. Only the keyed hash is kept, never the secret, and `Debug` shows neither.
pub struct Key {
    name: Box<[u8]>,
    algorithm: Algorithm,
    secret: hmac::Key,
}

impl Key {
    /// A key by its wire name; `None` without any octet of secret.
    pub fn new(name: &[u8], algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let usable = !secret.is_empty() && name::read(name).is_some_and(|read| read == name);
        usable.then(|| Self {
            name: name::lowered(name).into(),
            algorithm,
            secret: hmac::Key::new(algorithm.hash(), secret),
        })
    }

    /// The lower-cased wire name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The algorithm it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets of a TSIG record of this key with a signature and nothing else to say.
    pub(crate) fn record_length(&self) -> usize {
        let data = self.algorithm.wire().len() + record::FIXED + self.algorithm.octets();
        self.name.len() + record::HEAD + data
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name::Text(&self.name);
        write!(f, "Key({name} {})", self.algorithm.text())
    }
}

/// The keys a server knows; without any, every signed query gets BADKEY.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: NameMap<Arc<Key>>,
}

impl Keys {
    /// Adds a key; hands it back if its name is taken.
    pub fn insert(&mut self, key: impl Into<Arc<Key>>) -> Result<(), Arc<Key>> {
        let key = key.into();
        if self.keys.contains_key(key.name()) {
            return Err(key);
        }
        self.keys.insert(key.name().into(), key);
        Ok(())
    }

    /// The key of a wire name in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Key>> {
        self.keys.get(&name::lowered(name)[..])
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A signature as it goes into the next one (RFC 8945 §4.3.1, §5.3.1).
#[derive(Clone)]
struct Mac {
    length: u8,
    octets: [u8; 64],
}

impl Mac {
    /// Longer ones than any algorithm makes are cut; they were refused before.
    fn new(octets: &[u8]) -> Self {
        let mut mac = Self {
            length: 0,
            octets: [0; 64],
        };
        for (place, octet) in mac.octets.iter_mut().zip(octets) {
            *place = *octet;
            mac.length += 1;
        }
        mac
    }

    fn digest(&self, context: &mut hmac::Context) {
        context.update(&[0, self.length]);
        context.update(&self.octets[..usize::from(self.length)]);
    }
}

/// Compares without telling by the time it takes where the first difference is (RFC 8945 §10).
fn is_same(tag: &[u8], mac: &[u8]) -> bool {
    let pairs = tag.iter().zip(mac);
    let differences = pairs.fold(0, |all, (one, other)| {
        std::hint::black_box(all | (one ^ other))
    });
    tag.len() == mac.len() && differences == 0
}

/// True if two times are at most the fudge apart (RFC 8945 §5.2.3).
fn is_timely(signed: u64, now: u64, fudge: u16) -> bool {
    signed.abs_diff(now) <= u64::from(fudge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_case_and_never_shown() {
        let key = Key::new(b"\x03Key\0", Algorithm::HmacSha256, b"hunter2").unwrap();
        assert_eq!(format!("{key:?}"), "Key(key. hmac-sha256)");
        let mut keys = Keys::default();
        assert!(keys.insert(key).is_ok());
        assert!(keys.find(b"\x03kEY\0").is_some());
        assert!(keys.find(b"\x03kez\0").is_none());
        let again = Key::new(b"\x03key\0", Algorithm::HmacSha512, b"x").unwrap();
        assert!(keys.insert(again).is_err());
        assert!(Key::new(b"\x03key\0", Algorithm::HmacSha512, b"").is_none());
    }

    #[test]
    fn algorithms_read_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.text()), Some(algorithm));
        }
        assert_eq!(
            Algorithm::parse("HMAC-SHA512."),
            Some(Algorithm::HmacSha512)
        );
        assert_eq!(Algorithm::parse("hmac-md5"), None);
    }

    #[test]
    fn compares_whole_signatures() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd"));
        assert!(!is_same(b"abc", b"ab"));
        assert!(!is_same(b"ab", b"abc"));
    }
}
