//! What a person or a script gets to read on standard output; the progress bar goes to the terminal.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::events::{Happening, Listener};
use crate::name::ServiceName;
use crate::race::{Finish, Lap};
use crate::report::Report;
use crate::resolve::ServerSet;

/// Columns of the waterfall's bars.
const BAR_COLUMNS: f64 = 40.0;

/// Prints a line; a closed pipe is nobody's fault.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{}", printable(line)).ok();
}

/// Servers' texts are in our lines: no control characters on somebody's terminal.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

/// One JSON object on one line.
fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => say(&text),
        Err(error) => tracing::error!(%error, "no JSON"),
    }
}

/// A failure, as text or as JSON; always false, for the exit code.
pub fn failure(error: &str, json: bool) -> bool {
    if json {
        say_json(&serde_json::json!({ "ok": false, "error": error }));
    } else {
        writeln!(std::io::stderr(), "player: {}", printable(error)).ok();
    }
    false
}

/// The server set, in the order to try.
pub fn server_set(set: &ServerSet, json: bool) -> bool {
    if json {
        say_json(set);
        return true;
    }
    say(&format!(
        "{}  srv {:.1} ms, addresses {:.1} ms",
        set.name, set.srv_ms, set.address_ms
    ));
    for server in &set.servers {
        let addresses: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
        let found = match &server.failure {
            Some(reason) => reason.clone(),
            None => addresses.join(" "),
        };
        say(&format!(
            "  priority {} weight {} port {}  {}  {found}",
            server.priority, server.weight, server.port, server.target
        ));
    }
    true
}

/// The URL of the first server, for players that know nothing of SRV records.
pub fn first_url(set: &ServerSet, name: &ServiceName) -> bool {
    let first = set
        .servers
        .iter()
        .flat_map(|server| server.sockets())
        .next();
    match first {
        Some(address) => say(&format!("rtsp://{address}/{}", name.default_title())),
        None => return failure("no server has an address", false),
    }
    true
}

/// Tells what happens as it happens.
pub fn teller() -> Listener {
    let bar: Mutex<Option<ProgressBar>> = Mutex::default();
    Arc::new(move |happening| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Happening::Described { frames, .. } = &happening {
            *bar = Some(progress_bar(*frames));
        }
        let line = sentence(&happening);
        match (&*bar, line, &happening) {
            (Some(bar), _, Happening::Position(frame)) => bar.set_position(u64::from(*frame)),
            (Some(bar), Some(line), _) => bar.suspend(|| say(&line)),
            (None, Some(line), _) => say(&line),
            (_, None, _) => {}
        }
    })
}

/// Draws on standard error, and only if that is a terminal.
fn progress_bar(frames: Option<u32>) -> ProgressBar {
    let Some(frames) = frames else {
        return ProgressBar::new_spinner();
    };
    let bar = ProgressBar::new(u64::from(frames)).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} frame {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

fn sentence(happening: &Happening) -> Option<String> {
    Some(match happening {
        Happening::Resolved(set) => {
            let servers = set
                .servers
                .iter()
                .flat_map(|server| server.sockets())
                .count();
            format!(
                "{}: {} records, {servers} servers",
                set.name,
                set.servers.len()
            )
        }
        Happening::Raced(lap, ms) => format!("{} won the race in {ms:.1} ms", lap.address),
        Happening::Described {
            fps,
            frames,
            descriptions,
        } => {
            let rate = fps.map_or("unknown".into(), |(num, den)| {
                format!("{:.2}", f64::from(num) / f64::from(den.max(1)))
            });
            let frames = frames.map_or(String::new(), |frames| format!(", {frames} frames"));
            format!("{descriptions} description(s), {rate} frames per second{frames}")
        }
        Happening::Joined(ms) => format!("first packet after {ms:.1} ms"),
        Happening::Position(_) => return None,
        Happening::Stalled => "stalled: nothing to show".into(),
        Happening::HandoffBegun { id, to } => format!("handoff {id} to {to}"),
        Happening::HandoffMoved { id, description } => {
            format!("handoff {id}: d{description} moved")
        }
        Happening::HandoffDone { id, duration_ms } => {
            format!("handoff {id} done in {duration_ms:.0} ms")
        }
        Happening::HandoffFailed { id, reason } => format!("handoff {id} failed: {reason}"),
        Happening::Unhappy(reason) => format!("looking for another server: {reason}"),
        Happening::Switched { from, to } => format!("switched from {from} to {to}"),
    })
}

/// The end of a play: the report as JSON, or a waterfall and the counts; true if all went well.
pub fn end(report: &Report, json: bool) -> bool {
    if json {
        say_json(report);
        return report.ok;
    }
    waterfall(report);
    race(&report.race);
    if report.fps.is_some() {
        counts(report);
    }
    match &report.error {
        Some(error) => failure(error, false),
        None => report.ok,
    }
}

fn counts(report: &Report) {
    say(&format!(
        "frames: {} expected, {} shown, {} lost, {} interpolated, {} repeated, {} out of order, {} late",
        report.frames_expected,
        report.frames_shown,
        report.frames_lost,
        report.frames_interpolated,
        report.frames_repeated,
        report.frames_out_of_order,
        report.frames_late
    ));
    if let Some(stamps) = &report.stamps {
        say(&format!(
            "read from the pixels: {} stamps, {} lost, {} repeated, {} out of order",
            stamps.stamps_read,
            stamps.stamps_lost,
            stamps.stamps_repeated,
            stamps.stamps_out_of_order
        ));
    }
}

fn waterfall(report: &Report) {
    let steps = [
        ("srv", report.srv_ms),
        ("address", report.address_ms),
        ("race", report.race_ms),
        ("describe", report.describe_ms),
        ("setup", report.setup_ms),
        ("play", report.play_ms),
    ];
    let total: f64 = steps.iter().filter_map(|(_, ms)| *ms).sum();
    let columns = |ms: f64| ((ms / total.max(0.001) * BAR_COLUMNS).round()) as usize;
    let mut offset = 0.0;
    for (name, ms) in steps {
        let Some(ms) = ms else { continue };
        let (before, length) = (columns(offset), columns(ms).max(1));
        say(&format!(
            "{name:>9} {ms:8.1} ms  {}{}",
            " ".repeat(before),
            "█".repeat(length)
        ));
        offset += ms;
    }
    if let (Some(join), Some(first)) = (report.join_ms, report.first_frame_ms) {
        say(&format!(
            "first packet after {join:.1} ms, first picture after {first:.1} ms"
        ));
    }
}

fn race(laps: &[Lap]) {
    for lap in laps {
        let note = match (lap.result, &lap.reason) {
            (Finish::Ok, _) => format!("{:.3} ms", lap.rtt_us as f64 / 1e3),
            (_, Some(reason)) => reason.clone(),
            (_, None) => String::new(),
        };
        say(&format!("  {}  {note}", lap.address));
    }
}
