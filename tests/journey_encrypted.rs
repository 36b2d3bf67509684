//! Both levels over TLS, HTTPS and QUIC, asked by `kdig` and `dig`, which check the certificate; and the certificate
//! replaced while they ask.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use nameserver::Encrypted;
use signpost_tests::{
    admin,
    example::{Example, Setup, TOKENS, ZONE},
    tools,
};
use tempfile::TempDir;

/// The name in every certificate.
const NAME: &str = "ns.stream.example";
const LIVE: &str = "_rtsp._tcp.live.stream.example.";
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate and its key in a folder, that both levels follow.
struct Pair(TempDir);

impl Pair {
    /// A new pair, and the certificate in a file that clients trust.
    fn new() -> (Self, PathBuf) {
        let pair = Self(tempfile::tempdir().expect("a folder"));
        let (chain, key) = made("first");
        pair.put(&chain, &key);
        let trusted = pair.trust("first", &chain);
        (pair, trusted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// New files in place of the old ones, each whole.
    fn put(&self, chain: &str, key: &str) {
        for (name, text) in [("chain", chain), ("key", key)] {
            service::secret::replace(&self.path(name), text).expect("a file");
        }
    }

    /// Certificates in a file for clients.
    fn trust(&self, name: &str, chains: &str) -> PathBuf {
        std::fs::write(self.path(name), chains).expect("a file");
        self.path(name)
    }

    fn table(&self) -> String {
        let (chain, key) = (self.path("chain"), self.path("key"));
        let any = "[\"127.0.0.1:0\"]";
        format!(
            "[tls]\ncertificate = {chain:?}\nkey = {key:?}\n\
             listen_tls = {any}\nlisten_https = {any}\nlisten_quic = {any}\n"
        )
    }
}

/// A certificate for [`NAME`] and its key, in PEM. Those of different subjects can be trusted both.
fn made(subject: &str) -> (String, String) {
    let mut wanted = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a name");
    let common_name = rcgen::DnType::CommonName;
    wanted.distinguished_name.push(common_name, subject);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = wanted.self_signed(&key).expect("a certificate");
    (made.pem(), key.serialize_pem())
}

/// A way to ask one level, that ends with the record that is there for whoever asks.
#[derive(Clone)]
struct Way {
    program: &'static str,
    transport: &'static str,
    server: SocketAddr,
    zone: &'static str,
}

impl Way {
    /// Every transport of a server by `kdig`, and what `dig` knows of them.
    fn all(at: &Encrypted, zone: &'static str) -> Vec<Self> {
        let ways = [
            ("kdig", "tls", at.tls[0]),
            ("kdig", "https", at.https[0]),
            ("kdig", "quic", at.quic[0]),
            ("dig", "tls", at.tls[0]),
            ("dig", "https", at.https[0]),
        ];
        let way = |(program, transport, server)| Self {
            program,
            transport,
            server,
            zone,
        };
        ways.map(way).to_vec()
    }

    /// What the program says to a question, trusting one certificate alone.
    fn say(&self, trusted: &Path, question: &[&str]) -> String {
        let trusted = trusted.display();
        let trust = match self.program {
            "dig" => [
                format!("+tls-ca={trusted}"),
                format!("+tls-hostname={NAME}"),
            ],
            _ => [format!("+tls-ca={trusted}"), format!("+tls-host={NAME}")],
        };
        let output = Command::new(self.program)
            .arg(format!("@{}", self.server.ip()))
            .args(["-p", &self.server.port().to_string()])
            .args(trust)
            // Behind these, or kdig falls back to TLS.
            .args([&format!("+{}", self.transport), "+retry=0"])
            .args(question)
            .output()
            .expect("the program");
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        out + &err
    }

    /// True if it gets the zone's SOA record.
    fn is_answered(&self, trusted: &Path) -> bool {
        let said = self.say(trusted, &["SOA", self.zone]);
        let soa = format!("{} ", self.zone);
        said.contains("status: NOERROR")
            && said
                .lines()
                .any(|line| line.replace('\t', " ").starts_with(&soa) && line.contains("SOA"))
    }
}

/// The example with encrypted transports at both levels.
async fn start(pair: &Pair) -> Example {
    let setup = Setup {
        l1_tables: pair.table(),
        l2_tables: pair.table(),
        ..Setup::default()
    };
    Example::start_with(setup)
        .await
        .expect("the example starts")
}

/// Runs a story against the example; skips it, saying so, without the tools.
async fn with_example(story: impl FnOnce(&Example, &Pair, &Path) + Send + 'static) {
    let all = [("kdig", "knot-dnsutils"), ("dig", "bind9-dnsutils")];
    if !all
        .iter()
        .all(|(program, package)| tools::available(program, package))
    {
        return;
    }
    let (pair, trusted) = Pair::new();
    let example = start(&pair).await;
    let told = tokio::task::spawn_blocking(move || {
        story(&example, &pair, &trusted);
        example
    });
    let example = told.await.expect("the story holds");
    example.stop().await.expect("an orderly end");
}

fn both(example: &Example) -> Vec<Way> {
    let mut ways = Way::all(&example.l1_encrypted, ZONE);
    ways.extend(Way::all(&example.l2_encrypted, TOKENS));
    ways
}

#[tokio::test(flavor = "multi_thread")]
async fn both_levels_answer_over_every_transport_and_count_it_by_name() {
    with_example(|example, _, trusted| {
        for way in both(example) {
            assert!(way.is_answered(trusted), "{}", way.say(trusted, &["SOA", way.zone]));
        }
        // A client's network leads to the same tokens as over UDP.
        let tls = &Way::all(&example.l1_encrypted, ZONE)[0];
        let said = tls.say(trusted, &["+subnet=198.51.100.0/24", "SRV", LIVE]);
        assert_eq!(said.matches(TOKENS).count(), 2, "{said}");
        assert!(said.contains("198.51.100.0/24/24"), "{said}");
        for (transport, count) in [("tls", 2.0), ("https", 2.0), ("quic", 1.0)] {
            let line = format!("signpost_dns_requests_total{{type=\"SOA\",transport=\"{transport}\",family=\"ipv4\"}}");
            for admin in [example.l1_admin, example.l2_admin] {
                assert_eq!(admin::metrics(admin, &line), [(line.clone(), count)]);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_transfer_over_https_is_refused_in_a_dns_message() {
    with_example(|example, _, trusted| {
        let https = &Way::all(&example.l1_encrypted, ZONE)[1];
        let said = https.say(trusted, &["AXFR", ZONE]);
        assert!(said.contains("REFUSED"), "{said}");
        assert!(!said.contains("501"), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_no_query_is_lost() {
    with_example(|example, pair, first| {
        let ways = both(example);
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (chain, key) = made("second");
        let second = pair.trust("second", &chain);
        // Some see the change before others.
        let old = std::fs::read_to_string(first).expect("the first certificate");
        let either = pair.trust("either", &(old + &chain));
        std::thread::scope(|scope| {
            for way in &ways {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert!(
                            way.is_answered(&either),
                            "{}",
                            way.say(&either, &["SOA", way.zone])
                        );
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let until = |count| {
                let deadline = Instant::now() + PATIENCE;
                while asked.load(Ordering::Relaxed) < count && Instant::now() < deadline {
                    std::thread::yield_now();
                }
            };
            until(ways.len());
            pair.put(&chain, &key);
            for admin in [example.l1_admin, example.l2_admin] {
                adopted(admin, 2.0);
            }
            until(asked.load(Ordering::Relaxed) + ways.len());
            done.store(true, Ordering::Relaxed);
        });
        for way in &ways {
            assert!(
                way.is_answered(&second),
                "{}",
                way.say(&second, &["SOA", way.zone])
            );
            assert!(
                !way.is_answered(first),
                "the old certificate is still shown"
            );
        }
        pair.put("half a certif", &made("third").1);
        for admin in [example.l1_admin, example.l2_admin] {
            let line = "signpost_reload_refused{source=\"tls\"}";
            admin::until_metrics(admin, line, |seen| {
                seen.iter().any(|(_, value)| *value == 1.0)
            });
        }
        for way in &ways {
            assert!(way.is_answered(&second), "the one before stays");
        }
    })
    .await;
}

fn adopted(admin: SocketAddr, count: f64) {
    let line = "signpost_reload_total{result=\"adopted\",source=\"tls\"}";
    admin::until_metrics(admin, line, |seen| {
        seen.iter().any(|(_, value)| *value == count)
    });
}
