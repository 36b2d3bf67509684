//! `RTP-Info`: where each stream's numbering starts after PLAY (RFC 2326 §12.33).

/// One stream's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpInfo {
    /// The stream's control URL.
    pub url: String,
    /// Sequence number of its first packet.
    pub seq: Option<u16>,
    /// RTP timestamp of the range's first moment.
    pub rtptime: Option<u32>,
}

/// The header's value for several streams.
pub fn to_header(entries: &[RtpInfo]) -> String {
    let one = |entry: &RtpInfo| {
        let mut text = format!("url={}", entry.url);
        if let Some(seq) = entry.seq {
            text.push_str(&format!(";seq={seq}"));
        }
        if let Some(rtptime) = entry.rtptime {
            text.push_str(&format!(";rtptime={rtptime}"));
        }
        text
    };
    entries.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Reads the header's value; `None` if an entry has no URL or a number is none. URLs must not hold `,` or `;`.
pub fn parse(value: &str) -> Option<Vec<RtpInfo>> {
    value
        .split(',')
        .map(|entry| parse_entry(entry.trim()))
        .collect()
}

fn parse_entry(entry: &str) -> Option<RtpInfo> {
    let mut parts = entry.split(';').map(str::trim);
    let url = parts
        .next()?
        .strip_prefix("url=")?
        .trim_matches('"')
        .to_owned();
    let mut info = RtpInfo {
        url,
        seq: None,
        rtptime: None,
    };
    for part in parts {
        if let Some(text) = part.strip_prefix("seq=") {
            info.seq = Some(text.parse().ok()?);
        } else if let Some(text) = part.strip_prefix("rtptime=") {
            info.rtptime = Some(text.parse().ok()?);
        }
    }
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        let entries = vec![
            RtpInfo {
                url: "rtsp://e/t/d0".into(),
                seq: Some(65_535),
                rtptime: Some(u32::MAX),
            },
            RtpInfo {
                url: "rtsp://e/t/d1".into(),
                seq: None,
                rtptime: None,
            },
        ];
        assert_eq!(parse(&to_header(&entries)), Some(entries));
    }

    #[test]
    fn refuses_numbers_out_of_range() {
        assert_eq!(parse("url=x;seq=65536"), None);
        assert_eq!(parse("seq=1"), None);
    }
}
