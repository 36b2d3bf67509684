//! Multiple-description video: titles, frames, RTP packets, merging, interpolation.
//!
//! ```text
//!  pictures ──split──► d0.mp4  d1.mp4 ──Description──► frames ──packetize──► RTP ┐
//!  (y4m, ffmpeg)       (each an ordinary H.264 stream)                            │
//!  pictures ◄──interpolate── decoders ◄──Merger◄── access units ◄──Depacketizer◄──┘
//! ```
//!
//! Frames are numbered at the full rate; frame *k* belongs to one description, given by the title's
//! cadence (k mod 2 by default). Everything here is a pure computation: bytes in, bytes out.

pub mod codec;
pub mod interpolate;
pub mod merge;
pub mod mp4;
pub mod nal;
pub mod pattern;
pub mod picture;
pub mod rtp;
pub mod split;
pub mod stamp;
pub mod title;
pub mod y4m;
