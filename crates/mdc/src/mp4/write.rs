//! Writes a description as an ordinary MP4: `ftyp`, `moov` in front, `mdat` with chunks of a second.
//!
//! Video runs at 90 kHz. A description that does not begin at time 0 gets an empty edit in front
//! (ISO 14496-12 §8.6.6), so its frames keep the title's own timestamps in every player.

use std::io::{self, Read, Write};
use std::ops::Range;

use mp4_atom::{
    Audio, Avc1, Avcc, Co64, Codec, Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, Encode, Esds,
    FixedPoint, Ftyp, Hdlr, Matrix, Mdhd, Mdia, Minf, Moov, Mp4a, Mvhd, Smhd, Stbl, Stco, Stsc,
    StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Tkhd, Trak, Url, Visual, Vmhd, esds,
};
use thiserror::Error;

/// Ticks per second of the movie and its video track.
const TIMESCALE: u32 = 90_000;

/// Samples of one AAC access unit (ISO 14496-3, AAC-LC with 1024-sample frames).
const AAC_FRAME: u32 = 1_024;

/// The video of a description.
#[derive(Debug, Clone, Default)]
pub struct VideoTrack {
    /// Picture width in pixels.
    pub width: u16,
    /// Picture height in pixels.
    pub height: u16,
    /// Sequence parameter set, a NAL unit of at least 4 octets.
    pub sps: Vec<u8>,
    /// Picture parameter set, a NAL unit.
    pub pps: Vec<u8>,
    /// Frames in order: 90 kHz time from the title's start, whether it is an IDR, octets.
    pub frames: Vec<(u64, bool, u32)>,
    /// 90 kHz time at which the last frame ends.
    pub end: u64,
}

/// The sound of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioTrack {
    /// AudioSpecificConfig.
    pub config: Vec<u8>,
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// Samples at the start that are the encoder's run-in, not sound.
    pub priming: u32,
    /// Access units of 1024 samples each.
    pub units: Vec<Vec<u8>>,
}

/// Why a file cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A parameter set is not one, or a table does not fit its box.
    #[error("MP4: {0}")]
    Boxes(#[from] mp4_atom::Error),
    /// Reading the frames or writing the file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes the MP4 file to `out`. `data` gives all video frames one after the other, each as
/// length-prefixed NAL units (4-octet lengths); it is read once, from start to end.
pub fn write(
    video: &VideoTrack,
    data: &mut impl Read,
    audio: Option<&AudioTrack>,
    out: &mut impl Write,
) -> Result<(), WriteError> {
    let chunks = chunks(video, audio);
    let payload: u64 = chunks.iter().map(|c| c.size).sum();
    let wide = payload > u64::from(u32::MAX) / 2;
    // The table of offsets has the same size whatever the offsets are: encode once to learn it.
    let head = encode_head(video, audio, &chunks, 0, wide)?;
    let head = encode_head(video, audio, &chunks, head.len() as u64 + MDAT_HEADER, wide)?;
    out.write_all(&head)?;
    out.write_all(&[0, 0, 0, 1])?;
    out.write_all(b"mdat")?;
    out.write_all(&(payload + MDAT_HEADER).to_be_bytes())?;
    for chunk in &chunks {
        match &chunk.source {
            Source::Video => {
                if io::copy(&mut data.by_ref().take(chunk.size), out)? != chunk.size {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            Source::Audio { units } => {
                let units = audio.map(|a| &a.units[units.clone()]).unwrap_or_default();
                units.iter().try_for_each(|unit| out.write_all(unit))?;
            }
        }
    }
    Ok(())
}

/// `mdat` with a 64-bit size, so that the header's size does not depend on the payload's.
const MDAT_HEADER: u64 = 16;

struct Chunk {
    source: Source,
    samples: u32,
    size: u64,
    /// Whole seconds into the title; video goes before audio within one.
    second: u64,
}

enum Source {
    Video,
    Audio { units: Range<usize> },
}

/// Chunks of up to a second of both tracks, interleaved by time.
fn chunks(video: &VideoTrack, audio: Option<&AudioTrack>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (time, _, size) in &video.frames {
        let (second, size) = (time / u64::from(TIMESCALE), u64::from(*size));
        match chunks.last_mut().filter(|chunk| chunk.second == second) {
            Some(chunk) => {
                chunk.samples += 1;
                chunk.size += size;
            }
            None => chunks.push(Chunk {
                source: Source::Video,
                samples: 1,
                size,
                second,
            }),
        }
    }
    if let Some(audio) = audio {
        let per_chunk = (audio.rate / AAC_FRAME).max(1) as usize;
        for (index, units) in audio.units.chunks(per_chunk).enumerate() {
            let size = units.iter().map(|u| u.len() as u64).sum();
            let start = index * per_chunk;
            let source = Source::Audio {
                units: start..start + units.len(),
            };
            chunks.push(Chunk {
                source,
                samples: units.len() as u32,
                size,
                second: index as u64,
            });
        }
    }
    chunks.sort_by_key(|c| c.second); // stable: video first, audio after it
    chunks
}

fn encode_head(
    video: &VideoTrack,
    audio: Option<&AudioTrack>,
    chunks: &[Chunk],
    data_start: u64,
    wide: bool,
) -> Result<Vec<u8>, mp4_atom::Error> {
    let (mut video_chunks, mut audio_chunks) = (Vec::new(), Vec::new());
    let mut offset = data_start;
    for chunk in chunks {
        let list = match chunk.source {
            Source::Video => &mut video_chunks,
            Source::Audio { .. } => &mut audio_chunks,
        };
        list.push((offset, chunk.samples));
        offset += chunk.size;
    }
    let mut traks = vec![video_trak(video, &video_chunks, wide)?];
    traks.extend(audio.map(|audio| audio_trak(audio, &audio_chunks, wide)));
    let moov = Moov {
        mvhd: Mvhd {
            timescale: TIMESCALE,
            duration: traks.iter().map(|t| t.tkhd.duration).max().unwrap_or(0),
            rate: 1.into(),
            volume: 1.into(),
            matrix: unity(),
            next_track_id: traks.len() as u32 + 1,
            ..Mvhd::default()
        },
        trak: traks,
        ..Moov::default()
    };
    let ftyp = Ftyp {
        major_brand: b"isom".into(),
        minor_version: 512,
        compatible_brands: vec![b"isom".into(), b"avc1".into(), b"mp41".into()],
    };
    let mut head = Vec::new();
    ftyp.encode(&mut head)?;
    moov.encode(&mut head)?;
    Ok(head)
}

fn video_trak(
    video: &VideoTrack,
    chunks: &[(u64, u32)],
    wide: bool,
) -> Result<Trak, mp4_atom::Error> {
    let start = video.frames.first().map_or(0, |f| f.0);
    let media = video.end.saturating_sub(start);
    let empty = ElstEntry {
        segment_duration: start,
        media_time: None,
        media_rate: 1.into(),
    };
    let whole = ElstEntry {
        segment_duration: media,
        media_time: Some(0),
        media_rate: 1.into(),
    };
    let entries = if start == 0 {
        vec![whole]
    } else {
        vec![empty, whole]
    };
    let ends = video.frames.iter().skip(1).map(|f| f.0).chain([video.end]);
    let deltas = video
        .frames
        .iter()
        .zip(ends)
        .map(|(frame, end)| end.saturating_sub(frame.0) as u32);
    let idrs = video
        .frames
        .iter()
        .zip(1u32..)
        .filter(|(f, _)| f.1)
        .map(|(_, n)| n)
        .collect();
    let avc1 = Avc1 {
        visual: Visual {
            data_reference_index: 1,
            width: video.width,
            height: video.height,
            horizresolution: 72.into(),
            vertresolution: 72.into(),
            frame_count: 1,
            compressor: "".into(),
            depth: 24,
        },
        avcc: Avcc::new(&video.sps, &video.pps)?,
        ..Avc1::default()
    };
    let stbl = Stbl {
        stsd: Stsd {
            codecs: vec![Codec::from(avc1)],
        },
        stts: runs(deltas),
        stss: Some(Stss { entries: idrs }),
        stsz: Stsz {
            samples: StszSamples::Different {
                sizes: video.frames.iter().map(|f| f.2).collect(),
            },
        },
        ..chunk_tables(chunks, wide)
    };
    Ok(Trak {
        tkhd: Tkhd {
            width: video.width.into(),
            height: video.height.into(),
            ..tkhd(1, video.end)
        },
        edts: Some(Edts {
            elst: Some(Elst { entries }),
        }),
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: TIMESCALE,
                duration: media,
                language: "und".into(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: b"vide".into(),
                name: "VideoHandler".into(),
            },
            minf: Minf {
                vmhd: Some(Vmhd::default()),
                dinf: same_file(),
                stbl,
                ..Minf::default()
            },
        },
        ..Trak::default()
    })
}

fn audio_trak(audio: &AudioTrack, chunks: &[(u64, u32)], wide: bool) -> Trak {
    let samples = audio.units.len() as u64 * u64::from(AAC_FRAME);
    let heard = samples.saturating_sub(u64::from(audio.priming));
    let duration = heard * u64::from(TIMESCALE) / u64::from(audio.rate.max(1));
    let edit = ElstEntry {
        segment_duration: duration,
        media_time: Some(u64::from(audio.priming)),
        media_rate: 1.into(),
    };
    let octets: u64 = audio.units.iter().map(|u| u.len() as u64).sum();
    let average = octets * 8 * u64::from(audio.rate) / samples.max(1);
    let mp4a = Mp4a {
        audio: Audio {
            data_reference_index: 1,
            channel_count: audio.channels,
            sample_size: 16,
            sample_rate: FixedPoint::new(u16::try_from(audio.rate).unwrap_or(0), 0),
        },
        esds: esds_of(&audio.config, u32::try_from(average).unwrap_or(u32::MAX)),
        btrt: None,
        taic: None,
    };
    let stbl = Stbl {
        stsd: Stsd {
            codecs: vec![Codec::from(mp4a)],
        },
        stts: runs(audio.units.iter().map(|_| AAC_FRAME)),
        stsz: Stsz {
            samples: StszSamples::Different {
                sizes: audio.units.iter().map(|u| u.len() as u32).collect(),
            },
        },
        ..chunk_tables(chunks, wide)
    };
    Trak {
        tkhd: Tkhd {
            volume: 1.into(),
            alternate_group: 1,
            ..tkhd(2, duration)
        },
        edts: Some(Edts {
            elst: Some(Elst {
                entries: vec![edit],
            }),
        }),
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: audio.rate,
                duration: samples,
                language: "und".into(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: b"soun".into(),
                name: "SoundHandler".into(),
            },
            minf: Minf {
                smhd: Some(Smhd::default()),
                dinf: same_file(),
                stbl,
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

/// The elementary stream descriptor of AAC (ISO 14496-1 §7.2.6): object type 0x40, audio stream 5.
fn esds_of(config: &[u8], bitrate: u32) -> Esds {
    Esds {
        es_desc: esds::EsDescriptor {
            es_id: 2,
            dec_config: esds::DecoderConfig {
                object_type_indication: 0x40,
                stream_type: 5,
                max_bitrate: bitrate,
                avg_bitrate: bitrate,
                dec_specific: Some(esds::DecoderSpecific {
                    raw: config.to_vec(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        },
    }
}

fn tkhd(track_id: u32, duration: u64) -> Tkhd {
    Tkhd {
        track_id,
        duration,
        enabled: true,
        in_movie: true,
        matrix: unity(),
        ..Tkhd::default()
    }
}

fn unity() -> Matrix {
    Matrix {
        a: 0x0001_0000,
        d: 0x0001_0000,
        w: 0x4000_0000,
        ..Matrix::default()
    }
}

fn same_file() -> Dinf {
    Dinf {
        dref: Dref {
            entries: vec![DrefEntry::Url(Url {
                location: String::new(),
            })],
        },
    }
}

fn chunk_tables(chunks: &[(u64, u32)], wide: bool) -> Stbl {
    let mut stsc: Vec<StscEntry> = Vec::new();
    for ((_, samples), first_chunk) in chunks.iter().zip(1..) {
        if stsc
            .last()
            .is_none_or(|run| run.samples_per_chunk != *samples)
        {
            stsc.push(StscEntry {
                first_chunk,
                samples_per_chunk: *samples,
                sample_description_index: 1,
            });
        }
    }
    let stco = Stco {
        entries: chunks.iter().map(|c| c.0 as u32).collect(),
    };
    let co64 = Co64 {
        entries: chunks.iter().map(|c| c.0).collect(),
    };
    Stbl {
        stsc: Stsc { entries: stsc },
        stco: (!wide).then_some(stco),
        co64: wide.then_some(co64),
        ..Stbl::default()
    }
}

fn runs(deltas: impl Iterator<Item = u32>) -> Stts {
    let mut entries: Vec<SttsEntry> = Vec::new();
    for sample_delta in deltas {
        match entries.last_mut() {
            Some(run) if run.sample_delta == sample_delta => run.sample_count += 1,
            _ => entries.push(SttsEntry {
                sample_count: 1,
                sample_delta,
            }),
        }
    }
    Stts { entries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::read;

    /// 400 frames of 10 octets at 25 per second, and 10 s of sound.
    fn tracks() -> (VideoTrack, AudioTrack) {
        let frames = (0..400u64)
            .map(|k| (3_600 * (2 * k + 1) / 2, k % 50 == 0, 10))
            .collect();
        let (sps, pps) = (vec![0x67, 66, 0, 30, 1], vec![0x68, 1]);
        let video = VideoTrack {
            width: 64,
            height: 48,
            sps,
            pps,
            frames,
            end: 1_441_800,
        };
        let units = (0..470).map(|k| vec![0xaa; 5 + k % 7]).collect();
        let audio = AudioTrack {
            config: vec![0x11, 0x90],
            rate: 48_000,
            channels: 2,
            priming: 0,
            units,
        };
        (video, audio)
    }

    #[test]
    fn both_tracks_are_interleaved_and_every_sample_is_found_again() {
        let (video, audio) = tracks();
        let data: Vec<u8> = (0..4_000u32).map(|i| (i / 10) as u8).collect();
        let mut file = Vec::new();
        write(&video, &mut data.as_slice(), Some(&audio), &mut file).unwrap();
        let read = read(&file).unwrap();
        assert_eq!(read[0].samples.len(), 400);
        for (k, sample) in read[0].samples.iter().enumerate() {
            assert_eq!(file[sample.offset as usize..][..10], [k as u8; 10]);
            assert_eq!(
                (sample.time as u64, sample.sync),
                (video.frames[k].0, k % 50 == 0)
            );
        }
        for (sample, unit) in read[1].samples.iter().zip(&audio.units) {
            assert_eq!(
                file[sample.offset as usize..][..sample.size as usize],
                unit[..]
            );
        }
        let second = |samples: &[crate::mp4::Sample], k: usize| samples[k].offset;
        assert!(
            second(&read[1].samples, 0) < second(&read[0].samples, 399),
            "sound is not at the end"
        );
    }

    #[test]
    fn wide_offsets_give_the_same_places() {
        let (video, audio) = tracks();
        let chunks = chunks(&video, Some(&audio));
        let places = |wide: bool| -> Vec<u64> {
            let mut file = encode_head(&video, Some(&audio), &chunks, 100_000, wide).unwrap();
            file.resize(200_000, 0);
            read(&file)
                .unwrap()
                .iter()
                .flat_map(|t| &t.samples)
                .map(|s| s.offset)
                .collect()
        };
        assert_eq!(places(true), places(false));
    }

    #[test]
    fn too_little_data_is_an_error() {
        let (video, _) = tracks();
        let error = write(&video, &mut [0u8; 99].as_slice(), None, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, WriteError::Io(_)));
    }
}
