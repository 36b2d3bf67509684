//! A zone key in a file of its own: what it is, its times, and the secret, in TOML that operators can read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use dns_engine::dnssec::roll::Planned;
use dns_engine::dnssec::{Algorithm, DsTiming, Key, Role, Scheduled, Timing};
use dns_engine::name;
use ring::rand::SystemRandom;
use serde::Deserialize;
use service::diagnostic::{Diagnostic, Report};
use service::secret;

use super::moment::Moment;

/// A key with where it was read from.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// Its file.
    pub path: PathBuf,
    /// Lower-cased wire name of its zone.
    pub zone: Vec<u8>,
    /// The key and its times.
    pub scheduled: Scheduled,
    /// When it was made, if the file says.
    pub created: Option<Moment>,
    /// The secret, as it is in the file.
    private: Secret,
}

/// Text that is shown nowhere.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    zone: String,
    role: String,
    algorithm: String,
    created: Option<Moment>,
    publish: Moment,
    activate: Option<Moment>,
    retire: Option<Moment>,
    remove: Option<Moment>,
    ds_submit: Option<Moment>,
    ds_seen: Option<Moment>,
    ds_withdraw: Option<Moment>,
    ds_gone: Option<Moment>,
    private: String,
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Characters of a line of base 64 (RFC 7468 §2).
const LINE: usize = 64;

impl KeyFile {
    /// A new key in `folder`, not written yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(
        folder: &Path,
        zone: &[u8],
        role: Role,
        algorithm: Algorithm,
        timing: Timing,
        now: u64,
    ) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let document = Key::generate(algorithm, &random)?;
        let key = Key::from_pkcs8(role, algorithm, &document, &random)?;
        // A file's name is for people; what counts is inside. The root would begin with a dot and be hidden.
        let origin = match name::text(zone).replace('/', "_") {
            root if root == "." => "root".to_owned(),
            origin => origin,
        };
        let file = format!("{origin}+{:03}+{:05}.toml", algorithm.number(), key.tag());
        Ok(Self {
            path: folder.join(file),
            zone: zone.to_vec(),
            scheduled: Scheduled {
                key: Arc::new(key),
                timing,
            },
            created: Some(Moment(now)),
            private: Secret(pem(&document)),
        })
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Report> {
        let file = path.display().to_string();
        let written: Written =
            service::config::parse(&file, text).map_err(|error| error.diagnostic)?;
        let wrong = |key: &str, message: String| {
            let line = text.lines().position(|line| line.starts_with(key));
            let line = line.map_or(0, |line| line + 1);
            Report::from(Diagnostic::error(
                &*file,
                line,
                usize::from(line > 0),
                message,
            ))
        };
        let zone = name::parse(&written.zone, Some(name::ROOT))
            .map_err(|error| wrong("zone", format!("no zone: {error}")))?;
        let role = [Role::Ksk, Role::Zsk, Role::Csk]
            .into_iter()
            .find(|role| role.as_str() == written.role)
            .ok_or_else(|| wrong("role", "a role is ksk, zsk or csk".to_owned()))?;
        let algorithm = Algorithm::parse(&written.algorithm).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::mnemonic).join(" or ");
            wrong("algorithm", format!("an algorithm is {known}"))
        })?;
        let document = from_pem(&written.private)
            .ok_or_else(|| wrong("private", "it is no PEM text of a private key".to_owned()))?;
        let key = Key::from_pkcs8(role, algorithm, &document, &SystemRandom::new())
            .map_err(|error| wrong("private", error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            zone: name::lowered(&zone),
            scheduled: Scheduled {
                key: Arc::new(key),
                timing: written.timing(),
            },
            created: written.created,
            private: Secret(written.private),
        })
    }

    /// The key as far as planning goes.
    pub fn planned(&self) -> Planned {
        Planned {
            role: self.scheduled.key.role(),
            algorithm: self.scheduled.key.algorithm(),
            timing: self.scheduled.timing,
        }
    }

    /// Writes it for its owner only; a server that watches the folder never reads half a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> std::io::Result<()> {
        secret::replace(&self.path, &self.text())
    }

    fn text(&self) -> String {
        let key = &self.scheduled.key;
        let Timing {
            publish,
            activate,
            retire,
            remove,
            ds,
        } = self.scheduled.timing;
        let origin = name::text(&self.zone);
        let mut text = format!(
            "# Key {} of {origin}: whoever has this file can sign in the zone's name.\n\
             zone = \"{}\"\nrole = \"{}\"\nalgorithm = \"{}\"\n",
            key.tag(),
            origin.replace('\\', "\\\\").replace('"', "\\\""),
            key.role(),
            key.algorithm(),
        );
        let times = [
            ("created", self.created.map(|created| created.0)),
            ("publish", Some(publish)),
            ("activate", key.role().signs_data().then_some(activate)),
            ("retire", retire),
            ("remove", remove),
            ("ds_submit", ds.submit),
            ("ds_seen", ds.seen),
            ("ds_withdraw", ds.withdraw),
            ("ds_gone", ds.gone),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                text += &format!("{name} = {}\n", Moment(time));
            }
        }
        text + &format!("private = '''\n{}\n'''\n", self.private.0.trim())
    }
}

impl Written {
    fn timing(&self) -> Timing {
        let seconds = |moment: Option<Moment>| moment.map(|moment| moment.0);
        Timing {
            publish: self.publish.0,
            activate: self.activate.unwrap_or(self.publish).0,
            retire: seconds(self.retire),
            remove: seconds(self.remove),
            ds: DsTiming {
                submit: seconds(self.ds_submit),
                seen: seconds(self.ds_seen),
                withdraw: seconds(self.ds_withdraw),
                gone: seconds(self.ds_gone),
            },
        }
    }
}

/// PKCS#8 as text (RFC 7468 §10).
fn pem(document: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(document);
    let mut text = BEGIN.to_owned();
    for (at, letter) in encoded.chars().enumerate() {
        if at % LINE == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + "\n" + END
}

fn from_pem(text: &str) -> Option<Vec<u8>> {
    let inside = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let encoded: String = inside.split_whitespace().collect();
    BASE64_STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(role: Role, algorithm: Algorithm) -> KeyFile {
        let timing = Timing {
            publish: 1_800_000_000,
            activate: 1_800_003_600,
            retire: Some(1_900_000_000),
            ds: DsTiming {
                submit: role.signs_keys().then_some(1_800_010_000),
                ..DsTiming::default()
            },
            ..Timing::default()
        };
        let zone = name::parse("stream.example.", None).unwrap();
        KeyFile::generate(Path::new("keys"), &zone, role, algorithm, timing, 5).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        for algorithm in Algorithm::ALL {
            for role in [Role::Ksk, Role::Zsk, Role::Csk] {
                let mut made = made(role, algorithm);
                if role == Role::Ksk {
                    made.scheduled.timing.activate = made.scheduled.timing.publish;
                }
                let read = KeyFile::parse(&made.path, &made.text()).unwrap();
                assert_eq!(read.scheduled.key.dnskey(), made.scheduled.key.dnskey());
                assert_eq!(read.scheduled.timing, made.scheduled.timing);
                assert_eq!((read.zone, read.created), (made.zone.clone(), made.created));
                let name = format!(
                    "keys/stream.example.+{:03}+{:05}.toml",
                    algorithm.number(),
                    made.scheduled.key.tag()
                );
                assert_eq!(made.path, Path::new(&name));
                assert!(
                    !format!("{made:?}").contains("PRIVATE"),
                    "secrets are not shown"
                );
            }
        }
    }

    #[test]
    fn keys_of_openssl_are_taken() {
        // openssl genpkey -algorithm ed25519; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256
        for (algorithm, private) in [
            (
                "ED25519",
                "MC4CAQAwBQYDK2VwBCIEIOgqjalZq5uVgOXpmgf0VRGS6ajXZ2qRoQ3/4ylZcwiW",
            ),
            (
                "ECDSAP256SHA256",
                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgl51yim1vwwa+w3NX\n\
                 MtxFPByP7q44z53Bd8zXiPrwkjuhRANCAAR6Adfp6pvpqnxZB0FCnco700X+wsm/\n\
                 BGur6FZh/ftaRdrMrlFCGBK3EzY4LmuBofLVwkArXqKjZpbGpDbao0fc",
            ),
        ] {
            let text = format!(
                "zone = \"a.\"\nrole = \"csk\"\nalgorithm = \"{algorithm}\"\n\
                 publish = 2026-01-01T00:00:00Z\nprivate = '''\n{BEGIN}\n{private}\n{END}\n'''\n"
            );
            let read = KeyFile::parse(Path::new("k.toml"), &text).unwrap();
            assert_eq!(
                read.scheduled.timing.activate, 1_767_225_600,
                "with publish"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let good = made(Role::Zsk, Algorithm::Ed25519).text();
        let check = |from: &str, to: &str, expected: &str| {
            assert!(good.contains(from), "{from}");
            let error = KeyFile::parse(Path::new("k.toml"), &good.replace(from, to)).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        check(
            "\"zsk\"",
            "\"none\"",
            "k.toml:3:1: error: a role is ksk, zsk or csk",
        );
        check("ED25519", "RSASHA256", "k.toml:4:1: error: an algorithm is");
        check(
            "ED25519",
            "ECDSAP256SHA256",
            "k.toml:9:1: error: it is no PKCS#8",
        );
        check("-----BEGIN", "----BEGIN", "k.toml:9:1: error: it is no PEM");
        check("stream.example.", "a..b", "k.toml:2:1: error: no zone:");
        check("publish = ", "publish = 5 #", "k.toml:6:11: error:");
        check(
            "retire",
            "retired",
            "k.toml:8:1: error: unknown field `retired`",
        );
    }
}
