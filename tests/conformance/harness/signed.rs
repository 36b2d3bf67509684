//! Signed zones, and the proof of every signature in an answer: hickory-proto verifies it with keys that are asked for
//! as a validator would, from the DS record on that an operator's command prints.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use hickory_proto::{
    dnssec::{
        DigestType, Verifier,
        rdata::{DNSKEY, DNSSECRData, RRSIG},
    },
    op::Message,
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use nameserver::dnssec::{
    Dnssec, Moment,
    command::{self, Action, Keys},
    now,
};

use crate::{exchange::Client, question::DNSSEC_OK, question::Question, site::here};

/// A zone with a key signing key and a zone signing key, both ECDSA P-256.
pub const PARENT: &str = "signed.test.";
/// Its child, with one Ed25519 key for everything; the parent has its DS record.
pub const CHILD: &str = "inner.signed.test.";
/// A zone whose key signing key is being rolled: both sign, and the parent may have both.
pub const ROLLING: &str = "rolling.test.";

const DAY: u64 = 86_400;

/// Zone files and keys, made in a folder of their own.
#[derive(Debug)]
pub struct Signed {
    folder: PathBuf,
    settings: Dnssec,
}

impl Signed {
    /// Copies the zone files and makes keys for them, with a past of some weeks.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn make(folder: &Path) -> Self {
        let (zones, keys) = (folder.join("zones"), folder.join("keys"));
        fs::create_dir_all(&zones).expect("a folder");
        let names = [PARENT, CHILD, ROLLING].map(|zone| zone.parse().expect("a zone's name"));
        let signed = Self {
            folder: folder.to_owned(),
            settings: Dnssec {
                zones: names.to_vec(),
                keys,
                ..Dnssec::default()
            },
        };
        signed.make_keys();
        for zone in [PARENT, CHILD, ROLLING] {
            let file = format!("{zone}zone");
            let mut text = fs::read_to_string(here("signed").join(&file)).expect("a zone file");
            if zone == PARENT {
                text += &signed.ds(CHILD);
            }
            fs::write(zones.join(&file), text).expect("a zone file is written");
        }
        signed
    }

    fn make_keys(&self) {
        let generate = |zone: &str, keys, algorithm: Option<&str>| {
            let zone = zone.parse().expect("a zone's name");
            let algorithm = algorithm.map(|name| name.parse().expect("an algorithm"));
            let action = Action::Generate {
                zone,
                keys,
                algorithm,
            };
            self.run(&action, 30);
        };
        generate(PARENT, Keys::Pair, None);
        generate(CHILD, Keys::Csk, Some("ED25519"));
        generate(ROLLING, Keys::Pair, None);
        for zone in [PARENT, ROLLING] {
            let tag = tag(&self.ds(zone));
            let zone = zone.parse().expect("a zone's name");
            self.run(&Action::Seen { zone, tag }, 20);
        }
        let roll = Action::Roll {
            zone: ROLLING.parse().expect("a zone's name"),
            keys: Keys::Ksk,
            algorithm: None,
            if_older: None,
        };
        self.run(&roll, 10);
    }

    /// Does it as of some days ago.
    fn run(&self, action: &Action, days_ago: u64) -> String {
        let then = Moment(now().0 - days_ago * DAY);
        let done = command::run(&self.settings, action, then);
        done.unwrap_or_else(|error| panic!("{action:?}: {error:#}"))
    }

    /// The folder of the zone files.
    pub fn zones(&self) -> PathBuf {
        self.folder.join("zones")
    }

    /// The table that has them signed.
    pub fn table(&self) -> String {
        let names: Vec<String> = self
            .settings
            .zones
            .iter()
            .map(ToString::to_string)
            .collect();
        format!(
            "[dnssec]\nzones = {names:?}\nkeys = {:?}\n",
            self.settings.keys
        )
    }

    /// The DS records that the parent of a zone should have now, as lines of a zone file.
    pub fn ds(&self, zone: &str) -> String {
        let zone = zone.parse().expect("a zone's name");
        let text = self.run(&Action::Ds { zone }, 0);
        let lines = text.lines().filter(|line| line.contains(" IN DS "));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// The tag in the first of some DS records.
fn tag(ds: &str) -> u16 {
    let tag = ds
        .split_whitespace()
        .nth(3)
        .and_then(|tag| tag.parse().ok());
    tag.unwrap_or_else(|| panic!("no DS record: {ds}"))
}

/// Verifies every signature of an answer, and says how many there were.
///
/// # Panics
/// When one is not of the keys that the DS records lead to, or not of the records beside it.
pub fn verify(server: SocketAddr, trusted: &Signed, octets: &[u8]) -> usize {
    let mut verified = 0;
    let Ok(message) = Message::from_vec(octets) else {
        return verified; // whether it had to be read, `decode` knows
    };
    for records in [&message.answers, &message.authorities, &message.additionals] {
        for signature in records.iter().filter_map(rrsig) {
            let (record, rrsig) = signature;
            let keys = keys_of(server, trusted, &rrsig.input().signer_name);
            if verify_one(record, rrsig, records, &keys) {
                verified += 1;
            }
        }
    }
    verified
}

fn rrsig(record: &Record) -> Option<(&Record, &RRSIG)> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some((record, rrsig)),
        _ => None,
    }
}

/// False if what it covers is not there, as in an answer to a question for signatures alone.
fn verify_one(record: &Record, rrsig: &RRSIG, records: &[Record], keys: &[DNSKEY]) -> bool {
    let input = rrsig.input();
    let covered =
        |other: &&Record| other.name == record.name && other.record_type() == input.type_covered;
    let set: Vec<&Record> = records.iter().filter(covered).collect();
    let now = now().0 as u32;
    let (from, to) = (input.sig_inception.get(), input.sig_expiration.get());
    assert!(
        from <= now && now < to,
        "{record} holds from {from} to {to}"
    );
    if set.is_empty() {
        return false;
    }
    let made_it = |key: &&DNSKEY| {
        key.calculate_key_tag()
            .is_ok_and(|tag| tag == input.key_tag)
    };
    let key = keys.iter().find(made_it);
    let key = key.unwrap_or_else(|| panic!("nobody knows the key of {record}: {keys:?}"));
    let verified = key.verify_rrsig(&record.name, DNSClass::IN, rrsig, set.into_iter());
    assert!(verified.is_ok(), "{record}: {verified:?}");
    true
}

/// The keys of a zone as this server has them, once the set is proven by a key that the parent knows.
fn keys_of(server: SocketAddr, trusted: &Signed, zone: &Name) -> Vec<DNSKEY> {
    type Known = HashMap<(SocketAddr, Name), Vec<DNSKEY>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = known.entry((server, zone.clone()));
    keys.or_insert_with(|| ask_for_keys(server, trusted, zone))
        .clone()
}

fn ask_for_keys(server: SocketAddr, trusted: &Signed, zone: &Name) -> Vec<DNSKEY> {
    let question = Question::new(&zone.to_ascii(), RecordType::DNSKEY.into());
    let query = question.edns(1232, DNSSEC_OK).octets(0);
    let octets = Client::new(server).tcp(&query).expect("an answer over TCP");
    let answers = Message::from_vec(&octets).expect("a message").answers;
    let dnskey = |record: &Record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
        _ => None,
    };
    let keys: Vec<DNSKEY> = answers.iter().filter_map(dnskey).collect();
    let anchors = trusted.ds(&zone.to_ascii());
    let proven = answers.iter().filter_map(rrsig).any(|(record, rrsig)| {
        let anchored = keys.iter().filter(|key| is_anchored(key, zone, &anchors));
        let anchored: Vec<DNSKEY> = anchored.cloned().collect();
        let by = |key: &DNSKEY| key.calculate_key_tag().ok() == Some(rrsig.input().key_tag);
        anchored.iter().any(by) && verify_one(record, rrsig, &answers, &anchored)
    });
    assert!(
        proven,
        "no key of {zone} is one that its parent knows: {anchors}"
    );
    keys
}

/// True if one of the DS records is of this key: its digest is made anew.
fn is_anchored(key: &DNSKEY, zone: &Name, anchors: &str) -> bool {
    let digest = key.to_digest(zone, DigestType::SHA256).expect("a digest");
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    let (tag, algorithm) = (key.calculate_key_tag().expect("a tag"), key.algorithm());
    let ds = format!(" {tag} {} 2 {hex}", u8::from(algorithm));
    anchors.lines().any(|anchor| anchor.ends_with(&ds))
}
