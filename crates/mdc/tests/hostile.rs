//! Bytes from strangers: every parser answers with a value or an error.

use mdc::title::Manifest;
use mdc::{mp4, nal, y4m};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Bytes that often look like the beginning of what the parser wants.
fn bytes(beginnings: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::collection::vec(
        prop_oneof![any::<u8>(), Just(0), Just(1), Just(0xff)],
        0..300,
    );
    (prop::sample::select(beginnings), tail).prop_map(|(head, tail)| [head, &tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mp4(file in bytes(&[b"", b"\0\0\0\0moov", b"\0\0\0\x08ftyp\0\0\0\0moov\0\0\0\0trak", b"\0\0\0\x01mdat"])) {
        let _ = mp4::read(&file);
    }

    #[test]
    fn adts(stream in bytes(&[b"", b"\xff\xf1", b"\xff\xf1\x50\x80\x01\x3f\xfc", b"\xff\xf0\x4c\x80\x02\x1f\xfc"])) {
        if let Ok(track) = mp4::adts::read(&stream) {
            let octets: usize = track.units.iter().map(|u| u.len() + 7).sum();
            prop_assert!(octets <= stream.len());
        }
    }

    #[test]
    fn y4m(stream in bytes(&[b"", b"YUV4MPEG2 ", b"YUV4MPEG2 W2 H2 F1:1\n", b"YUV4MPEG2 W2 H2 F1:1\nFRAME\n"])) {
        if let Ok(reader) = y4m::Reader::new(stream.as_slice()) {
            prop_assert!(reader.take_while(Result::is_ok).count() < 100);
        }
    }

    #[test]
    fn nal_units(stream in bytes(&[b"", b"\0\0\x01", b"\0\0\0\x01\x67\0\0\x01"]), length_size in 0u8..6) {
        let found: usize = nal::split_annex_b(&stream).map(<[u8]>::len).sum();
        prop_assert!(found <= stream.len());
        let found: usize = nal::Avcc::new(&stream, length_size).map(<[u8]>::len).sum();
        prop_assert!(found <= stream.len());
    }

    #[test]
    fn manifests(text in "(name|width|fps|cadence|frames|\\[\\[description\\]\\]|=|\\[|\\]|\"|[0-9]{1,12}|\n| ){0,60}") {
        let _ = Manifest::parse(&text);
    }
}
