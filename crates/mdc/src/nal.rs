//! H.264 NAL units: types, the length-prefixed form in MP4 (AVCC) and the start-code form (Annex B).

/// NAL unit type of a slice of an IDR picture (H.264 table 7-1).
pub const TYPE_IDR: u8 = 5;
/// NAL unit type of a slice of any other picture.
pub const TYPE_SLICE: u8 = 1;
/// NAL unit type of a sequence parameter set.
pub const TYPE_SPS: u8 = 7;
/// NAL unit type of a picture parameter set.
pub const TYPE_PPS: u8 = 8;

/// The start code that this library writes before each NAL unit.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The type of a NAL unit; 0 (unspecified) for an empty one.
pub fn unit_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// Whether the unit carries slice data of a picture (types 1 to 5).
pub fn is_slice(nal: &[u8]) -> bool {
    (1..=5).contains(&unit_type(nal))
}

/// NAL units of a sample in the length-prefixed form, `length_size` octets of length each.
///
/// Ends early where the bytes stop making sense; [`Avcc::is_whole`] tells whether they did.
#[derive(Debug, Clone)]
pub struct Avcc<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> Avcc<'a> {
    /// Iterates over `sample`; `length_size` is 1 to 4 (ISO 14496-15 §5.3.3.1).
    pub fn new(sample: &'a [u8], length_size: u8) -> Avcc<'a> {
        Avcc {
            rest: sample,
            length_size: usize::from(length_size.clamp(1, 4)),
        }
    }

    /// Whether every octet belongs to a unit and there is at least one.
    pub fn is_whole(mut self) -> bool {
        let mut units = 0;
        while self.next().is_some() {
            units += 1;
        }
        units > 0 && self.rest.is_empty()
    }
}

impl<'a> Iterator for Avcc<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, after) = self.rest.split_at_checked(self.length_size)?;
        let length = prefix
            .iter()
            .fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let (nal, rest) = after
            .split_at_checked(length)
            .filter(|(nal, _)| !nal.is_empty())?;
        self.rest = rest;
        Some(nal)
    }
}

/// NAL units of a start-code stream, without their start codes and trailing zeros.
pub fn split_annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let here = rest?;
        let end = find_start_code(here).unwrap_or(here.len());
        rest = here.get(end..).and_then(after_start_code);
        let trimmed = here[..end]
            .iter()
            .rposition(|b| *b != 0)
            .map_or(0, |last| last + 1);
        Some(&here[..trimmed])
    })
    .filter(|nal| !nal.is_empty())
}

/// Appends one unit with a start code.
pub fn push_annex_b(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(nal);
}

/// Appends one unit with a four-octet length (units are far below 4 GiB).
pub fn push_avcc(out: &mut Vec<u8>, nal: &[u8]) {
    let length = u32::try_from(nal.len()).expect("an encoded unit is smaller than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(nal);
}

fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|w| w == [0, 0, 1])
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    find_start_code(bytes).and_then(|at| bytes.get(at + 3..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_back_the_units() {
        let units: [&[u8]; 3] = [&[0x67, 1, 2], &[0x68, 0, 3], &[0x65, 9, 0, 0, 3, 9]];
        let (mut annex_b, mut avcc) = (Vec::new(), Vec::new());
        for unit in units {
            push_annex_b(&mut annex_b, unit);
            push_avcc(&mut avcc, unit);
        }
        assert_eq!(split_annex_b(&annex_b).collect::<Vec<_>>(), units);
        assert_eq!(Avcc::new(&avcc, 4).collect::<Vec<_>>(), units);
        assert!(Avcc::new(&avcc, 4).is_whole());
    }

    #[test]
    fn broken_lengths_end_the_units() {
        assert!(!Avcc::new(&[0, 0, 0, 9, 1], 4).is_whole());
        assert!(!Avcc::new(&[0, 0, 0, 1, 1, 0], 4).is_whole());
        assert!(!Avcc::new(&[0, 0, 0, 0], 4).is_whole());
        assert!(!Avcc::new(&[], 4).is_whole());
    }

    #[test]
    fn a_stream_without_start_codes_has_no_units() {
        assert_eq!(split_annex_b(&[1, 2, 3]).count(), 0);
        assert_eq!(split_annex_b(&[0, 0, 1]).count(), 0);
    }
}
