//! What a play tells in the end: one JSON object with every timing and every count.

use serde::Serialize;

use crate::race::Lap;
use crate::resolve::Server;
use crate::stamps::Stamps;

/// The whole story of a play. Milliseconds count from the start of the step they name, `join_ms` and
/// `first_frame_ms` from the start of the play.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Played to the end that was asked for.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// What was asked for: an SRV name or a URL.
    pub asked: String,
    /// The SRV owner queried, client-id label included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The title's URL at the server it was played from first.
    pub url: Option<String>,
    /// The server played from at the end.
    pub server: Option<String>,
    /// The token that led to the first server.
    pub token: Option<String>,
    /// The SRV records in the order to try them.
    pub srv: Vec<Server>,
    /// The race, one entry per server.
    pub race: Vec<Lap>,
    /// Whether the server took the race report.
    pub race_reported: bool,
    /// SRV look-up.
    pub srv_ms: Option<f64>,
    /// Address look-ups, side by side.
    pub address_ms: Option<f64>,
    /// OPTIONS race, connecting included, until the winner answered.
    pub race_ms: Option<f64>,
    /// DESCRIBE, redirects included.
    pub describe_ms: Option<f64>,
    /// SETUP of every description.
    pub setup_ms: Option<f64>,
    /// PLAY.
    pub play_ms: Option<f64>,
    /// Start to the first RTP packet.
    pub join_ms: Option<f64>,
    /// Start to the first decoded picture, the jitter buffer included.
    pub first_frame_ms: Option<f64>,
    /// `tcp` or `udp`.
    pub transport: String,
    /// Picture width.
    pub width: Option<usize>,
    /// Picture height.
    pub height: Option<usize>,
    /// Full frame rate: numerator, denominator.
    pub fps: Option<(u32, u32)>,
    /// Frames whose time came, or would have come had the server not stopped early.
    pub frames_expected: u64,
    /// Frames decoded and shown.
    pub frames_shown: u64,
    /// Frames not shown: not arrived in time, undecodable, or cut off.
    pub frames_lost: u64,
    /// Substitutes shown for lost ones.
    pub frames_interpolated: u64,
    /// Frames shown twice.
    pub frames_repeated: u64,
    /// Frames shown after a later one.
    pub frames_out_of_order: u64,
    /// Frames that came after their time.
    pub frames_late: u64,
    /// Second copies dropped (from two servers during a handoff).
    pub frames_duplicate: u64,
    /// Times the picture stood still for want of packets.
    pub stalls: u32,
    /// How long in all.
    pub stall_ms: f64,
    /// Per description.
    pub descriptions: Vec<DescriptionReport>,
    /// Every handoff begun.
    pub handoffs: Vec<HandoffReport>,
    /// Every switch to another server of our own accord.
    pub switches: Vec<SwitchReport>,
    /// Further tokens the repeated SRV query gave (C8).
    pub further_tokens: u32,
    /// What the pixels say, when pictures carry stamps.
    #[serde(flatten)]
    pub stamps: Option<Stamps>,
}

/// The packets of one description, from all servers together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DescriptionReport {
    /// Its number.
    pub description: u8,
    /// RTP packets received.
    pub packets: u64,
    /// Octets of RTP received.
    pub octets: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets refused: another source, not RTP.
    pub packets_refused: u64,
    /// Whole access units.
    pub frames: u64,
    /// Of those, the ones decoding can start at.
    pub idrs: u64,
}

/// One handoff.
#[derive(Clone, Debug, Serialize)]
pub struct HandoffReport {
    /// Its id.
    pub id: String,
    /// The server that gave us away.
    pub from: String,
    /// The server that took us.
    pub to: String,
    /// Whether everything moved.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Notice to the last confirmation.
    pub duration_ms: f64,
    /// Frames missing among those played meanwhile.
    pub frames_lost: u64,
    /// First and one past the last frame concerned.
    #[serde(skip)]
    pub(crate) frames: (u32, u32),
}

/// One switch of the player's own accord (C10).
#[derive(Clone, Debug, Serialize)]
pub struct SwitchReport {
    /// What was wrong.
    pub reason: String,
    /// The server left.
    pub from: String,
    /// The server taken.
    pub to: String,
    /// The token that led there.
    pub token: String,
    /// Noticing to the first frame from the new server.
    pub duration_ms: f64,
}
