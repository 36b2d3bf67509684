//! Getting packets out: into the RTSP connection, or as datagrams, and the control packets that go with them.

pub mod outbox;
pub mod rtcp;
pub mod udp;
