//! Latency while a release and a large zone are swapped, at four fifths of what the server can do, with the whole server,
//! loading included, on one core.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, kill_process};

use crate::load::Load;
use crate::load::paced::{self, Paced};
use crate::load::udp::{Udp, Window};
use crate::peers::{Peer, ZoneFile};
use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::{statics, tokens};

/// Share of the saturated rate at which is asked.
const SHARE: f64 = 0.8;
/// How long the saturated rate is looked for.
const SATURATED: Duration = Duration::from_secs(2);
/// Before the swap, and after the new version is seen.
const AROUND: Duration = Duration::from_secs(1);
/// Longest wait for the new version.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look for the new version to the next.
const LOOK: Duration = Duration::from_millis(100);

/// What clients saw during one swap.
pub(crate) struct Swap {
    /// Such as `release`; of another server's zone, that server.
    pub(crate) what: &'static str,
    /// Queries a second.
    pub(crate) rate: f64,
    /// From the new file to the first answer out of it.
    pub(crate) taken: Duration,
    pub(crate) seen: Paced,
}

/// Swaps a release, then a zone of so many names.
pub(crate) fn swaps(
    site: &Site,
    known: &tokens::Known,
    programs: Option<&Path>,
    names: usize,
) -> anyhow::Result<Vec<Swap>> {
    let maps = |generations: &[u64]| -> anyhow::Result<tokens::Known> {
        let maps = generations.iter().map(|generation| site.map(*generation));
        Ok(tokens::Known {
            maps: Rc::new(maps.collect::<anyhow::Result<_>>()?),
            ..known.clone()
        })
    };
    // Everything lies ready beside its place, so that the swap itself is one rename.
    site.write("zones/media.test.zone", &statics::zone(names, 1))?;
    site.write("next.zone", &statics::zone(names, 2))?;
    let current = site.path("releases/current");
    let before = fs::read_to_string(&current)?;
    site.publish(&site.map(2)?.encode())?;
    let after = fs::read_to_string(&current)?;
    site.write("releases/current", &before)?;
    site.write("next.current", &after)?;

    let both = tokens::clients(&maps(&[1, 2])?, None);
    let new = tokens::clients(&maps(&[2])?, None);
    let mut ours = site.start(Level::L1, programs, "")?;
    let dns = ours.server.dns;
    ours.server.until_right(&tokens::clients(known, None))?;
    let rename = |from: &str, to: &str| fs::rename(site.path(from), site.path(to));
    let release = swap("release", dns, &both, &new, &mut || {
        rename("next.current", "releases/current")
    })?;
    let both = statics::names(names, &[1, 2], &[]);
    let new = statics::names(names, &[2], &[]);
    let zone = swap("zone", dns, &both, &new, &mut || {
        rename("next.zone", "zones/media.test.zone")
    })?;
    Ok(vec![release, zone])
}

/// Swaps a zone of so many names in other servers that re-read their zones at a signal; one that does not is left out,
/// after saying so.
pub(crate) fn by_peers(site: &Site, peers: &[Peer], names: usize) -> anyhow::Result<Vec<Swap>> {
    let (both, new) = (
        statics::names(names, &[1, 2], &[]),
        statics::names(names, &[2], &[]),
    );
    let mut swaps = Vec::new();
    for peer in peers {
        let Some(signal) = peer.rereads_at() else {
            continue;
        };
        site.write("theirs.zone", &statics::zone(names, 1))?;
        site.write("next.zone", &statics::zone(names, 2))?;
        let zone = ZoneFile {
            origin: statics::ZONE,
            path: site.path("theirs.zone"),
        };
        let folder = site.path("swapping");
        let Some(mut server) = peer.start(&folder, vec![zone], false)? else {
            continue;
        };
        server.until_right(&both)?;
        let process = Pid::from_raw(server.process().cast_signed());
        let process = process.context("a process id")?;
        let swapped = swap(peer.name(), server.dns, &both, &new, &mut || {
            fs::rename(site.path("next.zone"), site.path("theirs.zone"))?;
            Ok(kill_process(process, signal)?)
        });
        match swapped {
            Ok(swap) => swaps.push(swap),
            Err(error) => eprintln!("bench: {}: {error:#}", peer.name()),
        }
    }
    Ok(swaps)
}

fn swap(
    what: &'static str,
    dns: SocketAddr,
    both: &Questions,
    new: &Questions,
    act: &mut dyn FnMut() -> std::io::Result<()>,
) -> anyhow::Result<Swap> {
    let saturated = Udp::new(dns, both, Window::USUAL)?.run_for(SATURATED)?;
    let rate = SHARE * saturated.answered as f64 / saturated.elapsed.as_secs_f64();
    anyhow::ensure!(rate > 0.0, "no answers before the swap of the {what}");
    let mut watch = Watch::new(dns, new)?;
    let (mut acted, mut taken, mut failed) = (None, None, None);
    let seen = paced::ask(dns, both, rate, &mut |now| {
        match (acted, taken) {
            (None, _) if now >= AROUND => {
                failed = act().err();
                acted = Some(now);
            }
            (Some(acted), None) if watch.sees_it(now) => taken = Some(now - acted),
            _ => {}
        }
        let end = acted.map(|acted| acted + taken.map_or(PATIENCE, |taken| taken + AROUND));
        failed.is_some() || end.is_some_and(|end| now >= end)
    })?;
    if let Some(error) = failed {
        return Err(error).context("cannot swap");
    }
    let taken = taken.with_context(|| format!("the new {what} was never served"))?;
    Ok(Swap {
        what,
        rate,
        taken,
        seen,
    })
}

/// Asks now and then, and never waits.
struct Watch<'q> {
    socket: UdpSocket,
    new: &'q Questions,
    asked: Duration,
}

impl<'q> Watch<'q> {
    fn new(dns: SocketAddr, new: &'q Questions) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(dns)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            new,
            asked: Duration::ZERO,
        })
    }

    /// True if an answer that only the new version gives has come.
    fn sees_it(&mut self, now: Duration) -> bool {
        let mut answer = [0; 1536];
        while let Ok(length) = self.socket.recv(&mut answer) {
            if self.new.judge(0, &answer[..length]).is_ok() {
                return true;
            }
        }
        if now - self.asked >= LOOK {
            self.asked = now;
            // One that is not sent is followed by another.
            let _ = self.socket.send(self.new.message(0));
        }
        false
    }
}
