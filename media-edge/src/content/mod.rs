//! Where frames come from: the edge's own titles folder, or another edge, pulled group by group and cached.

mod folder;
mod library;
mod opening;
mod outline;
mod pulled;

use std::sync::Arc;

use mdc::title::{Description, Frame, Manifest};

pub use library::{HOPS_MAX, Library};
pub use outline::{decode as decode_outline, encode as encode_outline};
pub use pulled::{FetchError, Fetcher, Fetching};

/// The octets of one frame as they lie in the MP4 (length-prefixed NAL units).
pub type FrameData = Arc<[u8]>;

/// Longest run of frames that is fetched at once; a title with rarer IDRs is fetched in such pieces.
const GROUP_FRAMES_MAX: usize = 600;

/// A title ready to be served.
#[derive(Debug)]
pub struct Title {
    /// Name, size, frame rate, bit rates.
    pub manifest: Manifest,
    /// The index of every description.
    pub descriptions: Vec<Description>,
    /// BLAKE3 of the outline, hexadecimal: equal here and on another edge means equal packets.
    pub digest: String,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Folder(folder::Files),
    Pulled(pulled::Pulled),
}

/// The answer to "is this frame at hand?".
#[derive(Debug)]
pub enum Availability {
    /// Here it is.
    Ready(FrameData),
    /// On its way; [`Title::wait`] returns when asking again makes sense.
    Coming,
    /// It cannot be had at present.
    Failed,
}

impl Title {
    fn new(manifest: Manifest, descriptions: Vec<Description>, store: Store) -> Title {
        let digest = blake3::hash(&encode_outline(&manifest, &descriptions))
            .to_hex()
            .to_string();
        Title {
            manifest,
            descriptions,
            digest,
            store,
        }
    }

    /// One description's index.
    pub fn description(&self, description: u8) -> Option<&Description> {
        self.descriptions.get(usize::from(description))
    }

    /// The frame at a position of a description, counted on over the title's end if it repeats.
    pub fn frame(&self, description: u8, position: u64, repeat: bool) -> Option<Frame> {
        let index = self.description(description)?;
        if repeat {
            return index.repeated(position, self.manifest.frames);
        }
        index.frames.get(usize::try_from(position).ok()?).copied()
    }

    /// The first IDR of a description at or after a time, with its position.
    pub fn idr_after(&self, description: u8, rtp_time: u64, repeat: bool) -> Option<(u64, Frame)> {
        let index = self.description(description)?;
        let period = self.period()?;
        let round = if repeat { rtp_time / period } else { 0 };
        // At most one further round: every title starts with an IDR.
        for round in [round, round + 1] {
            let base = round.checked_mul(index.frames.len() as u64)?;
            let within = rtp_time.saturating_sub(round.saturating_mul(period));
            if let Some(at) = index.idr_after(within) {
                let position = base + at as u64;
                return Some((position, self.frame(description, position, repeat)?));
            }
            if !repeat {
                return None;
            }
        }
        None
    }

    /// Position of the last IDR of a description at or before a time.
    pub fn idr_before(&self, description: u8, rtp_time: u64, repeat: bool) -> Option<u64> {
        let index = self.description(description)?;
        let round = if repeat { rtp_time / self.period()? } else { 0 };
        let within = rtp_time - round * self.period()?;
        Some(round * index.frames.len() as u64 + index.idr_before(within) as u64)
    }

    /// Length in 90 kHz ticks; what a repeated title's times go on by.
    pub fn period(&self) -> Option<u64> {
        let timing = self.manifest.timing().ok()?;
        Some(
            timing
                .rtp_time(timing.round_up(self.manifest.frames))
                .max(1),
        )
    }

    /// Mean rate of one description, kbit/s, rounded up.
    pub fn kbit_per_second(&self, description: u8) -> u32 {
        let stream = self.manifest.descriptions.get(usize::from(description));
        stream.map_or(0, |stream| stream.bitrate.div_ceil(1_000))
    }

    /// The octets of the frame at a position, if they are at hand. Never waits.
    pub fn data(&self, description: u8, position: u64) -> Availability {
        let Some((index, at)) = self.place(description, position) else {
            return Availability::Failed;
        };
        match &self.store {
            Store::Folder(files) => match files.read(description, index, at) {
                Some(data) => Availability::Ready(data),
                None => Availability::Failed,
            },
            Store::Pulled(pulled) => pulled.data(index, description, at),
        }
    }

    /// Returns when asking for the frame again makes sense. May be dropped at any time.
    pub async fn wait(&self, description: u8, position: u64) {
        let Some((index, at)) = self.place(description, position) else {
            return;
        };
        if let Store::Pulled(pulled) = &self.store {
            pulled.wait(index, description, at).await;
        }
    }

    /// For a pulled title: another edge that has it, to be asked first from now on.
    pub fn prefer_source(&self, edge: &str) {
        if let Store::Pulled(pulled) = &self.store {
            pulled.prefer_source(edge);
        }
    }

    fn place(&self, description: u8, position: u64) -> Option<(&Description, usize)> {
        let index = self.description(description)?;
        let at = usize::try_from(position % index.frames.len() as u64).ok()?;
        Some((index, at))
    }
}

/// Opens a title's folder to see whether it is good.
pub fn check_folder(folder: &std::path::Path) -> anyhow::Result<()> {
    folder::open(folder).map(|_| ())
}

/// Opens a title's folder, for tests of what is done with titles.
#[cfg(test)]
pub(crate) fn open_folder(folder: &std::path::Path) -> anyhow::Result<Title> {
    folder::open(folder)
}

/// The group a position lies in: from an IDR up to before the next one, at most [`GROUP_FRAMES_MAX`] frames.
fn group(index: &Description, at: usize) -> (usize, usize) {
    let until = index.frames.get(..=at).unwrap_or(&index.frames);
    let idr = until.iter().rposition(|frame| frame.idr).unwrap_or(0);
    let first = at - (at - idr) % GROUP_FRAMES_MAX;
    let rest = index.frames.get(first + 1..).unwrap_or_default();
    let count = rest
        .iter()
        .position(|frame| frame.idr)
        .unwrap_or(rest.len())
        + 1;
    (first, count.min(GROUP_FRAMES_MAX))
}
