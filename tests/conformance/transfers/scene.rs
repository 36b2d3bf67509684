//! One of our servers with zones in a folder of the test's, and what its zones look like from outside.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use conformance::{decode::Message, exchange::Client, question::Question, site::ABSENT};
use service::shutdown::{self, Trigger};
use signpost_tests::port;
use tempfile::TempDir;

/// How long anything may take on a machine that has other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The key that servers share, and its secret.
pub(crate) const KEY: &str = "transfer.key.";
pub(crate) const SECRET: &str = "c2VjcmV0IG9mIDMyIG9jdGV0cyBmb3IgdGhlIHRlc3Q=";
pub(crate) const SOA: u16 = 6;

/// Which of our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    First,
    Second,
}

/// The files of one of our servers; they stay while it starts and ends.
pub(crate) struct Place {
    pub(crate) level: Level,
    pub(crate) dns: SocketAddr,
    folder: TempDir,
}

/// One of our servers, running.
pub(crate) struct Ours {
    pub(crate) dns: SocketAddr,
    pub(crate) admin: SocketAddr,
    trigger: Trigger,
    running: Option<JoinHandle<()>>,
}

impl Place {
    /// A folder with a key, and an address to be.
    pub(crate) fn new(level: Level) -> Self {
        let place = Self {
            level,
            dns: port::free().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.path("zones")).unwrap();
        place.write("secret", SECRET);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file aside and puts it in its place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let aside = self.path("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.path(name)).unwrap();
    }

    /// Writes a zone of the server's own, or another version of it.
    pub(crate) fn write_zone(&self, zone: &str, text: &str) {
        self.write(
            &format!("zones/{zone}zone"),
            &format!("$ORIGIN {zone}\n{text}"),
        );
    }

    /// The configuration file with these tables; `KEY` in them is the key both sides have.
    pub(crate) fn configure(&self, tables: &str) -> PathBuf {
        let listen = format!("listen = [\"{}\"]", self.dns);
        let absent = ABSENT.replace("listen = [\"127.0.0.1:0\"]", &listen);
        let (zones, folder) = (self.path("zones"), self.path("kept"));
        let secret = self.path("secret");
        let text = format!(
            "{absent}zones = [{zones:?}]\n[transfer]\nfolder = {folder:?}\n\
             [[transfer.key]]\nname = {KEY:?}\nsecret_file = {secret:?}\n{tables}"
        );
        let file = self.path("server.toml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Starts the server with these tables in its configuration.
    pub(crate) fn start(&self, tables: &str) -> Ours {
        let (file, level) = (self.configure(tables), self.level);
        let (tell, told) = mpsc::channel();
        let (trigger, shutdown) = shutdown::channel();
        let running = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async move {
                let running = match level {
                    Level::First => {
                        let config = nameserver_l1::Config::load(&file).unwrap();
                        nameserver_l1::start(config, shutdown).await.unwrap()
                    }
                    Level::Second => {
                        let config = nameserver_l2::Config::load(&file).unwrap();
                        nameserver_l2::start(config, shutdown).await.unwrap()
                    }
                };
                tell.send((running.dns[0], running.admin)).unwrap();
                running.wait().await.unwrap();
            });
        });
        let (dns, admin) = told.recv().expect("the server starts");
        Ours {
            dns,
            admin,
            trigger,
            running: Some(running),
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.trigger.fire();
        let ended = self.running.take().map(JoinHandle::join);
        assert!(
            !matches!(ended, Some(Err(_))) || thread::panicking(),
            "the server panicked"
        );
    }
}

/// A zone with a record for each of `addresses`, and timers of a minute and more.
pub(crate) fn zone(serial: u32, addresses: &[&str]) -> String {
    timed(serial, (3600, 600, 86_400), addresses)
}

/// The same with REFRESH, RETRY and EXPIRE in seconds.
pub(crate) fn timed(serial: u32, timers: (u32, u32, u32), addresses: &[&str]) -> String {
    let (refresh, retry, expire) = timers;
    let mut text = format!(
        "$TTL 300\n@ IN SOA ns.example. host.example. {serial} {refresh} {retry} {expire} 60\n@ IN NS ns.example.\n\
         alias IN CNAME www\n_sip._tcp IN SRV 1 2 5060 www\ntext IN TXT \"a b\" \"c\"\n*.wild IN MX 5 mail\n"
    );
    for (number, address) in addresses.iter().enumerate() {
        text += &format!(
            "www{} IN A {address}\n",
            if number == 0 {
                String::new()
            } else {
                number.to_string()
            }
        );
    }
    text
}

/// Polls until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "still waiting for {what}");
        thread::sleep(Duration::from_millis(10)); // no busier than needed
    }
}

/// The answer to a question over UDP.
pub(crate) fn ask(server: SocketAddr, name: &str, rtype: u16) -> Option<Message> {
    let question = Question::new(name, rtype).octets(7);
    let reply = Client::new(server).udp_within(&question, Duration::from_millis(500))?;
    Some(Message::read(&reply).unwrap())
}

/// The RCODE that the zone's SOA record is asked with success or failure.
pub(crate) fn rcode(server: SocketAddr, zone: &str) -> Option<u16> {
    ask(server, zone, SOA).map(|message| message.rcode)
}

/// The serial that a server has.
pub(crate) fn serial(server: SocketAddr, zone: &str) -> Option<u32> {
    let message = ask(server, zone, SOA)?;
    let soa = message.sections[0].first()?;
    let numbers = soa.data.last_chunk::<20>()?;
    Some(u32::from_be_bytes(numbers[..4].try_into().unwrap()))
}

/// Waits until a server has this version.
pub(crate) fn until_serial(server: SocketAddr, zone: &str, wanted: u32) {
    until(&format!("serial {wanted} of {zone}"), || {
        (serial(server, zone)? == wanted).then_some(())
    });
}

/// What dig prints of a transfer, with the key.
pub(crate) fn dig_transfer(
    server: SocketAddr,
    zone: &str,
    kind: &str,
    key: Option<&str>,
) -> String {
    let mut dig = Command::new("dig");
    dig.arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()]);
    dig.args(["+tries=1", "+time=30", "+nocookie", "+onesoa", zone, kind]);
    if let Some(key) = key {
        dig.args(["-y", key]);
    }
    let output = dig.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `-y` of dig for the shared key.
pub(crate) fn with_key() -> String {
    format!("hmac-sha256:{KEY}:{SECRET}")
}

/// Every record that a server gives away to who has the key, in any order.
pub(crate) fn records(server: SocketAddr, zone: &str) -> BTreeSet<String> {
    let text = dig_transfer(server, zone, "AXFR", Some(&with_key()));
    let lines = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    let records: BTreeSet<String> = lines
        .filter(|line| !line.contains("\tTSIG\t"))
        .map(|line| {
            line.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase()
        })
        .collect();
    assert!(!records.is_empty(), "{text}");
    records
}

/// The value of a metric with these labels.
pub(crate) fn metric(server: &Ours, line: &str) -> f64 {
    let found = signpost_tests::admin::metrics(server.admin, line);
    found.first().map_or(0.0, |(_, value)| *value)
}
