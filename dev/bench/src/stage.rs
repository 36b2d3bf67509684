//! All servers of a run, started over the same zones and answering, and the contests among them.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use signpost_tests::port;

use crate::contest::{Contender, Contest, Transport};
use crate::load::udp::Window;
use crate::null::Shape;
use crate::peers::{Peer, ZoneFile};
use crate::process::{Server, ask};
use crate::questions::{Question, Questions, SRV};
use crate::site::{Level, Ours, Site};
use crate::works::signed::{self, Validator};
use crate::works::{statics, tokens};
use crate::world::Scale;
use crate::{edges, world};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Work {
    /// Static SRV records over UDP.
    W1,
    /// SRV records by client subnet.
    W2,
    /// A token's addresses.
    #[value(name = "w2b")]
    W2b,
    /// Names that do not exist.
    W3,
    /// As W1, over TCP.
    W4,
    /// As W1, over TLS.
    #[value(name = "w4t")]
    W4t,
    /// As W2, signed.
    W5,
    /// As W1, with cookies.
    W6,
    /// Allocations of a query.
    Allocations,
    /// How long zones and maps take to load, and what they hold.
    Load,
    /// Latency while they are swapped.
    Reload,
}

/// Works that the first level does, unsigned.
const FIRST_LEVEL: [Work; 6] = [Work::W1, Work::W2, Work::W3, Work::W4, Work::W4t, Work::W6];

/// What W5 counts.
const SIGNATURES: &str = "signpost_dnssec_signatures_total{event=\"made\"}";
/// Signatures kept in W5 warm, as by default, and cold: next to none.
const CACHE_MEBIBYTES: [u32; 2] = [32, 1];
/// A client's cookie (RFC 7873 §4.1).
const COOKIE: &[u8; 8] = b"signpost";

/// The running servers.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) known: tokens::Known,
    pub(crate) programs: Option<PathBuf>,
    peers: Vec<(Peer, Server)>,
    ours: Vec<Ours>,
    nulls: Vec<Server>,
    cold: Option<usize>,
}

impl Stage {
    /// Writes the site and a release of this size.
    pub(crate) fn new(
        folder: &Path,
        scale: &Scale,
        programs: Option<PathBuf>,
    ) -> anyhow::Result<Stage> {
        let port = edges::start(world::edge_addresses()).context("addresses for edges")?;
        let site = Site::new(folder, scale, port)?;
        site.publish(&site.map(1)?.encode())?;
        let known = site.known()?;
        Ok(Stage {
            site,
            known,
            programs,
            peers: Vec::new(),
            ours: Vec::new(),
            nulls: Vec::new(),
            cold: None,
        })
    }

    /// Starts other people's servers; says which are not there.
    pub(crate) fn start_peers(&mut self, peers: &[Peer]) -> anyhow::Result<()> {
        let folder = self.site.path("peers");
        for peer in peers {
            let zone = ZoneFile {
                origin: statics::ZONE,
                path: self.site.path("zones/media.test.zone"),
            };
            let by_client = peer.by_client();
            let Some(mut server) = peer.start(&folder, vec![zone], by_client.is_some())? else {
                eprintln!("bench: {} is not installed: left out", peer.name());
                continue;
            };
            let names = statics::names(statics::NAMES, &[1], &[]);
            for questions in [Some(names), by_client].into_iter().flatten() {
                let started = server.until_right(&questions);
                started.with_context(|| format!("{} does not serve", peer.name()))?;
            }
            eprintln!("bench: {} {} serves", peer.name(), peer.version());
            self.peers.push((*peer, server));
        }
        Ok(())
    }

    /// Starts what these works need of ours, and lines everybody up.
    pub(crate) fn contests(&mut self, works: &[Work]) -> anyhow::Result<Vec<Contest>> {
        let has = |work| works.contains(&work);
        let mut contests = Vec::new();
        let names = statics::names(statics::NAMES, &[1], &[]);
        if works.iter().any(|work| FIRST_LEVEL.contains(work)) {
            let encrypted = port::free()?;
            let (table, client) = self.site.certify(encrypted)?;
            let l1 = self.start(Level::L1, &table, &names)?;
            if has(Work::W4t) {
                contests.push(Contest {
                    key: "w4t",
                    title: "W1 over TLS, 16 in flight",
                    transport: Transport::Tls(Arc::new(client)),
                    contenders: vec![Contender::new("ours", encrypted, l1.1, &names)],
                });
            }
            let w4 = (Work::W4, "w4", "W1 over TCP, 16 in flight", Transport::Tcp);
            let w1 = (
                Work::W1,
                "w1",
                "static SRV over UDP",
                Transport::Udp(Window::USUAL),
            );
            for (work, key, title, transport) in [w1, w4] {
                if has(work) {
                    contests.push(self.open(key, title, transport, l1, &names)?);
                }
            }
            if has(Work::W2) {
                let clients = tokens::clients(&self.known, None);
                let title = "SRV by client subnet: ours with tokens, others as they can";
                let mut contest = self.closed("w2", title, l1, &clients)?;
                contest.contenders.extend(self.by_client());
                contests.push(contest);
            }
            if has(Work::W3) {
                let (invented, title) = (statics::invented(), "names that do not exist");
                contests.push(self.open(
                    "w3",
                    title,
                    Transport::Udp(Window::USUAL),
                    l1,
                    &invented,
                )?);
            }
            if has(Work::W6) {
                let cookie = server_cookie(l1.0)?;
                let with_cookie = statics::names(statics::NAMES, &[1], &cookie);
                contests.push(self.closed("w6", "W1 with cookies", l1, &with_cookie)?);
            }
        }
        if has(Work::W2b) {
            let addresses = tokens::addresses(&self.known, tokens::OPENED);
            let l2 = self.start(Level::L2, "", &addresses)?;
            contests.push(self.closed("w2b", "a token's addresses", l2, &addresses)?);
        }
        if has(Work::W5) {
            let [warm, cold] = CACHE_MEBIBYTES;
            let table = self.site.sign(warm)?;
            let l1 = self.start(Level::L1, &table, &signed::keys())?;
            let validator = Validator::new(l1.0, &self.site.ds()?)?;
            let clients = tokens::clients(&self.known, Some(&validator));
            self.last_until_right(&clients)?;
            contests.push(self.closed("w5", "W2 with signatures, warm", l1, &clients)?);
            let table = self.site.sign(cold)?;
            let denials = signed::denials(&validator);
            let l1 = self.start(Level::L1, &table, &denials)?;
            self.cold = Some(self.ours.len() - 1);
            let title = "denials with signatures, cold";
            contests.push(self.closed("w5_cold", title, l1, &denials)?);
        }
        contests.sort_by_key(|contest| contest.key);
        Ok(contests)
    }

    /// Ends all servers; the site stays.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.ours.clear();
        self.nulls.clear();
    }

    /// Signatures made by the server whose cache is cold.
    pub(crate) fn signatures(&self) -> f64 {
        let server = self.cold.and_then(|at| self.ours.get(at));
        server
            .and_then(|ours| ours.metric(SIGNATURES))
            .unwrap_or(0.0)
    }

    /// Starts a server of ours and waits for a right answer.
    fn start(
        &mut self,
        level: Level,
        more: &str,
        questions: &Questions,
    ) -> anyhow::Result<(SocketAddr, u32)> {
        let ours = self.site.start(level, self.programs.as_deref(), more)?;
        let place = (ours.server.dns, ours.server.process());
        self.ours.push(ours);
        let right = self.last_until_right(questions);
        right.with_context(|| level.program())?;
        Ok(place)
    }

    /// Waits for a right answer of the server of ours that was started last.
    fn last_until_right(&mut self, questions: &Questions) -> anyhow::Result<()> {
        let ours = self.ours.last_mut().context("a server of ours")?;
        ours.server.until_right(questions)?;
        Ok(())
    }

    /// Ours and a null responder with answers of the same size.
    fn closed(
        &mut self,
        key: &'static str,
        title: &'static str,
        (dns, process): (SocketAddr, u32),
        questions: &Questions,
    ) -> anyhow::Result<Contest> {
        let null = self.start_null(dns, questions)?;
        let ours = Contender::new("ours", dns, process, questions);
        Ok(Contest {
            key,
            title,
            transport: Transport::Udp(Window::USUAL),
            contenders: vec![null, ours],
        })
    }

    /// The same with every peer.
    fn open(
        &mut self,
        key: &'static str,
        title: &'static str,
        transport: Transport,
        ours: (SocketAddr, u32),
        questions: &Questions,
    ) -> anyhow::Result<Contest> {
        let mut contest = self.closed(key, title, ours, questions)?;
        let peers = self.peers.iter();
        contest.contenders.extend(peers.map(|(peer, server)| {
            Contender::new(peer.name(), server.dns, server.process(), questions)
        }));
        Ok(Contest {
            transport,
            ..contest
        })
    }

    fn by_client(&self) -> impl Iterator<Item = Contender> {
        self.peers.iter().filter_map(|(peer, server)| {
            let questions = peer.by_client()?;
            let (dns, process) = (server.dns, server.process());
            Some(Contender::new(peer.name(), dns, process, &questions))
        })
    }

    fn start_null(&mut self, like: SocketAddr, questions: &Questions) -> anyhow::Result<Contender> {
        let answer = ask(like, questions.message(0), Duration::from_secs(1))?;
        let shape = Shape {
            size: answer.context("no answer to measure")?.len(),
            rcode: questions.rcode,
            answers: questions.answers,
        };
        let dns = port::free()?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["null", "--listen", &dns.to_string()]);
        command.args(["--size", &shape.size.to_string()]);
        command.args(["--rcode", &shape.rcode.to_string()]);
        command.args(["--answers", &shape.answers.to_string()]);
        let mut server = Server::start(&mut command, dns, &self.site.path("null"))?;
        let unjudged = questions.unjudged();
        server.until_right(&unjudged).context("null responder")?;
        let contender = Contender::new("null", dns, server.process(), &unjudged);
        self.nulls.push(server);
        Ok(contender)
    }
}

/// What a server gives a client without a cookie: both together, 24 octets (RFC 9018 §4).
fn server_cookie(server: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let question = Question {
        cookie: COOKIE,
        ..Question::new(statics::ZONE, SRV)
    };
    let answer = ask(server, &question.message(), Duration::from_secs(1))?;
    let answer = answer.context("no answer with a cookie")?;
    let at = answer.windows(8).position(|octets| octets == COOKIE);
    let cookie = at.and_then(|at| answer.get(at..at + 24));
    Ok(cookie.context("no server cookie")?.to_vec())
}
