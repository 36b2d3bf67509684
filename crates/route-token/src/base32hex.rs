//! One 128-bit block as 26 characters of base32hex (RFC 4648 §7), lower case, no padding; read without regard to case.

/// Characters for 128 bits: 25 full groups of five and one of three, whose two spare bits are zero.
pub(crate) const BLOCK_CHARACTERS: usize = 26;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const INVALID: u8 = 0xff;
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < 32 {
        let character = ALPHABET[value];
        table[character as usize] = value as u8;
        table[character.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    table
}

/// The character for the low five bits of `value`.
pub(crate) fn character(value: u8) -> u8 {
    ALPHABET[usize::from(value & 31)]
}

/// The five bits a character stands for, in either case.
pub(crate) fn value(character: u8) -> Option<u8> {
    match VALUES[usize::from(character)] {
        INVALID => None,
        value => Some(value),
    }
}

/// The two characters for each ten bits.
static PAIRS: [[u8; 2]; 1024] = pairs();

const fn pairs() -> [[u8; 2]; 1024] {
    let mut table = [[0; 2]; 1024];
    let mut bits = 0;
    while bits < 1024 {
        table[bits] = [ALPHABET[bits >> 5], ALPHABET[bits & 31]];
        bits += 1;
    }
    table
}

#[inline]
pub(crate) fn encode(block: &[u8; 16], out: &mut [u8; BLOCK_CHARACTERS]) {
    let bits = u128::from_be_bytes(*block);
    // Sixty bits, sixty more, and the last eight behind which there are two zeros.
    let (front, middle, end) = ((bits >> 68) as u64, (bits >> 8) as u64, (bits as u64) << 2);
    let pair = |bits: u64, shift: u32| PAIRS[(bits >> shift & 1023) as usize];
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (index, place) in pairs.iter_mut().enumerate() {
        *place = match index {
            0..6 => pair(front, 50 - 10 * index as u32),
            6..12 => pair(middle, 110 - 10 * index as u32),
            _ => pair(end, 0),
        };
    }
}

/// `None` for a character outside the alphabet or spare bits that are set: each block has one spelling, but for case.
pub(crate) fn decode(text: &[u8; BLOCK_CHARACTERS]) -> Option<[u8; 16]> {
    let mut seen = 0u8;
    let mut number = |characters: &[u8]| {
        characters.iter().fold(0u64, |bits, character| {
            let value = VALUES[usize::from(*character)];
            seen |= value;
            bits << 5 | u64::from(value)
        })
    };
    // Twelve characters are 60 bits: two numbers of a word each, and the ten bits of the last two.
    let (front, middle, last) = (
        number(&text[..12]),
        number(&text[12..24]),
        number(&text[24..]),
    );
    // What an invalid character does to its neighbours does not matter.
    let refused = seen & 0xe0 != 0 || last & 0b11 != 0;
    let low = middle << 8 | last >> 2;
    let high = front << 4 | middle >> 56;
    (!refused).then_some((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slow, obvious twin: a string of bits, cut in fives.
    fn encode_by_bits(block: &[u8; 16]) -> String {
        let mut bits: String = block.iter().map(|octet| format!("{octet:08b}")).collect();
        bits.push_str("00");
        let fives: Vec<char> = bits.chars().collect();
        fives
            .chunks(5)
            .map(|five| {
                let value = u8::from_str_radix(&five.iter().collect::<String>(), 2).unwrap();
                char::from_digit(value.into(), 32).unwrap()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_the_slow_twin_and_reads_back(block: [u8; 16]) {
            let mut text = [0; BLOCK_CHARACTERS];
            encode(&block, &mut text);
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), encode_by_bits(&block));
            prop_assert_eq!(decode(&text), Some(block));
            prop_assert_eq!(decode(&text.map(|c| c.to_ascii_uppercase())), Some(block));
        }

        #[test]
        fn each_block_has_one_spelling(text: [u8; BLOCK_CHARACTERS]) {
            if let Some(block) = decode(&text) {
                let mut again = [0; BLOCK_CHARACTERS];
                encode(&block, &mut again);
                prop_assert_eq!(again, text.map(|c| c.to_ascii_lowercase()));
            }
        }
    }

    #[test]
    fn set_spare_bits_and_foreign_characters_are_refused() {
        assert!(decode(b"00000000000000000000000000").is_some());
        assert!(decode(b"00000000000000000000000001").is_none());
        assert!(decode(b"00000000000000000000000004").is_some());
        for character in (0..=255u8).filter(|c| value(*c).is_none()) {
            for at in [0, 13, 25] {
                let mut text = *b"00000000000000000000000000";
                text[at] = character;
                assert!(decode(&text).is_none(), "{character:#x} at {at}");
            }
        }
    }
}
