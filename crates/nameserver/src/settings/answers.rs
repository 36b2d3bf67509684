//! What an operator may say about answers: their size, and what the server says about itself.

use serde::Deserialize;

/// `udp_payload`: the largest UDP answer in octets, 512 to 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct UdpPayload(u16);

impl UdpPayload {
    pub(crate) fn octets(self) -> u16 {
        self.0
    }
}

impl Default for UdpPayload {
    fn default() -> Self {
        Self(dns_engine::UDP_PAYLOAD)
    }
}

impl TryFrom<u16> for UdpPayload {
    type Error = String;

    fn try_from(octets: u16) -> Result<Self, String> {
        (512..=4096)
            .contains(&octets)
            .then_some(Self(octets))
            .ok_or_else(|| format!("{octets} octets: a UDP answer has at most 512 to 4096"))
    }
}

/// `[identity]`: what the server says about itself to who asks; nothing by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name server identifier (RFC 5001): 1 to 128 octets of text.
    pub nsid: Option<Text<128>>,
    /// Answer to `id.server` of class CHAOS (RFC 4892).
    pub id: Option<Text<255>>,
    /// Answer to `version.server` of class CHAOS.
    pub version: Option<Text<255>>,
}

impl Identity {
    pub(crate) fn to_engine(&self) -> dns_engine::Identity {
        let text = |text: &Option<Text<255>>| text.as_ref().map(|text| text.0.as_str().into());
        dns_engine::Identity {
            nsid: self.nsid.as_ref().map(|nsid| nsid.0.as_bytes().into()),
            id_server: text(&self.id),
            version: text(&self.version),
        }
    }
}

/// A text of 1 to `MAX` octets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if (1..=MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            let length = text.len();
            Err(format!("{length} octets: here are 1 to {MAX} possible"))
        }
    }
}
