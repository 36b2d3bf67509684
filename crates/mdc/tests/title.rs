//! The whole way without a network card: pictures → title → packets → merger → decoders → stamps.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use mdc::codec::{Decoder, Rate};
use mdc::interpolate;
use mdc::merge::{Event, Merger};
use mdc::mp4::{self, AudioTrack};
use mdc::pattern;
use mdc::picture::{Yuv420, psnr_y};
use mdc::rtp::{Clock, Continuity, Depacketizer, packetize};
use mdc::split::{Settings, Title, encode_title};
use mdc::stamp;
use mdc::title::{Description, Manifest, Timing};

const FPS: u32 = 30;

fn make(
    frames: u32,
    (width, height): (usize, usize),
    settings: impl FnOnce(&mut Settings),
) -> Title {
    let pictures =
        (0..frames).map(|k| Ok::<_, std::convert::Infallible>(pattern::picture(k, width, height)));
    let mut wanted = Settings::new("pattern", width, height, (FPS, 1)).unwrap();
    settings(&mut wanted);
    encode_title(pictures, wanted, None).unwrap()
}

fn describe(manifest: &Manifest, d: u8, file: &[u8]) -> Description {
    Description::read(file, &manifest.timing().unwrap(), d, manifest.payload_limit).unwrap()
}

fn descriptions(title: &Title) -> Vec<Description> {
    (0u8..)
        .zip(&title.files)
        .map(|(d, file)| describe(&title.manifest, d, file))
        .collect()
}

/// Decodes one description alone: frame number and picture of each of its frames.
fn decode(description: &Description, file: &[u8]) -> Vec<(u32, Yuv420)> {
    let mut decoder = Decoder::new().unwrap();
    let decode_one = |frame: &mdc::title::Frame| {
        let bytes = description.frame_bytes(frame, file).unwrap();
        let mut annex_b = Vec::new();
        description
            .nals(frame, bytes)
            .for_each(|unit| mdc::nal::push_annex_b(&mut annex_b, unit));
        (
            frame.number,
            decoder
                .decode(&annex_b)
                .unwrap()
                .expect("a picture per frame"),
        )
    };
    description.frames.iter().map(decode_one).collect()
}

#[test]
fn stamps_survive_low_bit_rates_in_every_frame_of_every_description() {
    for (size, bits) in [
        ((320, 180), 300_000),
        ((640, 360), 300_000),
        ((320, 180), 120_000),
    ] {
        let title = make(90, size, |s| s.rate = Rate::Bitrate(bits));
        for (description, file) in descriptions(&title).iter().zip(&title.files) {
            for (number, picture) in decode(description, file) {
                assert_eq!(
                    stamp::read(&picture),
                    Some(number),
                    "{size:?} at {bits} bit/s"
                );
                let original = pattern::picture(number, size.0, size.1);
                let psnr = psnr_y(&original, &picture).unwrap();
                assert!(
                    psnr > 25.0,
                    "{size:?} at {bits} bit/s, frame {number}: {psnr:.1} dB"
                );
            }
        }
        let total: u32 = title.manifest.descriptions.iter().map(|d| d.bitrate).sum();
        assert!(total < bits * 3 / 2, "asked for {bits} bit/s, got {total}");
    }
}

#[test]
fn idrs_are_staggered_by_half_a_gop_and_each_description_begins_with_one() {
    let title = make(200, (64, 48), |s| s.rate = Rate::Quantizer(40));
    let idrs = |d: &Description| {
        d.frames
            .iter()
            .filter(|f| f.idr)
            .map(|f| f.number)
            .collect::<Vec<_>>()
    };
    let [d0, d1] = &descriptions(&title)[..] else {
        panic!("two descriptions")
    };
    assert_eq!(idrs(d0), [0, 60, 120, 180]);
    assert_eq!(idrs(d1), [1, 31, 91, 151]);
    assert_eq!(
        (d0.frames[1].rtp_time, d1.frames[0].rtp_time),
        (6_000, 3_000)
    );
}

#[test]
fn times_and_places_can_be_looked_up() {
    let title = make(130, (64, 48), |s| s.rate = Rate::Quantizer(40));
    let d1 = &descriptions(&title)[1];
    let number = |position: usize| d1.frames[position].number;
    assert_eq!(number(d1.idr_before(90_000)), 1);
    assert_eq!(number(d1.idr_before(93_000)), 31);
    assert_eq!(d1.idr_after(0).map(number), Some(1));
    assert_eq!(d1.idr_after(3_001).map(number), Some(31));
    assert_eq!(d1.idr_after(92 * 3_000), None);
    assert_eq!(d1.position_at(u64::MAX), d1.frames.len());
}

#[test]
fn a_repeated_title_goes_on_without_a_seam() {
    let title = make(9, (64, 48), |s| s.rate = Rate::Quantizer(40)); // odd: D0 has 5 frames, D1 has 4
    for description in descriptions(&title) {
        let frames: Vec<_> = (0..20)
            .map(|i| description.repeated(i, title.manifest.frames).unwrap())
            .collect();
        for (a, b) in frames.iter().zip(&frames[1..]) {
            assert_eq!(b.first_packet, a.first_packet + u64::from(a.packets));
            assert!(b.number > a.number && b.rtp_time > a.rtp_time);
            assert_eq!(
                description.timing.description_of(b.number),
                description.index
            );
        }
        assert_eq!(
            frames[description.frames.len()].number,
            10 + u32::from(description.index)
        );
        assert!(frames[description.frames.len()].idr);
    }
}

#[test]
fn the_merged_stream_shows_every_frame_once_in_order_and_hides_a_damaged_chain() {
    let title = make(120, (320, 180), |s| s.rate = Rate::Bitrate(400_000));
    let timing = title.manifest.timing().unwrap();
    let mut merger = Merger::new(timing.clone(), 0);
    for (d, (description, file)) in (0u8..).zip(descriptions(&title).iter().zip(&title.files)) {
        let continuity = Continuity::new(&[9; 32], "pattern", d);
        let (rtptime, sequence) = (continuity.time_base, Some(continuity.seq_base));
        let mut depacketizer = Depacketizer::new(Some(Clock {
            rtptime,
            rtp_time: 0,
            sequence,
        }));
        let mut sent = 0;
        for frame in &description.frames {
            let nals = description.nals(frame, description.frame_bytes(frame, file).unwrap());
            for packet in packetize(nals, frame, &continuity, 96, description.payload_limit) {
                sent += 1;
                // D0 loses one packet of frame 40; its next IDR is frame 60.
                if d == 0 && frame.number == 40 && sent == frame.first_packet + 1 {
                    continue;
                }
                depacketizer
                    .push(&[packet.header(), packet.payload].concat(), 0)
                    .unwrap();
            }
            assert_eq!(
                sent,
                frame.first_packet + u64::from(frame.packets),
                "packet counts of the index"
            );
        }
        assert_eq!(sent, description.packets());
        depacketizer.finish();
        std::iter::from_fn(|| depacketizer.pop()).for_each(|unit| {
            merger.push(d, unit);
        });
    }
    let mut decoders = [Decoder::new().unwrap(), Decoder::new().unwrap()];
    let mut next = 0;
    while let Some(event) = merger.play(Some(119)) {
        match event {
            Event::Show {
                number,
                description,
                unit,
            } => {
                assert_eq!(number, next);
                let picture = decoders[usize::from(description)]
                    .decode(&unit.data)
                    .unwrap()
                    .unwrap();
                assert_eq!(stamp::read(&picture), Some(number));
            }
            Event::Missing {
                number,
                description,
            } => {
                assert_eq!((number, description), (next, 0));
                assert!((40..60).contains(&number));
            }
            Event::Late { .. } => panic!("nothing is late here"),
        }
        next += 1;
    }
    assert_eq!(next, 120);
    assert_eq!((merger.counts().shown, merger.counts().missing), (110, 10));
}

#[test]
fn one_description_alone_interpolated_is_better_than_held() {
    let title = make(60, (320, 180), |s| s.rate = Rate::Bitrate(600_000));
    let description = &descriptions(&title)[0];
    let shown = decode(description, &title.files[0]);
    // The band between digits and stamp: numbers change at once, nothing moves there.
    let band = |picture: &Yuv420| {
        let rows = picture.y[48 * 320..128 * 320].to_vec();
        Yuv420::from_planes(320, 80, rows, vec![0; 6_400], vec![0; 6_400]).unwrap()
    };
    let psnr = |a: &Yuv420, b: &Yuv420| psnr_y(&band(a), &band(b)).unwrap() / 29.0;
    let (mut held, mut moved) = (0.0, 0.0);
    for pair in shown.windows(2) {
        let missing = pattern::picture(pair[0].0 + 1, 320, 180);
        held += psnr(&pair[0].1, &missing);
        moved += psnr(&interpolate::between(&pair[0].1, &pair[1].1), &missing);
    }
    println!("interpolated {moved:.1} dB, held {held:.1} dB");
    assert!(
        moved > held + 4.0,
        "interpolated {moved:.1} dB, held {held:.1} dB"
    );
}

#[test]
fn unbalanced_and_threefold_titles_work_like_any_other() {
    for cadence in [vec![0, 0, 1], vec![0, 1, 2]] {
        let timing = Timing::new((FPS, 1), cadence).unwrap();
        let title = make(36, (128, 96), |s| {
            s.timing = timing.clone();
            s.rate = Rate::Quantizer(30);
        });
        let mut numbers: Vec<u32> = Vec::new();
        for (description, file) in descriptions(&title).iter().zip(&title.files) {
            for (number, picture) in decode(description, file) {
                assert_eq!(stamp::read(&picture), Some(number));
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..36).collect::<Vec<_>>());
    }
}

#[test]
fn sound_is_carried_whole_in_every_description() {
    let units: Vec<Vec<u8>> = (0..90u8).map(|k| vec![k; 20 + usize::from(k)]).collect();
    let audio = AudioTrack {
        config: vec![0x12, 0x10],
        rate: 44_100,
        channels: 2,
        priming: 1_024,
        units,
    };
    let pictures = (0..60).map(|k| Ok::<_, std::convert::Infallible>(pattern::picture(k, 64, 48)));
    let settings = Settings::new("pattern", 64, 48, (FPS, 1)).unwrap();
    let title = encode_title(pictures, settings, Some(&audio)).unwrap();
    for (description, file) in descriptions(&title).iter().zip(&title.files) {
        let read = description.audio.as_ref().unwrap();
        assert_eq!(
            (read.config.as_slice(), read.rate, read.channels),
            (&[0x12, 0x10][..], 44_100, 2)
        );
        assert_eq!((read.samples[0].time, read.samples[1].time), (-1_024, 0));
        let bytes =
            |s: &mdc::title::AudioSample| file[s.offset as usize..][..s.size as usize].to_vec();
        assert_eq!(
            read.samples.iter().map(bytes).collect::<Vec<_>>(),
            audio.units
        );
        decode(description, file);
    }
}

#[test]
fn the_same_pictures_give_the_same_files() {
    let title = || make(40, (160, 96), |_| {});
    assert_eq!(title(), title());
}

/// A small generator with a fixed seed (xorshift64*): the same mutations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

#[test]
fn mutated_files_are_errors_or_readable_and_never_a_panic() {
    let title = make(20, (64, 48), |s| s.rate = Rate::Quantizer(40));
    let (file, timing) = (&title.files[1], title.manifest.timing().unwrap());
    let head = file.windows(4).position(|w| w == b"mdat").unwrap() + 16;
    let mut random = Random(0x5eed);
    let mut readable = 0;
    for _ in 0..20_000 {
        let mut mutant = file.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(head);
            match random.below(4) {
                0 => mutant[at] = random.below(256) as u8,
                1 => mutant[at] ^= 1 << random.below(8),
                2 => mutant[at..head.min(at + 4)].fill([0, 0xff, 0x7f, 0x80][random.below(4)]),
                _ => {
                    let from = random.below(head);
                    let length = random.below(64).min(head - at).min(head - from);
                    mutant.copy_within(from..from + length, at);
                }
            }
        }
        if random.below(8) == 0 {
            mutant.truncate(random.below(mutant.len()));
        }
        if let Ok(read) = Description::read(&mutant, &timing, 1, 1_200) {
            readable += 1;
            for frame in &read.frames {
                let bytes = read
                    .frame_bytes(frame, &mutant)
                    .expect("a frame read is inside the file");
                assert!(read.nals(frame, bytes).count() > 0);
            }
        }
    }
    assert!(
        (1..20_000).contains(&readable),
        "{readable} of 20000 mutants were readable"
    );
}

#[test]
fn deeply_nested_boxes_do_not_exhaust_the_stack() {
    for kind in [
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"edts", b"avc1",
    ] {
        let mut file = Vec::new();
        for depth in (1..200_000u32).rev() {
            file.extend_from_slice(&(depth * 8).to_be_bytes());
            file.extend_from_slice(kind);
        }
        assert!(mp4::read(&file).is_err());
        let mut inside = ((file.len() + 8) as u32).to_be_bytes().to_vec();
        inside.extend_from_slice(b"moov");
        inside.extend_from_slice(&file);
        assert!(mp4::read(&inside).is_err());
    }
}

#[test]
fn a_file_of_another_description_is_refused() {
    let title = make(20, (64, 48), |s| s.rate = Rate::Quantizer(40));
    let timing = title.manifest.timing().unwrap();
    let error = Description::read(&title.files[0], &timing, 1, 1_200).unwrap_err();
    assert!(error.to_string().contains("another description"), "{error}");
    assert!(Description::read(b"", &timing, 0, 1_200).is_err());
}
