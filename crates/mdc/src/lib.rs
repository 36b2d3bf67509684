//! Multiple-description video: titles, frames, RTP packets, merging, interpolation.
