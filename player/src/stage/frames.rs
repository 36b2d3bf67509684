//! From access units to pictures on the screen: merging, pacing, pausing, ending.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mdc::merge::{self, Merger};
use mdc::rtp::AccessUnit;
use mdc::title::Timing;
use tokio::sync::mpsc;

use super::{SILENCE_MAX, Stage, StageError};
use crate::events::Happening;
use crate::flow::Flow;
use crate::pace::Pace;
use crate::resolve::millis;
use crate::screen::{self, Shot};

/// Silence after which a title that has all but its last frames is taken as ended.
const TAIL_SILENCE: Duration = Duration::from_millis(1500);
/// Frames on their way to the screen: about a second.
const SHOTS: usize = 64;
/// Units kept while the frame rate is being learnt: two suffice, damaged ones apart.
const UNITS_EARLY_MAX: usize = 64;
/// Missing frame numbers remembered, to say which handoff lost them.
const MISSING_MAX: usize = 100_000;
/// A first frame farther than this from the announced start is believed, not the announcement.
const START_SECONDS_MAX: u32 = 8;

impl Stage {
    /// Finished access units from all flows to the merger.
    pub(super) fn collect(&mut self, now: Instant) -> Result<(), StageError> {
        for index in 0..self.flows.len() {
            while let Some(flow) = self.flows.get_mut(index) {
                flow.expire(now);
                let Some(unit) = flow.pop() else { break };
                let at = flow.last_packet.unwrap_or(now);
                let description = if self.manner.merged {
                    flow.description
                } else {
                    0
                };
                let connection = flow.connection;
                self.unit(description, connection, unit, at)?;
            }
        }
        self.arrivals();
        Ok(())
    }

    pub(super) fn unit(
        &mut self,
        description: u8,
        connection: u64,
        unit: AccessUnit,
        at: Instant,
    ) -> Result<(), StageError> {
        if self.merger.is_some() {
            self.push(description, connection, unit);
            return Ok(());
        }
        self.early.push((description, connection, unit, at));
        let Some(timing) = self.timing()? else {
            return Ok(());
        };
        let Some((_, _, first, at)) = self.early.first() else {
            return Ok(());
        };
        let Some(first) = timing.frame_at(first.rtp_time) else {
            return Err(StageError::Broken("its timestamps make no sense".into()));
        };
        self.open(timing, first, *at);
        for (description, connection, unit, _) in std::mem::take(&mut self.early) {
            self.push(description, connection, unit);
        }
        Ok(())
    }

    /// The frame rate: announced, or learnt from the first two frames.
    pub(super) fn timing(&mut self) -> Result<Option<Timing>, StageError> {
        if let Some(timing) = &self.manner.timing {
            return Ok(Some(timing.clone()));
        }
        let mut times: Vec<u64> = self
            .early
            .iter()
            .map(|(_, _, unit, _)| unit.rtp_time)
            .collect();
        times.sort_unstable();
        times.dedup();
        let [first, second, ..] = times.as_slice() else {
            return match self.early.len() {
                0..UNITS_EARLY_MAX => Ok(None),
                _ => Err(StageError::Broken("its timestamps stand still".into())),
            };
        };
        let period = u32::try_from(second - first).unwrap_or(u32::MAX);
        let timing = Timing::in_turn((90_000, period), 1);
        let timing = timing.map_err(|error| StageError::Broken(error.to_string()))?;
        self.manner.timing = Some(timing.clone());
        Ok(Some(timing))
    }

    /// The first frame is here: play-out begins a jitter buffer later.
    pub(super) fn open(&mut self, timing: Timing, first: u32, at: Instant) {
        let fps = timing.fps();
        let believable = (fps.0 / fps.1.max(1))
            .max(1)
            .saturating_mul(START_SECONDS_MAX);
        let announced = self
            .manner
            .start
            .filter(|start| first.abs_diff(*start) <= believable);
        let start = announced.map_or(first, |announced| announced.min(first));
        self.first_frame = start;
        self.report.fps = Some(fps);
        self.pace = Some(Pace::new(timing.clone(), first, at, self.manner.buffer));
        let (shots, receiver) = mpsc::channel(SHOTS);
        let (descriptions, out) = (timing.descriptions(), self.manner.out.clone());
        self.screen = Some(tokio::task::spawn_blocking(move || {
            screen::show(receiver, descriptions, fps, out)
        }));
        self.shots = Some(shots);
        self.merger = Some(Merger::new(timing, start));
    }

    pub(super) fn push(&mut self, description: u8, connection: u64, unit: AccessUnit) {
        let (Some(merger), Some(timing)) = (&mut self.merger, &self.manner.timing) else {
            return;
        };
        let number = timing.frame_at(unit.rtp_time);
        let fits = number.is_some_and(|number| timing.description_of(number) == description);
        let (complete, idr) = (unit.complete, unit.idr);
        if merger.push(description, unit) == merge::Accepted::Foreign {
            tracing::debug!(description, "a frame of another description's time");
        }
        let Some(number) = number.filter(|_| fits && complete) else {
            return;
        };
        self.reached.fetch_max(number, Ordering::Relaxed);
        let merged = self.manner.merged;
        let same = |flow: &&mut Flow| {
            flow.connection == connection && (flow.description == description || !merged)
        };
        if let Some(flow) = self.flows.iter_mut().find(same) {
            flow.highest = flow.highest.max(Some(number));
        }
        let arrivals = self
            .moving
            .iter_mut()
            .flat_map(|moving| &mut moving.arrivals);
        for arrival in arrivals {
            if arrival.connection == connection && arrival.description == description && idr {
                arrival.first.get_or_insert(number);
            }
        }
    }

    /// Shows every frame whose time has come; true at the end of the play.
    pub(super) async fn advance(&mut self, now: Instant) -> Result<bool, StageError> {
        loop {
            let (Some(next), end) = (self.merger.as_ref().map(Merger::next_frame), self.end())
            else {
                return self.silent(now).map(|()| false);
            };
            if end.is_some_and(|end| next >= end) {
                return Ok(true);
            }
            let (Some(merger), Some(pace)) = (&mut self.merger, &mut self.pace) else {
                return Ok(false);
            };
            let due = pace.instant(next);
            if due > now {
                let Some(event) = merger.play(None) else {
                    return Ok(false);
                };
                self.show(event).await?;
                continue;
            }
            if merger.highest().is_none_or(|highest| highest < next) {
                if self.over(next, now) {
                    self.cut_off(next);
                    return Ok(true);
                }
                self.silent(now)?;
                // Rather a pause than a hole: nothing later is here either.
                let pause = now.saturating_duration_since(due) + self.manner.buffer / 2;
                if let Some(pace) = &mut self.pace {
                    pace.delay(pause);
                }
                self.report.stalls += 1;
                self.report.stall_ms += millis(pause);
                (self.listener)(Happening::Stalled);
                return Ok(false);
            }
            let Some(event) = merger.play(Some(next)) else {
                return Ok(false);
            };
            self.show(event).await?;
        }
    }

    /// One past the last frame wanted, as far as known.
    pub(super) fn end(&self) -> Option<u32> {
        let timing = self.manner.timing.as_ref()?;
        let (num, den) = timing.fps();
        let wanted = self.manner.seconds.map(|seconds| {
            let frames = (seconds * f64::from(num) / f64::from(den))
                .ceil()
                .clamp(1.0, 4e9);
            self.first_frame.saturating_add(frames as u32)
        });
        // A plain stream may be any description of a title: its numbering is not the title's.
        let title = self.manner.frames.filter(|_| self.manner.merged);
        match (wanted, title) {
            (Some(wanted), Some(title)) => Some(wanted.min(title)),
            (wanted, title) => wanted.or(title),
        }
    }

    /// With nothing left to play: whether the title is over.
    pub(super) fn over(&self, next: u32, now: Instant) -> bool {
        let said = self.ended && self.flows.is_empty();
        let all_ended = !self.flows.is_empty() && self.flows.iter().all(|flow| flow.ended);
        let frames = self.manner.frames.filter(|_| self.manner.seconds.is_none());
        let tail = frames.is_some_and(|frames| next.saturating_add(4) >= frames);
        let quiet = now.saturating_duration_since(self.last_packet) > TAIL_SILENCE;
        said || all_ended || (tail && (quiet || self.flows.is_empty()))
    }

    /// A server that stops before the announced end has lost us the rest.
    pub(super) fn cut_off(&mut self, next: u32) {
        let rest = self.end().map_or(0, |end| end.saturating_sub(next));
        self.report.frames_expected += u64::from(rest);
        self.report.frames_lost += u64::from(rest);
    }

    pub(super) fn silent(&self, now: Instant) -> Result<(), StageError> {
        if self.flows.is_empty() && self.moving.is_none() && !self.may_switch() {
            let reason = self
                .closed
                .clone()
                .unwrap_or_else(|| "no stream is left".into());
            return Err(StageError::Closed(reason));
        }
        match now.saturating_duration_since(self.last_packet) > SILENCE_MAX {
            true => Err(StageError::Silent),
            false => Ok(()),
        }
    }

    pub(super) async fn show(&mut self, event: merge::Event) -> Result<(), StageError> {
        let shot = match event {
            merge::Event::Show {
                number,
                description,
                unit,
            } => {
                self.report.frames_expected += 1;
                self.position(number);
                Shot::Show {
                    number,
                    description,
                    idr: unit.idr,
                    data: unit.data,
                }
            }
            merge::Event::Missing { number, .. } => {
                self.report.frames_expected += 1;
                self.report.frames_lost += 1;
                self.position(number);
                if self.missing.len() < MISSING_MAX {
                    self.missing.push(number);
                }
                Shot::Missing { number }
            }
            merge::Event::Late {
                description, unit, ..
            } => Shot::Late {
                description,
                idr: unit.idr,
                data: unit.data,
            },
        };
        let Some(shots) = &self.shots else {
            return Ok(());
        };
        let sent = shots.send(shot).await;
        sent.map_err(|_| StageError::Screen("the screen has stopped".into()))
    }

    pub(super) fn position(&mut self, number: u32) {
        let fps = self
            .report
            .fps
            .map_or(1, |(num, den)| (num / den.max(1)).max(1));
        let second = number / fps;
        if second != self.told_second {
            self.told_second = second;
            (self.listener)(Happening::Position(number));
        }
    }
}
