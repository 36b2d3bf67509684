//! The dnstap schema (`dnstap.proto`), as far as an authoritative server needs it, in the encoding of Protocol Buffers:
//! each field has a tag, its number and how long it is, so that a fixed and small schema needs no generated code.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use dns_transport::{Arrival, Transport};

/// What a message is about.
pub(crate) enum Kind<'m> {
    /// AUTH_QUERY.
    Query { asked: SystemTime, query: &'m [u8] },
    /// AUTH_RESPONSE.
    Response {
        asked: SystemTime,
        answered: SystemTime,
        answer: &'m [u8],
    },
}

/// Wire types of Protocol Buffers.
const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// The part that all messages of a server have in common: `identity = 1` and `version = 2` of `Dnstap`.
pub(crate) fn head(identity: Option<&str>, version: Option<&str>) -> Vec<u8> {
    let mut head = Vec::new();
    for (field, text) in [(1, identity), (2, version)] {
        if let Some(text) = text {
            bytes(&mut head, field, text.as_bytes());
        }
    }
    head
}

/// Writes a `Message` into `body`, whose old content goes.
/// `zone` is the wire name of the zone that the query is for.
pub(crate) fn encode(kind: &Kind<'_>, zone: Option<&[u8]>, from: &Arrival, body: &mut Vec<u8>) {
    body.clear();
    let message_type = match kind {
        Kind::Query { .. } => 1,    // AUTH_QUERY
        Kind::Response { .. } => 2, // AUTH_RESPONSE
    };
    number(body, 1, message_type);
    let family = if from.source.is_ipv4() { 1 } else { 2 };
    number(body, 2, family);
    number(body, 3, protocol(from.transport));
    address(body, 4, from.source.ip());
    address(body, 5, from.local.ip());
    number(body, 6, from.source.port().into());
    number(body, 7, from.local.port().into());
    match *kind {
        Kind::Query { asked, query } => {
            time(body, 8, asked);
            bytes(body, 10, query);
            query_zone(body, zone);
        }
        Kind::Response {
            asked,
            answered,
            answer,
        } => {
            time(body, 8, asked);
            query_zone(body, zone);
            time(body, 12, answered);
            bytes(body, 14, answer);
        }
    }
}

/// A `Dnstap` around an encoded `Message`, as a data frame of Frame Streams: its length goes in front.
pub(crate) fn frame(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + head.len() + body.len() + 16);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(head);
    bytes(&mut frame, 14, body);
    number(&mut frame, 15, 1); // MESSAGE
    let length = (frame.len() - 4) as u32; // two DNS messages and a few names
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn query_zone(out: &mut Vec<u8>, zone: Option<&[u8]>) {
    if let Some(zone) = zone {
        bytes(out, 11, zone);
    }
}

/// `SocketProtocol`.
fn protocol(transport: Transport) -> u64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Https => 4,
        Transport::Quic => 7,
    }
}

fn address(out: &mut Vec<u8>, field: u64, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes(out, field, &address.octets()),
        IpAddr::V6(address) => bytes(out, field, &address.octets()),
    }
}

/// Seconds in this field, nanoseconds in the next.
fn time(out: &mut Vec<u8>, field: u64, time: SystemTime) {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    number(out, field, time.as_secs());
    varint(out, (field + 1) << 3 | FIXED_32);
    out.extend_from_slice(&time.subsec_nanos().to_le_bytes());
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3 | VARINT);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits an octet, the lowest first; the top bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_seven_bits_an_octet() {
        for (value, expected) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }
}
