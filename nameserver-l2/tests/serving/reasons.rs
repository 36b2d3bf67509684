//! Extended errors (RFC 8914): what an answer says about itself.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use nameserver_l2::Config;

use crate::scene::{Files, Scene, ZONE, mangled, map, payload};

const EDGES: [&str; 2] = ["127.0.0.1:1", "127.0.0.2:1"];

fn quiet(config: &mut Config) {
    config.probe.interval_ms = 3_600_000;
}

fn edges() -> Vec<(u16, std::net::SocketAddr)> {
    EDGES.map(|edge| (1, edge.parse().unwrap())).to_vec()
}

/// The code and text of the extended error.
fn reason(message: &Message) -> Option<(u16, String)> {
    let option = message.edns.as_ref()?.option(EdnsCode::Unknown(15))?;
    let EdnsOption::Unknown(_, data) = option else {
        panic!("{option:?}");
    };
    let text = String::from_utf8(data[2..].to_vec()).unwrap();
    Some((u16::from_be_bytes([data[0], data[1]]), text))
}

/// Asks until the answer's reason is as expected.
async fn until(scene: &Scene, token: &str, expected: Option<(u16, &str)>) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let answer = scene.ask(&format!("{token}.{ZONE}"), RecordType::A).await;
        let found = reason(&answer);
        if found == expected.map(|(code, text)| (code, text.to_owned())) {
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            return;
        }
        assert!(
            std::time::Instant::now() < until,
            "{found:?}, not {expected:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_release_and_without_keys_the_server_says_that_it_is_not_ready() {
    let scene = Scene::with(quiet).await;
    let token = scene.files.seal(&payload(&map(&edges()), 1));
    let answer = scene.ask(&format!("{token}.{ZONE}"), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let expected = (14, "there is no traffic map yet".to_owned());
    assert_eq!(reason(&answer), Some(expected));

    let scene = Scene::with(|config| config.token_keys = "/nonexistent".into()).await;
    let answer = scene.ask(&format!("{token}.{ZONE}"), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let expected = (14, "the token keys are not loaded".to_owned());
    assert_eq!(reason(&answer), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_token_the_words_are_the_same() {
    let scene = Scene::with(quiet).await;
    let map = map(&edges());
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    until(&scene, &token, None).await;
    let unknown_key = format!("v{}", &token[1..]);
    let long = format!("{token}0");
    for label in [&mangled(&token), &unknown_key, &long, "forged", "ns3"] {
        let answer = scene.ask(&format!("{label}.{ZONE}"), RecordType::A).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NXDomain,
            "{label}"
        );
        let expected = (0, "no such token".to_owned());
        assert_eq!(reason(&answer), Some(expected), "{label}");
    }
    for own in ["ns1.", ""] {
        let answer = scene.ask(&format!("{own}{ZONE}"), RecordType::A).await;
        assert_eq!(reason(&answer), None, "the zone's own {own}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_out_of_date_while_a_newer_one_is_refused() {
    let scene = Scene::with(quiet).await;
    let map = map(&edges());
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    until(&scene, &token, None).await;
    // Signed by somebody else.
    let stranger = Files {
        signing: distribution::keys::generate(),
        folder: tempfile::tempdir().unwrap(),
    };
    let blob = map.encode();
    let folder = scene.files.path("releases");
    let blobs = [("map", &*blob)];
    distribution::release::publish(&folder, &stranger.signing, &blobs, 0, 3).unwrap();
    until(&scene, &token, Some((3, "the traffic map is out of date"))).await;
    scene.until_metric("signpost_map_stale 1").await;
    scene.files.publish(&map);
    until(&scene, &token, None).await;
    scene.until_metric("signpost_map_stale 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_out_of_date_by_its_age_where_the_configuration_says_so() {
    let scene = Scene::with(|config| {
        quiet(config);
        config.stale_seconds = 1.try_into().ok(); // the tests' releases are from before they were written
    })
    .await;
    let map = map(&edges());
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    until(&scene, &token, Some((3, "the traffic map is out of date"))).await;
}
