//! Sender reports, goodbyes and receiver reports (RFC 3550 §6).

use rtcp_types::{
    Bye, Compound, Packet, RtcpPacketWriterExt as _, Sdes, SdesChunk, SdesItem, SenderReport,
};

/// Largest packet written here.
const OCTETS_MAX: usize = 256;

/// Where a stream stands.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its source.
    pub ssrc: u32,
    /// The wall clock, NTP format.
    pub ntp: u64,
    /// The RTP timestamp of the same moment.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload octets sent so far.
    pub octets: u32,
}

/// Sender report and source description; with `bye`, a goodbye as well.
pub fn sender_report(sent: &Sent, canonical_name: &str, bye: bool) -> Vec<u8> {
    let report = SenderReport::builder(sent.ssrc)
        .ntp_timestamp(sent.ntp)
        .rtp_timestamp(sent.rtp_timestamp)
        .packet_count(sent.packets)
        .octet_count(sent.octets);
    let name = SdesItem::builder(SdesItem::CNAME, canonical_name);
    let description = Sdes::builder().add_chunk(SdesChunk::builder(sent.ssrc).add_item(name));
    let mut compound = Compound::builder()
        .add_packet(report)
        .add_packet(description);
    if bye {
        compound = compound.add_packet(Bye::builder().add_source(sent.ssrc));
    }
    let mut bytes = vec![0; OCTETS_MAX];
    let octets = compound.write_into(&mut bytes).unwrap_or(0);
    bytes.truncate(octets);
    bytes
}

/// What a client reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The highest fraction lost of all blocks, of 256.
    pub fraction_lost: Option<u8>,
}

/// Reads a receiver's compound packet; `None` if it is no RTCP. A report without blocks still is a sign of life.
pub fn read_report(bytes: &[u8]) -> Option<Report> {
    let mut lost = None;
    let mut packets = 0;
    for packet in Compound::parse(bytes).ok()? {
        packets += 1;
        let Ok(Packet::Rr(report)) = packet else {
            continue;
        };
        lost = report
            .report_blocks()
            .map(|block| block.fraction_lost())
            .chain(lost)
            .max();
    }
    (packets > 0).then_some(Report {
        fraction_lost: lost,
    })
}

#[cfg(test)]
mod tests {
    use rtcp_types::{ReceiverReport, ReportBlock};

    use super::*;

    #[test]
    fn a_report_says_when_and_how_much() {
        let sent = Sent {
            ssrc: 7,
            ntp: 1 << 40,
            rtp_timestamp: 9,
            packets: 3,
            octets: 4_000,
        };
        let bytes = sender_report(&sent, "edge", true);
        let packets: Vec<_> = Compound::parse(&bytes)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let [Packet::Sr(report), Packet::Sdes(_), Packet::Bye(bye)] = packets.as_slice() else {
            panic!("{packets:?}");
        };
        assert_eq!((report.ssrc(), report.rtp_timestamp()), (7, 9));
        assert_eq!((report.packet_count(), report.octet_count()), (3, 4_000));
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn reads_the_worst_loss_of_a_receiver_report() {
        let block = |ssrc: u32, lost: u8| ReportBlock::builder(ssrc).fraction_lost(lost);
        let report = ReceiverReport::builder(1)
            .add_report_block(block(7, 20))
            .add_report_block(block(8, 50));
        let mut bytes = vec![0; 200];
        let octets = Compound::builder()
            .add_packet(report)
            .write_into(&mut bytes)
            .unwrap();
        assert_eq!(
            read_report(&bytes[..octets]),
            Some(Report {
                fraction_lost: Some(50)
            })
        );
        assert_eq!(read_report(b""), None);
        assert_eq!(read_report(b"hello, firewall"), None);
    }
}
