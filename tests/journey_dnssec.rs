//! Signed zones in both levels, asked through real validators: `delv`, and Unbound with client subnets and aggressive
//! use of denials. Whatever is answered validates, for every client, and while keys roll by command.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nameserver::dnssec::command::{self, Action, Keys};
use nameserver::dnssec::{self, Dnssec};
use service::diagnostic::Report;
use signpost_tests::{
    daemon,
    dig::{Answer, dig},
    example::{Example, Setup, TOKENS, ZONE},
    tools,
    unbound::Unbound,
};
use tempfile::TempDir;

const LIVE: &str = "_rtsp._tcp.live.stream.example.";
/// How long a roll may take whose times are seconds, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// A parent zone and the example's two, with everything that a validator meets, and TTLs of a second or two.
const PARENT: &str = "$ORIGIN example.\n$TTL 1\n@ SOA ns1.stream hostmaster 1 1h 15m 2w 1\n@ NS ns1.stream\n\
    stream NS ns1.stream\nns1.stream A 192.0.2.53\n";
const STREAM: &str = "$ORIGIN stream.example.\n$TTL 1\n@ SOA ns1 hostmaster 1 1h 15m 2w 1\n@ NS ns1\n\
    ns1 A 192.0.2.53\nedge NS ns1.edge\nns1.edge A 192.0.2.54\n\
    _rtsp._tcp.live SRV 0 0 8554 origin\n_rtsp._tcp.vod SRV 0 0 8554 origin\norigin A 127.0.1.1\n\
    Live TXT \"live channel\"\n*.wild TXT \"synthesised\"\na.b.deep A 192.0.2.1\nwww CNAME Origin\n\
    away CNAME nothing\nrenamed DNAME deep\nplain NS ns.plain\nns.plain A 192.0.2.55\n";
const EDGE: &str = "$ORIGIN edge.stream.example.\n$TTL 1\n@ SOA ns1 hostmaster 1 1h 15m 2w 1\n@ NS ns1\nns1 A 192.0.2.54\n";
const PLAIN: &str = "$ORIGIN plain.stream.example.\n$TTL 1\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.55\nwww A 192.0.2.5\n";
/// A roll takes seconds. Propagation covers a look at the files, our clock and the resolver's, both in whole seconds,
/// and that Unbound keeps a record through the whole second in which its TTL ends: three in all.
const POLICY: &str = "[dnssec.policy]\ndnskey_ttl = 1\nttl_max = 2\npropagation = 3\nparent_ttl = 1\nparent_propagation = 3\n";

/// The zones signed, both levels serving them, and the anchor of the parent.
struct Signed {
    example: Example,
    l1: Dnssec,
    anchor: String,
    folder: TempDir,
}

impl Signed {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let table = |keys: &Path, zones: &str| {
            format!("[dnssec]\nzones = [{zones}]\nkeys = {keys:?}\n{POLICY}")
        };
        let l1_tables = table(&at("keys"), "\"example\", \"stream.example\"");
        let l2_tables = table(&at("l2-keys"), "\"edge.stream.example\"");
        let [l1, l2] = [&l1_tables, &l2_tables].map(|text| read_table(text));
        let generate = |settings: &Dnssec, zone: &str, keys| {
            let zone = zone.parse().expect("a zone");
            run(
                settings,
                &Action::Generate {
                    zone,
                    keys,
                    algorithm: None,
                },
            )
        };
        generate(&l1, "example", Keys::Csk);
        generate(&l1, ZONE, Keys::Pair);
        generate(&l2, TOKENS, Keys::Csk);
        for settings in [&l1, &l2] {
            make_old(&settings.keys);
        }
        for name in ["zones", "l2-zones"] {
            std::fs::create_dir(at(name))?;
        }
        let parent = format!("{PARENT}{}", ds(&l1, ZONE));
        std::fs::write(at("zones/example.zone"), parent)?;
        let stream = format!("{STREAM}{}", ds(&l2, TOKENS));
        std::fs::write(at("zones/stream.example.zone"), stream)?;
        std::fs::write(at("l2-zones/edge.stream.example.zone"), EDGE)?;
        std::fs::write(at("l2-zones/plain.stream.example.zone"), PLAIN)?;
        let anchor = ds(&l1, "example");
        for (settings, zone) in [(&l1, "example"), (&l1, ZONE), (&l2, TOKENS)] {
            let zone: dnssec::ZoneName = zone.parse()?;
            for tag in entry_tags(settings, &zone) {
                let zone = zone.clone();
                run(settings, &Action::Seen { zone, tag });
            }
        }
        let setup = Setup {
            l1_zones: at("zones"),
            l2_zones: at("l2-zones"),
            l1_tables,
            l2_tables,
        };
        Ok(Self {
            example: Example::start_with(setup).await?,
            l1,
            anchor,
            folder,
        })
    }

    fn unbound(&self) -> Unbound {
        let (l1, l2) = (self.example.l1, self.example.l2);
        let zones = [
            ("example.", l1),
            ("stream.example.", l1),
            ("edge.stream.example.", l2),
            ("plain.stream.example.", l2),
        ];
        let anchor = format!(" trust-anchor: \"{}\"\n", self.anchor.trim());
        Unbound::start(&zones, &anchor).expect("unbound starts")
    }

    /// What the parent zone says of the child: these lines.
    fn set_ds(&self, lines: &str) {
        let file = self.folder.path().join("zones/example.zone");
        std::fs::write(file, format!("{PARENT}{lines}")).expect("the zone file is written");
    }
}

/// Tells a story about signed zones; skips it, saying so, without the tools.
async fn with_signed(story: impl FnOnce(&Signed) + Send + 'static) {
    let tools = [("dig", "bind9-dnsutils"), ("delv", "bind9-dnsutils")];
    if !tools
        .iter()
        .all(|(tool, package)| tools::available(tool, package))
        || daemon::find("unbound", "unbound").is_none()
    {
        return;
    }
    let signed = Signed::start().await.expect("the zones are served");
    let told = tokio::task::spawn_blocking(move || {
        story(&signed);
        signed
    });
    let signed = told.await.expect("the story holds");
    signed.example.stop().await.expect("an orderly end");
}

fn read_table(text: &str) -> Dnssec {
    let config: nameserver_l1::Config = service::config::parse("test", text).expect("a good table");
    config.dnssec
}

fn run(settings: &Dnssec, action: &Action) -> String {
    let done = command::run(settings, action, dnssec::now());
    done.unwrap_or_else(|error| panic!("{action:?}: {error:#}"))
}

/// Moves the times of all keys a day back: the zones have been signed since then.
fn make_old(keys: &Path) {
    let now = dnssec::now().0;
    for entry in std::fs::read_dir(keys).expect("the folder of keys") {
        let path = entry.expect("a key").path();
        let text = std::fs::read_to_string(&path).expect("a key");
        let days: String = text.lines().fold(String::new(), |moved, line| {
            let timed = ["created", "publish", "activate", "ds_submit"];
            let line = match timed.iter().find(|key| line.starts_with(**key)) {
                Some(key) => format!("{key} = {}", dnssec::Moment(now - 86_400)),
                None => line.to_owned(),
            };
            moved + &line + "\n"
        });
        service::secret::replace(&path, &days).expect("a key is written");
    }
}

/// The DS records that the parent of a zone should have, as lines of a zone file.
fn ds(settings: &Dnssec, zone: &str) -> String {
    let zone = zone.parse().expect("a zone");
    let text = run(settings, &Action::Ds { zone });
    let lines = text.lines().filter(|line| line.contains(" IN DS "));
    lines.fold(String::new(), |mut lines, line| {
        let _ = writeln!(lines, "{line}");
        lines
    })
}

/// Role, state and tag of a zone's keys.
fn keys(settings: &Dnssec, zone: &dnssec::ZoneName) -> Vec<(String, String, u16)> {
    let list = run(
        settings,
        &Action::List {
            zone: Some(zone.clone()),
            json: true,
        },
    );
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let keys = list["keys"].as_array().expect("keys").iter();
    keys.map(|key| {
        let tag = key["tag"].as_u64().and_then(|tag| tag.try_into().ok());
        (text(&key["role"]), text(&key["state"]), tag.expect("a tag"))
    })
    .collect()
}

fn entry_tags(settings: &Dnssec, zone: &dnssec::ZoneName) -> Vec<u16> {
    let keys = keys(settings, zone).into_iter();
    keys.filter(|(role, ..)| role != "zsk")
        .map(|(.., tag)| tag)
        .collect()
}

/// Asks the validator; the answer has to be authentic.
fn validated(resolver: &Unbound, arguments: &[&str]) -> Answer {
    let answer = resolved(resolver, arguments);
    let good = answer.status == "NOERROR" && answer.has("ad");
    assert!(good, "{}\n{}", answer.text, resolver.log());
    answer
}

fn resolved(resolver: &Unbound, arguments: &[&str]) -> Answer {
    dig(
        resolver.address,
        &[&["+recurse", "+dnssec", "+time=20"], arguments].concat(),
    )
}

/// The types in the NSEC record at a name.
fn denied(answer: &Answer, owner: &str) -> String {
    let nsec = answer
        .authority
        .iter()
        .find(|record| record.rtype == "NSEC");
    let nsec = nsec.unwrap_or_else(|| panic!("{}", answer.text));
    assert_eq!(nsec.owner, owner, "{}", answer.text);
    nsec.data
        .split_once(' ')
        .expect("next name and types")
        .1
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn unbound_validates_whatever_is_answered_to_whom() {
    with_signed(|signed| {
        let unbound = signed.unbound();
        let ask = |arguments: &[&str]| validated(&unbound, arguments);
        // Static names, wildcards, aliases.
        assert_eq!(ask(&["ns1.stream.example.", "A"]).data("A"), ["192.0.2.53"]);
        assert_eq!(
            ask(&["x.y.wild.stream.example.", "TXT"]).data("TXT"),
            ["\"synthesised\""]
        );
        assert_eq!(ask(&["WWW.stream.example.", "A"]).data("A"), ["127.0.1.1"]);
        let renamed = ask(&["a.b.renamed.stream.example.", "A"]);
        assert_eq!(renamed.data("A"), ["192.0.2.1"], "{}", renamed.text);
        assert_eq!(renamed.data("DNAME"), ["deep.stream.example."]);
        // One service, several clients: each gets what is meant for it.
        let mut answers = BTreeSet::new();
        for client in [
            "198.51.100.0/24",
            "203.0.113.0/24",
            "198.51.100.0/24",
            "192.0.2.0/24",
        ] {
            let answer = ask(&[LIVE, "SRV", &format!("+subnet={client}")]);
            answers.insert(
                answer
                    .data("SRV")
                    .iter()
                    .map(|data| (*data).to_owned())
                    .collect::<Vec<_>>(),
            );
            let target = answer.data("SRV")[0]
                .split(' ')
                .next_back()
                .expect("a target")
                .to_owned();
            if target.ends_with(TOKENS) {
                // And the second level's answer hangs on the first one's DS record.
                assert!(!ask(&[&target, "A"]).data("A").is_empty());
                assert_eq!(denied(&ask(&[&target, "MX"]), &target), "A AAAA RRSIG NSEC");
            }
        }
        assert!(answers.len() >= 2, "{answers:?}");
        let by_label = "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.";
        assert!(!ask(&[by_label, "SRV"]).data("SRV").is_empty());
        // Denials tell the truth: the service is not denied to whoever asks for another type first.
        let denies = |name: &str, rtype: &str| denied(&ask(&[name, rtype]), name);
        let vod = "_rtsp._tcp.vod.stream.example.";
        assert_eq!(denies(vod, "A"), "SRV RRSIG NSEC");
        assert!(
            !ask(&[vod, "SRV", "+subnet=203.0.113.0/24"])
                .data("SRV")
                .is_empty()
        );
        assert_eq!(denies("nothing.stream.example.", "A"), "RRSIG NSEC TYPE128");
        assert_eq!(denies("ns1.stream.example.", "AAAA"), "A RRSIG NSEC");
        assert_eq!(denies("b.deep.stream.example.", "A"), "RRSIG NSEC");
        assert_eq!(denies("x.wild.stream.example.", "A"), "TXT RRSIG NSEC");
        assert_eq!(denies(by_label, "A"), "SRV RRSIG NSEC");
        assert_eq!(
            denies("ip4-198-51-100-0-24.live.stream.example.", "SRV"),
            "RRSIG NSEC"
        );
        assert_eq!(
            denies("forged.edge.stream.example.", "A"),
            "RRSIG NSEC TYPE128"
        );
        let away = ask(&["away.stream.example.", "A"]);
        assert_eq!(
            denied(&away, "nothing.stream.example."),
            "RRSIG NSEC TYPE128"
        );
        assert_eq!(denies("plain.stream.example.", "DS"), "NS RRSIG NSEC");
        assert_eq!(ask(&["stream.example.", "DS"]).data("DS").len(), 1);
        assert_eq!(ask(&["stream.example.", "DNSKEY"]).data("DNSKEY").len(), 2);
        // A delegation that is proven to be unsigned is no fault.
        let plain = resolved(&unbound, &["www.plain.stream.example.", "A"]);
        assert_eq!(
            (plain.status.as_str(), plain.has("ad")),
            ("NOERROR", false),
            "{}",
            plain.text
        );
        assert_eq!(plain.data("A"), ["192.0.2.5"]);
        let log = unbound.log();
        assert!(!log.contains("validation failure"), "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delv_validates_the_first_level_from_the_parents_key_on() {
    with_signed(|signed| {
        let [tag, algorithm, digest_type, digest] =
            signed.anchor.split_whitespace().skip(3).collect::<Vec<_>>()[..]
        else {
            panic!("{}", signed.anchor);
        };
        let anchor = signed.folder.path().join("anchor");
        let text = format!(
            "trust-anchors {{ example. static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n"
        );
        std::fs::write(&anchor, text).expect("the anchor is written");
        let delv = |name: &str, rtype: &str, expected: &str| {
            let server = signed.example.l1;
            let output = Command::new("delv")
                .arg(format!("@{}", server.ip()))
                .args(["-p", &server.port().to_string(), "-a"])
                .arg(&anchor)
                .args(["+root=example", name, rtype])
                .output()
                .expect("delv runs");
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("fully validated"), "{name} {rtype}: {text}");
            assert!(text.contains(expected), "{name} {rtype}: {text}");
        };
        delv("ns1.stream.example", "A", "192.0.2.53");
        delv(LIVE, "SRV", "8554");
        delv("x.wild.stream.example", "TXT", "synthesised");
        delv("www.stream.example", "A", "127.0.1.1");
        delv("a.b.renamed.stream.example", "A", "192.0.2.1");
        delv("edge.stream.example", "DS", " 13 2 ");
        delv("stream.example", "DNSKEY", "; KSK; alg = ECDSAP256SHA256");
        for (name, rtype) in [
            ("nothing.stream.example", "A"),
            ("ns1.stream.example", "AAAA"),
            ("deep.stream.example", "A"),
            (LIVE, "A"),
            ("plain.stream.example", "DS"),
        ] {
            delv(name, rtype, "negative response, fully validated");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_roll_by_command_while_unbound_keeps_validating() {
    with_signed(|signed| {
        let unbound = signed.unbound();
        let zone: dnssec::ZoneName = ZONE.parse().expect("a zone");
        let settings = &signed.l1;
        let mut asked = 0;
        // Whatever the moment: an answer made now, one kept, a denial of a name never asked before.
        let mut until = |what: &str, done: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !done() {
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{what}: {:?}",
                    keys(settings, &zone)
                );
                asked += 1;
                validated(&unbound, &["ns1.stream.example.", "A"]);
                validated(&unbound, &[&format!("n{asked}.stream.example."), "A"]);
                validated(&unbound, &[LIVE, "SRV", "+subnet=203.0.113.0/24"]);
            }
        };
        let states = || -> Vec<String> {
            let keys = keys(settings, &zone).into_iter();
            keys.map(|(role, state, _)| format!("{role} {state}"))
                .collect()
        };
        let published = || {
            let answer = dig(signed.example.l1, &[ZONE, "DNSKEY", "+dnssec"]);
            let tags = answer.data("DNSKEY").len();
            let signers: BTreeSet<String> = answer
                .data("RRSIG")
                .iter()
                .map(|data| data.split(' ').nth(6).unwrap_or_default().to_owned())
                .collect();
            (tags, signers.len())
        };
        let is = |expected: &[&str]| states() == expected;
        until("the start", &|| published() == (2, 1));

        run(
            settings,
            &Action::Roll {
                zone: zone.clone(),
                keys: Keys::Zsk,
                algorithm: None,
                if_older: None,
            },
        );
        until("both ZSKs are there", &|| published() == (3, 1));
        until("the old ZSK goes", &|| {
            is(&["ksk active", "zsk removed", "zsk active"])
        });
        until("it is gone", &|| published() == (2, 1));

        let old = entry_tags(settings, &zone)[0];
        run(
            settings,
            &Action::Roll {
                zone: zone.clone(),
                keys: Keys::Ksk,
                algorithm: None,
                if_older: None,
            },
        );
        until("both KSKs sign", &|| published() == (3, 2));
        until("the parent may have the new one", &|| {
            ds(settings, ZONE).lines().count() == 2
        });
        let cds = || dig(signed.example.l1, &[ZONE, "CDS"]).data("CDS").len();
        until("CDS asks for both", &|| cds() == 2);
        signed.set_ds(&ds(settings, ZONE));
        let at_parent = || dig(signed.example.l1, &[ZONE, "DS"]).data("DS").len();
        until("the parent has both", &|| at_parent() == 2);
        let new = entry_tags(settings, &zone)
            .into_iter()
            .find(|tag| *tag != old);
        let new = new.expect("the new key");
        run(
            settings,
            &Action::Seen {
                zone: zone.clone(),
                tag: new,
            },
        );
        until("CDS asks for the new one alone", &|| cds() == 1);
        until("the old KSK goes", &|| {
            is(&["ksk removed", "zsk removed", "zsk active", "ksk active"])
        });
        until("it is gone", &|| published() == (2, 1));
        signed.set_ds(&ds(settings, ZONE));
        until("the parent has the new one alone", &|| at_parent() == 1);
        run(
            settings,
            &Action::Gone {
                zone: zone.clone(),
                tag: old,
            },
        );
        until("CDS asks for nothing", &|| cds() == 0);
        let log = unbound.log();
        assert!(!log.contains("validation failure"), "{log}");
        assert!(asked > 10, "{asked}");

        let report = check(&signed.example.l1_file());
        assert_eq!(report.errors(), 0, "{report}");
    })
    .await;
}

fn check(config: &Path) -> Report {
    nameserver_l1::commands::check(config)
}
