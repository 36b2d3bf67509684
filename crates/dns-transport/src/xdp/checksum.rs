//! The Internet checksum (RFC 1071): a sum in ones' complement, which does not mind the order of a machine's octets.

/// A sum in the making. Only the last octets added may be odd in number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds octets as they lie in the packet.
    pub(super) fn octets(mut self, octets: &[u8]) -> Self {
        // Sums of 32-bit words fold to the same as sums of 16-bit words: 2^32 and 2^16 are both 1, modulo 2^16 - 1.
        let (words, rest) = octets.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.0 += u64::from(u32::from_ne_bytes(last));
        self
    }

    /// Adds a number.
    pub(super) fn number(self, number: u16) -> Self {
        self.octets(&number.to_be_bytes())
    }

    /// The sum in 16 bits, as two octets of a packet.
    pub(super) fn fold(self) -> [u8; 2] {
        let halves = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let mut sum = (halves >> 32) + (halves & 0xffff_ffff);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        (sum as u16).to_ne_bytes()
    }

    /// What stands in a header: its complement.
    pub(super) fn checksum(self) -> [u8; 2] {
        self.fold().map(|octet| !octet)
    }

    /// True of what includes its own checksum.
    pub(super) fn is_right(self) -> bool {
        self.fold() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §1 to the letter, one 16-bit word after another, the carry taken round each time.
    fn slow(octets: &[u8]) -> u16 {
        let mut sum = 0_u16;
        for pair in octets.chunks(2) {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            let (next, carry) = sum.overflowing_add(word);
            sum = next + u16::from(carry);
        }
        sum
    }

    #[test]
    fn the_standards_example() {
        // RFC 1071 §3: the sum is ddf2.
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().octets(&octets).fold(), [0xdd, 0xf2]);
        assert_eq!(Sum::default().octets(&octets).checksum(), [0x22, 0x0d]);
    }

    proptest! {
        #[test]
        fn it_is_what_the_slow_twin_says(octets in prop::collection::vec(any::<u8>(), 0..1600), at in 0..800_usize) {
            let (front, back) = octets.split_at((at * 2).min(octets.len() & !1));
            let sum = Sum::default().octets(front).octets(back);
            prop_assert_eq!(u16::from_be_bytes(sum.fold()), slow(&octets));
        }

        #[test]
        fn a_flipped_bit_shows(mut octets in prop::collection::vec(any::<u8>(), 4..200), bit in any::<prop::sample::Index>()) {
            octets[0..2].fill(0);
            let checksum = Sum::default().octets(&octets).checksum();
            octets[0..2].copy_from_slice(&checksum);
            prop_assert!(Sum::default().octets(&octets).is_right());
            let bit = bit.index(octets.len() * 8);
            octets[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!Sum::default().octets(&octets).is_right());
        }

        #[test]
        fn a_number_is_added_as_it_stands_in_a_packet(number in any::<u16>()) {
            prop_assert_eq!(Sum::default().number(number).fold(), number.to_be_bytes());
        }
    }
}
