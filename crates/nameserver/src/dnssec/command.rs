//! The commands that make zone keys and move them through their lives. They change files only; servers that watch the
//! folder take up the change by themselves, and act when its times come.

use std::fmt::Write as _;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use dns_engine::dnssec::roll::{self, Planned};
use dns_engine::dnssec::{Algorithm, Role, Timing};
use dns_engine::name;
use serde_json::json;
use service::diagnostic::Report;

use super::key_file::KeyFile;
use super::{AlgorithmName, Dnssec, KeyFolder, Moment, ZoneName};

/// Tries to make a key whose tag no other key of the zone has; two of 65,536 seldom meet.
const TRIES: usize = 8;

/// What to do with the keys of a zone.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Make the first keys of a zone.
    Generate {
        /// The zone, such as stream.example.
        #[arg(long)]
        zone: ZoneName,
        /// `pair`: one key for the keys and one for the data; `csk`: one for both.
        #[arg(long, default_value = "pair")]
        keys: Keys,
        /// ECDSAP256SHA256 or ED25519; as configured if it is left out.
        #[arg(long)]
        algorithm: Option<AlgorithmName>,
    },
    /// Show keys, their states and what they wait for.
    List {
        /// One zone; all if it is left out.
        #[arg(long)]
        zone: Option<ZoneName>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print the records that the parent of a zone should have, or takes by itself (DS, CDS, CDNSKEY).
    Ds {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
    },
    /// Make new keys that take over from those there are, as soon as every cache can follow.
    Roll {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// `ksk`, `zsk`, or both: `pair` or `csk`.
        #[arg(long)]
        keys: Keys,
        /// Another algorithm, for all keys at once.
        #[arg(long)]
        algorithm: Option<AlgorithmName>,
        /// Only if the keys are so many days old; for a timer that calls this every day.
        #[arg(long)]
        if_older: Option<u32>,
    },
    /// Say that every server of the parent shows the DS record of a key: the key before it may go.
    Seen {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// The key's tag.
        #[arg(long)]
        tag: u16,
    },
    /// Say that no server of the parent shows the DS record of a key any more.
    Gone {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// The key's tag.
        #[arg(long)]
        tag: u16,
    },
    /// Delete the files of keys that are gone from the zone and its parent.
    Clean {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
    },
}

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// Key signing key.
    Ksk,
    /// Zone signing key.
    Zsk,
    /// One key for both.
    Csk,
    /// A key signing key and a zone signing key.
    Pair,
}

impl Keys {
    fn roles(self) -> &'static [Role] {
        match self {
            Self::Ksk => &[Role::Ksk],
            Self::Zsk => &[Role::Zsk],
            Self::Csk => &[Role::Csk],
            Self::Pair => &[Role::Ksk, Role::Zsk],
        }
    }
}

/// Does it at a time, and says what the keys are afterwards.
///
/// # Errors
/// When a key file cannot be read or written, or the step does not fit the keys.
pub fn run(settings: &Dnssec, action: &Action, now: Moment) -> anyhow::Result<String> {
    let mut ring = Ring::read(settings, now)?;
    match action {
        Action::Generate {
            zone,
            keys,
            algorithm,
        } => {
            anyhow::ensure!(
                ring.of(zone).next().is_none(),
                "{zone} has keys already: roll them"
            );
            ring.begin(zone, *keys, algorithm.unwrap_or(settings.algorithm).0)?;
            ring.list(Some(zone))
        }
        Action::List { zone, json: true } => Ok(ring.json(zone.as_ref()).to_string()),
        Action::List { zone, json: false } => ring.list(zone.as_ref()),
        Action::Ds { zone } => ring.ds(zone),
        Action::Roll {
            zone,
            keys,
            algorithm,
            if_older,
        } => {
            let newest = ring
                .newest(zone, *keys)
                .with_context(|| format!("{zone} has no such key"))?;
            let (age, used) = newest;
            if let Some(days) = if_older
                && age / 86_400 < u64::from(*days)
            {
                return Ok(format!("{zone}: the keys are {} days old", age / 86_400));
            }
            ring.begin(zone, *keys, algorithm.map_or(used, |algorithm| algorithm.0))?;
            ring.list(Some(zone))
        }
        Action::Seen { zone, tag } => {
            ring.step(zone, *tag, roll::ds_seen)?;
            ring.list(Some(zone))
        }
        Action::Gone { zone, tag } => {
            ring.step(zone, *tag, roll::ds_gone)?;
            ring.list(Some(zone))
        }
        Action::Clean { zone } => ring.clean(zone),
    }
}

/// Every key in the folder.
struct Ring<'s> {
    settings: &'s Dnssec,
    keys: Vec<KeyFile>,
    now: Moment,
}

impl<'s> Ring<'s> {
    fn read(settings: &'s Dnssec, now: Moment) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.keys)
            .with_context(|| format!("{} cannot be made", settings.keys.display()))?;
        let mut folder = KeyFolder::new(&settings.keys);
        let mut report = Report::default();
        folder.poll(&mut report);
        // Planning needs to know all keys: a step that overlooks one could break the chain.
        anyhow::ensure!(report.is_empty(), "{report}");
        Ok(Self {
            settings,
            keys: folder.keys().cloned().collect(),
            now,
        })
    }

    fn of(&self, zone: &ZoneName) -> impl Iterator<Item = &KeyFile> {
        self.keys.iter().filter(|key| key.zone == zone.wire())
    }

    /// Age in seconds and algorithm of the newest key with one of these roles that is in use.
    fn newest(&self, zone: &ZoneName, keys: Keys) -> Option<(u64, Algorithm)> {
        let roles = keys.roles();
        let same_work = |key: &&KeyFile| {
            let role = key.scheduled.key.role();
            roles.iter().any(|new| {
                new.signs_keys() && role.signs_keys() || new.signs_data() && role.signs_data()
            })
        };
        let in_use = |key: &&KeyFile| key.scheduled.timing.is_published(self.now.0);
        let newest = self
            .of(zone)
            .filter(same_work)
            .filter(in_use)
            .max_by_key(|key| key.scheduled.timing.publish)?;
        let age = self.now.0.saturating_sub(newest.scheduled.timing.publish);
        Some((age, newest.scheduled.key.algorithm()))
    }

    /// Plans new keys; those there are get their end only after the new ones are on disk.
    fn begin(&mut self, zone: &ZoneName, keys: Keys, algorithm: Algorithm) -> anyhow::Result<()> {
        let (policy, now) = (&self.settings.policy.roll, self.now.0);
        let mut planned = self.planned(zone);
        let timings = roll::begin(&mut planned, keys.roles(), algorithm, policy, now)?;
        let mut made = Vec::new();
        for (role, timing) in keys.roles().iter().zip(timings) {
            let key = self.make(zone, *role, algorithm, timing, &made)?;
            key.write()
                .with_context(|| format!("{} cannot be written", key.path.display()))?;
            made.push(key);
        }
        self.change(zone, &planned)?;
        self.keys.extend(made);
        Ok(())
    }

    fn make(
        &self,
        zone: &ZoneName,
        role: Role,
        algorithm: Algorithm,
        timing: Timing,
        made: &[KeyFile],
    ) -> anyhow::Result<KeyFile> {
        for _ in 0..TRIES {
            let folder = &self.settings.keys;
            let key = KeyFile::generate(folder, zone.wire(), role, algorithm, timing, self.now.0)?;
            let tag = key.scheduled.key.tag();
            let taken = |other: &KeyFile| other.scheduled.key.tag() == tag;
            if !self.of(zone).chain(made).any(taken) {
                return Ok(key);
            }
        }
        anyhow::bail!("no key with a tag of its own came up in {TRIES} tries")
    }

    /// Takes one step with the key of a tag.
    fn step(&mut self, zone: &ZoneName, tag: u16, step: Step) -> anyhow::Result<()> {
        let place = self.of(zone).position(|key| key.scheduled.key.tag() == tag);
        let place = place.with_context(|| format!("{zone} has no key {tag}"))?;
        let mut planned = self.planned(zone);
        let taken = step(&mut planned, place, &self.settings.policy.roll, self.now.0);
        taken.map_err(|error| match error {
            roll::RollError::TooEarly(at) => {
                anyhow::anyhow!("the parent should not have it before {}", Moment(at))
            }
            error => error.into(),
        })?;
        self.change(zone, &planned)
    }

    fn planned(&self, zone: &ZoneName) -> Vec<Planned> {
        self.of(zone).map(KeyFile::planned).collect()
    }

    /// Writes the keys of a zone whose times are other ones now.
    fn change(&mut self, zone: &ZoneName, planned: &[Planned]) -> anyhow::Result<()> {
        let keys = self.keys.iter_mut().filter(|key| key.zone == zone.wire());
        for (key, planned) in keys.zip(planned) {
            if key.scheduled.timing != planned.timing {
                key.scheduled.timing = planned.timing;
                key.write()
                    .with_context(|| format!("{} cannot be written", key.path.display()))?;
            }
        }
        Ok(())
    }

    /// Deletes keys that nobody needs: gone from the zone, and their DS records from the parent.
    fn clean(&mut self, zone: &ZoneName) -> anyhow::Result<String> {
        let (policy, now) = (&self.settings.policy.roll, self.now.0);
        let spare = u64::from(policy.propagation) + u64::from(policy.dnskey_ttl);
        let mut text = String::new();
        for key in self.of(zone) {
            let timing = &key.scheduled.timing;
            let over = timing.remove.is_some_and(|remove| remove + spare <= now)
                && !(key.scheduled.key.role().signs_data() && timing.is_active(now));
            let known_at_parent = timing.ds.submit.is_some() && timing.ds.gone.is_none();
            if over && !known_at_parent {
                std::fs::remove_file(&key.path)
                    .with_context(|| format!("{} cannot be deleted", key.path.display()))?;
                writeln!(text, "deleted {}", key.path.display())?;
            }
        }
        if text.is_empty() {
            text = format!("{zone}: nothing to delete");
        }
        Ok(text.trim_end().to_owned())
    }

    fn list(&self, zone: Option<&ZoneName>) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut last = None;
        for key in self.shown(zone) {
            let origin = name::text(&key.zone);
            if last.as_ref() != Some(&origin) {
                let note = if self.settings.signs(&key.zone) {
                    ""
                } else {
                    " (not in `zones` of `[dnssec]`: it goes out unsigned)"
                };
                writeln!(text, "{origin}{note}")?;
                last = Some(origin);
            }
            let facts = Facts::of(key, self.now);
            writeln!(
                text,
                "  {:5} {} {:15} {:9} {}",
                facts.tag, facts.role, facts.algorithm, facts.state, facts.next
            )?;
        }
        if text.is_empty() {
            text = format!("no keys in {}", self.settings.keys.display());
        }
        Ok(text.trim_end().to_owned())
    }

    fn json(&self, zone: Option<&ZoneName>) -> serde_json::Value {
        let keys = self.shown(zone).into_iter().map(|key| {
            let facts = Facts::of(key, self.now);
            let Timing {
                publish,
                activate,
                retire,
                remove,
                ds,
            } = key.scheduled.timing;
            json!({
                "zone": name::text(&key.zone), "tag": facts.tag, "role": facts.role,
                "algorithm": facts.algorithm, "state": facts.state, "next": facts.next,
                "file": key.path.display().to_string(),
                "publish": publish, "activate": activate, "retire": retire, "remove": remove,
                "ds": { "submit": ds.submit, "seen": ds.seen, "withdraw": ds.withdraw, "gone": ds.gone },
            })
        });
        json!({ "now": self.now.0, "keys": keys.collect::<Vec<_>>() })
    }

    /// By zone, then in the order in which they were published.
    fn shown(&self, zone: Option<&ZoneName>) -> Vec<&KeyFile> {
        let wanted = |key: &&KeyFile| zone.is_none_or(|zone| key.zone == zone.wire());
        let mut keys: Vec<&KeyFile> = self.keys.iter().filter(wanted).collect();
        keys.sort_by_key(|key| {
            let role = key.scheduled.key.role().as_str();
            (key.zone.clone(), key.scheduled.timing.publish, role)
        });
        keys
    }

    fn ds(&self, zone: &ZoneName) -> anyhow::Result<String> {
        let wanted: Vec<&KeyFile> = self
            .of(zone)
            .filter(|key| key.scheduled.timing.wants_ds(self.now.0))
            .collect();
        let later = self
            .of(zone)
            .filter_map(|key| key.scheduled.timing.ds.submit);
        let later = later.filter(|submit| *submit > self.now.0).min();
        if wanted.is_empty() {
            return match later {
                Some(at) => Ok(format!(
                    "; {zone}: the parent should have no DS record before {}",
                    Moment(at)
                )),
                None => anyhow::bail!("{zone} has no key for a DS record"),
            };
        }
        let mut text = format!("; the parent of {zone} should have exactly\n");
        for key in &wanted {
            let [t0, t1, algorithm, digest_type, digest @ ..] =
                &key.scheduled.key.ds(zone.wire())[..]
            else {
                continue; // always four octets and a digest
            };
            let hex: String = digest.iter().map(|octet| format!("{octet:02X}")).collect();
            let tag = u16::from_be_bytes([*t0, *t1]);
            writeln!(text, "{zone} IN DS {tag} {algorithm} {digest_type} {hex}")?;
        }
        writeln!(text, "; or, where it wants the key itself")?;
        for key in &wanted {
            let key = &key.scheduled.key;
            let public = BASE64_STANDARD.encode(key.dnskey().get(4..).unwrap_or_default());
            let number = key.algorithm().number();
            writeln!(text, "{zone} IN DNSKEY 257 3 {number} {public}")?;
        }
        Ok(text.trim_end().to_owned())
    }
}

/// A step of a roll for one key.
type Step = fn(&mut [Planned], usize, &roll::RollPolicy, u64) -> Result<(), roll::RollError>;

/// What is told about a key.
struct Facts {
    tag: u16,
    role: &'static str,
    algorithm: &'static str,
    state: &'static str,
    next: String,
}

impl Facts {
    fn of(key: &KeyFile, now: Moment) -> Self {
        let (timing, key) = (key.scheduled.timing, &key.scheduled.key);
        let role = key.role();
        let state = timing.state(role.signs_data(), now.0);
        Self {
            tag: key.tag(),
            role: role.as_str(),
            algorithm: key.algorithm().mnemonic(),
            state: state.as_str(),
            next: next(role, &timing, now.0),
        }
    }
}

/// What happens next to a key, or what it waits for.
fn next(role: Role, timing: &Timing, now: u64) -> String {
    let ds = timing.ds;
    let waits = if timing.wants_ds(now) && ds.seen.is_none() {
        Some("give the parent its DS record (`ds`), then say `seen`")
    } else if ds.withdraw.is_some_and(|at| at <= now) && ds.seen.is_some() && ds.gone.is_none() {
        Some("say `gone` when the parent has dropped its DS record")
    } else {
        None
    };
    let times = [
        ("publishes", Some(timing.publish)),
        ("signs", Some(timing.activate).filter(|_| role.signs_data())),
        ("may have a DS record", ds.submit),
        ("retires", timing.retire.filter(|_| role.signs_data())),
        ("is removed", timing.remove),
    ];
    let to_come = times.into_iter().filter_map(|(what, at)| Some((at?, what)));
    let soonest = to_come.filter(|(at, _)| *at > now).min();
    let soonest = soonest.map(|(at, what)| format!("{what} {}", Moment(at)));
    let parts = [waits.map(str::to_owned), soonest];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
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
            let report =
                super::super::check(&desk.settings, &dns_engine::Zones::new(), Moment(now));
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
}
