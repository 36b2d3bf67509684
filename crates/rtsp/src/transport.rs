//! The `Transport` header: what a client offers, what a server picks, what a client reads back (RFC 2326 §12.39).
//!
//! A client may not name where the media goes: `destination` would let it aim a stream at somebody else.

use std::net::IpAddr;

/// Most alternatives of one header that are looked at.
const ALTERNATIVES_MAX: usize = 8;

/// How a stream's packets reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Inside the RTSP connection, on these channels.
    Tcp {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams to these ports of the client, at the address of its RTSP connection.
    Udp {
        /// Client's port of RTP.
        rtp: u16,
        /// Client's port of RTCP.
        rtcp: u16,
    },
}

/// What a server is ready to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Datagrams.
    pub udp: bool,
    /// Interleaved.
    pub tcp: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            udp: true,
            tcp: true,
        }
    }
}

/// Picks the first alternative of a client's header that the policy allows; `None` means 461 Unsupported Transport.
///
/// `free_channels` is used where the client leaves the channels to the server; `taken` says whether a channel is in use.
pub fn negotiate(
    header: &str,
    policy: Policy,
    free_channels: (u8, u8),
    taken: impl Fn(u8) -> bool,
) -> Option<Transport> {
    header
        .split(',')
        .take(ALTERNATIVES_MAX)
        .filter_map(|alternative| Fields::parse(alternative.trim()))
        .find_map(|fields| fields.accept(policy, free_channels, &taken))
}

impl Transport {
    /// What a client sends to ask for this transport.
    pub fn to_request_header(self) -> String {
        match self {
            Transport::Tcp { rtp, rtcp } => {
                format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}")
            }
            Transport::Udp { rtp, rtcp } => format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}"),
        }
    }

    /// What a server answers: its own ports for UDP, the stream's SSRC.
    pub fn to_response_header(self, server_ports: Option<(u16, u16)>, ssrc: u32) -> String {
        let mut text = self.to_request_header();
        if let (Transport::Udp { .. }, Some((rtp, rtcp))) = (self, server_ports) {
            text.push_str(&format!(";server_port={rtp}-{rtcp}"));
        }
        text.push_str(&format!(";ssrc={ssrc:08X};mode=\"PLAY\""));
        text
    }
}

/// A server's answer, read by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Transport, as the server repeated or changed it.
    pub transport: Transport,
    /// The server's ports, UDP only.
    pub server_ports: Option<(u16, u16)>,
    /// Synchronisation source of the stream.
    pub ssrc: Option<u32>,
    /// Where packets come from, if not from the RTSP connection's address.
    pub source: Option<IpAddr>,
}

impl Agreed {
    /// Reads a response's `Transport` header.
    pub fn parse(header: &str) -> Option<Agreed> {
        let fields = Fields::parse(header.trim())?;
        let transport = match (fields.tcp, fields.interleaved, fields.client_port) {
            (true, Some((rtp, rtcp)), _) => Transport::Tcp { rtp, rtcp },
            (false, _, Some((rtp, rtcp))) => Transport::Udp { rtp, rtcp },
            _ => return None,
        };
        Some(Agreed {
            transport,
            server_ports: fields.server_port,
            ssrc: fields.ssrc,
            source: fields.source,
        })
    }
}

/// One alternative of the header, taken apart.
#[derive(Debug, Default)]
struct Fields {
    tcp: bool,
    multicast: bool,
    /// `destination`, `dest_addr` or a recording mode: nothing we do.
    forbidden: bool,
    interleaved: Option<(u8, u8)>,
    client_port: Option<(u16, u16)>,
    server_port: Option<(u16, u16)>,
    ssrc: Option<u32>,
    source: Option<IpAddr>,
}

impl Fields {
    fn parse(alternative: &str) -> Option<Fields> {
        let mut parts = alternative.split(';').map(str::trim);
        let profile = parts.next()?.to_ascii_uppercase();
        let tcp = match profile.as_str() {
            "RTP/AVP" | "RTP/AVP/UDP" => false,
            "RTP/AVP/TCP" => true,
            _ => return None,
        };
        let mut fields = Fields {
            tcp,
            ..Fields::default()
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => fields.multicast = true,
                "destination" | "dest_addr" => fields.forbidden = true,
                "mode" => fields.forbidden |= !value.eq_ignore_ascii_case("play"),
                "interleaved" => {
                    let (rtp, rtcp) = pair(value)?;
                    fields.interleaved = Some((rtp.try_into().ok()?, rtcp.try_into().ok()?));
                }
                "client_port" => fields.client_port = Some(pair(value)?),
                "server_port" => fields.server_port = Some(pair(value)?),
                "ssrc" => fields.ssrc = u32::from_str_radix(value, 16).ok(),
                "source" => fields.source = value.parse().ok(),
                _ => {}
            }
        }
        Some(fields)
    }

    fn accept(
        &self,
        policy: Policy,
        free_channels: (u8, u8),
        taken: &impl Fn(u8) -> bool,
    ) -> Option<Transport> {
        if self.multicast || self.forbidden {
            return None;
        }
        if self.tcp {
            let (rtp, rtcp) = self.interleaved.unwrap_or(free_channels);
            let usable = policy.tcp && rtp != rtcp && !taken(rtp) && !taken(rtcp);
            return usable.then_some(Transport::Tcp { rtp, rtcp });
        }
        let (rtp, rtcp) = self.client_port?;
        let usable = policy.udp && rtp != rtcp && rtp != 0 && rtcp != 0;
        usable.then_some(Transport::Udp { rtp, rtcp })
    }
}

/// `a-b`, or `a` alone for the pair `a`, `a + 1`.
fn pair(value: &str) -> Option<(u16, u16)> {
    match value.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first: u16 = value.parse().ok()?;
            Some((first, first.checked_add(1)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pick(header: &str) -> Option<Transport> {
        negotiate(header, Policy::default(), (4, 5), |channel| channel == 8)
    }

    #[test]
    fn picks_the_first_alternative_it_can_do() {
        let tcp = |rtp, rtcp| Some(Transport::Tcp { rtp, rtcp });
        let udp = |rtp, rtcp| Some(Transport::Udp { rtp, rtcp });
        for (header, expected) in [
            ("RTP/AVP/TCP;unicast;interleaved=0-1", tcp(0, 1)),
            ("rtp/avp/tcp", tcp(4, 5)),
            (
                "RTP/AVP;unicast;client_port=5000-5001;mode=\"PLAY\"",
                udp(5000, 5001),
            ),
            ("RTP/AVP/UDP;unicast;client_port=5000", udp(5000, 5001)),
            (
                "RTP/AVP;multicast,RTP/AVP;unicast;client_port=6000-6001",
                udp(6000, 6001),
            ),
            (
                "RTP/SAVP;client_port=1-2, RTP/AVP/TCP;interleaved=2-3",
                tcp(2, 3),
            ),
        ] {
            assert_eq!(pick(header), expected, "{header}");
        }
    }

    #[test]
    fn refuses_foreign_destinations_and_impossible_transports() {
        for header in [
            "RTP/AVP;unicast;client_port=5000-5001;destination=203.0.113.9",
            "RTP/AVP;unicast;client_port=5000-5001;DESTINATION=203.0.113.9",
            "RTP/AVP;unicast;dest_addr=\"203.0.113.9:5000\";client_port=5000-5001",
            "RTP/AVP;unicast;client_port=5000-5001;mode=RECORD",
            "RTP/AVP;multicast",
            "RTP/AVP;unicast",
            "RTP/AVP;unicast;client_port=0-1",
            "RTP/AVP;unicast;client_port=65535",
            "RTP/AVP;unicast;client_port=70000-70001",
            "RTP/AVP/TCP;interleaved=256-257",
            "RTP/AVP/TCP;interleaved=0-0",
            "RTP/AVP/TCP;interleaved=8-9",
            "RTP/SAVP;unicast;client_port=5000-5001",
            "",
        ] {
            assert_eq!(pick(header), None, "{header}");
        }
    }

    #[test]
    fn the_policy_decides() {
        let both = "RTP/AVP;client_port=6-7,RTP/AVP/TCP;interleaved=0-1";
        let only_tcp = Policy {
            udp: false,
            tcp: true,
        };
        let free = |_| false;
        assert_eq!(
            negotiate(both, only_tcp, (0, 1), free),
            Some(Transport::Tcp { rtp: 0, rtcp: 1 })
        );
        assert_eq!(
            negotiate(
                both,
                Policy {
                    udp: false,
                    tcp: false
                },
                (0, 1),
                free
            ),
            None
        );
    }

    proptest! {
        #[test]
        fn what_a_server_answers_a_client_reads(
            rtp in 1_u16..65_535, tcp in any::<bool>(), channel in 0_u8..255, ssrc in any::<u32>(),
        ) {
            let transport = if tcp {
                Transport::Tcp { rtp: channel, rtcp: channel + 1 }
            } else {
                Transport::Udp { rtp, rtcp: rtp + 1 }
            };
            let ports = (!tcp).then_some((9000, 9001));
            let agreed = Agreed::parse(&transport.to_response_header(ports, ssrc)).unwrap();
            prop_assert_eq!(agreed.transport, transport);
            prop_assert_eq!(agreed.server_ports, ports);
            prop_assert_eq!(agreed.ssrc, Some(ssrc));
            let picked =
                negotiate(&transport.to_request_header(), Policy::default(), (0, 1), |_| false);
            prop_assert_eq!(picked, Some(transport));
        }

        #[test]
        fn never_panics(text in ".{0,120}") {
            let _ = pick(&text);
            let _ = Agreed::parse(&text);
        }
    }
}
