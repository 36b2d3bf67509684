//! Keeping the books: what flows received, receiver reports, keep-alives, and the end of a play.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Stage, StageError};
use crate::flow::Flow;
use crate::report::DescriptionReport;
use crate::resolve::millis;

/// Receiver reports go out this often (RFC 3550 §6.2: five seconds).
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(5);

impl Stage {
    /// Takes flows out of the play; what they received stays in the report.
    pub(super) fn retire(&mut self, which: impl Fn(&Flow) -> bool) {
        let mut index = 0;
        while let Some(flow) = self.flows.get(index) {
            if which(flow) {
                let flow = self.flows.remove(index);
                self.account(&flow);
            } else {
                index += 1;
            }
        }
    }

    pub(super) fn account(&mut self, flow: &Flow) {
        let entries = &mut self.report.descriptions;
        let known = entries
            .iter()
            .position(|entry| entry.description == flow.description);
        let index = known.unwrap_or_else(|| {
            let description = flow.description;
            entries.push(DescriptionReport {
                description,
                ..DescriptionReport::default()
            });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(index) else {
            return;
        };
        let counts = flow.counts();
        entry.packets += counts.received;
        entry.octets += flow.octets;
        entry.packets_lost += counts.lost;
        entry.packets_refused += counts.refused;
        entry.frames += flow.units;
        entry.idrs += flow.idrs;
    }

    /// A server says that it has sent everything.
    pub(super) fn end_of(&mut self, connection: u64) {
        let mine = |flow: &&mut Flow| flow.connection == connection;
        self.flows
            .iter_mut()
            .filter(mine)
            .for_each(|flow| flow.ended = true);
    }

    /// A server sends what makes no sense: the play goes on without it, if somebody else sends.
    pub(super) fn broken(&mut self, connection: u64, reason: String) -> Result<(), StageError> {
        if self.flows.iter().all(|flow| flow.connection == connection) {
            return Err(StageError::Broken(reason));
        }
        tracing::warn!(%reason, "a server is given up");
        self.closed(connection, reason);
        Ok(())
    }

    pub(super) fn closed(&mut self, connection: u64, reason: String) {
        let known = self
            .seats
            .iter()
            .any(|seat| seat.session.connection.id == connection);
        if !known {
            return;
        }
        self.seats
            .retain(|seat| seat.session.connection.id != connection);
        let mine = |flow: &&Flow| flow.connection == connection;
        let goodbye = self.flows.iter().filter(mine).any(|flow| flow.ended);
        self.retire(|flow| flow.connection == connection);
        self.ended = goodbye && self.flows.is_empty();
        self.handoff_lost(connection);
        self.switch_lost(connection);
        self.closed = Some(reason);
    }

    /// What is due from time to time: receiver reports, keep-alives.
    pub(super) fn routine(&mut self, now: Instant) {
        for seat in &mut self.seats {
            if seat.alive_at <= now {
                let session = seat.session.clone();
                seat.alive_at = now + session.keep_alive_every();
                // A connection that has gone is reported by its reader.
                tokio::spawn(async move { session.keep_alive().await });
            }
        }
        if self.report_at <= now {
            self.report_at = now + REPORT_EVERY;
            self.receiver_reports(now, false);
        }
    }

    pub(super) fn receiver_reports(&mut self, now: Instant, bye: bool) {
        for flow in &mut self.flows {
            let mut seats = self.seats.iter();
            let seat = seats.find(|seat| seat.session.connection.id == flow.connection);
            let Some(session) = seat.map(|seat| seat.session.clone()) else {
                continue;
            };
            let cname = format!("player@{}", session.connection.local.ip());
            let Some(packet) = flow.report(self.own_ssrc, &cname, bye, now) else {
                continue;
            };
            let channel = flow.rtcp_channel();
            tokio::spawn(async move { session.send_rtcp(channel, &packet).await });
        }
    }

    /// Waits for the screen and takes its counts.
    pub(super) async fn drop_curtain(&mut self) -> Result<(), StageError> {
        self.shots = None;
        let Some(screen) = self.screen.take() else {
            return Ok(());
        };
        let shown = match screen.await {
            Ok(shown) => shown.map_err(StageError::Screen)?,
            Err(error) => return Err(StageError::Screen(error.to_string())),
        };
        let report = &mut self.report;
        report.frames_shown = shown.decoded;
        report.frames_lost += shown.undecodable;
        report.frames_interpolated = shown.substituted;
        report.frames_repeated = shown.repeated;
        report.frames_out_of_order = shown.out_of_order;
        (report.width, report.height) = shown.size.unzip();
        let since_start = |at: Instant| millis(at.saturating_duration_since(self.started));
        report.first_frame_ms = shown.first.map(since_start);
        report.stamps = Some(shown.stamps).filter(|stamps| stamps.stamps_read > 0);
        if let Some(merger) = &self.merger {
            report.frames_late = merger.counts().late;
            report.frames_duplicate = merger.counts().duplicates;
        }
        Ok(())
    }

    /// Says good-bye to every server and closes the accounts.
    pub(super) async fn farewell(&mut self) {
        self.receiver_reports(Instant::now(), true);
        let leaving = self.seats.drain(..).map(|seat| async move {
            timeout(Duration::from_secs(1), seat.session.tear_down()).await
        });
        futures_util::future::join_all(leaving).await;
        self.retire(|_| true);
        self.report
            .descriptions
            .sort_by_key(|entry| entry.description);
        for entry in &mut self.report.handoffs {
            let (first, last) = entry.frames;
            let lost = self
                .missing
                .iter()
                .filter(|frame| (first..last).contains(frame));
            entry.frames_lost = lost.count() as u64;
        }
    }
}
