//! What happens during a play, as it happens: for a progress bar, a waterfall, a test.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::race::Lap;
use crate::resolve::ServerSet;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// DNS has answered.
    Resolved(ServerSet),
    /// A server has won the race after so many milliseconds.
    Raced(Lap, f64),
    /// The title is described: pictures per second and frames, if it has an end.
    Described {
        /// Numerator and denominator, if the server said so.
        fps: Option<(u32, u32)>,
        /// Frames in the title.
        frames: Option<u32>,
        /// Its descriptions.
        descriptions: u8,
    },
    /// The first RTP packet came, so many milliseconds after the start.
    Joined(f64),
    /// Frames up to this one have been played.
    Position(u32),
    /// Nothing came for so long that the picture stood still.
    Stalled,
    /// A server wants to hand us over.
    HandoffBegun {
        /// The handoff's id.
        id: String,
        /// Where to.
        to: SocketAddr,
    },
    /// A description now comes from the new server.
    HandoffMoved {
        /// The handoff's id.
        id: String,
        /// Which description.
        description: u8,
    },
    /// The old server is free, so many milliseconds after its notice.
    HandoffDone {
        /// The handoff's id.
        id: String,
        /// How long it took.
        duration_ms: f64,
    },
    /// The old server carries on.
    HandoffFailed {
        /// The handoff's id.
        id: String,
        /// Why.
        reason: String,
    },
    /// Service is not acceptable; another server is looked for.
    Unhappy(String),
    /// The parts to come are taken from another server now.
    Switched {
        /// Where from.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
    },
}

/// Told of every happening, from the play's own task: be quick.
pub type Listener = Arc<dyn Fn(Happening) + Send + Sync>;

/// A listener that does not care.
pub fn deaf() -> Listener {
    Arc::new(|_| {})
}
