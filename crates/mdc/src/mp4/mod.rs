//! The MP4 file of a description: written box by box with `mp4-atom`, read without trusting a byte.

pub mod adts;
mod boxes;
mod read;
mod write;

pub use read::{Mp4Error, SAMPLES_MAX, Sample, Track, TrackKind, read};
pub use write::{AudioTrack, VideoTrack, WriteError, write};
