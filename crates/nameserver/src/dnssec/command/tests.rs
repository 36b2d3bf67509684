//! The commands as operators type them, over the months of a key's life.

use dns_engine::dnssec::Algorithm;

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

struct Desk {
    settings: Dnssec,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Dnssec {
            zones: vec!["a.example".parse().unwrap()],
            keys: folder.path().join("keys"),
            algorithm: AlgorithmName(Algorithm::Ed25519),
            ..Dnssec::default()
        };
        Self {
            settings,
            _folder: folder,
        }
    }

    /// Runs a command line.
    fn run(&self, line: &str, now: u64) -> anyhow::Result<String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(subcommand)]
            action: Action,
        }
        let words = std::iter::once("dnssec").chain(line.split_whitespace());
        let line = <Line as clap::Parser>::try_parse_from(words)?;
        run(&self.settings, &line.action, Moment(now))
    }

    fn check(&self, line: &str, now: u64, expected: &[&str]) {
        let text = self.run(line, now).unwrap();
        for part in expected {
            assert!(text.contains(part), "{line}: {part:?} is not in\n{text}");
        }
    }

    fn refuses(&self, line: &str, now: u64, expected: &str) {
        let error = format!("{:#}", self.run(line, now).unwrap_err());
        assert!(error.contains(expected), "{line}: {error}");
    }

    /// Tags of keys by state and role.
    fn tags(&self, now: u64) -> Vec<(String, String, u64)> {
        let list = self.run("list --json", now).unwrap();
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let keys = list["keys"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        keys.map(|key| {
            (
                text(&key["role"]),
                text(&key["state"]),
                key["tag"].as_u64().unwrap(),
            )
        })
        .collect()
    }

    fn states(&self, now: u64) -> String {
        let states = self.tags(now).into_iter();
        let states: Vec<String> = states
            .map(|(role, state, _)| format!("{role} {state}"))
            .collect();
        states.join(", ")
    }
}

#[test]
fn a_zone_gets_keys_and_they_roll() {
    let desk = Desk::new();
    desk.check("list", NOW, &["no keys in "]);
    desk.check(
        "generate --zone A.Example.",
        NOW,
        &["a.example.\n", "ksk ED25519", "zsk ED25519"],
    );
    desk.refuses(
        "generate --zone a.example",
        NOW,
        "a.example. has keys already",
    );
    assert_eq!(desk.states(NOW), "ksk published, zsk active");
    desk.check(
        "ds --zone a.example",
        NOW,
        &["no DS record before 2027-01-16T09:00:00Z"],
    );
    let ksk = desk.tags(NOW)[0].2;
    let seen = format!("seen --zone a.example --tag {ksk}");
    desk.refuses(&seen, NOW, "should not have it before 2027-01-16T09:00:00Z");
    desk.refuses("seen --zone a.example --tag 70000", NOW, "70000");
    let later = NOW + 2 * DAY;
    desk.check(
        "list",
        later,
        &["give the parent its DS record (`ds`), then say `seen`"],
    );
    let ds = format!("a.example. IN DS {ksk} 15 2 ");
    desk.check(
        "ds --zone a.example",
        later,
        &[&ds, "a.example. IN DNSKEY 257 3 15 "],
    );
    desk.run(&seen, later).unwrap();
    assert_eq!(desk.states(later), "ksk active, zsk active");

    desk.check(
        "roll --zone a.example --keys zsk --if-older 30",
        later,
        &["2 days old"],
    );
    desk.run("roll --zone a.example --keys zsk --if-older 2", later)
        .unwrap();
    desk.refuses("roll --zone a.example --keys zsk", later, "under way");
    assert_eq!(desk.states(later), "ksk active, zsk active, zsk published");
    assert_eq!(
        desk.states(later + DAY),
        "ksk active, zsk retired, zsk active"
    );
    assert_eq!(
        desk.states(later + 3 * DAY),
        "ksk active, zsk removed, zsk active"
    );

    let later = NOW + 10 * DAY;
    desk.run("roll --zone a.example --keys ksk", later).unwrap();
    let new = desk.tags(later).last().unwrap().2;
    desk.check(
        "ds --zone a.example",
        later + DAY,
        &[&ds, &format!("DS {new} 15 2 ")],
    );
    desk.run(&format!("seen --zone a.example --tag {new}"), later + DAY)
        .unwrap();
    let after = later + 4 * DAY;
    assert_eq!(
        desk.states(after),
        "ksk removed, zsk removed, zsk active, ksk active"
    );
    desk.check(
        "list",
        after,
        &["say `gone` when the parent has dropped its DS record"],
    );
    desk.check("clean --zone a.example", after, &["deleted"]);
    assert_eq!(
        desk.states(after),
        "ksk removed, zsk active, ksk active",
        "its DS is still there"
    );
    desk.run(&format!("gone --zone a.example --tag {ksk}"), after)
        .unwrap();
    desk.run("clean --zone a.example", after).unwrap();
    desk.check("clean --zone a.example", after, &["nothing to delete"]);
    assert_eq!(desk.states(after), "zsk active, ksk active");
}

#[test]
fn what_the_operator_should_know_is_said() {
    let desk = Desk::new();
    desk.check(
        "generate --zone b.example --keys csk",
        NOW,
        &["(not in `zones` of `[dnssec]`"],
    );
    desk.refuses(
        "roll --zone b.example --keys zsk",
        NOW + 9 * DAY,
        "all keys at once",
    );
    desk.refuses(
        "roll --zone c.example --keys zsk",
        NOW,
        "c.example. has no such key",
    );
    desk.refuses("ds --zone c.example", NOW, "has no key for a DS record");
    desk.refuses("generate --zone a..b", NOW, "empty label");
    desk.refuses(
        "generate --zone a --algorithm RSA",
        NOW,
        "ECDSAP256SHA256 or ED25519",
    );
    std::fs::write(desk.settings.keys.join("x.toml"), "").unwrap();
    desk.refuses("list", NOW, "others than its owner have access");
}

#[test]
fn check_says_what_the_commands_have_to_do() {
    let desk = Desk::new();
    let found = |now| {
        let report = super::super::check(&desk.settings, &dns_engine::Zones::new(), Moment(now));
        (report.errors(), report.to_string())
    };
    std::fs::create_dir(&desk.settings.keys).unwrap();
    let (_, text) = found(NOW);
    assert!(
        text.contains("a.example. is to be signed, but is not served here"),
        "{text}"
    );
    assert!(
        text.contains("there is no key of a.example.: it goes out unsigned"),
        "{text}"
    );
    desk.run("generate --zone a.example --keys csk", NOW)
        .unwrap();
    desk.run("generate --zone b.example --keys csk", NOW)
        .unwrap();
    let (errors, text) = found(NOW + 2 * DAY);
    assert!(
        text.contains("is awaited at the parent (2027-01-16T09:00:00Z)"),
        "{text}"
    );
    assert!(
        text.contains("a key of b.example., which is not to be signed"),
        "{text}"
    );
    assert_eq!(errors, 0);
    let folder = std::fs::read_dir(&desk.settings.keys).unwrap();
    let file = folder
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("a.example"));
    let file = file.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let end = Moment(NOW + 5 * DAY);
    std::fs::write(
        &file,
        text.replace("ds_submit", &format!("retire = {end}\nds_submit")),
    )
    .unwrap();
    let (errors, text) = found(NOW + 2 * DAY);
    assert!(
        text.contains("from a time on no key signs the zone's data (2027-01-20"),
        "{text}"
    );
    assert_eq!(errors, 1);
}
