//! The second level as its users meet it: a server started in this process on free ports, fake edges that speak RTSP,
//! questions over UDP and TCP, answers read by hickory-proto.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails a test")]

mod answers;
mod health;
mod reasons;
mod scene;
mod swapping;
