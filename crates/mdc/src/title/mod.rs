//! A title: a folder `{title.toml, d0.mp4, d1.mp4, …}` whose files are the descriptions of one video.

mod description;
mod manifest;
mod timing;

pub use description::{Audio, AudioSample, Description, DescriptionError, FRAME_OCTETS_MAX, Frame};
pub use manifest::{AudioEntry, Manifest, ManifestError, Stream, is_title_name};
pub use timing::{CADENCE_MAX, CLOCK_HZ, DESCRIPTIONS_MAX, FPS_MAX, Timing, TimingError};
