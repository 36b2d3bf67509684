//! The OPT record of a query and its options (RFC 6891).

use crate::request::Reader;
use crate::snapshot::PLAIN_PAYLOAD;
use crate::subnet::Subnet;
use crate::{Rcode, Transport};

/// Option codes (IANA, "DNS EDNS0 Option Codes").
pub(crate) mod option {
    pub(crate) const NSID: u16 = 3;
    pub(crate) const SUBNET: u16 = 8;
    pub(crate) const COOKIE: u16 = 10;
    pub(crate) const KEEPALIVE: u16 = 11;
    pub(crate) const PADDING: u16 = 12;
    pub(crate) const EXTENDED_ERROR: u16 = 15;
    pub(crate) const ZONE_VERSION: u16 = 19;
}

/// What the OPT record of a query says. Options we do not know are not kept (RFC 6891 §6.1.2).
#[derive(Clone, Copy, Default)]
pub(crate) struct Edns<'m> {
    /// Largest UDP answer the client takes, at least 512 (RFC 6891 §6.2.3).
    pub(crate) payload: u16,
    /// DO (RFC 3225).
    pub(crate) dnssec_ok: bool,
    /// CO: compact denial may keep its NXDOMAIN (RFC 9824 §5.1).
    pub(crate) compact_ok: bool,
    /// The server's identifier is wanted (RFC 5001).
    pub(crate) nsid: bool,
    /// The client can take a padded answer (RFC 7830 §4).
    pub(crate) padding: bool,
    /// The zone's serial is wanted (RFC 9660).
    pub(crate) zone_version: bool,
    /// Octets of the keepalive option, which should be none (RFC 7828 §3.2.1).
    pub(crate) keepalive: Option<usize>,
    pub(crate) subnet: Option<Subnet>,
    /// There is an option that few queries have: none but subnet, cookie and unknown ones are usual.
    pub(crate) unusual: bool,
    /// The cookie option as it came, of any length (RFC 7873 §4).
    pub(crate) cookie: Option<&'m [u8]>,
}

/// CO in the flags of an OPT record (RFC 9824 §5.1).
pub(crate) const COMPACT_OK: u16 = 0x4000;
/// DO in the flags of an OPT record (RFC 3225 §3).
pub(crate) const DNSSEC_OK: u16 = 0x8000;

impl<'m> Edns<'m> {
    /// Takes the fixed part: `class` is the payload size, `ttl` extended rcode, version and flags.
    #[inline(always)]
    pub(crate) fn begin(class: u16, ttl: u32) -> Self {
        let flags = ttl as u16;
        Self {
            payload: class.max(PLAIN_PAYLOAD),
            dnssec_ok: flags & DNSSEC_OK != 0,
            compact_ok: flags & COMPACT_OK != 0,
            ..Self::default()
        }
    }

    /// Reads the options of version 0; `None` if they are malformed.
    #[inline(always)]
    pub(crate) fn read_options(&mut self, octets: &'m [u8]) -> Option<()> {
        let mut reader = Reader::new(octets);
        while !reader.is_at_end() {
            let (code, length) = (reader.u16()?, reader.u16()?);
            let data = reader.take(usize::from(length))?;
            match code {
                option::NSID => (self.nsid, self.unusual) = (true, true),
                option::SUBNET if self.subnet.is_some() => return None,
                option::SUBNET => self.subnet = Some(Subnet::read(data)?),
                // Of several the first counts.
                option::COOKIE => self.cookie = self.cookie.or(Some(data)),
                option::KEEPALIVE => (self.keepalive, self.unusual) = (Some(data.len()), true),
                option::PADDING => (self.padding, self.unusual) = (true, true),
                // What a query says in it is to be ignored (RFC 9660 §3.2).
                option::ZONE_VERSION => (self.zone_version, self.unusual) = (true, true),
                _ => {}
            }
        }
        Some(())
    }

    /// The keepalive option is asked for and makes sense: not over UDP, where it is to be ignored, nor over
    /// HTTPS and QUIC, which keep connections in their own ways (RFC 7828 §3.3, RFC 9250 §5.5.2).
    pub(crate) fn wants_keepalive(&self, transport: Transport) -> bool {
        self.keepalive.is_some() && matches!(transport, Transport::Tcp | Transport::Tls)
    }

    /// The fault of an option whose meaning depends on transport: only servers state a keepalive time.
    pub(crate) fn fault(&self, transport: Transport) -> Option<Rcode> {
        let states_time = self.keepalive.is_some_and(|length| length > 0);
        (states_time && self.wants_keepalive(transport)).then_some(Rcode::FORMERR)
    }
}
