//! A zone key: what signs, its DNSKEY record, and the DS record a parent makes of it.

use std::fmt;

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

use super::algorithm::{Algorithm, SIGNATURE_LENGTH};
use crate::name;

/// Zone key (RFC 4034 §2.1.1).
const FLAG_ZONE: u16 = 0x0100;
/// Secure entry point: the parent's DS points to this key (RFC 4034 §2.1.1).
const FLAG_ENTRY: u16 = 0x0001;
/// The only protocol number there is (RFC 4034 §2.1.2).
const PROTOCOL: u8 = 3;
/// SHA-256 as digest type of a DS record (RFC 4509).
const DIGEST_SHA256: u8 = 2;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The PKCS#8 document is none, or holds another kind of key.
    #[error("it is no PKCS#8 private key for {0}: {1}")]
    Rejected(Algorithm, String),
    /// The system gave no random octets.
    #[error("the system has no randomness to make a key with")]
    NoRandomness,
}

/// What a key is for (RFC 4033 §2, RFC 6781 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Key signing key: signs the zone's keys, and the parent's DS points to it.
    Ksk,
    /// Zone signing key: signs everything else.
    Zsk,
    /// Combined signing key: both.
    Csk,
}

impl Role {
    /// True if it signs the DNSKEY, CDS and CDNSKEY RRsets, so that the parent's DS points to it.
    pub fn signs_keys(self) -> bool {
        self != Self::Zsk
    }

    /// True if it signs the data of the zone.
    pub fn signs_data(self) -> bool {
        self != Self::Ksk
    }

    /// As operators write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ksk => "ksk",
            Self::Zsk => "zsk",
            Self::Csk => "csk",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private key with the records that speak of it.
pub struct Key {
    role: Role,
    algorithm: Algorithm,
    pair: Pair,
    dnskey: Box<[u8]>,
    tag: u16,
    /// Of the whole public key: tags repeat, so a cache of signatures must not trust them.
    identity: [u8; 16],
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// A new private key as a PKCS#8 document, which is a secret.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(algorithm: Algorithm, random: &SystemRandom) -> Result<Vec<u8>, KeyError> {
        let document = match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(random),
        };
        document
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| KeyError::NoRandomness)
    }

    /// Reads a PKCS#8 document (DER). ECDSA keys need their public half in it, as `openssl` writes it.
    ///
    /// # Errors
    /// When it is no such document, or not for this algorithm.
    pub fn from_pkcs8(
        role: Role,
        algorithm: Algorithm,
        der: &[u8],
        random: &SystemRandom,
    ) -> Result<Self, KeyError> {
        let rejected =
            |error: ring::error::KeyRejected| KeyError::Rejected(algorithm, error.to_string());
        let pair = match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(scheme, der, random).map_err(rejected)?)
            }
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                Pair::Ed25519(pair.map_err(rejected)?)
            }
        };
        Ok(Self::new(role, algorithm, pair))
    }

    fn new(role: Role, algorithm: Algorithm, pair: Pair) -> Self {
        let flags = if role.signs_keys() {
            FLAG_ZONE | FLAG_ENTRY
        } else {
            FLAG_ZONE
        };
        let [f0, f1] = flags.to_be_bytes();
        let mut dnskey = vec![f0, f1, PROTOCOL, algorithm.number()];
        dnskey.extend(pair.public());
        let hash = digest::digest(&digest::SHA256, &dnskey);
        let mut identity = [0; 16];
        identity.copy_from_slice(&hash.as_ref()[..16]);
        Self {
            role,
            algorithm,
            pair,
            tag: key_tag(&dnskey),
            dnskey: dnskey.into(),
            identity,
        }
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key tag (RFC 4034, appendix B): a hint, not an identity.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The data of its DNSKEY record, and of its CDNSKEY record.
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// The data of the DS and CDS record for it in the zone `origin`, digest SHA-256 (RFC 4034 §5.1.4).
    pub fn ds(&self, origin: &[u8]) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&name::lowered(origin));
        context.update(&self.dnskey);
        let [t0, t1] = self.tag.to_be_bytes();
        let mut data = vec![t0, t1, self.algorithm.number(), DIGEST_SHA256];
        data.extend_from_slice(context.finish().as_ref());
        data
    }

    /// Distinguishes this key from every other.
    pub(crate) fn identity(&self) -> &[u8; 16] {
        &self.identity
    }

    /// Signs `data`; `None` if the system has no randomness, which ECDSA needs a little of.
    pub(crate) fn sign(
        &self,
        data: &[u8],
        random: &SystemRandom,
    ) -> Option<[u8; SIGNATURE_LENGTH]> {
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(random, data).ok()?,
            Pair::Ed25519(pair) => pair.sign(data),
        };
        signature.as_ref().try_into().ok()
    }
}

/// Nothing secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {} {})", self.role, self.algorithm, self.tag)
    }
}

impl Pair {
    /// The public key as DNSKEY has it: without the octet that says "uncompressed" (RFC 6605 §4).
    fn public(&self) -> &[u8] {
        match self {
            Self::Ecdsa(pair) => pair.public_key().as_ref().get(1..).unwrap_or_default(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// The checksum over a DNSKEY's data (RFC 4034, appendix B).
pub fn key_tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .chunks(2)
        .map(|pair| {
            let low = pair.get(1).copied().unwrap_or_default();
            u32::from(u16::from_be_bytes([pair[0], low]))
        })
        .sum();
    (sum.wrapping_add(sum >> 16) & 0xFFFF) as u16
}

#[cfg(test)]
pub(super) mod tests {
    use domain::utils::{base16, base64};

    use super::*;
    use crate::dnssec::rrsig::{Composer, ToSign, Window};
    use crate::rtype;

    /// Private key, public key, tag and DS digest of an example in an RFC.
    type Example = (
        Role,
        Algorithm,
        &'static str,
        &'static str,
        u16,
        &'static str,
    );

    /// RFC 6605 §6.1 (`example.net.`) and both of RFC 8080 §6.1 (`example.com.`).
    pub(crate) const EXAMPLES: [(&str, Example); 3] = [
        (
            "example.net.",
            (
                Role::Csk,
                Algorithm::EcdsaP256Sha256,
                "GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=",
                "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
                55648,
                "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17",
            ),
        ),
        (
            "example.com.",
            (
                Role::Csk,
                Algorithm::Ed25519,
                "ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=",
                "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
                3613,
                "3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
            ),
        ),
        (
            "example.com.",
            (
                Role::Csk,
                Algorithm::Ed25519,
                "DSSF3o0s0f+ElWzj9E/Osxw8hLpk55chkmx0LYN5WiY=",
                "zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
                35217,
                "401781b934e392de492ec77ae2e15d70f6575a1c0bc59c5275c04ebe80c6614c",
            ),
        ),
    ];

    fn octets(text: &str) -> Vec<u8> {
        base64::decode(text).unwrap()
    }

    /// The PKCS#8 document around a bare private key, as RFC 5915 and RFC 8410 lay it out.
    fn pkcs8((_, algorithm, private, public, ..): &Example) -> Vec<u8> {
        let (front, back) = match algorithm {
            Algorithm::Ed25519 => ("302e020100300506032b657004220420", ""),
            Algorithm::EcdsaP256Sha256 => (
                "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420",
                "a14403420004",
            ),
        };
        let mut document: Vec<u8> = base16::decode_vec(front).unwrap();
        document.extend(octets(private));
        if !back.is_empty() {
            document.extend(base16::decode_vec(back).unwrap());
            document.extend(octets(public));
        }
        document
    }

    pub(crate) fn example(place: usize) -> Key {
        let example = &EXAMPLES[place].1;
        Key::from_pkcs8(example.0, example.1, &pkcs8(example), &SystemRandom::new()).unwrap()
    }

    #[test]
    fn public_key_tag_and_ds_are_those_of_the_rfcs() {
        for (place, (zone, (.., public, tag, digest))) in EXAMPLES.iter().enumerate() {
            let key = example(place);
            assert_eq!(key.dnskey()[..2], [1, 1]);
            assert_eq!(key.dnskey()[4..], octets(public));
            assert_eq!(key.tag(), *tag);
            let origin = name::parse(zone, None).unwrap().to_ascii_uppercase();
            let digest: Vec<u8> = base16::decode_vec(digest).unwrap();
            assert_eq!(key.ds(&origin)[4..], digest);
        }
    }

    /// RFC 8080 §6.1 with its erratum 4935: Ed25519 signatures are the same whoever makes them.
    #[test]
    fn ed25519_signature_is_that_of_the_rfc() {
        let origin = name::parse("example.com.", None).unwrap();
        let mail = [
            b"\0\x0a",
            &name::parse("mail.example.com.", None).unwrap()[..],
        ]
        .concat();
        let mut composer = Composer::new();
        let set = ToSign {
            owner: &origin,
            rtype: rtype::MX,
            ttl: 3600,
            signer: &origin,
            window: Window {
                inception: 1_438_207_200,
                expiration: 1_440_021_600,
                until: 0,
            },
        };
        composer.gather(&set, std::iter::once(&mail[..]));
        let key = example(1);
        composer.front(&set, &key);
        let signature = key
            .sign(composer.compose(&set), &SystemRandom::new())
            .unwrap();
        let expected = "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==";
        assert_eq!(&signature[..], octets(expected));
    }

    /// RFC 6605 §6.1: ECDSA signatures differ each time, but the published one must be over our octets.
    #[test]
    fn ecdsa_signature_of_the_rfc_is_over_what_we_compose() {
        let origin = name::parse("example.net.", None).unwrap();
        let owner = name::parse("www.example.net.", None).unwrap();
        let mut composer = Composer::new();
        let set = ToSign {
            owner: &owner,
            rtype: rtype::A,
            ttl: 3600,
            signer: &origin,
            window: Window {
                inception: 1_281_607_479,
                expiration: 1_284_026_679,
                until: 0,
            },
        };
        composer.gather(&set, std::iter::once(&[192, 0, 2, 1][..]));
        let key = example(0);
        composer.front(&set, &key);
        let data = composer.compose(&set);
        let published = "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==";
        let ours = key.sign(data, &SystemRandom::new()).unwrap();
        let public = [&[4][..], &key.dnskey()[4..]].concat();
        let verifier = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_FIXED,
            public,
        );
        for signature in [octets(published), ours.to_vec()] {
            assert!(verifier.verify(data, &signature).is_ok());
        }
    }

    #[test]
    fn a_generated_key_reads_back_and_signs() {
        let random = SystemRandom::new();
        for algorithm in Algorithm::ALL {
            let document = Key::generate(algorithm, &random).unwrap();
            let key = Key::from_pkcs8(Role::Zsk, algorithm, &document, &random).unwrap();
            assert_eq!(key.dnskey()[..4], [1, 0, 3, algorithm.number()]);
            assert!(key.sign(b"data", &random).is_some());
            let other = Algorithm::ALL.into_iter().find(|other| *other != algorithm);
            let wrong = Key::from_pkcs8(Role::Zsk, other.unwrap(), &document, &random);
            assert!(wrong.is_err());
            assert!(Key::from_pkcs8(Role::Zsk, algorithm, b"", &random).is_err());
            let shown = format!("{key:?}");
            assert_eq!(shown, format!("Key(zsk {algorithm} {})", key.tag()));
        }
    }
}
