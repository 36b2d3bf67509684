//! SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash of server cookies (RFC 9018 §4.4).

/// The 64-bit hash under a key of 128 bits of octets that are given in words, as little-endian numbers; `last` is what
/// does not fill a word, with the number of octets modulo 256 in its highest octet.
pub(crate) fn siphash_2_4(key: &[u8; 16], words: &[u64], last: u64) -> u64 {
    let key = u128::from_le_bytes(*key);
    let (k0, k1) = (key as u64, (key >> 64) as u64);
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        absorb(&mut state, *word);
    }
    absorb(&mut state, last);
    state[2] ^= 0xFF;
    for _ in 0..4 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

#[inline(always)]
fn round(state: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32);
    c = c.wrapping_add(b);
    a = a.wrapping_add(d);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_hashes_of_its_authors() {
        // The paper's appendix A, and the first of the reference implementation's test vectors.
        let key: [u8; 16] = std::array::from_fn(|place| place as u8);
        let input: [u8; 64] = std::array::from_fn(|place| place as u8);
        let check = |length: usize, expected: u64| {
            let (words, tail) = input[..length].as_chunks();
            let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            last[7] = length as u8;
            let hash = siphash_2_4(&key, &words, u64::from_le_bytes(last));
            assert_eq!(hash, expected, "{length}");
        };
        check(15, 0xa129_ca61_49be_45e5);
        check(0, 0x726f_db47_dd0e_0e31);
        check(1, 0x74f8_39c5_93dc_67fd);
        check(8, 0x93f5_f579_9a93_2462);
    }
}
