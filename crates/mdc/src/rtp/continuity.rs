//! The numbers in a session's RTP headers, computed instead of carried.
//!
//! SSRC, sequence number and timestamp are a pure function of (session secret, title, description,
//! frame, fragment). An edge that takes over a session computes the next packet the other would send.

use crate::title::Frame;

/// Where the numbers of one description of one session start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continuity {
    /// Synchronization source of every packet; differs between a session's descriptions.
    pub ssrc: u32,
    /// Sequence number of packet 0 of the title.
    pub seq_base: u16,
    /// RTP timestamp of the title's time 0.
    pub time_base: u32,
}

impl Continuity {
    /// The numbers for `description` of `title` in the session that owns `session_secret`.
    pub fn new(session_secret: &[u8; 32], title: &str, description: u8) -> Continuity {
        let bytes = |label: &[u8], numbers: &[u8]| {
            let mut hasher = blake3::Hasher::new_keyed(session_secret);
            hasher.update(b"signpost mdc rtp ").update(label);
            hasher
                .update(&(title.len() as u64).to_be_bytes())
                .update(title.as_bytes());
            hasher.update(numbers);
            let hash = *hasher.finalize().as_bytes();
            [hash[0], hash[1], hash[2], hash[3], hash[4], hash[5]]
        };
        let shared = bytes(b"ssrc", &[]);
        let own = bytes(b"bases", &[description]);
        let ssrc = u32::from_be_bytes([shared[0], shared[1], shared[2], shared[3]]);
        Continuity {
            ssrc: ssrc.wrapping_add(u32::from(description)), // two descriptions never share one
            seq_base: u16::from_be_bytes([own[0], own[1]]),
            time_base: u32::from_be_bytes([own[2], own[3], own[4], own[5]]),
        }
    }

    /// Sequence number of the packet with `before` packets of the title before it.
    pub fn sequence(&self, before: u64) -> u16 {
        self.seq_base.wrapping_add((before & 0xffff) as u16)
    }

    /// RTP timestamp of a time in 90 kHz ticks from the title's start.
    pub fn timestamp(&self, rtp_time: u64) -> u32 {
        self.time_base.wrapping_add((rtp_time & 0xffff_ffff) as u32)
    }

    /// `seq` and `rtptime` of a frame's first packet, as the RTP-Info header wants them (RFC 2326 §12.33).
    pub fn rtp_info(&self, frame: &Frame) -> (u16, u32) {
        (
            self.sequence(frame.first_packet),
            self.timestamp(frame.rtp_time),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_session_gives_the_same_numbers_and_another_gives_others() {
        let a = Continuity::new(&[7; 32], "harbour", 0);
        assert_eq!(a, Continuity::new(&[7; 32], "harbour", 0));
        for other in [
            Continuity::new(&[8; 32], "harbour", 0),
            Continuity::new(&[7; 32], "harbours", 0),
            Continuity::new(&[7; 32], "harbour", 1),
        ] {
            assert_ne!(
                (a.ssrc, a.seq_base, a.time_base),
                (other.ssrc, other.seq_base, other.time_base)
            );
            assert_ne!(a.ssrc, other.ssrc);
        }
    }

    #[test]
    fn the_numbers_are_those_that_every_version_computes() {
        // Changing these breaks handoffs between edges of different versions.
        let numbers = |d| Continuity::new(&[7; 32], "harbour", d);
        let expected = |ssrc, seq_base, time_base| Continuity {
            ssrc,
            seq_base,
            time_base,
        };
        assert_eq!(numbers(0), expected(1_873_110_718, 45_564, 1_198_519_987));
        assert_eq!(numbers(1), expected(1873110719, 25936, 3866159182));
    }

    #[test]
    fn numbers_wrap_around() {
        let start = Continuity {
            ssrc: 1,
            seq_base: 0xffff,
            time_base: u32::MAX,
        };
        assert_eq!(
            (
                start.sequence(0),
                start.sequence(1),
                start.sequence(0x1_0001)
            ),
            (0xffff, 0, 0)
        );
        assert_eq!(
            (start.timestamp(1), start.timestamp(1 << 32)),
            (0, u32::MAX)
        );
    }
}
