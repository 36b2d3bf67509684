//! RTSP conversations, session descriptions, and files of video.

use std::net::Ipv4Addr;

use rtsp::codec::{encode_request, encode_response};
use rtsp::sdp::Description;
use rtsp::{Codec, Event};

/// Split anywhere, the same bytes are the same messages; and what was read can be written.
pub fn rtsp_messages(bytes: &[u8]) {
    let Some((split, bytes)) = bytes.split_first() else {
        return;
    };
    let (front, back) = bytes.split_at(usize::from(*split).min(bytes.len()));
    let (whole, in_two) = (events(&[bytes]), events(&[front, back]));
    assert_eq!(whole, in_two);
    for event in whole {
        let octets = match &event {
            Event::Request(request) => encode_request(request),
            Event::Response(response) => encode_response(response),
            Event::Interleaved { .. } => continue,
        };
        assert!(!octets.is_empty());
    }
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let (mut codec, mut events) = (Codec::new(), Vec::new());
    for piece in pieces {
        codec.push(piece);
        while let Ok(Some(event)) = codec.next_event() {
            events.push(event);
        }
    }
    events
}

/// Conversations, where they are split in front.
pub fn conversations() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 3] = [
        b"\x10OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nDESCRIBE rtsp://a/b RTSP/2.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n",
        b"\x20RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 12345678;timeout=60\r\nContent-Length: 4\r\n\r\nbody$\x01\0\x03abc",
        b"\x30SETUP rtsp://a/b/d0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nRange: npt=1.5-\r\n\r\n",
    ];
    texts.map(<[u8]>::to_vec).into()
}

/// A description that is read can be written and read again.
pub fn sdp(bytes: &[u8]) {
    if let Some(description) = Description::parse(bytes) {
        let written = description.write(Ipv4Addr::LOCALHOST.into(), 1);
        assert!(
            Description::parse(&written).is_some(),
            "{}",
            String::from_utf8_lossy(&written)
        );
    }
}

/// Descriptions.
pub fn descriptions() -> Vec<Vec<u8>> {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=title\r\nt=0 0\r\na=range:npt=0-12.5\r\na=group:MDC d0 d1\r\n\
                m=video 0 RTP/AVP 96\r\nb=AS:500\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
                sprop-parameter-sets=Z0IAHpWoKA9k,aM48gA==\r\na=framerate:25\r\na=control:d0\r\na=mid:d0\r\n";
    vec![text.into()]
}

/// A file is read or refused.
pub fn mp4(bytes: &[u8]) {
    let _ = mdc::mp4::read(bytes);
}

/// Files, small.
pub fn files() -> Vec<Vec<u8>> {
    let of = |kind: &[u8; 4], content: &[u8]| {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    };
    let table = |kind: &[u8; 4], entries: &[u32]| {
        let numbers: Vec<u8> = entries
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        of(kind, &numbers)
    };
    let parameters = of(
        b"avcC",
        b"\x01\x42\0\x1e\xff\xe1\0\x04\x67\x42\0\x1e\x01\0\x04\x68\xce\x3c\x80",
    );
    let entry = of(b"avc1", &[&[0; 78][..], &parameters].concat());
    let samples = [
        of(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat()),
        table(b"stts", &[0, 1, 2, 512]),
        table(b"stsc", &[0, 1, 1, 2, 1]),
        table(b"stsz", &[0, 0, 2, 4, 4]),
        table(b"stco", &[0, 1, 40]),
    ];
    let minf = of(b"minf", &of(b"stbl", &samples.concat()));
    let mdhd = table(b"mdhd", &[0, 0, 0, 12_800, 25_600, 0x55c4_0000]);
    let hdlr = of(b"hdlr", b"\0\0\0\0\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let trak = of(b"trak", &of(b"mdia", &[mdhd, hdlr, minf].concat()));
    let mut movie = [0; 25];
    (movie[3], movie[4], movie[24]) = (1000, 2000, 2);
    let moov = of(b"moov", &[table(b"mvhd", &movie), trak].concat());
    let whole = [of(b"ftyp", b"isom\0\0\0\0"), moov, of(b"mdat", &[0; 16])];
    vec![whole.concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_good_ones() {
        for file in files() {
            let tracks = mdc::mp4::read(&file).expect("a file");
            assert_eq!(tracks.len(), 1);
        }
        for text in descriptions() {
            assert!(Description::parse(&text).is_some());
        }
        let count = |conversation: &Vec<u8>| events(&[&conversation[1..]]).len();
        assert_eq!(
            conversations().iter().map(count).collect::<Vec<_>>(),
            [2, 2, 1]
        );
    }
}
