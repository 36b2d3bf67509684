//! `[proxy]`: balancers in front of the server.

use dns_transport::proxy::{Network, NetworkError, Trusted};
use serde::Deserialize;

/// `[proxy]`: balancers in front of the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Networks whose hosts put a PROXY header (version 2) in front of every datagram and connection, and are refused
    /// without one. Only balancers: what they say about the client is believed.
    pub networks: Vec<ProxyNetwork>,
}

/// A network such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyNetwork(Network);

impl TryFrom<String> for ProxyNetwork {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse().map(Self)
    }
}

impl Proxy {
    pub(crate) fn trusted(&self) -> Trusted {
        self.networks.iter().map(|network| network.0).collect()
    }
}
