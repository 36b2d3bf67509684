//! Our servers without sockets: the door they answer at, with the real tailors behind it, called directly. For what can be
//! counted exactly, allocations and instructions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use dns_transport::{Answerer, Arrival, Reply, Transport, Worker};
use nameserver::door::Attendant;
use nameserver::{InForce, Shell};
use nameserver_l1::adoption::Adoption;
use nameserver_l1::inputs::Inputs;
use nameserver_l1::metrics::Metrics;
use nameserver_l2::plan::Plan;
use nameserver_l2::tailor::{ServiceFacts, TokenZone, Tokens};
use nameserver_l2::view::View;
use prometheus::Registry;

use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::tokens;
use crate::world::CLASSES;

/// A worker of a server, and room for its answers.
pub(crate) struct Engine {
    worker: Attendant,
    out: Vec<u8>,
    asked: usize,
}

/// Queries of a batch, as the sockets' workers take them.
const BATCH: usize = 64;

impl Engine {
    /// A server over a site, in which a release is published.
    pub(crate) fn new(level: Level, site: &Site) -> anyhow::Result<Engine> {
        let worker = match level {
            Level::L1 => first_level(site)?,
            Level::L2 => second_level(site)?,
        };
        Ok(Engine {
            worker,
            out: vec![0; 4096],
            asked: 0,
        })
    }

    /// Asks one question; true if the answer is right.
    pub(crate) fn ask(&mut self, questions: &Questions, number: usize) -> bool {
        let length = self.answer(questions.message(number));
        length.is_some_and(|length| questions.fits(number, &self.out[..length]))
    }

    /// The length of an answer, if there is one.
    pub(crate) fn answer(&mut self, query: &[u8]) -> Option<usize> {
        let from = Arrival {
            source: SocketAddr::from(([127, 0, 0, 1], 5300)),
            local: SocketAddr::from(([127, 0, 0, 1], 53)),
            transport: Transport::Udp,
        };
        if self.asked.is_multiple_of(BATCH) {
            self.worker.begin_batch();
        }
        self.asked += 1;
        match self.worker.answer(query, &from, &mut self.out) {
            Reply::Send(length) => Some(length),
            _ => None,
        }
    }
}

fn first_level(site: &Site) -> anyhow::Result<Attendant> {
    let config = nameserver_l1::Config::load(&site.path(Level::L1.config()))?;
    let mut adoption = Adoption::default();
    let outcome = adoption.take(Inputs::look(&config).0);
    let refused: Vec<String> = outcome
        .refused
        .iter()
        .map(|(source, report)| format!("{source}: {report}"))
        .collect();
    anyhow::ensure!(refused.is_empty(), refused.join("\n"));
    let (zones, explainer) = adoption.world().build(&Metrics::unshown()?);
    let door = Shell::new(config.settings(), &Registry::new())?.door();
    door.serve(zones, explainer.routing);
    Ok(door.worker())
}

fn second_level(site: &Site) -> anyhow::Result<Attendant> {
    let config = nameserver_l2::Config::load(&site.path(Level::L2.config()))?;
    let text = tokens::TOKEN_ZONE;
    let zone = dns_engine::zonefile::parse("tokens", text, None);
    let zone = zone.map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let view = Arc::new(View::new(config.probe));
    view.adopt(Plan::new(1, 0, site.read_back()?, None));
    let keys = Rc::clone(&site.ring).zone(tokens::TOKENS);
    let facts = (0..site.services()).map(|service| ServiceFacts {
        id: tokens::id(service),
        class: (service % CLASSES) as u8,
        profile: None,
    });
    let tailor = Tokens::new(
        vec![TokenZone::new(&zone, Some(keys), 10)],
        facts.collect(),
        config.answer_count(),
        view,
        Arc::default(),
        InForce::unshown(),
    );
    let mut zones = dns_engine::Zones::new();
    zones.insert(zone).ok().context("one zone")?;
    let door = Shell::new(config.settings(), &Registry::new())?.door();
    door.serve(zones, Arc::new(tailor));
    Ok(door.worker())
}
