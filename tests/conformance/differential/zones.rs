//! The zones that everybody serves: one written by hand with a corner for each thing that name servers get wrong,
//! and as many as wanted grown from a seed over an alphabet so small that everything meets everything.

use std::{collections::BTreeMap, fmt::Write};

use signpost_tests::random::Random;

/// A zone as every name server can load it.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    /// With the final dot.
    pub(crate) origin: String,
    /// Absolute names throughout.
    pub(crate) text: String,
    /// Every owner with its types, absolute.
    pub(crate) owners: BTreeMap<String, Vec<String>>,
}

/// The one written by hand.
const RICH: &str = include_str!("rich.zone");

/// All zones for a seed.
pub(crate) fn zones(seed: u64, grown: usize) -> Vec<Zone> {
    let mut random = Random(seed);
    let mut zones = vec![Zone::of_text("rich.test.", RICH)];
    zones.extend((0..grown).map(|n| grow(&format!("g{n}.test."), &mut random)));
    zones
}

impl Zone {
    /// Reads owners and types from a text with one record a line: owner, TTL, type, data.
    fn of_text(origin: &str, text: &str) -> Self {
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with([';', '$'])) {
            let mut words = line.split_whitespace();
            if let (Some(owner), Some(_), Some(rtype)) = (words.next(), words.next(), words.next())
            {
                let types = owners.entry(owner.to_lowercase()).or_default();
                types.push(rtype.to_owned());
            }
        }
        Self {
            origin: origin.to_owned(),
            text: text.to_owned(),
            owners,
        }
    }
}

/// What may be at a name that is no alias and no cut.
const ORDINARY: &[&str] = &[
    "A",
    "AAAA",
    "TXT",
    "MX",
    "SRV",
    "PTR",
    "NAPTR",
    "TYPE65300",
    "A",
    "TXT",
];
const LABELS: &[&str] = &["a", "b", "c", "*", "A"];

/// Longer chains are taken for circles; name servers follow different numbers of aliases.
const ALIASES_MAX: usize = 7;

/// A zone of random names. What no loader takes is left out: aliases beside other records or in a circle, anything
/// below a DNAME, anything but addresses below a cut, cuts and DNAMEs at wildcards.
fn grow(origin: &str, random: &mut Random) -> Zone {
    let mut grown = Grown {
        origin: origin.to_owned(),
        records: BTreeMap::new(),
    };
    let apex = origin.to_owned();
    grown.add(
        &apex,
        "SOA",
        format!(
            "ns.{origin} hostmaster.{origin} 1 3600 900 86400 {}",
            30 + random.below(600)
        ),
    );
    grown.add(&apex, "NS", format!("ns.{origin}"));
    grown.add(&format!("ns.{origin}"), "A", "192.0.2.1".to_owned());
    if random.below(3) == 0 {
        grown.add(&apex, "NS", "ns.elsewhere.example.".to_owned());
    }
    for _ in 0..12 + random.below(24) {
        grown.step(random);
    }
    grown.finished()
}

struct Grown {
    origin: String,
    /// Owner, type → data.
    records: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Grown {
    fn step(&mut self, random: &mut Random) {
        let owner = self.name(random);
        let wild = owner.contains('*');
        match random.below(10) {
            0 if self.is_free(&owner) => self.alias(&owner, random),
            1 if !wild && self.takes(&owner) && !self.has_below(&owner) => {
                self.rename(&owner, random);
            }
            2 | 3 if !wild && self.is_free(&owner) && !self.has_below(&owner) => {
                self.delegate(&owner, random);
            }
            _ if self.takes(&owner) => {
                for _ in 0..1 + random.below(3) {
                    let rtype = ORDINARY[random.index(ORDINARY.len())];
                    let data = self.data(rtype, random);
                    self.add(&owner, rtype, data);
                }
            }
            _ => {}
        }
    }

    /// A name of up to four labels below the zone.
    fn name(&self, random: &mut Random) -> String {
        let mut name = self.origin.clone();
        for _ in 0..1 + random.below(4) {
            name = format!("{}.{name}", LABELS[random.index(LABELS.len())]);
        }
        name
    }

    /// Mostly a name of the zone, there or not, sometimes another's.
    fn target(&self, random: &mut Random) -> String {
        match random.below(6) {
            0 => "www.elsewhere.example.".to_owned(),
            1 => "rich.test.".to_owned(),
            2 => {
                let names: Vec<&String> = self.records.keys().collect();
                names[random.index(names.len())].clone()
            }
            _ => self.name(random).replace('*', "c"),
        }
    }

    fn data(&self, rtype: &str, random: &mut Random) -> String {
        let n = random.below(200) + 1;
        match rtype {
            "A" => format!("192.0.2.{n}"),
            "AAAA" => format!("2001:db8::{n:x}"),
            "TXT" => format!("\"text {n}\""),
            "MX" => format!("{n} {}", self.target(random)),
            "SRV" => format!("0 {n} 554 {}", self.target(random)),
            "PTR" => self.target(random),
            "NAPTR" => format!("{n} 10 \"s\" \"RTSP+D2T\" \"\" {}", self.target(random)),
            _ => format!("\\# 2 00{n:02x}"),
        }
    }

    fn alias(&mut self, owner: &str, random: &mut Random) {
        let target = self.target(random);
        self.add(owner, "CNAME", target);
        if self.leads_in_a_circle() {
            self.records.remove(owner);
        }
    }

    fn rename(&mut self, owner: &str, random: &mut Random) {
        let target = self.target(random);
        // A name that leads below itself grows for ever; one name has one DNAME.
        let grows = within(&target, owner) || within(owner, &target);
        if grows || self.data_of(owner, "DNAME").is_some() {
            return;
        }
        let before = self.records.clone();
        self.add(owner, "DNAME", target);
        if self.leads_in_a_circle() {
            self.records = before;
        }
    }

    /// Follows aliases and DNAMEs as a resolver would, wildcards being taken wherever they might match.
    fn leads_in_a_circle(&self) -> bool {
        let starts = self.records.iter().flat_map(|(owner, types)| {
            let below = types.contains_key("DNAME").then(|| format!("x.{owner}"));
            [Some(owner.clone()), below].into_iter().flatten()
        });
        starts.into_iter().any(|start| {
            let mut name = Some(start);
            for _ in 0..ALIASES_MAX {
                name = name.and_then(|name| self.next(&name));
            }
            name.is_some()
        })
    }

    fn next(&self, name: &str) -> Option<String> {
        if let Some(target) = self.data_of(name, "CNAME") {
            return Some(target.clone());
        }
        let mut encloser = name;
        while let Some((_, above)) = encloser.split_once('.') {
            if let Some(target) = self.data_of(above, "DNAME") {
                return Some(format!("{}{target}", name.strip_suffix(above)?));
            }
            if let Some(target) = self.data_of(&format!("*.{above}"), "CNAME") {
                return Some(target.clone());
            }
            encloser = above;
        }
        None
    }

    fn data_of(&self, owner: &str, rtype: &str) -> Option<&String> {
        let owner = owner.to_lowercase();
        let same = self
            .records
            .iter()
            .find(|(name, _)| name.to_lowercase() == owner);
        same?.1.get(rtype)?.first()
    }

    /// A cut with name servers inside, beside and outside, with or without DS.
    fn delegate(&mut self, owner: &str, random: &mut Random) {
        for _ in 0..1 + random.below(2) {
            let server = match random.below(4) {
                0 => format!("ns.{owner}"),
                1 => format!("a.ns.{owner}"),
                2 => format!("ns.{}", self.origin),
                _ => "ns.elsewhere.example.".to_owned(),
            };
            if within(&server, owner) {
                self.add(&server, "A", format!("192.0.2.{}", random.below(250)));
                if random.below(2) == 0 {
                    self.add(
                        &server,
                        "AAAA",
                        format!("2001:db8::{:x}", random.below(250)),
                    );
                }
            }
            self.add(owner, "NS", server);
        }
        if random.below(2) == 0 {
            self.add(
                owner,
                "DS",
                format!("{} 13 2 {}", random.below(60_000), "5A".repeat(32)),
            );
        }
    }

    /// Nothing is at the name, and it takes records.
    fn is_free(&self, owner: &str) -> bool {
        self.takes(owner) && !self.records.keys().any(|name| same(name, owner))
    }

    /// No alias and no cut is at the name, none above it, and no DNAME.
    fn takes(&self, owner: &str) -> bool {
        let hinders = |name: &String, types: &BTreeMap<String, Vec<String>>| {
            let is_cut = types.contains_key("NS") && *name != self.origin;
            if same(name, owner) {
                is_cut || types.contains_key("CNAME")
            } else {
                within(owner, name) && (is_cut || types.contains_key("DNAME"))
            }
        };
        !self
            .records
            .iter()
            .any(|(name, types)| hinders(name, types))
    }

    fn has_below(&self, owner: &str) -> bool {
        self.records
            .keys()
            .any(|name| within(name, owner) && !same(name, owner))
    }

    fn add(&mut self, owner: &str, rtype: &str, data: String) {
        // One spelling for each name: which of several is kept is each server's choice.
        let spelt = self.records.keys().find(|name| same(name, owner)).cloned();
        let types = self
            .records
            .entry(spelt.unwrap_or_else(|| owner.to_owned()))
            .or_default();
        let all = types.entry(rtype.to_owned()).or_default();
        if !all.contains(&data) {
            all.push(data);
        }
    }

    fn finished(self) -> Zone {
        let mut text = String::new();
        // SOA first: some loaders want it so.
        let (mut first, mut rest) = (String::new(), String::new());
        for (owner, types) in &self.records {
            for (rtype, all) in types {
                // Every set has a TTL of its own, so that a mixed-up one shows.
                let ttl = 60 + (owner.len() * 7 + rtype.len()) % 500;
                let out = if rtype == "SOA" {
                    &mut first
                } else {
                    &mut rest
                };
                for data in all {
                    writeln!(out, "{owner} {ttl} {rtype} {data}").expect("a string takes all");
                }
            }
        }
        text.push_str(&first);
        text.push_str(&rest);
        Zone::of_text(&self.origin, &text)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// True if `name` is `above` or below it.
pub(crate) fn within(name: &str, above: &str) -> bool {
    let (name, above) = (name.to_lowercase(), above.to_lowercase());
    name == above || name.ends_with(&format!(".{above}"))
}
