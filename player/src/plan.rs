//! What a session description means for us: which streams to set up, and how their frames are numbered.

use std::time::Instant;

use ed25519_dalek::SigningKey;
use mdc::title::Timing;
use rtsp::ticket::proof;
use rtsp::{Url, handoff, locator, sdp};
use thiserror::Error;

use crate::connection::RtspError;
use crate::flow::Flow;
use crate::handoff::clock;
use crate::session::{Session, SetUp, Started, control_url};

/// The description has nothing for us.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the title cannot be played: {0}")]
pub struct PlanError(pub String);

/// What to set up, and what the frames' numbers mean.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Several descriptions of one title, as opposed to one plain stream.
    pub merged: bool,
    /// Full frame rate, if announced.
    pub timing: Option<Timing>,
    /// Frames of the whole title, if it has an end.
    pub frames: Option<u32>,
    /// What to set up, by description.
    pub streams: Vec<(u8, sdp::Stream)>,
}

impl Plan {
    /// Several lines named d0, d1, … are descriptions of one title; otherwise the first line is played.
    pub fn of(description: &sdp::Description) -> Result<Plan, PlanError> {
        let numbered: Option<Vec<_>> = description
            .streams
            .iter()
            .map(|stream| {
                let control = stream.control.rsplit('/').next().unwrap_or_default();
                Some((locator::description(control)?, stream.clone()))
            })
            .collect();
        let mut numbered = numbered.unwrap_or_default();
        numbered.sort_by_key(|(number, _)| *number);
        let in_row = numbered
            .iter()
            .map(|(number, _)| *number)
            .eq(0..numbered.len() as u8);
        let (merged, streams) = match description.streams.as_slice() {
            [] => return Err(PlanError("no H.264 video in its description".into())),
            [_, _, ..] if in_row => (true, numbered),
            [first, ..] => (false, vec![(0, first.clone())]),
        };
        let timing = timing(&streams)?;
        let duration = description.duration.filter(|duration| duration.0 > 0);
        let frames = timing
            .as_ref()
            .zip(duration)
            .and_then(|(t, d)| t.frame_at(d.0));
        Ok(Plan {
            merged,
            timing,
            frames,
            streams,
        })
    }
}

/// The full frame rate is the sum of the descriptions' equal ones; `None`: a plain stream without any.
fn timing(streams: &[(u8, sdp::Stream)]) -> Result<Option<Timing>, PlanError> {
    let bad = |what: &str| PlanError(what.to_owned());
    let count = u8::try_from(streams.len()).map_err(|_| bad("too many descriptions"))?;
    let Some((_, first)) = streams.first() else {
        return Ok(None);
    };
    let (num, den) = first.frame_rate;
    if num == 0 {
        return match count {
            1 => Ok(None),
            _ => Err(bad("its descriptions have no frame rate")),
        };
    }
    if streams
        .iter()
        .any(|(_, stream)| stream.frame_rate != (num, den))
    {
        return Err(bad("its descriptions have different frame rates"));
    }
    let full = num
        .checked_mul(count.into())
        .ok_or_else(|| bad("absurd frame rate"))?;
    Timing::in_turn((full, den), count)
        .map(Some)
        .map_err(|error| bad(&error.to_string()))
}

/// Sets up every description of a plan; the results with their control names.
pub async fn set_up(
    session: &Session,
    base: &Url,
    plan: &Plan,
    key: &SigningKey,
) -> Result<Vec<(SetUp, String)>, RtspError> {
    let mut set_ups = Vec::new();
    let extra = [(handoff::KEY, proof::key_text(&key.verifying_key()))];
    for (number, stream) in &plan.streams {
        let control = control_url(base, &stream.control)?;
        set_ups.push((
            session.set_up(&control, *number, &extra).await?,
            stream.control.clone(),
        ));
    }
    Ok(set_ups)
}

/// The flow of a description, its PLAY answered.
pub fn started_flow(
    session: &Session,
    set_up: &SetUp,
    control: &str,
    started: &Started,
    plan: &Plan,
    began: Instant,
) -> Flow {
    let mut flow = Flow::new(session.connection.id, set_up, began);
    let mut clock = clock(started, control, Default::default());
    if let Some(clock) = clock.as_mut().filter(|_| !plan.merged) {
        clock.rtp_time = 0; // a plain stream's numbering starts with it
    }
    flow.start(clock);
    flow
}
