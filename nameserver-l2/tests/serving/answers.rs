//! What the server says to each kind of question.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType};
use route_token::Payload;
use traffic_map::{Choice, Edge, Map, MapParts, Region, UnitId};

use crate::scene::{Scene, ZONE, addresses, exchange, exchange_tcp, mangled, map, payload, query};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A release with two regions whose edges are never reached: a fresh start counts them as live.
async fn scene() -> (Scene, String) {
    let scene = Scene::with(|config| config.probe.interval_ms = 3_600_000).await;
    let map = map(&[
        (1, at("192.0.2.1:1")),
        (1, at("192.0.2.2:1")),
        (2, at("192.0.2.3:1")),
        (2, at("[2001:db8::3]:1")),
    ]);
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    scene
        .until(&token, &[at("192.0.2.1:1"), at("192.0.2.2:1")])
        .await;
    (scene, token)
}

/// NOERROR or NXDOMAIN without an answer, with the zone's SOA.
fn is_negative(message: &Message, rcode: ResponseCode) {
    assert_eq!(message.metadata.response_code, rcode, "{message}");
    assert!(message.metadata.authoritative);
    assert!(message.answers.is_empty());
    let [soa] = message.authorities.as_slice() else {
        panic!("{message}")
    };
    assert_eq!(
        (soa.record_type(), soa.name.to_string().as_str()),
        (RecordType::SOA, ZONE)
    );
    assert_eq!(soa.ttl, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_addresses_with_the_zones_ttl_in_any_spelling() {
    let (scene, token) = scene().await;
    let mixed: String = token
        .chars()
        .enumerate()
        .map(|(i, c)| {
            if i % 2 == 0 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    let name = format!("{mixed}.EDGE.Stream.Example.");
    let answer = scene.ask(&name, RecordType::A).await;
    assert_eq!(answer.answers.len(), 2);
    assert!(answer.metadata.authoritative);
    assert_eq!(
        answer.queries[0].name().to_string(),
        name,
        "the question's spelling comes back"
    );
    assert!(
        answer
            .answers
            .iter()
            .all(|record| record.ttl == 10 && record.name.to_string() == name)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_gives_the_same_bytes_as_udp() {
    let (scene, token) = scene().await;
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
        let query = query(&format!("{token}.{ZONE}"), rtype).to_vec().unwrap();
        assert_eq!(
            exchange(scene.server(), &query).await,
            exchange_tcp(scene.server(), &query).await
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_the_region_lacks_and_other_types_are_nodata() {
    let (scene, token) = scene().await;
    let name = format!("{token}.{ZONE}");
    for rtype in [
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType::NS,
        RecordType::CNAME,
    ] {
        is_negative(&scene.ask(&name, rtype).await, ResponseCode::NoError);
    }
    let any = scene.ask(&name, RecordType::ANY).await;
    assert_eq!(any.answers.len(), 1, "there is something (RFC 8482)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_with_ipv6_answers_aaaa() {
    let (scene, _) = scene().await;
    let map = map(&[(1, at("192.0.2.1:1")), (2, at("[2001:db8::3]:1"))]);
    let token = scene.files.seal(&payload(&map, 2));
    let answer = scene
        .ask(&format!("{token}.{ZONE}"), RecordType::AAAA)
        .await;
    assert_eq!(
        addresses(&answer),
        (ResponseCode::NoError, vec!["2001:db8::3".parse().unwrap()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_mangled_retired_and_foreign_tokens_are_refused_all_alike() {
    let (scene, token) = scene().await;
    let mut ring = scene.files.ring();
    let foreign = ring
        .zone("other.example.")
        .seal(&Payload::default())
        .to_string();
    let slot = ring.stage([9; 32]).unwrap();
    ring.activate(slot).unwrap();
    let unknown = ring.zone(ZONE).seal(&Payload::default()).to_string();
    let wrong = [
        foreign,
        unknown,
        mangled(&token),
        format!("w{}", &token[1..]),
        token[..26].to_owned(),
        "x".into(),
    ];
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
        for label in &wrong {
            let answer = scene.ask(&format!("{label}.{ZONE}"), rtype).await;
            is_negative(&answer, ResponseCode::NXDomain);
            assert_eq!(answer.additionals.len(), 0, "{label}: nothing tells why");
        }
    }
    scene
        .until_metric("signpost_token_decode_total{result=\"check\"} 6")
        .await;
    scene
        .until_metric("signpost_token_decode_total{result=\"unknown_key\"} 3")
        .await;
    scene
        .until_metric("signpost_token_decode_total{result=\"malformed\"} 9")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_below_a_token_do_not_exist_and_minimised_names_do() {
    let (scene, token) = scene().await;
    for name in [
        format!("_tcp.{token}.{ZONE}"),
        format!("a.b.{token}.{ZONE}"),
        format!("{token}.x.{ZONE}"),
    ] {
        is_negative(
            &scene.ask(&name, RecordType::A).await,
            ResponseCode::NXDomain,
        );
    }
    // A minimising resolver asks for each ancestor first (RFC 9156): it has to exist.
    is_negative(&scene.ask(ZONE, RecordType::A).await, ResponseCode::NoError);
    let soa = scene.ask(ZONE, RecordType::SOA).await;
    assert!(
        matches!(soa.answers.as_slice(), [record] if matches!(record.data, RData::SOA(_))),
        "{soa}"
    );
    assert_eq!(scene.ask(ZONE, RecordType::NS).await.answers.len(), 2);
    let ns1 = scene.ask(&format!("ns1.{ZONE}"), RecordType::A).await;
    assert_eq!(
        addresses(&ns1).1,
        ["192.0.2.54".parse::<std::net::IpAddr>().unwrap()]
    );
    for outside in ["stream.example.", "example.", "."] {
        let answer = scene.ask(outside, RecordType::A).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::Refused,
            "{outside}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_for_everyone_whatever_subnet_the_query_names() {
    let (scene, token) = scene().await;
    let mut query = query(&format!("{token}.{ZONE}"), RecordType::A);
    let subnet = ClientSubnet::new("198.51.100.0".parse().unwrap(), 24, 0);
    query
        .edns
        .as_mut()
        .unwrap()
        .options_mut()
        .insert(EdnsOption::Subnet(subnet));
    let octets = exchange(scene.server(), &query.to_vec().unwrap()).await;
    let answer = Message::from_vec(&octets).unwrap();
    assert_eq!(answer.answers.len(), 2);
    let Some(EdnsOption::Subnet(echo)) = answer.edns.as_ref().unwrap().option(EdnsCode::Subnet)
    else {
        panic!("{answer}")
    };
    assert_eq!((echo.source_prefix(), echo.scope_prefix()), (24, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_release_good_tokens_fail_and_bad_ones_do_not_exist() {
    let scene = Scene::new().await;
    let token = scene.files.seal(&Payload {
        region: 1,
        ..Payload::default()
    });
    let answer = scene.ask(&format!("{token}.{ZONE}"), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    is_negative(
        &scene
            .ask(&format!("{}x.{ZONE}", &token[..26]), RecordType::A)
            .await,
        ResponseCode::NXDomain,
    );
    is_negative(
        &scene.ask(&format!("{token}.{ZONE}"), RecordType::TXT).await,
        ResponseCode::NoError,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_a_query_gets() {
    let (scene, token) = scene().await;
    let page = scene.get(&format!("/v1/explain?token={token}")).await;
    let body = page.split("\r\n\r\n").nth(1).unwrap();
    let running: nameserver_l2::explain::Explanation = serde_json::from_str(body).unwrap();
    let (report, explainer) = nameserver_l2::check::explainer(&scene.config).await;
    assert_eq!(report.to_string(), "");

    let answer = scene.ask(&format!("{token}.{ZONE}"), RecordType::A).await;
    let sent: Vec<String> = answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(
        running
            .a
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        sent,
        "in the same order"
    );
    assert!(running.aaaa.is_empty());
    let facts = running.routing.unwrap();
    assert_eq!(
        (facts.chosen.as_deref(), facts.why.as_str()),
        (Some("r1"), "region")
    );
    assert_eq!(
        facts
            .regions
            .iter()
            .map(|region| region.name.as_str())
            .collect::<Vec<_>>(),
        ["r1", "r2"]
    );

    let forged = explainer.explain(&mangled(&token), None).unwrap();
    assert_eq!(forged.rcode, "NXDOMAIN");
    assert!(forged.routing.is_none());
    assert!(explainer.explain("a.b.example", None).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_default_region_that_the_release_does_not_have() {
    let (scene, _) = scene().await;
    let mut config = scene.config.clone();
    for (name, expected) in [
        ("r2", ""),
        (
            "r3",
            "no region `r3`, the configured `default_region` (did you mean `r1`?)",
        ),
    ] {
        config.default_region = Some(name.to_owned());
        let report = nameserver_l2::check::check(&config);
        assert_eq!(report.errors(), 0);
        assert!(report.to_string().ends_with(expected), "{report}");
        assert_eq!(report.is_empty(), expected.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_keys_that_are_not_there_yet_or_that_others_may_read() {
    let (scene, _) = scene().await;
    let check = || nameserver_l2::check::check(&scene.config);
    assert!(check().is_empty(), "{}", check());
    let keys = scene.files.path("token-keys.toml");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        check().to_string().contains("(mode 644) (chmod 600)"),
        "{}",
        check()
    );
    std::fs::remove_file(&keys).unwrap();
    std::fs::remove_file(scene.files.path("release.pub")).unwrap();
    let report = check();
    assert_eq!((report.errors(), report.findings.len()), (0, 2), "{report}");
    scene.files.write("token-keys.toml", "rubbish");
    assert_eq!(
        check().errors(),
        1,
        "what is there has to be right: {}",
        check()
    );
}

#[tokio::test]
async fn a_server_without_an_address_does_not_start() {
    let config = nameserver_l2::Config {
        listen: Vec::new(),
        ..nameserver_l2::Config::default()
    };
    let (_trigger, shutdown) = service::shutdown::channel();
    let error = nameserver_l2::start(config, shutdown).await.unwrap_err();
    assert!(error.to_string().contains("`listen` is empty"), "{error}");
}

/// Two regions, each with its half of IPv4 space, and the other one as fallback.
fn halves() -> Map {
    let edge = |region, address: &str| Edge {
        name: format!("e{region}"),
        region,
        addresses: vec![address.parse().unwrap()],
        rtsp_port: 1,
        handoff: None,
        capacity_sessions: 1,
        public_key: None,
        profiles: Vec::new(),
    };
    let region = |id| Region {
        id,
        name: format!("r{id}"),
        at: None,
        capacity: 1,
        edges: Vec::new(),
    };
    let placement = |first, second| {
        let choice = |region, share| Choice { region, share };
        vec![choice(first, 1000), choice(second, 0)]
    };
    Map::new(MapParts {
        ecs: (24, 56),
        v4: vec![(0, Some(UnitId(0))), (1 << 31, Some(UnitId(1)))],
        v6: vec![(0, None)],
        demand: vec![1, 1],
        placements: vec![vec![placement(1, 2), placement(2, 1)]],
        regions: vec![region(1), region(2)],
        edges: vec![edge(1, "192.0.2.1"), edge(2, "192.0.2.2")],
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_on_an_assumption_follows_the_clients_network_with_its_scope() {
    let scene = Scene::with(|config| config.probe.interval_ms = 3_600_000).await;
    let map = halves();
    scene.files.publish(&map);
    let told = Payload {
        service: traffic_map::id_of_name("live"),
        ..payload(&map, 1)
    };
    let assumed = Payload {
        assumed: true,
        ..told
    };
    let first = "192.0.2.1:1".parse().unwrap();
    scene.until(&scene.files.seal(&told), &[first]).await;
    let check = async |payload: &Payload, subnet: Option<&str>, expected: &str, scope| {
        let name = format!("{}.{ZONE}", scene.files.seal(payload));
        let mut query = query(&name, RecordType::A);
        if let Some(subnet) = subnet {
            let subnet: ClientSubnet = subnet.parse().unwrap();
            let options = query.edns.get_or_insert_default().options_mut();
            options.insert(EdnsOption::Subnet(subnet));
        }
        let answer = exchange(scene.server(), &query.to_vec().unwrap()).await;
        let answer = Message::from_vec(&answer).unwrap();
        let address = expected.parse().unwrap();
        assert_eq!(
            addresses(&answer),
            (ResponseCode::NoError, vec![address]),
            "{subnet:?}"
        );
        let echoed =
            answer
                .edns
                .as_ref()
                .and_then(|edns| match edns.options().get(EdnsCode::Subnet) {
                    Some(EdnsOption::Subnet(subnet)) => Some(subnet.scope_prefix()),
                    _ => None,
                });
        assert_eq!(echoed, scope, "{subnet:?}");
    };
    check(&assumed, Some("10.0.0.0/24"), "192.0.2.1", Some(1)).await;
    check(&assumed, Some("200.0.0.0/24"), "192.0.2.2", Some(1)).await;
    check(&assumed, Some("0.0.0.0/0"), "192.0.2.1", Some(0)).await;
    check(&assumed, None, "192.0.2.1", None).await;
    check(&told, Some("200.0.0.0/24"), "192.0.2.1", Some(0)).await;

    let (_, explainer) = nameserver_l2::check::explainer(&scene.config).await;
    let token = scene.files.seal(&assumed);
    let client = "200.0.0.0/24".parse().unwrap();
    let explained = explainer.explain(&token, Some(client)).unwrap();
    let address: IpAddr = "192.0.2.2".parse().unwrap();
    assert_eq!((explained.a, explained.scope), (vec![address], 1));
    let facts = explained.routing.unwrap();
    assert_eq!(facts.remapped.as_deref(), Some("moved"));
    assert_eq!(facts.chosen.as_deref(), Some("r2"));
}
