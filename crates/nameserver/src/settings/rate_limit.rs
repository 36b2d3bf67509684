//! `[rate_limit]`: how many datagrams a source that has proved nothing about itself may have answered.

use std::num::NonZeroU32;

use dns_engine::{Network, NetworkError};
use serde::Deserialize;

/// `[rate_limit]`: on, for everybody but this machine. A valid cookie or a connection proves a source, and has no limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Limit answers to datagrams.
    pub enabled: bool,
    /// Answers a second that one address gets for ever, from each UDP thread; the networks around it get a multiple.
    pub per_second: NonZeroU32,
    /// Answers at once for an address that was silent before.
    pub burst: NonZeroU32,
    /// Beyond the limit, every so many-th query is told to come again over TCP; the rest get nothing. 0: all get nothing.
    pub slip: u32,
    /// Networks without a limit.
    pub exempt: Vec<Exempt>,
}

impl Default for RateLimit {
    fn default() -> Self {
        let limit = dns_engine::RateLimit::default();
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            enabled: true,
            per_second: number(limit.per_second),
            burst: number(limit.burst),
            slip: limit.slip,
            exempt: LOOPBACK
                .iter()
                .filter_map(|network| network.parse().map(Exempt).ok())
                .collect(),
        }
    }
}

/// This machine itself: tests, checks, and resolvers beside the server.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// A network such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Exempt(Network);

impl TryFrom<String> for Exempt {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse().map(Self)
    }
}

impl RateLimit {
    /// As the engine wants it; `key` is a random number that stays while the server runs.
    pub(crate) fn to_engine(&self, key: u64) -> Option<dns_engine::RateLimit> {
        self.enabled.then(|| dns_engine::RateLimit {
            per_second: self.per_second.get(),
            burst: self.burst.get(),
            slip: self.slip,
            exempt: self.exempt.iter().map(|exempt| exempt.0).collect(),
            key,
            ..dns_engine::RateLimit::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_only_this_machine_is_exempt() {
        let limit = RateLimit::default().to_engine(0).unwrap();
        let exempt = |address: &str| {
            let address = address.parse().unwrap();
            limit.exempt.iter().any(|network| network.contains(address))
        };
        assert!(exempt("127.0.0.1") && exempt("127.255.0.9") && exempt("::1"));
        assert!(!exempt("192.0.2.1") && !exempt("::2") && !exempt("10.0.0.1"));
    }
}
