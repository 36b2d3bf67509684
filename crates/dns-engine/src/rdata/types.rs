//! Sets of record types as bitmaps (RFC 4034 §4.1.2): windows of 256 types, of each only the octets up to the last set bit.

/// True if the windows rise and none has a needless octet.
pub(crate) fn is_well_formed(mut bitmap: &[u8]) -> bool {
    let mut window_before = None;
    while let [window, length @ 1..=32, rest @ ..] = bitmap {
        let Some((bits, after)) = rest.split_at_checked(usize::from(*length)) else {
            return false;
        };
        if window_before >= Some(*window) || bits.last() == Some(&0) {
            return false;
        }
        window_before = Some(*window);
        bitmap = after;
    }
    bitmap.is_empty()
}

/// The types in a bitmap, from the lowest.
pub(crate) fn iter(bitmap: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = bitmap;
    let windows = std::iter::from_fn(move || {
        let [window, length, after @ ..] = rest else {
            return None;
        };
        let (bits, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        Some((*window, bits))
    });
    windows.flat_map(|(window, bits)| {
        let of_octet = move |(place, octet): (usize, &u8)| {
            let (place, octet) = (place as u16, *octet);
            let set = (0..8_u16).filter(move |bit| octet & (0x80 >> bit) != 0);
            set.map(move |bit| u16::from(window) << 8 | (place * 8 + bit) & 0xFF)
        };
        bits.iter().enumerate().flat_map(of_octet)
    })
}

/// Appends the bitmap of sorted types.
pub(crate) fn push(types: &[u16], out: &mut Vec<u8>) {
    for window in types.chunk_by(|one, next| one >> 8 == next >> 8) {
        let mut bits = [0_u8; 32];
        let mut length = 0;
        for rtype in window {
            let low = usize::from(rtype & 0xFF);
            bits[low / 8] |= 0x80 >> (low % 8);
            length = low / 8 + 1;
        }
        let number = (window[0] >> 8) as u8;
        out.extend_from_slice(&[number, length as u8]);
        out.extend_from_slice(&bits[..length]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_the_bitmaps_of_the_rfcs() {
        // RFC 4034 §4.3: A MX RRSIG NSEC TYPE1234.
        let mut out = Vec::new();
        push(&[1, 15, 46, 47, 1234], &mut out);
        let mut expected = b"\0\x06\x40\x01\0\0\0\x03\x04\x1b".to_vec();
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(out, expected);
        assert_eq!(iter(&out).collect::<Vec<_>>(), [1, 15, 46, 47, 1234]);
        // RFC 9824 §3.1: RRSIG NSEC NXNAME.
        let mut out = Vec::new();
        push(&[46, 47, 128], &mut out);
        assert_eq!(out, b"\0\x11\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\x80");
    }

    #[test]
    fn refuses_bitmaps_that_could_be_shorter() {
        assert!(is_well_formed(b""));
        assert!(is_well_formed(b"\0\x01\x40\x01\x01\x40"));
        for bad in [
            &b"\0"[..],
            b"\0\0",
            b"\0\x02\x40",
            b"\0\x02\x40\0",
            b"\x01\x01\x40\0\x01\x40",
            b"\0\x21",
        ] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(types in prop::collection::btree_set(any::<u16>(), 0..40)) {
            let mut out = Vec::new();
            push(&types.iter().copied().collect::<Vec<_>>(), &mut out);
            prop_assert!(is_well_formed(&out));
            prop_assert_eq!(iter(&out).collect::<Vec<_>>(), types.into_iter().collect::<Vec<_>>());
        }
    }
}
