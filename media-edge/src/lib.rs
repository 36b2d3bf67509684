//! Streams multiple-description media over RTSP and hands sessions to other edges.

pub mod title;
