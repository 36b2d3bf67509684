//! Why a token gets the addresses it gets. Takes the same decision as a query does, then tells it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use dns_engine::{
    Client, ClientSubnet, HashedName, Question, Tailor, Tailored, Verdict, name, rtype,
};
use route_token::Payload;
use serde::{Deserialize, Serialize};
use traffic_map::{Subnet, services::Services};

use crate::plan::Family;
use crate::server_set::Why;
use crate::tailor::Tokens;
use crate::view::{Table, View};

/// What is being served, for a look at single decisions.
pub struct Explainer {
    tokens: Arc<Tokens>,
    view: Arc<View>,
    services: Option<Services>,
}

/// A decision in words and numbers, as JSON or as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The label asked about.
    pub token: String,
    /// The token zone it was opened in; of a refused one, where it was looked for.
    pub zone: String,
    /// `ok`, or why it is refused (`malformed`, `unknown_key`, `check`). The answer never tells.
    pub decoded: String,
    /// Response code of an A query; `as the zone says` for a name that the zone has itself.
    pub rcode: String,
    /// TTL of the addresses in seconds.
    pub ttl: u32,
    /// The ECS scope of the answer; 0: it is for everyone.
    pub scope: u8,
    /// Generation of the release; none before the first.
    pub generation: Option<u64>,
    /// What the token holds; none when it is refused.
    pub routing: Option<RoutingFacts>,
    /// Addresses of the A answer, best first.
    pub a: Vec<IpAddr>,
    /// Addresses of the AAAA answer, best first.
    pub aaaa: Vec<IpAddr>,
    /// The client network asked about, as the client subnet of an address query; it matters for tokens that the first
    /// level gave to a resolver's address.
    pub client: Option<String>,
}

/// The content of a token and what the map says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutingFacts {
    /// Service id.
    pub service: u16,
    /// Its name, if known.
    pub service_name: Option<String>,
    /// Region id in the token.
    pub region: u16,
    /// Placement id in the token.
    pub placement: u32,
    /// The first level did not know the client's network.
    pub assumed: bool,
    /// How the client's network compares with that assumption: `agreed`, `moved`, `unknown`.
    pub remapped: Option<String>,
    /// The map has that placement.
    pub placement_known: bool,
    /// Regions in the order in which they are tried.
    pub regions: Vec<RegionFacts>,
    /// Name of the region chosen for A.
    pub chosen: Option<String>,
    /// Why it was chosen: `region`, `next_region`, `fail_open`, `no_address`, `no_region`, `no_release`.
    pub why: String,
}

/// A region and its edges as the live table has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionFacts {
    /// Region id.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Edges in the map.
    pub edges: usize,
    /// Edges with a live address.
    pub live: usize,
}

impl Explainer {
    /// Looks at what queries are answered from.
    pub fn new(tokens: Arc<Tokens>, view: Arc<View>, services: Option<Services>) -> Explainer {
        Explainer {
            tokens,
            view,
            services,
        }
    }

    /// Explains a label, or a whole name (with a dot in it) below a token zone.
    ///
    /// # Errors
    /// When there is no token zone to look in, or the text is no name.
    pub fn explain(&self, token: &str, client: Option<Subnet>) -> Result<Explanation, String> {
        let (wire, zone) = self.place(token)?;
        let subnet = client.and_then(subnet_of);
        let a = self.ask(&wire, rtype::A, subnet);
        let aaaa = self.ask(&wire, rtype::AAAA, subnet);
        let label = name::labels(&wire).next().unwrap_or_default();
        let opened = self
            .tokens
            .find(&wire)
            .and_then(|(zone, label)| Some(zone.keys.as_ref()?.open(label)));
        let decoded = match &opened {
            None => "no_keys",
            Some(Ok(_)) => "ok",
            Some(Err(refused)) => refused.as_str(),
        };
        let table = self.view.table();
        let routing = opened
            .and_then(Result::ok)
            .map(|payload| self.routing(table.as_deref(), &payload, subnet));
        Ok(Explanation {
            token: String::from_utf8_lossy(label).into_owned(),
            zone,
            decoded: decoded.to_owned(),
            rcode: match a.verdict {
                Verdict::Answer | Verdict::NoData => "NOERROR",
                Verdict::NxDomain => "NXDOMAIN",
                Verdict::Zone => "as the zone says",
                Verdict::Refused => "REFUSED",
                Verdict::ServFail => "SERVFAIL",
            }
            .to_owned(),
            ttl: a.ttl,
            scope: a.scope,
            generation: table.as_deref().map(|table| table.plan.generation),
            routing,
            a: a.addresses,
            aaaa: aaaa.addresses,
            client: client.map(|client| client.to_string()),
        })
    }

    /// The wire name to ask for. A lone label is tried in every token zone; the first that opens it counts.
    fn place(&self, token: &str) -> Result<(Vec<u8>, String), String> {
        let wire = |origin: &[u8]| {
            name::parse(token, Some(origin))
                .map(|wire| name::lowered(&wire))
                .map_err(|error| format!("`{token}`: {error}"))
        };
        let zones = self.tokens.zones();
        if token.contains('.') {
            let name = wire(name::ROOT)?;
            let zone = self
                .tokens
                .find(&name)
                .map(|(zone, _)| name::text(&zone.origin));
            return zone.map(|zone| (name, zone)).ok_or_else(|| {
                format!("`{token}` is not one label below a token zone that is loaded")
            });
        }
        let opens = |zone: &&crate::tailor::TokenZone| {
            let label = token.to_ascii_lowercase();
            zone.keys
                .as_ref()
                .is_some_and(|keys| keys.open(label.as_bytes()).is_ok())
        };
        let zone = zones.iter().find(opens).or(zones.first());
        let zone = zone.ok_or("no token zone is loaded")?;
        Ok((wire(&zone.origin)?, name::text(&zone.origin)))
    }

    /// The very call that a query makes.
    fn ask(&self, name: &[u8], rtype: u16, subnet: Option<ClientSubnet>) -> Answer {
        let mut answer = Tailored::for_type(rtype);
        let client = Client {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            subnet,
        };
        let question = Question {
            name: &HashedName::new(name),
            rtype,
        };
        let verdict = self.tokens.tailor(&question, &client, &mut answer);
        let address = |data: &[u8]| match (<[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
            (Ok(v4), _) => Some(IpAddr::from(v4)),
            (_, Ok(v6)) => Some(IpAddr::from(v6)),
            _ => None,
        };
        Answer {
            verdict,
            addresses: answer.rdatas().filter_map(address).collect(),
            ttl: answer.ttl(),
            scope: answer.scope(),
        }
    }

    fn routing(
        &self,
        table: Option<&Table>,
        payload: &Payload,
        client: Option<ClientSubnet>,
    ) -> RoutingFacts {
        let service = self
            .services
            .as_ref()
            .and_then(|services| services.by_id(payload.service));
        let mut facts = RoutingFacts {
            service: payload.service,
            service_name: service.map(|service| service.name.clone()),
            region: payload.region,
            placement: payload.placement,
            assumed: payload.assumed,
            remapped: None,
            placement_known: false,
            regions: Vec::new(),
            chosen: None,
            why: "no_release".to_owned(),
        };
        let Some(table) = table else { return facts };
        let map = &table.plan.map;
        facts.placement_known = map.placement_by_id(payload.placement).is_some();
        let remapped = self.tokens.remap(table, payload, client);
        facts.remapped = remapped.finding.map(|finding| finding.as_str().to_owned());
        let payload = &remapped.payload;
        let set = self.tokens.choose(table, payload, Family::V4);
        facts.chosen = set.region.and_then(|id| Some(map.region(id)?.name.clone()));
        facts.why = Why::as_str(set.why).to_owned();
        let chain = table
            .plan
            .chain(payload, self.tokens.rules(payload).profile);
        facts.regions = chain.filter_map(|id| region_facts(table, id)).collect();
        facts
    }
}

/// What a query would get.
struct Answer {
    verdict: Verdict,
    addresses: Vec<IpAddr>,
    ttl: u32,
    scope: u8,
}

/// A network as a query tells it; a length of 0 tells nothing (RFC 7871 §7.1.2).
fn subnet_of(client: Subnet) -> Option<ClientSubnet> {
    let client = client.normalized();
    (client.len > 0).then_some(ClientSubnet {
        address: client.address,
        source_len: client.len,
    })
}

fn region_facts(table: &Table, id: u16) -> Option<RegionFacts> {
    let region = table.plan.map.region(id)?;
    let lives = |edge: &&usize| {
        table
            .plan
            .targets_of(**edge)
            .any(|target| table.live.get(target) == Some(&true))
    };
    Some(RegionFacts {
        id,
        name: region.name.clone(),
        edges: region.edges.len(),
        live: region.edges.iter().filter(lives).count(),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "token      {} in {}", self.token, self.zone)?;
        writeln!(f, "decoded    {}", self.decoded)?;
        if let Some(facts) = &self.routing {
            let service = facts.service_name.as_deref().unwrap_or("unknown here");
            writeln!(f, "service    {} ({service})", facts.service)?;
            let known = if facts.placement_known {
                ""
            } else {
                ", not in this map"
            };
            writeln!(f, "placement  {}{known}", facts.placement)?;
            match &facts.remapped {
                Some(found) => writeln!(f, "assumed    yes; the client's network: {found}")?,
                None if facts.assumed => writeln!(f, "assumed    yes; no client network told")?,
                None => {}
            }
            for (rank, region) in facts.regions.iter().enumerate() {
                let RegionFacts {
                    id,
                    name,
                    edges,
                    live,
                } = region;
                let title = if rank == 0 { "regions" } else { "" };
                writeln!(f, "{title:<10} {name} ({id}): {live} of {edges} edges live")?;
            }
            let chosen = facts.chosen.as_deref().unwrap_or("none");
            writeln!(f, "chosen     {chosen}: {}", facts.why)?;
        }
        match self.generation {
            Some(generation) => writeln!(f, "release    {generation}")?,
            None => writeln!(f, "release    none yet")?,
        }
        write!(
            f,
            "answer     {}, TTL {}, scope /{}",
            self.rcode, self.ttl, self.scope
        )?;
        for address in self.a.iter().chain(&self.aaaa) {
            write!(f, "\n           {address}")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    token: String,
    client: Option<String>,
}

/// `GET /v1/explain?token=LABEL[&client=NET]` on the admin port: about what is being served at this moment.
pub(crate) fn routes(current: Arc<ArcSwap<Explainer>>) -> Router {
    let answer = move |Query(ask): Query<Ask>| {
        let client = ask.client.as_deref().map(str::parse).transpose();
        let client: Option<Subnet> = match client {
            Ok(client) => client,
            Err(error) => {
                let refused = (StatusCode::BAD_REQUEST, format!("{error}\n"));
                return std::future::ready(refused.into_response());
            }
        };
        let explained = current.load().explain(&ask.token, client);
        let response: Response = match explained {
            Ok(explanation) => Json(explanation).into_response(),
            Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
        };
        std::future::ready(response)
    };
    Router::new().route("/v1/explain", get(answer))
}
