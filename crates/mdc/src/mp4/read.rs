//! Reads the sample tables of an MP4 file into a flat list, every access checked.
//!
//! Memory is bounded by the file's own size: a sample has at least one octet and all samples
//! together no more than the file has.

use mp4_atom::{
    Avcc, Co64, Ctts, Elst, Esds, Hdlr, Mdhd, Mvhd, Stco, Stsc, Stss, Stsz, StszSamples, Stts,
};
use thiserror::Error;

use super::boxes::{boxes, child, leaf_child, leaf_optional, name, optional};

/// Most samples of one track: 38 hours at 30 frames per second.
pub const SAMPLES_MAX: usize = 4 << 20;

/// Most tracks looked at.
const TRACKS_MAX: usize = 16;

/// Why bytes are not an MP4 file that this library can use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mp4Error {
    /// A box reaches past its parent, or is smaller than its own header.
    #[error("a box does not fit into its parent (file cut short?)")]
    Truncated,
    /// A box that has to be there is not.
    #[error("box `{0}` is missing")]
    Missing(String),
    /// A box whose body cannot be understood.
    #[error("box `{0}`: {1}")]
    Box(String, String),
    /// Fragmented MP4: samples are in `moof` boxes.
    #[error("the file is fragmented (`moof`); one with a complete `moov` is needed")]
    Fragmented,
    /// Sample tables that contradict each other or the file's size.
    #[error("sample tables: {0}")]
    Tables(&'static str),
}

/// One sample: a video frame or an audio access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Where its first octet is in the file.
    pub offset: u64,
    /// Its size in octets, at least 1.
    pub size: u32,
    /// Presentation time in ticks of the track's timescale, edit list applied.
    pub time: i64,
    /// Whether decoding can start here.
    pub sync: bool,
}

/// What a track carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackKind {
    /// H.264 with its parameter sets out of band (`avc1`).
    Avc(Avcc),
    /// AAC (`mp4a`): AudioSpecificConfig (ISO 14496-3 §1.6.2.1), samples per second, channels.
    Aac {
        /// AudioSpecificConfig octets.
        config: Vec<u8>,
        /// Samples per second.
        rate: u32,
        /// Number of channels.
        channels: u16,
    },
    /// Anything else, by the four characters of its sample entry.
    Other(String),
}

/// One track with all its samples in decoding order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it carries.
    pub kind: TrackKind,
    /// Ticks per second of [`Sample::time`], not zero.
    pub timescale: u32,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// Reads every audio and video track of a complete (not fragmented) MP4 file.
pub fn read(file: &[u8]) -> Result<Vec<Track>, Mp4Error> {
    let mut moov = None;
    for found in boxes(file) {
        match found? {
            b if b.kind == *b"moof" => return Err(Mp4Error::Fragmented),
            b if b.kind == *b"moov" && moov.is_none() => moov = Some(b.body),
            _ => {}
        }
    }
    let moov = moov.ok_or_else(|| Mp4Error::Missing(name(b"moov")))?;
    let movie_timescale = leaf_child::<Mvhd>(moov)?.timescale;
    let mut tracks = Vec::new();
    for found in boxes(moov) {
        let found = found?;
        if found.kind != *b"trak" {
            continue;
        }
        if tracks.len() == TRACKS_MAX {
            return Err(Mp4Error::Tables("too many tracks"));
        }
        tracks.extend(read_track(found.body, movie_timescale, file.len() as u64)?);
    }
    Ok(tracks)
}

fn read_track(
    trak: &[u8],
    movie_timescale: u32,
    file_size: u64,
) -> Result<Option<Track>, Mp4Error> {
    let mdia = child(trak, b"mdia")?;
    let handler: [u8; 4] = leaf_child::<Hdlr>(mdia)?.handler.into();
    if !matches!(&handler, b"vide" | b"soun") {
        return Ok(None);
    }
    let timescale = leaf_child::<Mdhd>(mdia)?.timescale;
    if timescale == 0 || movie_timescale == 0 {
        return Err(Mp4Error::Tables("a timescale is zero"));
    }
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    let kind = read_kind(child(stbl, b"stsd")?)?;
    let shift = match optional(trak, b"edts")? {
        Some(edts) => edit_shift(leaf_optional::<Elst>(edts)?, timescale, movie_timescale)?,
        None => 0,
    };
    let samples = read_samples(stbl, shift, file_size)?;
    Ok(Some(Track {
        kind,
        timescale,
        samples,
    }))
}

/// The first sample entry; descriptions and ordinary files have only one.
fn read_kind(stsd: &[u8]) -> Result<TrackKind, Mp4Error> {
    const VISUAL_ENTRY: usize = 78; // ISO 14496-12 §12.1.3: SampleEntry and VisualSampleEntry
    const AUDIO_ENTRY: usize = 28; // §12.2.3, version 0
    let entries = stsd.get(8..).ok_or(Mp4Error::Truncated)?;
    let entry = boxes(entries)
        .next()
        .ok_or_else(|| Mp4Error::Missing("sample entry".into()))??;
    match &entry.kind {
        b"avc1" | b"avc3" => {
            let children = entry.body.get(VISUAL_ENTRY..).ok_or(Mp4Error::Truncated)?;
            Ok(TrackKind::Avc(leaf_child(children)?))
        }
        b"mp4a" => {
            let head = entry
                .body
                .first_chunk::<AUDIO_ENTRY>()
                .ok_or(Mp4Error::Truncated)?;
            let children = entry.body.get(AUDIO_ENTRY..).ok_or(Mp4Error::Truncated)?;
            let esds: Esds = leaf_child(children)?;
            let config = esds
                .es_desc
                .dec_config
                .dec_specific
                .map(|d| d.raw)
                .unwrap_or_default();
            let channels = u16::from_be_bytes([head[16], head[17]]);
            let rate = u32::from(u16::from_be_bytes([head[24], head[25]]));
            Ok(TrackKind::Aac {
                config,
                rate,
                channels,
            })
        }
        other => Ok(TrackKind::Other(name(other))),
    }
}

/// Ticks to add to media times: leading empty edits delay, the first real edit's start advances
/// (ISO 14496-12 §8.6.6).
fn edit_shift(elst: Option<Elst>, timescale: u32, movie_timescale: u32) -> Result<i64, Mp4Error> {
    let too_large = Mp4Error::Tables("an edit list time is too large");
    let mut shift: i128 = 0;
    for entry in elst.map(|e| e.entries).unwrap_or_default() {
        match entry.media_time {
            None => {
                let scaled = u128::from(entry.segment_duration) * u128::from(timescale);
                shift += i128::try_from(scaled / u128::from(movie_timescale))
                    .map_err(|_| too_large.clone())?;
            }
            Some(start) => {
                shift -= i128::from(start);
                break;
            }
        }
    }
    i64::try_from(shift).map_err(|_| too_large)
}

fn read_samples(stbl: &[u8], shift: i64, file_size: u64) -> Result<Vec<Sample>, Mp4Error> {
    let sizes = sample_sizes(leaf_child(stbl)?, file_size)?;
    let offsets = sample_offsets(stbl, &sizes, file_size)?;
    let times = sample_times(stbl, shift, sizes.len())?;
    let sync = leaf_optional::<Stss>(stbl)?;
    let is_sync = |index: usize| match &sync {
        None => true,
        Some(stss) => {
            u32::try_from(index + 1).is_ok_and(|n| stss.entries.binary_search(&n).is_ok())
        }
    };
    let joined = sizes.into_iter().zip(offsets).zip(times).enumerate();
    Ok(joined
        .map(|(i, ((size, offset), time))| Sample {
            offset,
            size,
            time,
            sync: is_sync(i),
        })
        .collect())
}

fn sample_sizes(stsz: Stsz, file_size: u64) -> Result<Vec<u32>, Mp4Error> {
    let sizes = match stsz.samples {
        StszSamples::Different { sizes } => sizes,
        StszSamples::Identical { count, size } => {
            if u64::from(count) * u64::from(size) > file_size {
                return Err(Mp4Error::Tables("samples are larger than the file"));
            }
            // Twelve octets of file can name billions of samples: look before the list is made.
            let count = usize::try_from(count).ok().filter(|n| *n <= SAMPLES_MAX);
            vec![size; count.ok_or(Mp4Error::Tables("too many samples"))?]
        }
    };
    if sizes.len() > SAMPLES_MAX {
        return Err(Mp4Error::Tables("too many samples"));
    }
    if sizes.contains(&0) {
        return Err(Mp4Error::Tables("an empty sample"));
    }
    Ok(sizes)
}

/// Joins chunk offsets (`stco`/`co64`) and chunk runs (`stsc`) to one offset per sample.
fn sample_offsets(stbl: &[u8], sizes: &[u32], file_size: u64) -> Result<Vec<u64>, Mp4Error> {
    let chunks: Vec<u64> = match leaf_optional::<Stco>(stbl)? {
        Some(stco) => stco.entries.into_iter().map(u64::from).collect(),
        None => leaf_child::<Co64>(stbl)?.entries,
    };
    let runs = leaf_child::<Stsc>(stbl)?.entries;
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (index, chunk) in chunks.into_iter().enumerate() {
        while runs
            .get(run + 1)
            .is_some_and(|next| next.first_chunk as usize <= index + 1)
        {
            run += 1;
        }
        let here = runs.get(run).ok_or(Mp4Error::Tables("no chunk runs"))?;
        let mut offset = chunk;
        for _ in 0..here.samples_per_chunk {
            let Some(size) = sizes.get(offsets.len()) else {
                break;
            };
            let end = offset
                .checked_add(u64::from(*size))
                .filter(|end| *end <= file_size);
            offsets.push(offset);
            offset = end.ok_or(Mp4Error::Tables("a sample is outside the file"))?;
        }
    }
    if offsets.len() != sizes.len() {
        return Err(Mp4Error::Tables("fewer chunks than samples"));
    }
    Ok(offsets)
}

/// Presentation times: decoding times (`stts`) plus offsets (`ctts`) plus the edit list's shift.
fn sample_times(stbl: &[u8], shift: i64, count: usize) -> Result<Vec<i64>, Mp4Error> {
    let too_large = || Mp4Error::Tables("a sample time is too large");
    let stts = leaf_child::<Stts>(stbl)?.entries;
    let deltas = stts
        .iter()
        .flat_map(|e| std::iter::repeat_n(e.sample_delta, e.sample_count as usize));
    let mut times = Vec::with_capacity(count);
    let mut time = shift;
    for delta in deltas.take(count) {
        times.push(time);
        time = time.checked_add(i64::from(delta)).ok_or_else(too_large)?;
    }
    if times.len() != count {
        return Err(Mp4Error::Tables("fewer times than samples"));
    }
    if let Some(ctts) = leaf_optional::<Ctts>(stbl)? {
        let entries = ctts.entries.iter();
        let offsets =
            entries.flat_map(|e| std::iter::repeat_n(e.sample_offset, e.sample_count as usize));
        for (time, offset) in times.iter_mut().zip(offsets) {
            *time = time.checked_add(offset).ok_or_else(too_large)?;
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_octets_that_name_billions_of_samples_make_no_list_of_them() {
        let samples = StszSamples::Identical {
            count: u32::MAX,
            size: 1,
        };
        let error = sample_sizes(Stsz { samples }, u64::MAX).unwrap_err();
        assert_eq!(error, Mp4Error::Tables("too many samples"));
    }
}
