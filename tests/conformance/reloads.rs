//! New zones and new maps, one after another, while clients ask some thousand times a second: no answer is lost, none
//! is of two generations, and no client is answered by an older one than before. Both levels at once.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    env,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use conformance::{
    decode::{Message, Record},
    exchange::Client,
    question::Question,
    routed::{self, OWNER, Routed, Rules},
    site::Server,
};
use route_token::Payload;

/// How long a new generation may take to be served, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between one client's questions, so that four of them are some thousand a second and leave time to read files.
const PACE: Duration = Duration::from_micros(500);
/// Units, so also generations of the map that can be told apart.
const UNITS: u32 = 8;
/// Records of the set whose data say the generation.
const RECORDS: usize = 6;
const MX: u16 = 15;
const A: u16 = 1;
const TXT: u16 = 16;
const SRV: u16 = 33;

#[test]
fn nothing_is_lost_or_mixed_in_reloads_under_load() {
    reload(30);
}

#[test]
#[ignore = "some minutes; cargo xtask nightly runs it"]
fn nothing_is_lost_or_mixed_in_a_thousand_reloads_under_load() {
    let count = env::var("SIGNPOST_RELOADS").map_or(1_000, |count| count.parse().unwrap());
    reload(count);
}

fn reload(count: u32) {
    let routed = Routed::start(&map(0));
    let scene = Scene {
        routed,
        published: AtomicU32::new(0),
        done: AtomicBool::new(false),
    };
    scene.write_zones(0);
    scene.until_served(0);
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = scene
            .routed
            .site
            .servers
            .iter()
            .enumerate()
            .flat_map(|(level, server)| [(level, server, false), (level, server, true)])
            .map(|(level, server, tcp)| {
                let scene = &scene;
                scope.spawn(move || scene.ask_on_and_on(level, server, tcp))
            })
            .collect();
        let end = End(&scene.done);
        for generation in 1..=count {
            scene.published.store(generation, Ordering::Release);
            scene.write_zones(generation);
            scene.routed.publish(&map(generation));
            scene.until_served(generation);
        }
        drop(end);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum::<usize>()
    });
    println!("{count} reloads of zones and maps, {asked} answers, none lost, none mixed");
    assert!(asked > 20 * count as usize, "only {asked} answers");
}

/// All clients are in the unit of the generation.
fn map(generation: u32) -> traffic_map::Map {
    let all = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap());
    // A unit that nobody is in makes the number of units the same in all maps.
    let rest = ("127.255.255.0/24".parse().unwrap(), UNITS - 1);
    let here = all.into_iter().map(|network| (network, generation % UNITS));
    Rules {
        networks: here.chain([rest]).collect(),
        ecs: (24, 56),
    }
    .map()
}

/// Tells the clients to end, also when the test fails.
struct End<'s>(&'s AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Scene {
    routed: Routed,
    /// The newest generation that may be served.
    published: AtomicU32,
    done: AtomicBool,
}

impl Scene {
    /// Sets and addresses of the zone that all say its generation, for both levels.
    fn write_zones(&self, generation: u32) {
        let texts = (0..RECORDS).map(|n| format!("all TXT \"{generation}\" \"{n}\"\n"));
        let text = format!(
            "$ORIGIN generations.test.\n$TTL 60\n@ SOA ns hostmaster {generation} 60 60 3600 60\n@ NS ns\n\
             ns A {address}\nmail MX {generation} host-{generation}\nhost-{generation} A {address}\n{}",
            texts.collect::<String>(),
            address = std::net::Ipv4Addr::from_bits(generation),
        );
        for folder in ["zones", "zones2"] {
            self.routed
                .write(&format!("{folder}/generations.test.zone"), &text);
        }
    }

    /// Waits until both levels answer by this generation's zone and map.
    fn until_served(&self, generation: u32) {
        let until = Instant::now() + PATIENCE;
        for (level, server) in self.routed.site.servers.iter().enumerate() {
            let mut client = Client::new(server.dns);
            let mut ask = |question: &Question| {
                Message::read(&client.udp(&question.octets(1)).expect("an answer")).unwrap()
            };
            let serves = |zone: &Message, routed: &Message| {
                zone_generation(zone) == Some(generation)
                    && self.map_generation(level, routed) == Some(generation % UNITS)
            };
            loop {
                let (zone, routed) = (ask(&texts()), ask(&self.routed_question(level)));
                if serves(&zone, &routed) {
                    break;
                }
                assert!(
                    Instant::now() < until,
                    "{} does not take up generation {generation}: zone {:?}, map {:?}\n{:#?}",
                    server.name,
                    zone_generation(&zone),
                    self.map_generation(level, &routed),
                    signpost_tests::admin::metrics(server.admin, "signpost_"),
                );
                thread::sleep(PACE);
            }
        }
    }

    /// What depends on the map: SRV records at the first level, the addresses of a token at the second, which was given
    /// without knowing the client, so that the second level follows the map as well.
    fn routed_question(&self, level: usize) -> Question {
        let subnet = [0, 1, 24, 0, 192, 0, 2];
        if level == 0 {
            return Question::new(OWNER, SRV).option(8, &subnet);
        }
        let token = self.routed.keys.seal(&Payload {
            service: self.routed.service("live"),
            region: 1,
            placement: 0,
            assumed: true,
        });
        Question::new(&format!("{token}.{}", routed::TOKENS), A).option(8, &subnet)
    }

    fn map_generation(&self, level: usize, reply: &Message) -> Option<u32> {
        let units: Vec<u32> = reply.sections[0]
            .iter()
            .map(|record| match level {
                0 => self.routed.unit(&target(record)).expect("a token"),
                _ => routed::unit_of(address(record)),
            })
            .collect();
        assert!(
            units.windows(2).all(|two| two[0] == two[1]),
            "mixed: {units:?}"
        );
        units.first().copied()
    }

    /// Asks until told to end; how often.
    fn ask_on_and_on(&self, level: usize, server: &Server, tcp: bool) -> usize {
        let mut client = Client::new(server.dns);
        let questions = [
            texts(),
            Question::new("mail.generations.test.", MX),
            self.routed_question(level),
        ];
        let (mut asked, mut zone_before) = (0, 0);
        while !self.done.load(Ordering::Acquire) {
            for (n, question) in questions.iter().enumerate() {
                let query = question.octets(asked as u16);
                let oldest = self.published.load(Ordering::Acquire).saturating_sub(1);
                let reply = match tcp {
                    true => client.tcp(&query).ok(),
                    false => client.udp(&query),
                };
                let reply = reply.unwrap_or_else(|| panic!("{}: an answer is lost", server.name));
                let newest = self.published.load(Ordering::Acquire);
                let message = Message::read(&reply).unwrap();
                assert_eq!(message.rcode, 0, "{}: {message:?}", server.name);
                if n < 2 {
                    let generation = zone_generation(&message).expect("records");
                    let lawful = oldest.max(zone_before)..=newest;
                    assert!(
                        lawful.contains(&generation),
                        "{}: {generation} not in {lawful:?}",
                        server.name
                    );
                    zone_before = generation;
                } else {
                    let unit = self.map_generation(level, &message).expect("records");
                    let lawful: Vec<u32> = (oldest..=newest)
                        .map(|generation| generation % UNITS)
                        .collect();
                    assert!(
                        lawful.contains(&unit),
                        "{}: {unit} not in {lawful:?}",
                        server.name
                    );
                }
                asked += 1;
                thread::sleep(PACE);
            }
        }
        asked
    }
}

fn texts() -> Question {
    Question::new("all.generations.test.", TXT)
}

/// The generation that every record of an answer says.
fn zone_generation(reply: &Message) -> Option<u32> {
    let records = reply.sections.iter().flatten();
    let said: Vec<u32> = records
        .map(|record| match record.rtype {
            TXT => {
                let length = usize::from(record.data[0]);
                std::str::from_utf8(&record.data[1..=length])
                    .unwrap()
                    .parse()
                    .unwrap()
            }
            MX => u32::from(u16::from_be_bytes([record.data[0], record.data[1]])),
            A => routed::number(address(record)) as u32,
            _ => panic!("{record:?}"),
        })
        .collect();
    assert!(
        said.windows(2).all(|two| two[0] == two[1]),
        "mixed: {said:?}"
    );
    assert!(
        said.is_empty() || said.len() == RECORDS || said.len() == 2,
        "cut: {said:?}"
    );
    said.first().copied()
}

fn address(record: &Record) -> std::net::IpAddr {
    <[u8; 4]>::try_from(&record.data[..]).unwrap().into()
}

/// The target of an SRV record.
fn target(record: &Record) -> String {
    let name = domain::base::Name::from_octets(record.data[6..].to_vec()).unwrap();
    format!("{name}.").to_lowercase()
}
