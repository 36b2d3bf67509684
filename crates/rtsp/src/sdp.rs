//! Session descriptions: one H.264 line per description of a title, grouped for clients that merge them
//! (RFC 4566, RFC 6184 §8, RFC 5583 `DDP` with dependency type `mdc`).

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sdp_types::{Attribute, Bandwidth, BandwidthType, Connection, Media, Origin, Session, Time};

use crate::range::{Npt, NptRange};

/// Most media lines read from a description.
const STREAMS_MAX: usize = 16;
/// First payload type handed out; the dynamic range of RFC 3551 §6.
pub const PAYLOAD_TYPE_FIRST: u8 = 96;

/// What DESCRIBE tells about a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The title's name.
    pub title: String,
    /// The length of the title.
    pub duration: Option<Npt>,
    /// One entry per media line.
    pub streams: Vec<Stream>,
}

/// One media line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Control name (`d0`) or URL, to be resolved against the description's base.
    pub control: String,
    /// RTP payload type.
    pub payload_type: u8,
    /// H.264 sequence parameter set, NAL header included, no start code.
    pub sps: Vec<u8>,
    /// H.264 picture parameter set, likewise.
    pub pps: Vec<u8>,
    /// Frames per second of this line, as numerator and denominator; (0, 1) where unknown.
    pub frame_rate: (u32, u32),
    /// Bandwidth in kbit/s (`b=AS`), 0 where unknown.
    pub kbit_per_second: u32,
}

impl Description {
    /// The bytes of the description; several streams are grouped as descriptions of one video.
    pub fn write(&self, edge: IpAddr, session_version: u64) -> Vec<u8> {
        let origin = Origin::with_ip_addr(session_version, session_version, edge);
        let mut session = Session::new(origin, &self.title);
        session.set_connection(Connection::from_ip_addr(unspecified(edge)));
        session.add_time(Time::new(0, 0));
        session.add_attribute_with_value("tool", crate::message::PRODUCT);
        session.add_attribute_with_value("control", "*");
        if let Some(end) = self.duration {
            let range = NptRange {
                start: Some(Npt(0)),
                end: Some(end),
            };
            session.add_attribute_with_value("range", range.to_header());
        }
        let grouped = self.streams.len() > 1;
        if grouped {
            let names: Vec<&str> = self.streams.iter().map(|s| s.control.as_str()).collect();
            session.add_attribute_with_value("group", format!("DDP {}", names.join(" ")));
        }
        let first = self.streams.first();
        for (index, stream) in self.streams.iter().enumerate() {
            let mut media = stream.write();
            if grouped {
                media
                    .attributes
                    .insert(0, Attribute::with_value("mid", &stream.control));
            }
            if let (1.., Some(first)) = (index, first) {
                // RFC 5583 §6.5.2: this line belongs to the first one, as another description of it.
                let depend = format!(
                    "{} mdc {}:{}",
                    stream.payload_type, first.control, first.payload_type
                );
                media.add_attribute_with_value("depend", depend);
            }
            session.add_media(media);
        }
        let mut bytes = Vec::with_capacity(1024);
        // Writing to a `Vec` cannot fail.
        let _ = session.write(&mut bytes);
        bytes
    }

    /// Reads a description; video lines in H.264 only, the others are passed over. `None` if it is no SDP.
    pub fn parse(bytes: &[u8]) -> Option<Description> {
        let session = Session::parse(bytes).ok()?;
        let duration = session
            .get_first_attribute_value("range")
            .flatten()
            .and_then(NptRange::parse)
            .and_then(|range| range.end);
        let streams = session
            .medias
            .iter()
            .take(STREAMS_MAX)
            .filter_map(Stream::read)
            .collect();
        Some(Description {
            title: session.session_name,
            duration,
            streams,
        })
    }
}

impl Stream {
    fn write(&self) -> Media {
        let mut media = Media::new(
            sdp_types::MediaType::Video,
            0,
            sdp_types::TransportProto::RtpAvp,
            self.payload_type,
        );
        if self.kbit_per_second > 0 {
            media.add_bandwidth(Bandwidth::new(
                BandwidthType::As,
                self.kbit_per_second.into(),
            ));
        }
        let payload_type = self.payload_type;
        media.add_attribute_with_value("rtpmap", format!("{payload_type} H264/90000"));
        // Profile, constraints and level are the three octets after the NAL header (RFC 6184 §8.1).
        let profile: String = self
            .sps
            .iter()
            .skip(1)
            .take(3)
            .map(|octet| format!("{octet:02X}"))
            .collect();
        media.add_attribute_with_value(
            "fmtp",
            format!(
                "{payload_type} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={},{}",
                STANDARD.encode(&self.sps),
                STANDARD.encode(&self.pps)
            ),
        );
        if let (numerator @ 1.., denominator @ 1..) = self.frame_rate {
            media.add_attribute_with_value("framerate", frame_rate_text(numerator, denominator));
        }
        media.add_attribute_with_value("control", &self.control);
        media
    }

    fn read(media: &Media) -> Option<Stream> {
        if !media.media.eq_ignore_ascii_case("video") {
            return None;
        }
        let payload_type: u8 = media.fmt.split(' ').next()?.parse().ok()?;
        let mapped = media.get_attribute_values("rtpmap").flatten().any(|value| {
            value.split_once(' ').is_some_and(|(number, codec)| {
                number.parse() == Ok(payload_type)
                    && codec.trim().to_ascii_uppercase().starts_with("H264/90000")
            })
        });
        if !mapped {
            return None;
        }
        let control = media
            .get_first_attribute_value("control")
            .flatten()?
            .to_owned();
        let format = media
            .get_first_attribute_value("fmtp")
            .flatten()
            .unwrap_or_default();
        let (sps, pps) = parameter_sets(format).unwrap_or_default();
        let rate = media
            .get_first_attribute_value("framerate")
            .flatten()
            .unwrap_or_default();
        let kbit_per_second = media
            .bandwidths
            .iter()
            .find(|b| b.bwtype.eq_ignore_ascii_case("AS"))
            .map_or(0, |b| u32::try_from(b.bandwidth).unwrap_or(u32::MAX));
        Some(Stream {
            control,
            payload_type,
            sps,
            pps,
            frame_rate: parse_frame_rate(rate),
            kbit_per_second,
        })
    }
}

/// First SPS and first PPS of `sprop-parameter-sets`.
fn parameter_sets(format: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, parameters) = format.split_once(' ')?;
    let sets = parameters
        .split(';')
        .find_map(|p| p.trim().strip_prefix("sprop-parameter-sets="))?;
    let mut sets = sets.split(',').map(|set| STANDARD.decode(set.trim()));
    Some((sets.next()?.ok()?, sets.next()?.ok()?))
}

/// `15` or a decimal with three places.
fn frame_rate_text(numerator: u32, denominator: u32) -> String {
    if numerator.is_multiple_of(denominator) {
        return (numerator / denominator).to_string();
    }
    format!("{:.3}", f64::from(numerator) / f64::from(denominator))
}

/// Thousandths for decimals; NTSC rates are recognised as what they are.
fn parse_frame_rate(text: &str) -> (u32, u32) {
    let Ok(rate) = text.trim().parse::<f64>() else {
        return (0, 1);
    };
    if !(0.001..=1000.0).contains(&rate) {
        return (0, 1);
    }
    if rate.fract() == 0.0 {
        return (rate as u32, 1);
    }
    let ntsc = (rate * 1.001).round();
    if (rate * 1.001 - ntsc).abs() < 0.001 {
        return (ntsc as u32 * 1000, 1001);
    }
    ((rate * 1000.0).round() as u32, 1000)
}

/// `c=` of a unicast RTSP description: the client learns the address from its connection (RFC 2326 §C.1.7).
fn unspecified(edge: IpAddr) -> IpAddr {
    match edge {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn description(lines: u8) -> Description {
        let stream = |number: u8| Stream {
            control: format!("d{number}"),
            payload_type: PAYLOAD_TYPE_FIRST + number,
            sps: vec![0x67, 0x42, 0xc0, 0x1e, 0xd9, number],
            pps: vec![0x68, 0xce, 0x3c, 0x80],
            frame_rate: (15, 1),
            kbit_per_second: 300,
        };
        Description {
            title: "harbour".into(),
            duration: Some(Npt(900_000)),
            streams: (0..lines).map(stream).collect(),
        }
    }

    fn text(lines: u8) -> String {
        let bytes = description(lines).write("192.0.2.1".parse().unwrap(), 7);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_line_is_a_plain_video() {
        let text = text(1);
        assert_eq!(text.matches("m=video 0 RTP/AVP 96\r\n").count(), 1);
        assert!(!text.contains("a=group") && !text.contains("a=mid") && !text.contains("depend"));
        assert!(text.contains("profile-level-id=42C01E;"), "{text}");
        assert!(
            text.contains("a=range:npt=0.000000-10.000000\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_pair_is_grouped_as_descriptions_of_one_video() {
        let text = text(2);
        assert!(text.contains("a=group:DDP d0 d1\r\n"), "{text}");
        assert!(text.contains("a=mid:d0\r\n") && text.contains("a=mid:d1\r\n"));
        assert!(text.contains("a=depend:97 mdc d0:96\r\n"), "{text}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for lines in 1..=3 {
            let written = description(lines);
            let bytes = written.write("2001:db8::1".parse().unwrap(), 1);
            assert_eq!(Description::parse(&bytes), Some(written));
        }
    }

    #[test]
    fn frame_rates_survive_their_text() {
        for rate in [
            (15, 1),
            (30, 1),
            (30_000, 1001),
            (12_500, 1000),
            (24_000, 1001),
        ] {
            assert_eq!(parse_frame_rate(&frame_rate_text(rate.0, rate.1)), rate);
        }
        assert_eq!(parse_frame_rate("inf"), (0, 1));
        assert_eq!(parse_frame_rate("-3"), (0, 1));
    }

    proptest! {
        #[test]
        fn survives_mutations(
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = text(2).into_bytes();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = Description::parse(&bytes);
        }
    }
}
