//! What a person sees: a few lines, a progress bar where there is a terminal, and commands to copy.

use std::io::Write;
use std::net::SocketAddr;

use indicatif::{ProgressBar, ProgressStyle};
use player::events::Happening;
use player::resolve::ServerSet;

use crate::act::{CLIENTS, SERVICE, TOKENS};
use crate::cast::Cast;
use crate::epilogue::Learnt;
use crate::stage::{Stage, TITLE};
use crate::summary::Summary;

/// A line on standard output; a closed pipe is nobody's fault.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

pub(crate) fn stage(stage: &Stage) {
    let built = &stage.built;
    say(&format!(
        "mapmaker       generation {}: {} ranges, {} units, {} regions, {} edges in {:.1} s, {} kB, signed",
        built.generation,
        built.ranges,
        built.units,
        built.regions,
        built.edges,
        stage.build_seconds,
        built.size / 1000,
    ));
}

pub(crate) fn cast(cast: &Cast) {
    let addresses = || cast.edges.iter().filter_map(|edge| edge.rtsp.first());
    let text = |address: Option<&SocketAddr>| address.map(ToString::to_string).unwrap_or_default();
    say(&format!(
        "nameserver-l1  {}\nnameserver-l2  {}\nmedia-edge     {} edges, {} to {}\n",
        cast.l1,
        cast.l2,
        cast.edges.len(),
        text(addresses().min()),
        text(addresses().max()),
    ));
}

pub(crate) fn routed(network: &str, place: &str, set: &ServerSet, cast: &Cast) {
    say(&format!("{network} ({place}) asks for {SERVICE} SRV"));
    for server in &set.servers {
        let edges: Vec<String> = server
            .sockets()
            .map(|address| match cast.edge_at(address) {
                Some(edge) => format!("{} ({})", edge.name, address.ip()),
                None => address.to_string(),
            })
            .collect();
        let region = server.sockets().find_map(|address| cast.edge_at(address));
        say(&format!(
            "  {} {} {} {}…  {:<12} {}",
            server.priority,
            server.weight,
            server.port,
            server.token().get(..8).unwrap_or_default(),
            region.map_or("?", |edge| &edge.region),
            edges.join(" "),
        ));
    }
}

/// The bar of the running play.
pub(crate) struct Picture {
    bar: ProgressBar,
}

impl Picture {
    pub(crate) fn new(frames: u32) -> Picture {
        let bar = ProgressBar::new(frames.into());
        if let Ok(style) =
            ProgressStyle::with_template("player         {bar:40} frame {pos}/{len}  {msg}")
        {
            bar.set_style(style);
        }
        say("");
        Picture { bar }
    }

    /// Shows what matters of a happening.
    pub(crate) fn note(&self, happening: &Happening, cast: &Cast) {
        let name = |address: SocketAddr| match cast.edge_at(address) {
            Some(edge) => format!("{} in {}", edge.name, edge.region),
            None => address.to_string(),
        };
        match happening {
            Happening::Raced(lap, ms) => {
                self.line(&format!(
                    "player         race won by {} in {ms:.1} ms",
                    name(lap.address)
                ));
            }
            Happening::Joined(ms) => {
                self.line(&format!("player         first packet after {ms:.1} ms"))
            }
            Happening::Position(frame) => self.bar.set_position((*frame).into()),
            Happening::HandoffBegun { to, .. } => {
                self.line(&format!(
                    "media-edge     hands the session to {}",
                    name(*to)
                ));
            }
            Happening::HandoffMoved { description, .. } => {
                self.line(&format!(
                    "player         description {description} comes from the new edge"
                ));
            }
            Happening::HandoffDone { duration_ms, .. } => {
                self.line(&format!(
                    "player         whole session moved in {duration_ms:.0} ms"
                ));
            }
            Happening::HandoffFailed { reason, .. } => {
                self.line(&format!(
                    "player         handoff failed, the first edge carries on: {reason}"
                ));
            }
            Happening::Unhappy(reason) => {
                self.line(&format!("player         not content: {reason}"))
            }
            _ => {}
        }
    }

    pub(crate) fn drains(&self, edge: &str) {
        self.line(&format!("operator       drains {edge}"));
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// A line that stays, above the bar.
    fn line(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }
}

pub(crate) fn learnt(learnt: &Learnt) {
    say(&format!(
        "mapmaker       generation {} made with {} measurement lines from the player's race, served by nameserver-l1",
        learnt.generation, learnt.lines
    ));
}

pub(crate) fn summary(summary: &Summary) {
    say(&format!(
        "player         {} of {} frames shown, {} lost, {} handoffs with {} frames lost, {} repeated, {} out of order",
        summary.frames_shown,
        summary.frames_expected,
        summary.frames_lost,
        summary.handoffs,
        summary.handoff_frames_lost,
        summary.frames_repeated,
        summary.frames_out_of_order,
    ));
    for problem in summary.problems() {
        say(&format!("problem        {problem}"));
    }
}

/// Commands to copy, while everything keeps serving.
pub(crate) fn commands(stage: &Stage, cast: &Cast, summary: &Summary) {
    let (l1, l2) = (cast.l1, cast.l2);
    let (client, _) = CLIENTS[0];
    let dir = std::env::current_dir()
        .ok()
        .and_then(|here| {
            stage
                .dir
                .strip_prefix(here)
                .ok()
                .map(|dir| dir.display().to_string())
        })
        .unwrap_or_else(|| stage.dir.display().to_string());
    let edge = cast.edges.iter().min_by_key(|edge| edge.rtsp.first());
    let rtsp = edge
        .and_then(|edge| edge.rtsp.first())
        .map(ToString::to_string)
        .unwrap_or_default();
    let admin = edge.map(|edge| edge.admin.to_string()).unwrap_or_default();
    let token = &summary.token;
    say(&format!(
        "\nEverything keeps serving until Ctrl-C. Try it yourself:
  dig @{} -p {} {SERVICE} SRV +subnet={client}
  dig @{} -p {} {token}.{TOKENS} A
  ffplay rtsp://{rtsp}/{TITLE}
  cargo run --release -p player -- play {SERVICE} --client {client} --resolver {l1} --resolver {TOKENS}={l2}
  cargo run --release -p nameserver-l1 -- explain --config {dir}/nameserver-l1.toml --client {client} --service live
  cargo run --release -p mapmaker -- show --release {dir}/releases --placements | head
  curl -s -X POST http://{admin}/drain      (and /resume; GET /sessions, /metrics)",
        l1.ip(),
        l1.port(),
        l2.ip(),
        l2.port(),
    ));
}

pub(crate) fn json(summary: &Summary) -> anyhow::Result<()> {
    say(&serde_json::to_string(summary)?);
    Ok(())
}
