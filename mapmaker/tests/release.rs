//! Releases on disk from a small world: publishing, the gate, findings, and following changed inputs.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::{Path, PathBuf};

use distribution::keys::read_public_keys;
use distribution::release;
use mapmaker::inputs::Files;
use mapmaker::show::Shown;
use mapmaker::{BuildOptions, Config, MAP_BLOB, build};
use service::diagnostic::Report;
use tempfile::TempDir;
use traffic_map::Map;

const WORLD: &str = r#"
[map.world]
prefixes     = "prefixes.csv"
measurements = "measurements.csv"
load         = "6 Gbit/s"
[region.east]
at = [40.0, -75.0]
capacity = "10 Gbit/s"
edges = ["e1", "e2"]
[region.west]
capacity = "10 Gbit/s"
edges = ["w1"]
[edge.e1]
addr = "127.0.1.1"
[edge.e2]
addr = "127.0.1.2"
[edge.w1]
addr = "127.0.1.3"
"#;
const SERVICES: &str = r#"
[service.live]
owner  = "_rtsp._tcp.live.stream.example."
tokens = "edge.stream.example."
srv    = { port = 8554 }
"#;
const PREFIXES: &str = "start,end,asn,lat,lon,country\n\
    10.0.0.0,10.0.255.255,64500,40.0,-74.0,US\n\
    10.1.0.0,10.1.255.255,64501,34.0,-118.0,US\n\
    2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,64501,34.0,-118.0,US\n";
const MEASUREMENTS: &str = "ts,prefix,region,rtt_us,loss,n,source\n\
    1000,10.1.0.0/24,west,5000,0,1,test\n\
    1000,10.1.0.0/24,east,70000,0,1,test\n";

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
        };
        place.write("world.toml", WORLD);
        place.write("services.toml", SERVICES);
        place.write("prefixes.csv", PREFIXES);
        place.write("measurements.csv", MEASUREMENTS);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            files: Files {
                world: self.path("world.toml"),
                services: self.path("services.toml"),
                measurements: vec![self.path("later.csv")],
            },
            out: self.path("releases"),
            ..BuildOptions::default()
        }
    }

    fn placements(&self) -> String {
        let mut out = Vec::new();
        Shown::open(&self.path("releases"))
            .unwrap()
            .write_placements(&mut out, 0)
            .unwrap();
        String::from_utf8(out).unwrap()
    }
}

fn refusal(options: &BuildOptions) -> String {
    format!("{:#}", build(options).unwrap_err())
}

#[test]
fn publishes_a_release_that_a_reader_with_the_public_key_accepts() {
    let place = Place::new();
    let built = build(&place.options()).unwrap();
    assert_eq!((built.generation, built.published), (1, true));
    assert_eq!(
        (built.regions, built.edges, built.units, built.measurements),
        (2, 3, 2, 2)
    );
    let trusted = read_public_keys(&place.path("release.pub")).unwrap();
    let release = release::load(&place.path("releases"), &trusted).unwrap();
    let map = Map::decode(release.blob(MAP_BLOB).unwrap()).unwrap();
    assert_eq!(
        map.region(traffic_map::id_of_name("east")).unwrap().edges,
        [0, 1]
    );
    assert_eq!(built.public_key, place.path("release.pub"));
}

#[test]
fn measurements_decide_where_coordinates_are_missing() {
    let place = Place::new();
    build(&place.options()).unwrap();
    assert_eq!(
        place.placements(),
        "prefix,region,share\n10.0.0.0/16,east,1\n10.1.0.0/16,west,1\n2001:db8::/32,west,1\n"
    );
}

#[test]
fn an_unchanged_map_is_not_published_again() {
    let place = Place::new();
    build(&place.options()).unwrap();
    let again = build(&place.options()).unwrap();
    assert_eq!(
        (again.generation, again.published, again.moved),
        (1, false, Some(0.0))
    );
    let forced = build(&BuildOptions {
        always_publish: true,
        ..place.options()
    })
    .unwrap();
    assert_eq!((forced.generation, forced.published), (2, true));
}

#[test]
fn players_reports_that_arrive_later_change_the_map() {
    let place = Place::new();
    build(&place.options()).unwrap();
    // Half of the demand moves, which the gate still allows.
    place.write(
        "later.csv",
        "ts,prefix,region,rtt_us,loss,n,source\n\
         900000,10.1.0.0/24,west,90000,0,3,player\n\
         900000,10.1.0.0/24,east,20000,0,3,player\n",
    );
    let built = build(&BuildOptions {
        override_reason: Some("test".into()),
        ..place.options()
    })
    .unwrap();
    assert_eq!((built.generation, built.measurements), (2, 4));
    assert!(
        place.placements().contains("10.0.0.0/15,east,1\n"),
        "{}",
        place.placements()
    );
}

#[test]
fn the_gate_refuses_an_empty_map() {
    let place = Place::new();
    place.write("prefixes.csv", "start,end,asn,lat,lon,country\n");
    assert_eq!(
        refusal(&place.options()),
        "not published: the map is empty: it maps no address; \
         to publish all the same give --override REASON"
    );
    assert!(!place.path("releases/current").exists());
}

#[test]
fn the_gate_refuses_to_move_most_of_the_demand_unless_told_why() {
    let place = Place::new();
    build(&place.options()).unwrap();
    place.write(
        "prefixes.csv",
        &PREFIXES
            .replace("10.0.", "172.16.")
            .replace("10.1.", "172.17."),
    );
    let text = refusal(&place.options());
    assert!(
        text.contains("of the demand would move (limit 50 %)"),
        "{text}"
    );
    assert_eq!(
        Shown::open(&place.path("releases"))
            .unwrap()
            .release
            .generation,
        1
    );
    let options = BuildOptions {
        override_reason: Some("renumbered".into()),
        ..place.options()
    };
    assert_eq!(build(&options).unwrap().generation, 2);
    let about = Shown::open(&place.path("releases")).unwrap().to_json();
    assert_eq!(
        about["about"]["published_against_the_gate_because"],
        "renumbered"
    );
}

#[test]
fn the_gate_refuses_to_remove_most_of_the_edges() {
    let place = Place::new();
    build(&place.options()).unwrap();
    let world = WORLD.replace("edges = [\"e1\", \"e2\"]", "edges = [\"e3\"]");
    let world = world.replace("[edge.e1]", "[edge.e3]");
    let cut = world.find("[edge.e2]").unwrap()..world.find("[edge.w1]").unwrap();
    place.write("world.toml", &world.replace(&world[cut], ""));
    assert!(refusal(&place.options()).contains("66.7 % of the edges would go (limit 50 %)"));
}

#[test]
fn a_damaged_release_in_force_stops_the_build() {
    let place = Place::new();
    build(&place.options()).unwrap();
    place.write("releases/current", "junk");
    let text = refusal(&place.options());
    assert!(
        text.starts_with("the release in force cannot be used"),
        "{text}"
    );
}

#[test]
fn every_finding_of_every_file_is_reported_in_one_run() {
    let place = Place::new();
    place.write(
        "world.toml",
        &WORLD.replace("addr = \"127.0.1.2\"", "adr = \"127.0.1.2\""),
    );
    place.write("services.toml", &SERVICES.replace("8554", "0"));
    let error = build(&place.options()).unwrap_err();
    let report = error.downcast_ref::<Report>().unwrap().to_string();
    assert!(
        report.contains("world.toml:16:1: error: unknown key `adr`"),
        "{report}"
    );
    assert!(
        report.contains("services.toml:5:19: error: `port` must be between"),
        "{report}"
    );
}

#[test]
fn malformed_measurements_are_reported_with_their_place_and_skipped() {
    let place = Place::new();
    place.write(
        "measurements.csv",
        &format!("{MEASUREMENTS}1000,nonsense,west,5,0,1,x\n1,10.0.0.0/24,mars,5,0,1,x\n"),
    );
    let built = build(&place.options()).unwrap();
    let report = built.report.to_string();
    assert!(
        report.contains("measurements.csv:4:6: warning:"),
        "{report}"
    );
    assert!(
        report.contains("1 lines of unknown region mars"),
        "{report}"
    );
    assert_eq!(built.measurements, 2);
}

#[test]
fn a_demand_table_replaces_the_guess() {
    let place = Place::new();
    place.write(
        "world.toml",
        &WORLD.replace("[region.east]", "demand = \"demand.csv\"\n[region.east]"),
    );
    place.write(
        "demand.csv",
        "prefix,weight\n10.0.0.0/16,30\n10.1.0.0/16,10\n192.0.2.0/24,5\n",
    );
    let built = build(&place.options()).unwrap();
    assert_eq!(built.summary.demand_rows_ignored, 1);
    let map = Shown::open(&place.path("releases")).unwrap().map;
    let demand = |client: &str| map.demand(map.find(client.parse().unwrap()).unit.unwrap());
    assert_eq!(
        (demand("10.0.0.1"), demand("10.1.0.1")),
        (Some(750_000_000), Some(250_000_000))
    );
}

#[test]
fn edges_get_their_keys_from_the_identities_file() {
    let place = Place::new();
    place.write(
        "world.toml",
        &WORLD.replace(
            "[region.east]",
            "identities = \"edges.keys\"\n[region.east]",
        ),
    );
    place.write(
        "edges.keys",
        &format!("e1 = \"{}\"\n", distribution::keys::to_text(&[7; 32])),
    );
    build(&place.options()).unwrap();
    let map = Shown::open(&place.path("releases")).unwrap().map;
    assert_eq!(map.edge("e1").unwrap().public_key, Some([7; 32]));
    assert_eq!(map.edge("e2").unwrap().public_key, None);
}

#[test]
fn services_with_a_profile_go_only_to_regions_that_serve_it() {
    let place = Place::new();
    let more = "[service.vod]\nowner = \"_rtsp._tcp.vod.stream.example.\"\ntokens = \"edge.stream.example.\"\n\
                srv = { port = 8554 }\nclass = 1\nprofile = \"mdc\"\n";
    place.write("services.toml", &format!("{SERVICES}{more}"));
    place.write(
        "world.toml",
        &WORLD.replace("\"127.0.1.3\"", "\"127.0.1.3\"\nprofiles = [\"plain\"]"),
    );
    build(&place.options()).unwrap();
    let shown = Shown::open(&place.path("releases")).unwrap();
    let mut out = Vec::new();
    shown.write_placements(&mut out, 1).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("10.0.0.0/15,east,1\n") && !text.contains("west"),
        "{text}"
    );
    assert!(place.placements().contains("10.1.0.0/16,west,1"));
}

#[test]
fn the_example_configuration_loads_and_names_files_that_are_there() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mapmaker.toml");
    let config = Config::load(&file).unwrap();
    assert!(config.world.exists() && config.services.exists());
    assert_eq!(config.interval_seconds, 10);
}

#[tokio::test]
async fn run_publishes_at_once_and_again_when_an_input_changes() {
    let place = Place::new();
    let config = Config {
        world: place.path("world.toml"),
        services: place.path("services.toml"),
        measurements: vec![place.path("later.csv")],
        releases: place.path("releases"),
        key: place.path("release.key"),
        interval_seconds: 1,
        admin: "127.0.0.1:0".parse().unwrap(),
    };
    let (trigger, shutdown) = service::shutdown::channel();
    let running = mapmaker::start(config, shutdown).await.unwrap();
    let reached = async |generation| {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while release::current(&place.path("releases")).unwrap() != Some(generation) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no generation {generation}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    reached(1).await;
    place.write(
        "world.toml",
        &WORLD.replace("\"127.0.1.3\"", "\"127.0.1.30\""),
    );
    reached(2).await;
    trigger.fire();
    running.wait().await.unwrap();
}
