//! The program as an operator meets it: its commands, their output and exit codes, and the examples.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use hickory_proto::op::ResponseCode;
use nameserver_l1::commands;
use support::{Asker, OWNER, SRV, Site, ask, page, random_map, repository};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nameserver-l1");

fn program(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_examples_in_the_repository_are_free_of_errors() {
    let report = commands::check(&repository("deploy/nameserver-l1.toml"));
    assert_eq!(report.errors(), 0, "{report}");
}

#[test]
fn the_example_spells_the_defaults_out() {
    let example = nameserver_l1::Config::load(&repository("deploy/nameserver-l1.toml")).unwrap();
    let defaults = nameserver_l1::Config::default().settings();
    let mut settings = example.settings();
    // Paths of the example's.
    settings.dnssec.keys = defaults.dnssec.keys.clone();
    settings.transfer.folder = defaults.transfer.folder.clone();
    assert_eq!(format!("{settings:#?}"), format!("{defaults:#?}"));
}

#[test]
fn what_the_example_shows_as_a_comment_is_read_when_it_is_none() {
    let text = std::fs::read_to_string(repository("deploy/nameserver-l1.toml")).unwrap();
    let text = nameserver::settings::uncommented(&text);
    let config: nameserver_l1::Config = service::config::parse("l1.toml", &text).unwrap();
    assert!(
        config.dnstap.socket.is_some() && config.cookies.secrets.is_some(),
        "{text}"
    );
}

#[test]
fn check_reports_every_mistake_of_every_file_in_one_run() {
    let site = Site::new();
    let config = site.config_file();
    let config = config.to_str().unwrap();
    assert!(program(&["check", "--config", config]).status.success());
    site.write(
        "zones/stream.test.zone",
        &support::ZONE
            .replace("192.0.2.80", "192.0.2")
            .replace("IN TXT", "IN TXXT"),
    );
    site.write(
        "zones/other.test.zone",
        "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nns CNAME x\n",
    );
    site.write(
        "services.toml",
        &support::SERVICES.replace("unmapped", "unmaped"),
    );
    let output = program(&["check", "--config", config, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let places: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| {
            let file = finding["file"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap();
            format!("{file}:{}", finding["line"])
        })
        .collect();
    assert_eq!(
        places,
        [
            "other.test.zone:3",
            "other.test.zone:5",
            "stream.test.zone:8",
            "stream.test.zone:11",
            "services.toml:12",
            "services.toml:17",
        ],
        "{report:#}"
    );
    let plain = program(&["check", "--config", config]);
    let lines = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(
        lines
            .lines()
            .any(|line| line.contains("stream.test.zone:8:")),
        "{lines}"
    );
}

#[test]
fn check_points_at_an_address_that_is_taken_and_warns_of_a_certificate_that_is_to_come() {
    let site = Site::new();
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    let tls = "[tls]\ncertificate = \"crt\"\nkey = \"key\"\n\
               listen_tls = [\"127.0.0.1:853\"]\nlisten_https = [\"127.0.0.1:853\"]\n";
    site.write("l1.toml", &format!("{text}{tls}"));
    let report = commands::check(&site.config_file());
    let line = text.lines().count() + 5;
    for expected in [
        format!("l1.toml:{line}:17: error: `tls.listen_https` and `tls.listen_tls` both name"),
        "crt: warning: it is not there yet: no handshake succeeds".to_owned(),
        "key: warning: it is not there yet: no handshake succeeds".to_owned(),
    ] {
        assert!(report.to_string().contains(&expected), "{report}");
    }
    let pairless = "[tls]\nlisten_quic = [\"127.0.0.1:853\"]\n";
    site.write("l1.toml", &format!("{text}{pairless}"));
    let report = commands::check(&site.config_file());
    let line = text.lines().count() + 1;
    let expected = format!("l1.toml:{line}:1: error: `listen_quic` needs a `certificate`");
    assert!(report.to_string().contains(&expected), "{report}");
    let idle = "[tls]\ncertificate = \"crt\"\nkey = \"key\"\n";
    site.write("l1.toml", &format!("{text}{idle}"));
    let report = commands::check(&site.config_file());
    let expected = format!(
        "l1.toml:{}:15: warning: there is a certificate, but",
        line + 1
    );
    assert!(report.to_string().contains(&expected), "{report}");
    assert_eq!(report.errors(), 0, "{report}");
}

#[test]
fn check_finds_what_does_not_fit_between_files() {
    let check = |zone: &str, services: &str, expected: &str| {
        let site = Site::new();
        site.publish(&random_map(3, 20, 5));
        site.write("zones/stream.test.zone", zone);
        site.write("services.toml", services);
        let report = commands::check(&site.config_file()).to_string();
        assert!(report.contains(expected), "{expected}\nis not in\n{report}");
    };
    let (zone, services) = (support::ZONE, support::SERVICES);
    check(
        &zone.replace("7 9 554 origin", "7 9 554 alias\nalias CNAME origin"),
        services,
        "an alias",
    );
    check(
        zone,
        &services.replace("edge.stream.test.", "token.stream.test."),
        "is not delegated",
    );
    check(
        zone,
        &services.replacen("live.stream", "live.other", 1),
        "is in no zone that is served",
    );
    check(
        zone,
        &services.replacen("live.stream", "dead.stream", 1),
        "has no SRV record in zone",
    );
    for hidden in ["ip4-x.live", "_x._tcp.ip4-1-1-1-0-24.live"] {
        check(
            &format!("{zone}{hidden} IN A 192.0.2.1\n"),
            services,
            "never answered",
        );
    }
    let classes = services.replace("unmapped = \"refuse\"", "class = 2");
    check(zone, &classes, "class 2 is not in the map, which has 2");
    let site = Site::new();
    site.write(
        "zones/edge.stream.test.zone",
        "@ 60 SOA . . 1 1 1 1 1\n@ 60 NS ns.x.\n",
    );
    assert!(
        commands::check(&site.config_file())
            .to_string()
            .contains("is served here itself")
    );
}

#[test]
fn what_is_not_there_yet_is_a_warning_and_an_unknown_key_an_error() {
    let site = Site::new();
    std::fs::remove_file(site.path("token-keys.toml")).unwrap();
    let report = commands::check(&site.config_file());
    assert_eq!((report.errors(), report.findings.len()), (0, 2), "{report}");
    site.write("token-keys.toml", "");
    let exposed = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(site.path("token-keys.toml"), mode).unwrap();
        let report = commands::check(&site.config_file()).to_string();
        report.contains("token-keys.toml: warning: it holds secrets")
    };
    assert!(exposed(0o640) && !exposed(0o600));
    site.write("l1.toml", "listen = []\nworker = 2\n");
    let report = commands::check(&site.config_file()).to_string();
    assert!(
        report.contains("l1.toml:2:1: error: unknown field `worker`"),
        "{report}"
    );
    site.write("l1.toml", "listen = []\n");
    assert!(
        commands::check(&site.config_file())
            .to_string()
            .contains("`listen` is empty")
    );
}

#[test]
fn usage_errors_exit_with_2_and_an_unknown_service_with_1() {
    assert_eq!(program(&["serve"]).status.code(), Some(2));
    let site = Site::new();
    let config = site.config_file();
    let config = config.to_str().unwrap();
    let explain = |client, service| {
        program(&[
            "explain",
            "--config",
            config,
            "--client",
            client,
            "--service",
            service,
        ])
    };
    assert_eq!(explain("1.2.3.4/33", "live").status.code(), Some(2));
    let unknown = explain("1.2.3.4", "lives");
    assert_eq!(unknown.status.code(), Some(1));
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(text.contains("there are: live, none, vod"), "{text}");
    for nobody in ["0.0.0.0/0", "::/0"] {
        let refused = explain(nobody, "live");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(
            text.contains("answered for its source address"),
            "as on the wire: {text}"
        );
    }
    let text = String::from_utf8_lossy(&explain("1.2.3.4", OWNER).stdout).into_owned();
    assert!(text.contains("reason     no_release"), "{text}");
}

#[test]
fn the_running_program_says_where_it_listens_explains_and_ends_on_a_signal() {
    let site = Site::new();
    let generation = site.publish(&random_map(4, 200, 20));
    let config = site.config_file();
    let text = std::fs::read_to_string(&config).unwrap();
    let any = "[\"127.0.0.1:0\"]";
    let tls = format!(
        "[tls]\ncertificate = \"later\"\nkey = \"later\"\n\
         listen_tls = {any}\nlisten_https = {any}\nlisten_quic = {any}\n"
    );
    site.write("l1.toml", &(text + &tls));
    let mut child = Command::new(PROGRAM)
        .args(["run", "--config", config.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let lines: Vec<String> = lines.take(7).collect();
    let address = |word: &str| -> std::net::SocketAddr {
        let line = lines.iter().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("{word} in {lines:?}"))
            .parse()
            .unwrap()
    };
    assert_eq!(lines.last().map(String::as_str), Some("ready"));
    let (udp, admin) = (address("listening udp "), address("listening admin "));
    assert_eq!(udp, address("listening tcp "));
    for word in ["listening tls ", "listening https ", "listening quic "] {
        assert_ne!(address(word).port(), 0);
    }
    let client = "198.51.100.0/24";
    let answer = Asker::new(udp).ask(&ask(OWNER, SRV).by(client.parse().unwrap()));
    assert_eq!(answer.rcode, ResponseCode::NoError);

    let explained = program(&[
        "explain",
        "--config",
        config.to_str().unwrap(),
        "--client",
        client,
        "--service",
        "live",
        "--json",
    ]);
    let explained = json(&explained);
    assert_eq!(explained["generation"], generation);
    let targets: Vec<_> = explained["answer"]
        .as_array()
        .unwrap()
        .iter()
        .map(|srv| &srv["target"])
        .collect();
    let wire: Vec<_> = answer.records.iter().map(|record| &record.target).collect();
    assert_eq!(targets, wire);
    let online = page(admin, &format!("/v1/explain?client={client}&service=live"));
    let online: serde_json::Value = serde_json::from_str(online.lines().last().unwrap()).unwrap();
    assert_eq!(online, explained, "the same over HTTP");
    assert!(page(admin, "/v1/explain?client=x&service=live").starts_with("HTTP/1.1 400"));
    assert!(page(admin, "/metrics").contains("signpost_answers_total{service=\"live\",reason="));

    let ended = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(ended.success() && child.wait().unwrap().success());
}

#[test]
fn the_log_is_an_object_in_each_line_if_the_configuration_says_so() {
    let site = Site::new();
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    site.write("l1.toml", &format!("{text}[log]\nformat = \"json\"\n"));
    let mut child = Command::new(PROGRAM)
        .args(["run", "--config", site.config_file().to_str().unwrap()])
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let adopted = lines.find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        (line["fields"]["message"] == "serving the new version").then_some(line)
    });
    let adopted = adopted.unwrap();
    assert_eq!(adopted["level"], "INFO", "{adopted}");
    assert!(adopted["fields"]["source"].is_string(), "{adopted}");
    assert!(adopted["timestamp"].is_string(), "{adopted}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_served_on_one_port() {
    let site = Site::new();
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    // Another program may take the port in between: any of some free ones will do.
    let mut failed = String::new();
    for _ in 0..10 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let listen = format!("listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"]");
        site.write(
            "l1.toml",
            &text.replace("listen = [\"127.0.0.1:0\"]", &listen),
        );
        let config = nameserver_l1::Config::load(&site.config_file()).unwrap();
        let (trigger, shutdown) = service::shutdown::channel();
        match nameserver_l1::start(config, shutdown).await {
            Ok(running) => {
                assert_eq!(running.dns.len(), 2);
                trigger.fire();
                return running.wait().await.unwrap();
            }
            Err(error) => failed = format!("{error:#}"),
        }
    }
    panic!("{failed}");
}
