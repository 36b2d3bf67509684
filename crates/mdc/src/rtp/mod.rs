//! H.264 over RTP (RFC 3550, RFC 6184 packetization mode 1), so that any edge sends the same packets.

mod continuity;
mod depacketize;
mod packetize;

pub use continuity::Continuity;
pub use depacketize::{
    AccessUnit, Clock, Counts, Depacketizer, PacketError, REORDER_MS, REORDER_PACKETS,
};
pub use packetize::{
    HEADER_OCTETS, PAYLOAD_LIMIT, PAYLOAD_LIMIT_MAX, PAYLOAD_LIMIT_MIN, Packet, Packets,
    packet_count, packetize,
};
