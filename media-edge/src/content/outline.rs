//! A title's outline on its way to another edge: manifest, parameter sets, and eleven octets per frame.
//!
//! ```text
//! u32 length, JSON header │ per description, per frame: number u32 │ idr u8 │ size u32 │ packets u16   (big endian)
//! ```
//! What follows from the rest (times, packet sums) is computed again, so a wrong outline cannot contradict itself.

use mdc::title::{Description, FRAME_OCTETS_MAX, Frame, Manifest};
use serde::{Deserialize, Serialize};

/// Octets per frame.
const FRAME_OCTETS: usize = 11;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    manifest: String,
    descriptions: Vec<DescriptionHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionHeader {
    sps: Vec<u8>,
    pps: Vec<u8>,
    length_size: u8,
    frames: usize,
}

/// The outline's bytes.
pub fn encode(manifest: &Manifest, descriptions: &[Description]) -> Vec<u8> {
    let header = Header {
        manifest: manifest.to_toml(),
        descriptions: descriptions
            .iter()
            .map(|d| DescriptionHeader {
                sps: d.sps.clone(),
                pps: d.pps.clone(),
                length_size: d.length_size,
                frames: d.frames.len(),
            })
            .collect(),
    };
    // Strings and numbers always serialise.
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&header);
    for frame in descriptions.iter().flat_map(|d| &d.frames) {
        bytes.extend_from_slice(&frame.number.to_be_bytes());
        bytes.push(u8::from(frame.idr));
        bytes.extend_from_slice(&frame.size.to_be_bytes());
        bytes.extend_from_slice(&frame.packets.to_be_bytes());
    }
    bytes
}

/// Reads an outline; `None` if anything in it cannot be.
pub fn decode(bytes: &[u8]) -> Option<(Manifest, Vec<Description>)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (header, mut rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    let manifest = Manifest::parse(&header.manifest).ok()?;
    let timing = manifest.timing().ok()?;
    if header.descriptions.len() != manifest.descriptions.len() {
        return None;
    }
    let mut descriptions = Vec::new();
    for (number, header) in header.descriptions.into_iter().enumerate() {
        let octets = header.frames.checked_mul(FRAME_OCTETS)?;
        let (entries, after) = rest.split_at_checked(octets)?;
        rest = after;
        if header.frames == 0 || !(1..=4).contains(&header.length_size) || header.sps.len() < 4 {
            return None;
        }
        let mut description = Description {
            index: u8::try_from(number).ok()?,
            timing: timing.clone(),
            payload_limit: manifest.payload_limit,
            sps: header.sps,
            pps: header.pps,
            length_size: header.length_size,
            frames: Vec::with_capacity(header.frames),
            audio: None,
        };
        for entry in entries.chunks_exact(FRAME_OCTETS) {
            let frame = decode_frame(entry, &description)?;
            description.frames.push(frame);
        }
        descriptions.push(description);
    }
    rest.is_empty().then_some((manifest, descriptions))
}

fn decode_frame(entry: &[u8], description: &Description) -> Option<Frame> {
    let &[n0, n1, n2, n3, idr, s0, s1, s2, s3, p0, p1] = entry else {
        return None;
    };
    let number = u32::from_be_bytes([n0, n1, n2, n3]);
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    let before = description.frames.last();
    let in_order = before.map_or(idr == 1, |before| before.number < number);
    let ours = description.timing.description_of(number) == description.index;
    if !in_order || !ours || idr > 1 || size > FRAME_OCTETS_MAX {
        return None;
    }
    Some(Frame {
        number,
        rtp_time: description.timing.rtp_time(number),
        idr: idr == 1,
        offset: 0, // the file is elsewhere
        size,
        first_packet: before.map_or(0, |b| b.first_packet + u64::from(b.packets)),
        packets: u16::from_be_bytes([p0, p1]),
    })
}

#[cfg(test)]
mod tests {
    use mdc::title::Timing;

    use super::*;

    fn outline() -> (Manifest, Vec<Description>) {
        let text = "name = \"t\"\nwidth = 64\nheight = 64\nfps = [30, 1]\nframes = 8\npayload_limit = 1200\n\
                    cadence = [0, 1]\n[[description]]\nfile = \"d0.mp4\"\nframes = 4\nbitrate = 9\n\
                    [[description]]\nfile = \"d1.mp4\"\nframes = 4\nbitrate = 9\n";
        let manifest = Manifest::parse(text).unwrap();
        let timing = Timing::in_turn((30, 1), 2).unwrap();
        let description = |index: u8| Description {
            index,
            timing: timing.clone(),
            payload_limit: 1_200,
            sps: vec![0x67, 1, 2, 3],
            pps: vec![0x68],
            length_size: 4,
            frames: (0..4)
                .map(|at| {
                    let number = at * 2 + u32::from(index);
                    Frame {
                        number,
                        rtp_time: timing.rtp_time(number),
                        idr: at % 2 == 0,
                        offset: 0,
                        size: 100 + at,
                        first_packet: u64::from(at) * 3,
                        packets: 3,
                    }
                })
                .collect(),
            audio: None,
        };
        (manifest, vec![description(0), description(1)])
    }

    #[test]
    fn what_follows_from_the_rest_is_computed_again() {
        let (manifest, descriptions) = outline();
        let bytes = encode(&manifest, &descriptions);
        assert_eq!(decode(&bytes), Some((manifest, descriptions)));
    }

    #[test]
    fn cut_and_changed_outlines_are_refused_or_read_without_harm() {
        let (manifest, descriptions) = outline();
        let bytes = encode(&manifest, &descriptions);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Some((_, descriptions)) = decode(&changed) {
                    assert!(
                        descriptions
                            .iter()
                            .all(|d| d.frames.first().is_some_and(|f| f.idr))
                    );
                }
            }
        }
    }
}
