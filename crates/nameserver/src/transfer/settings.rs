//! `[transfer]`: which zones come from other servers, and which go to them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use dns_engine::transfer::Rule;
use dns_engine::tsig::Algorithm;
use dns_engine::{Network, NetworkError, name};
use serde::Deserialize;

use crate::dnssec::ZoneName;

/// `[transfer]`: nothing comes and nothing goes by default.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Tables")]
pub struct Transfer {
    /// Where zones of other servers are kept, so that they are there again after a start.
    pub folder: PathBuf,
    /// Shared secrets.
    pub keys: Vec<KeyFile>,
    /// Zones for other servers.
    pub provide: Vec<Provide>,
    /// Zones of other servers.
    pub secondaries: Vec<Secondary>,
    /// Lists of zones of other servers.
    pub catalogs: Vec<Catalog>,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tables {
    folder: PathBuf,
    key: Vec<KeyFile>,
    provide: Vec<Provide>,
    secondary: Vec<Secondary>,
    catalog: Vec<Catalog>,
}

/// `[[transfer.key]]`: a secret that two servers share (RFC 8945).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// By which both servers call it.
    pub name: ZoneName,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    #[serde(default)]
    pub algorithm: AlgorithmName,
    /// File with the secret in base64, for its owner only.
    pub secret_file: PathBuf,
}

/// `[[transfer.provide]]`: who may have zones of this server, and who is told when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ProvideTable")]
pub struct Provide {
    /// The zones.
    pub zones: Vec<ZoneName>,
    /// Who may have them: addresses, a key, or both at once.
    pub rule: Rule,
    /// The addresses of the rule.
    pub networks: Vec<Network>,
    /// The key of the rule.
    pub key: Option<ZoneName>,
    /// Who is told (NOTIFY), with the key, if there is one.
    pub notify: Vec<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvideTable {
    zones: Vec<ZoneName>,
    #[serde(default)]
    networks: Vec<Addresses>,
    key: Option<ZoneName>,
    #[serde(default)]
    notify: Vec<SocketAddr>,
}

/// `[[transfer.secondary]]`: a zone of other servers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secondary {
    /// The zone.
    pub zone: ZoneName,
    /// Where it comes from; they are asked in turn.
    pub primaries: Primaries,
    /// Whose NOTIFY is heard besides the primaries'.
    #[serde(default)]
    pub notify_from: Vec<Addresses>,
}

/// `[[transfer.catalog]]`: a catalog zone (RFC 9432), whose members become secondary zones.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The catalog zone, which is not served.
    pub zone: ZoneName,
    /// Where it comes from.
    pub primaries: Primaries,
    /// Whose NOTIFY is heard besides the primaries', for the catalog and its members.
    #[serde(default)]
    pub notify_from: Vec<Addresses>,
    /// Where the members come from; from the same servers, if nothing is said.
    pub member_primaries: Option<Primaries>,
}

/// One server or more.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Primary>")]
pub struct Primaries(pub Vec<Primary>);

/// A server that zones come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PrimaryTable")]
pub struct Primary {
    /// Its address and port.
    pub address: SocketAddr,
    /// Signs what is asked of it; what it sends must be signed too.
    pub key: Option<ZoneName>,
    /// Its transfers go over TLS (RFC 9103).
    pub tls: Option<Tls>,
}

/// Whom a primary has to prove to be.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its name.
    pub name: String,
    /// File of the certificates (PEM) that may say so.
    pub authorities: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrimaryTable {
    address: SocketAddr,
    key: Option<ZoneName>,
    tls_name: Option<String>,
    tls_authorities: Option<PathBuf>,
}

/// An address, or a network such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Addresses(pub Network);

/// An algorithm by its name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct AlgorithmName(pub Algorithm);

impl Default for Transfer {
    fn default() -> Self {
        let Tables { folder, .. } = Tables::default();
        Self {
            folder,
            keys: Vec::new(),
            provide: Vec::new(),
            secondaries: Vec::new(),
            catalogs: Vec::new(),
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            folder: "run/transfer".into(),
            key: Vec::new(),
            provide: Vec::new(),
            secondary: Vec::new(),
            catalog: Vec::new(),
        }
    }
}

impl Default for AlgorithmName {
    fn default() -> Self {
        Self(Algorithm::HmacSha256)
    }
}

impl Transfer {
    /// True if no zone comes or goes.
    pub fn is_off(&self) -> bool {
        self.provide.is_empty() && !self.is_secondary()
    }

    /// True if some zone comes from another server.
    pub fn is_secondary(&self) -> bool {
        !self.secondaries.is_empty() || !self.catalogs.is_empty()
    }

    /// The paths in it, for resolving them against the folder of the configuration file.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = self.keys.iter_mut().map(|key| &mut key.secret_file);
        let secondaries = self.secondaries.iter_mut();
        let catalogs = self.catalogs.iter_mut().flat_map(|catalog| {
            std::iter::once(&mut catalog.primaries).chain(&mut catalog.member_primaries)
        });
        let primaries = secondaries.map(|zone| &mut zone.primaries).chain(catalogs);
        let identities = primaries
            .flat_map(|primaries| &mut primaries.0)
            .filter_map(|primary| Some(&mut primary.tls.as_mut()?.authorities));
        std::iter::once(&mut self.folder)
            .chain(secrets)
            .chain(identities)
    }

    /// Every primary that is named.
    fn primaries(&self) -> impl Iterator<Item = &Primary> {
        let secondaries = self.secondaries.iter().map(|zone| &zone.primaries);
        let catalogs = self.catalogs.iter();
        let catalogs = catalogs.flat_map(|catalog| {
            std::iter::once(&catalog.primaries).chain(&catalog.member_primaries)
        });
        let all = secondaries.chain(catalogs);
        all.flat_map(|primaries| &primaries.0)
    }

    /// The names of keys that are used somewhere.
    pub(super) fn keys_used(&self) -> impl Iterator<Item = &ZoneName> {
        let provide = self.provide.iter().filter_map(|rule| rule.key.as_ref());
        provide.chain(self.primaries().filter_map(|primary| primary.key.as_ref()))
    }

    /// Zones that come from other servers by themselves, and catalogs.
    pub(super) fn followed(&self) -> impl Iterator<Item = &ZoneName> {
        let secondaries = self.secondaries.iter().map(|zone| &zone.zone);
        secondaries.chain(self.catalogs.iter().map(|catalog| &catalog.zone))
    }
}

impl TryFrom<Tables> for Transfer {
    type Error = String;

    fn try_from(tables: Tables) -> Result<Self, String> {
        let transfer = Self {
            folder: tables.folder,
            keys: tables.key,
            provide: tables.provide,
            secondaries: tables.secondary,
            catalogs: tables.catalog,
        };
        let keys: Vec<&ZoneName> = transfer.keys.iter().map(|key| &key.name).collect();
        if let Some(twice) = repeated(&keys) {
            return Err(format!("two keys are called {twice}"));
        }
        if let Some(missing) = transfer.keys_used().find(|used| !keys.contains(used)) {
            return Err(format!("there is no `[[transfer.key]]` called {missing}"));
        }
        let followed: Vec<&ZoneName> = transfer.followed().collect();
        if let Some(twice) = repeated(&followed) {
            return Err(format!(
                "{twice} stands twice among secondary zones and catalogs"
            ));
        }
        Ok(transfer)
    }
}

fn repeated<'n>(names: &[&'n ZoneName]) -> Option<&'n ZoneName> {
    let mut numbered = names.iter().enumerate();
    let twice = numbered.find(|(at, name)| names.iter().take(*at).any(|other| other == *name));
    twice.map(|(_, name)| *name)
}

impl TryFrom<ProvideTable> for Provide {
    type Error = &'static str;

    fn try_from(table: ProvideTable) -> Result<Self, Self::Error> {
        if table.zones.is_empty() {
            return Err("`zones` is empty: nothing is provided");
        }
        let networks: Vec<Network> = table.networks.iter().map(|network| network.0).collect();
        let key = table.key.as_ref().map(ZoneName::wire);
        let rule = Rule::new(networks.clone(), key)
            .ok_or("without `networks` and `key` everybody could have the zones")?;
        Ok(Self {
            zones: table.zones,
            rule,
            networks,
            key: table.key,
            notify: table.notify,
        })
    }
}

impl TryFrom<Vec<Primary>> for Primaries {
    type Error = &'static str;

    fn try_from(primaries: Vec<Primary>) -> Result<Self, Self::Error> {
        match primaries.is_empty() {
            true => Err("without a primary the zone can come from nowhere"),
            false => Ok(Self(primaries)),
        }
    }
}

impl TryFrom<PrimaryTable> for Primary {
    type Error = &'static str;

    fn try_from(table: PrimaryTable) -> Result<Self, Self::Error> {
        let tls = match (table.tls_name, table.tls_authorities) {
            (Some(name), Some(authorities)) => Some(Tls { name, authorities }),
            (None, None) => None,
            _ => return Err("TLS needs both `tls_name` and `tls_authorities`"),
        };
        Ok(Self {
            address: table.address,
            key: table.key,
            tls,
        })
    }
}

impl TryFrom<String> for Addresses {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        Network::from_str(&text).map(Self)
    }
}

impl TryFrom<String> for AlgorithmName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = || Algorithm::ALL.map(Algorithm::text).join(", ");
        Algorithm::parse(&text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is none of {}", known()))
    }
}

/// Whose NOTIFY about a zone is heard: its primaries', signed where their transfers are, and those of further networks.
pub(super) fn heard(primaries: &[Primary], others: &[Addresses]) -> Vec<Rule> {
    let primaries = primaries.iter().filter_map(|primary| {
        let address = primary.address.ip().to_string().parse().ok()?;
        let key = primary.key.as_ref().map(ZoneName::wire);
        Rule::new(vec![address], key)
    });
    let others = others
        .iter()
        .filter_map(|network| Rule::new(vec![network.0], None));
    primaries.chain(others).collect()
}

/// A wire name for messages.
pub(super) fn shown(origin: &[u8]) -> String {
    name::text(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        transfer: Transfer,
    }

    fn read(text: &str) -> Result<Transfer, String> {
        let file = service::config::parse::<File>("x.toml", text);
        file.map(|file| file.transfer)
            .map_err(|error| error.to_string())
    }

    fn check(text: &str, expected: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    const KEY: &str = "[[transfer.key]]\nname = \"k.\"\nsecret_file = \"k\"\n";

    #[test]
    fn a_value_that_makes_no_sense_is_refused_where_it_stands() {
        check(
            "[[transfer.key]]\nname = \"k.\"\nsecret_file = \"k\"\nalgorithm = \"hmac-md5\"",
            "x.toml:4:13: error: `hmac-md5` is none of hmac-sha256,",
        );
        check(
            "[[transfer.provide]]\nzones = [\"a.\"]",
            "x.toml:1:1: error: without `networks` and `key` everybody",
        );
        check(
            "[[transfer.provide]]\nzones = [\"a.\"]\nnetworks = [\"loopback\"]",
            "x.toml:3:12: error: expected an address, or a network",
        );
        check(
            "[[transfer.secondary]]\nzone = \"a.\"\nprimaries = []",
            "error: without a primary",
        );
        check(
            "[[transfer.secondary]]\nzone = \"a.\"\nprimaries = [{ address = \"192.0.2.1:53\", tls_name = \"n\" }]",
            "error: TLS needs both",
        );
        check("[transfer]\nfoldr = \"x\"", "(did you mean `folder`?)");
    }

    #[test]
    fn a_key_that_is_not_there_and_a_name_that_is_there_twice_are_refused() {
        let provide = "[[transfer.provide]]\nzones = [\"a.\"]\nkey = \"other.\"";
        check(
            &format!("{KEY}{provide}"),
            "no `[[transfer.key]]` called other.",
        );
        check(&format!("{KEY}{KEY}"), "two keys are called k.");
        let secondary =
            "[[transfer.secondary]]\nzone = \"a.\"\nprimaries = [{ address = \"192.0.2.1:53\" }]\n";
        let twice = format!("{secondary}{secondary}");
        check(&twice, "a. stands twice");
    }

    #[test]
    fn paths_of_every_table_are_found() {
        let text = format!(
            "{KEY}[[transfer.catalog]]\nzone = \"c.\"\n\
             primaries = [{{ address = \"192.0.2.1:53\", tls_name = \"n\", tls_authorities = \"a\" }}]\n\
             member_primaries = [{{ address = \"192.0.2.1:53\", tls_name = \"n\", tls_authorities = \"b\" }}]"
        );
        let mut transfer = read(&text).unwrap();
        let paths: Vec<String> = transfer
            .paths()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(paths, ["run/transfer", "k", "a", "b"]);
        assert!(transfer.is_secondary() && !transfer.is_off());
        assert!(Transfer::default().is_off());
    }
}
