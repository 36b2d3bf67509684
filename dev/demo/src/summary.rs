//! What the show came to: the object that `--json` prints, and whether all went well.

use anyhow::Context;
use player::Report;
use player::resolve::Server;
use serde::Serialize;

use crate::epilogue::Learnt;
use crate::stage::Stage;

/// Handoffs that the show brings about.
const HANDOFFS_WANTED: usize = 2;

/// One show, in figures. Milliseconds; frames at the full rate.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether nothing is wrong.
    pub(crate) ok: bool,
    /// Generation of the release.
    pub(crate) generation: u64,
    /// Address ranges of the map, both families.
    pub(crate) ranges: usize,
    /// The SRV records that the playing client got.
    pub(crate) srv: Vec<Server>,
    /// The token that led to the server played from.
    pub(crate) token: String,
    /// The server set that the race was run over, `address:port`.
    pub(crate) servers: Vec<String>,
    /// The race, until its winner had answered.
    pub(crate) race_ms: f64,
    /// Start to the first media packet.
    pub(crate) join_ms: f64,
    pub(crate) frames_expected: u64,
    pub(crate) frames_shown: u64,
    pub(crate) frames_lost: u64,
    pub(crate) frames_interpolated: u64,
    /// By the stamp in the pixels, after decoding.
    pub(crate) frames_repeated: u64,
    /// By the stamp in the pixels, after decoding.
    pub(crate) frames_out_of_order: u64,
    /// Pictures whose stamp was read.
    pub(crate) stamps_read: u64,
    /// Handoffs completed.
    pub(crate) handoffs: usize,
    pub(crate) handoff_frames_lost: u64,
    /// How long each took, notice to the last confirmation.
    pub(crate) handoff_ms: Vec<f64>,
    /// Measurement lines that the race left with the edges.
    pub(crate) measurements: usize,
    /// The generation made with them.
    pub(crate) next_generation: u64,
    /// What the player says went wrong.
    pub(crate) error: Option<String>,
}

impl Summary {
    pub(crate) fn new(stage: &Stage, report: Report, learnt: Learnt) -> anyhow::Result<Summary> {
        let stamps = report.stamps.unwrap_or_default();
        let done: Vec<_> = report
            .handoffs
            .iter()
            .filter(|handoff| handoff.ok)
            .collect();
        let mut summary = Summary {
            ok: false,
            generation: stage.built.generation,
            ranges: stage.built.ranges,
            token: report.token.clone().context("no token")?,
            servers: report
                .race
                .iter()
                .map(|lap| lap.address.to_string())
                .collect(),
            srv: report.srv,
            race_ms: report.race_ms.context("no race")?,
            join_ms: report.join_ms.unwrap_or(f64::MAX),
            frames_expected: report.frames_expected,
            frames_shown: report.frames_shown,
            frames_lost: report.frames_lost.max(stamps.stamps_lost),
            frames_interpolated: report.frames_interpolated,
            frames_repeated: report.frames_repeated.max(stamps.stamps_repeated),
            frames_out_of_order: report.frames_out_of_order.max(stamps.stamps_out_of_order),
            stamps_read: stamps.stamps_read,
            handoffs: done.len(),
            handoff_frames_lost: report
                .handoffs
                .iter()
                .map(|handoff| handoff.frames_lost)
                .sum(),
            handoff_ms: done.iter().map(|handoff| handoff.duration_ms).collect(),
            measurements: learnt.lines,
            next_generation: learnt.generation,
            error: report.error,
        };
        summary.ok = summary.well();
        Ok(summary)
    }

    /// Whether all went well.
    pub(crate) fn well(&self) -> bool {
        self.problems().is_empty()
    }

    /// What is wrong, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.error.iter().cloned().collect();
        let mut expect = |fine: bool, problem: String| {
            if !fine {
                problems.push(problem);
            }
        };
        expect(
            self.measurements > 0,
            "no race report reached the mapmaker".into(),
        );
        let lost = self.frames_lost + self.handoff_frames_lost;
        expect(lost == 0, format!("{lost} frames lost"));
        expect(
            self.frames_shown == self.frames_expected && self.frames_expected > 0,
            format!(
                "{} of {} frames shown",
                self.frames_shown, self.frames_expected
            ),
        );
        expect(
            self.stamps_read == self.frames_shown,
            format!(
                "{} of {} stamps read from the pictures",
                self.stamps_read, self.frames_shown
            ),
        );
        expect(
            self.frames_repeated == 0,
            format!("{} frames repeated", self.frames_repeated),
        );
        expect(
            self.frames_out_of_order == 0,
            format!("{} frames out of order", self.frames_out_of_order),
        );
        expect(
            self.handoffs == HANDOFFS_WANTED,
            format!("{} of {HANDOFFS_WANTED} handoffs completed", self.handoffs),
        );
        problems
    }
}
