//! Releases, keys and zones that change under a running server: nothing is lost, nothing bad is taken over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use distribution::release;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use route_token::KeyRing;
use tokio::net::UdpSocket;

use crate::scene::{Scene, ZONE, ZONE_TEXT, addresses, ask, map, payload, query};

fn maps() -> [traffic_map::Map; 2] {
    let at = |address: &str| -> SocketAddr { address.parse().unwrap() };
    [
        map(&[(1, at("192.0.2.1:1")), (1, at("192.0.2.2:1"))]),
        map(&[(1, at("192.0.2.3:1")), (1, at("192.0.2.4:1"))]),
    ]
}

fn answers_of(map: &traffic_map::Map) -> Vec<SocketAddr> {
    map.edges()
        .iter()
        .map(|edge| SocketAddr::new(edge.addresses[0], edge.rtsp_port))
        .collect()
}

async fn quiet() -> Scene {
    Scene::with(|config| config.probe.interval_ms = 3_600_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_lost_or_wrong_while_everything_is_swapped() {
    let scene = quiet().await;
    let maps = maps();
    scene.files.publish(&maps[0]);
    let token = scene.files.seal(&payload(&maps[0], 1));
    scene.until(&token, &answers_of(&maps[0])).await;

    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let question = query(&format!("{token}.{ZONE}"), RecordType::A)
        .to_vec()
        .unwrap();
    let sets: Vec<Vec<IpAddr>> = maps
        .iter()
        .map(|map| answers_of(map).iter().map(SocketAddr::ip).collect())
        .collect();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked, server) = (stop.clone(), asked.clone(), scene.server());
            let (question, sets) = (question.clone(), sets.clone());
            tokio::spawn(async move {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(server).await.unwrap();
                let mut octets = [0; 1500];
                while !stop.load(Ordering::Relaxed) {
                    socket.send(&question).await.unwrap();
                    let patience = std::time::Duration::from_secs(5);
                    let received = tokio::time::timeout(patience, socket.recv(&mut octets)).await;
                    let length = received.expect("every query is answered").unwrap();
                    let (rcode, found) = addresses(&Message::from_vec(&octets[..length]).unwrap());
                    assert_eq!(rcode, ResponseCode::NoError);
                    assert!(
                        sets.contains(&found),
                        "{found:?} is neither the old nor the new answer"
                    );
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let mut ring = scene.files.ring();
    for round in 1..=8u8 {
        scene.files.publish(&maps[usize::from(round) % 2]);
        scene.files.write(
            "edge.stream.example.zone",
            &ZONE_TEXT.replace("2026112001", &format!("20261120{round:02}")),
        );
        ring.stage([round; 32]).map(|slot| ring.activate(slot)).ok();
        scene.files.write("token-keys.toml", &ring.to_toml());
        scene
            .until(&token, &answers_of(&maps[usize::from(round) % 2]))
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked > 100, "only {asked} queries were asked");
    scene.until_metric("signpost_map_generation 9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_a_flipped_bit_is_refused_and_the_old_one_serves() {
    let scene = quiet().await;
    let maps = maps();
    scene.files.publish(&maps[0]);
    let token = scene.files.seal(&payload(&maps[0], 1));
    scene.until(&token, &answers_of(&maps[0])).await;

    // Published elsewhere with one bit wrong, then copied in, `current` last.
    let elsewhere = scene.files.path("elsewhere");
    let blob = maps[1].encode();
    for _ in 0..2 {
        release::publish(&elsewhere, &scene.files.signing, &[("map", &*blob)], 0, 3).unwrap();
    }
    let folder = elsewhere.join("0000000002");
    let file = std::fs::read_dir(folder.join("blobs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[blob.len() / 2] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    std::fs::rename(&folder, scene.files.path("releases/0000000002")).unwrap();
    std::fs::rename(
        elsewhere.join("current"),
        scene.files.path("releases/current"),
    )
    .unwrap();

    scene
        .until_metric("signpost_reload_total{result=\"refused\",source=\"release\"} 1")
        .await;
    scene.until(&token, &answers_of(&maps[0])).await;
    assert_eq!(scene.files.publish(&maps[1]), 3);
    scene.until(&token, &answers_of(&maps[1])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_a_usable_map_is_refused_and_an_older_one_too() {
    let scene = quiet().await;
    let maps = maps();
    scene.files.publish(&maps[0]);
    let token = scene.files.seal(&payload(&maps[0], 1));
    scene.until(&token, &answers_of(&maps[0])).await;
    let releases = scene.files.path("releases");
    let empty = traffic_map::Map::new(traffic_map::MapParts {
        ecs: (24, 56),
        v4: vec![(0, None)],
        v6: vec![(0, None)],
        ..traffic_map::MapParts::default()
    });
    let bad: [(&str, Vec<u8>); 3] = [
        ("other", vec![]),
        ("map", b"no map".to_vec()),
        ("map", empty.unwrap().encode()),
    ];
    for (count, (name, bytes)) in bad.iter().enumerate() {
        release::publish(&releases, &scene.files.signing, &[(name, bytes)], 0, 9).unwrap();
        let line = format!(
            "signpost_reload_total{{result=\"refused\",source=\"release\"}} {}",
            count + 1
        );
        scene.until_metric(&line).await;
    }
    scene.until(&token, &answers_of(&maps[0])).await;
    assert_eq!(scene.files.publish(&maps[1]), 5);
    scene.until(&token, &answers_of(&maps[1])).await;
    std::fs::write(releases.join("current"), "0000000001\n").unwrap();
    scene
        .until_metric("signpost_reload_total{result=\"refused\",source=\"release\"} 4")
        .await;
    scene.until(&token, &answers_of(&maps[1])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_ends_its_tokens_and_a_staged_one_opens_already() {
    let scene = quiet().await;
    let [map, _] = maps();
    scene.files.publish(&map);
    let old = scene.files.seal(&payload(&map, 1));
    scene.until(&old, &answers_of(&map)).await;
    let mut ring = scene.files.ring();
    let slot = ring.stage([9; 32]).unwrap();
    scene.files.write("token-keys.toml", &ring.to_toml());
    ring.activate(slot).unwrap();
    let new = ring.zone(ZONE).seal(&payload(&map, 1)).to_string();
    scene.until(&new, &answers_of(&map)).await;
    ring.destroy(0).unwrap();
    scene.files.write("token-keys.toml", &ring.to_toml());
    scene
        .until_rcode(&format!("{old}.{ZONE}"), ResponseCode::NXDomain)
        .await;
    scene.until(&new, &answers_of(&map)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_are_refused_and_the_old_ones_serve() {
    let scene = quiet().await;
    let [map, _] = maps();
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    scene.until(&token, &answers_of(&map)).await;
    for (file, text, source) in [
        (
            "edge.stream.example.zone",
            ZONE_TEXT.replace("192.0.2.54", "192.0.2.540"),
            "zone",
        ),
        (
            "services.toml",
            "[service.live]\nowner = 1\n".to_owned(),
            "services",
        ),
        ("token-keys.toml", "[[key]]\nslot = 0\n".to_owned(), "keys"),
    ] {
        scene.files.write(file, &text);
        scene
            .until_metric(&format!(
                "signpost_reload_total{{result=\"refused\",source=\"{source}\"}} 1"
            ))
            .await;
        scene
            .until_metric(&format!("signpost_reload_refused{{source=\"{source}\"}} 1"))
            .await;
        scene.until(&token, &answers_of(&map)).await;
        let report = nameserver_l2::check::check(&scene.config);
        let finding = format!("{}:", scene.files.path(file).display());
        assert!(
            report.errors() > 0 && report.to_string().contains(&finding),
            "{report}"
        );
    }
    scene.files.write("edge.stream.example.zone", ZONE_TEXT);
    scene
        .until_metric("signpost_reload_refused{source=\"zone\"} 0")
        .await;
    let answer = scene.ask(&format!("ns1.{ZONE}"), RecordType::A).await;
    assert_eq!(
        addresses(&answer).1,
        ["192.0.2.54".parse::<IpAddr>().unwrap()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_later_are_taken_up() {
    let scene = Scene::with(|config| {
        std::fs::remove_file(&config.token_keys).unwrap();
        std::fs::remove_file(&config.trusted_key).unwrap();
        std::fs::remove_file(&config.zones[0]).unwrap();
        config.probe.interval_ms = 3_600_000;
    })
    .await;
    let [map, _] = maps();
    let ring = KeyRing::from_toml(&KeyRing::generate([3; 32])).unwrap();
    let token = ring.zone(ZONE).seal(&payload(&map, 1)).to_string();
    let name = format!("{token}.{ZONE}");
    // The zone that the missing file's name tells is this server's.
    scene.until_rcode(&name, ResponseCode::ServFail).await;
    scene.files.write("edge.stream.example.zone", ZONE_TEXT);
    let host = format!("ns1.{ZONE}");
    scene.until_rcode(&host, ResponseCode::NoError).await;
    scene.until_rcode(&name, ResponseCode::ServFail).await;
    scene.files.write("token-keys.toml", &ring.to_toml());
    let public = scene.files.path("release.pub");
    distribution::keys::write_public_key(&public, &scene.files.signing.verifying_key()).unwrap();
    scene.files.publish(&map);
    scene.until(&token, &answers_of(&map)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_beside_a_bad_release_serves_the_last_good_one() {
    let scene = quiet().await;
    let maps = maps();
    scene.files.publish(&maps[0]);
    let token = scene.files.seal(&payload(&maps[0], 1));
    scene.until(&token, &answers_of(&maps[0])).await;
    let (files, config) = scene.stop().await;
    files.publish(&maps[1]);
    std::fs::write(files.path("releases/0000000002/manifest.sig"), [0; 64]).unwrap();

    let (_trigger, shutdown) = service::shutdown::channel();
    let restarted = nameserver_l2::start(config, shutdown).await.unwrap();
    let answer = ask(restarted.dns[0], &format!("{token}.{ZONE}"), RecordType::A).await;
    let expected: Vec<IpAddr> = answers_of(&maps[0]).iter().map(SocketAddr::ip).collect();
    assert_eq!(addresses(&answer), (ResponseCode::NoError, expected));
}
