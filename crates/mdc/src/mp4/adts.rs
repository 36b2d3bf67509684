//! AAC in ADTS framing (ISO 14496-3 §1.A.2), as encoders put it on a pipe → the units of an MP4 track.

use thiserror::Error;

use super::AudioTrack;

/// Sampling rates by `sampling_frequency_index` (ISO 14496-3 table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Why a stream is not ADTS that an MP4 can carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdtsError {
    /// No sync word, or a frame cut short.
    #[error("broken ADTS frame at octet {0}")]
    Frame(usize),
    /// Several raw blocks per frame, or a stream that changes rate, channels or profile.
    #[error("ADTS frame at octet {0} is of an unsupported or another kind")]
    Kind(usize),
    /// No frame at all.
    #[error("no sound")]
    Empty,
}

/// Reads a whole ADTS stream.
pub fn read(stream: &[u8]) -> Result<AudioTrack, AdtsError> {
    let mut track: Option<AudioTrack> = None;
    let mut at = 0;
    while let Some(rest) = stream.get(at..).filter(|rest| !rest.is_empty()) {
        let header: &[u8; 7] = rest.first_chunk().ok_or(AdtsError::Frame(at))?;
        let [sync, flags, kind, more, length_high, length_low, last] = header.map(usize::from);
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            return Err(AdtsError::Frame(at));
        }
        let header_octets = if flags & 1 == 1 { 7 } else { 9 }; // a CRC follows unless protection is absent
        let length = (more & 3) << 11 | length_high << 3 | length_low >> 5;
        let unit = rest
            .get(header_octets..length)
            .filter(|u| !u.is_empty())
            .ok_or(AdtsError::Frame(at))?;
        let object_type = (kind >> 6) + 1;
        let rate_index = kind >> 2 & 15;
        let channels = (kind & 1) << 2 | more >> 6;
        let rate = *RATES.get(rate_index).ok_or(AdtsError::Kind(at))?;
        // AudioSpecificConfig: 5 bits object type, 4 bits rate index, 4 bits channels, 3 bits zero.
        let config = (object_type << 11 | rate_index << 7 | channels << 3) as u16;
        let config = config.to_be_bytes().to_vec();
        let track = track.get_or_insert_with(|| AudioTrack {
            config: config.clone(),
            rate,
            channels: channels as u16,
            ..AudioTrack::default()
        });
        if track.config != config || last & 3 != 0 {
            return Err(AdtsError::Kind(at));
        }
        track.units.push(unit.to_vec());
        at += length;
    }
    track.ok_or(AdtsError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 44.1 kHz, stereo, without CRC.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let length = payload.len() + 7;
        let mut frame = vec![
            0xff,
            0xf1,
            0x50,
            0x80 | (length >> 11) as u8,
            (length >> 3) as u8,
        ];
        frame.extend([(length << 5) as u8 | 0x1f, 0xfc]);
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn units_and_configuration_come_out() {
        let stream = [frame(&[1, 2, 3]), frame(&[4; 300])].concat();
        let track = read(&stream).unwrap();
        assert_eq!(
            (track.rate, track.channels, track.config),
            (44_100, 2, vec![0x12, 0x10])
        );
        assert_eq!(track.units, [vec![1, 2, 3], vec![4; 300]]);
    }

    #[test]
    fn broken_streams_are_errors() {
        let good = frame(&[1, 2, 3]);
        assert_eq!(read(&[]), Err(AdtsError::Empty));
        assert_eq!(read(&good[..9]), Err(AdtsError::Frame(0)));
        assert_eq!(
            read(&[&good[..], b"junk!!!!"].concat()),
            Err(AdtsError::Frame(10))
        );
        let mut other = frame(&[1]);
        other[2] = 0x4c; // 48 kHz
        assert_eq!(read(&[good, other].concat()), Err(AdtsError::Kind(10)));
    }
}
