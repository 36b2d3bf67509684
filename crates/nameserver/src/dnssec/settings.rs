//! `[dnssec]`: which zones are signed, with keys from where, and how fast they may change.

use std::path::PathBuf;

use dns_engine::dnssec::roll::RollPolicy;
use dns_engine::dnssec::{Algorithm, SigningLimits, Validity};
use dns_engine::name;
use serde::Deserialize;

/// `[dnssec]`: no zone is signed by default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dnssec {
    /// Zones that are signed.
    pub zones: Vec<ZoneName>,
    /// Folder of key files; they are their owner's only.
    pub keys: PathBuf,
    /// Algorithm of new keys: ECDSAP256SHA256 or ED25519.
    pub algorithm: AlgorithmName,
    /// Signatures made in a second for answers over UDP, all threads together; beyond it clients are sent to TCP.
    pub signatures_per_second: u32,
    /// Mebibytes for signatures that were made before; one takes about 100 octets.
    pub cache_mebibytes: u32,
    /// What rolls wait for, and how long signatures hold.
    pub policy: Policy,
}

/// `[dnssec.policy]`: the same on all servers of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Seconds")]
pub struct Policy {
    /// For rolls.
    pub roll: RollPolicy,
    /// For signatures.
    pub validity: Validity,
}

/// The policy as it is written, all in seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Seconds {
    /// TTL of the zone's DNSKEY records.
    dnskey_ttl: u32,
    /// The largest TTL in the zone.
    ttl_max: u32,
    /// Until every server of the zone has what the first one has.
    propagation: u32,
    /// TTL of the zone's DS records at the parent.
    parent_ttl: u32,
    /// Until every server of the parent has what the first one has.
    parent_propagation: u32,
    /// How long a signature holds.
    signature_lifetime: u32,
    /// After how long a new one is made.
    signature_refresh: u32,
}

impl Default for Dnssec {
    fn default() -> Self {
        let limits = SigningLimits::default();
        Self {
            zones: Vec::new(),
            keys: "run/dnssec".into(),
            algorithm: AlgorithmName::default(),
            signatures_per_second: limits.signatures_per_second,
            cache_mebibytes: (limits.cache_octets >> 20) as u32, // tens
            policy: Policy::default(),
        }
    }
}

impl Dnssec {
    /// What signing may cost.
    pub(crate) fn limits(&self) -> SigningLimits {
        SigningLimits {
            cache_octets: (self.cache_mebibytes as usize) << 20,
            signatures_per_second: self.signatures_per_second,
        }
    }

    /// True if the zone with this lower-cased wire name is to be signed.
    pub(crate) fn signs(&self, zone: &[u8]) -> bool {
        self.zones.iter().any(|name| name.wire() == zone)
    }
}

impl Default for Seconds {
    fn default() -> Self {
        let Policy { roll, validity } = Policy::default();
        Self {
            dnskey_ttl: roll.dnskey_ttl,
            ttl_max: roll.ttl_max,
            propagation: roll.propagation,
            parent_ttl: roll.parent_ttl,
            parent_propagation: roll.parent_propagation,
            signature_lifetime: validity.lifetime,
            signature_refresh: validity.refresh,
        }
    }
}

impl TryFrom<Seconds> for Policy {
    type Error = String;

    fn try_from(seconds: Seconds) -> Result<Self, String> {
        let (lifetime, refresh) = (seconds.signature_lifetime, seconds.signature_refresh);
        if refresh == 0 || refresh >= lifetime || lifetime > i32::MAX as u32 {
            return Err(
                "`signature_refresh` is at least 1 and less than `signature_lifetime`".into(),
            );
        }
        if seconds.dnskey_ttl.max(seconds.ttl_max) >= lifetime - refresh {
            return Err(format!(
                "a signature holds {} s at least, which is not longer than the TTLs",
                lifetime - refresh
            ));
        }
        Ok(Self {
            roll: RollPolicy {
                dnskey_ttl: seconds.dnskey_ttl,
                ttl_max: seconds.ttl_max,
                propagation: seconds.propagation,
                parent_ttl: seconds.parent_ttl,
                parent_propagation: seconds.parent_propagation,
            },
            validity: Validity {
                lifetime,
                refresh,
                ..Validity::default()
            },
        })
    }
}

/// The name of a zone, such as `stream.example.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneName(Vec<u8>);

impl ZoneName {
    /// Lower-cased wire form.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for ZoneName {
    type Error = name::NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::str::FromStr for ZoneName {
    type Err = name::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wire = name::parse(text, Some(name::ROOT))?;
        Ok(Self(name::lowered(&wire)))
    }
}

impl std::fmt::Display for ZoneName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        name::Text(&self.0).fmt(f)
    }
}

/// An algorithm by its mnemonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AlgorithmName(pub Algorithm);

impl TryFrom<String> for AlgorithmName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for AlgorithmName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Algorithm::ALL.map(Algorithm::mnemonic).join(" or ");
        let algorithm = Algorithm::parse(text);
        algorithm
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let error = service::config::parse::<Dnssec>("x.toml", text).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_where_it_stands() {
        check(
            "zones = [\"a..b\"]",
            "1:9: error: the name has an empty label",
        );
        check(
            "algorithm = \"RSA\"",
            "1:13: error: `RSA` is not ECDSAP256SHA256",
        );
        check("polcy = 1", "(did you mean `policy`?)");
        check("[policy]\nttl_maxx = 5", "(did you mean `ttl_max`?)");
        check(
            "[policy]\nsignature_refresh = 1209600",
            "is at least 1 and less than",
        );
        check("[policy]\nttl_max = 604800", "holds 604800 s at least");
    }

    #[test]
    fn what_is_not_said_is_as_by_default() {
        let text = "zones = [\"Stream.example\"]\n[policy]\nparent_ttl = 3600";
        let read: Dnssec = service::config::parse("x.toml", text).unwrap();
        assert!(read.signs(b"\x06stream\x07example\0") && !read.signs(b"\x07example\0"));
        assert_eq!(read.policy.roll.parent_ttl, 3600);
        assert_eq!(
            read.policy.roll.dnskey_ttl,
            RollPolicy::default().dnskey_ttl
        );
        assert_eq!(read.policy.validity, Validity::default());
        assert_eq!(read.limits(), SigningLimits::default());
    }
}
