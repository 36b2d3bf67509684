//! The signature algorithms we sign with: those that are both cheap enough for signing on line and
//! understood by every validator (RFC 8624 §3.1).

use std::fmt;

/// Octets of a signature, the same for both algorithms (RFC 6605 §4, RFC 8080 §4).
pub const SIGNATURE_LENGTH: usize = 64;

/// A DNSSEC signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 6605).
    #[default]
    EcdsaP256Sha256,
    /// Ed25519 (RFC 8080).
    Ed25519,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::EcdsaP256Sha256, Self::Ed25519];

    /// The number in DNSKEY, DS and RRSIG records (IANA, "DNS Security Algorithm Numbers").
    pub fn number(self) -> u8 {
        match self {
            Self::EcdsaP256Sha256 => 13,
            Self::Ed25519 => 15,
        }
    }

    /// The mnemonic of the IANA registry.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Self::Ed25519 => "ED25519",
        }
    }

    /// The algorithm of a mnemonic, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.mnemonic().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mnemonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_read_back_in_any_case() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.mnemonic()), Some(algorithm));
            let lower = algorithm.to_string().to_lowercase();
            assert_eq!(Algorithm::parse(&lower), Some(algorithm));
        }
        assert_eq!(Algorithm::parse("RSASHA256"), None);
    }
}
