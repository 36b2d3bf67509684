//! An edge learns the others from signed releases of the map, and keeps the last good one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use media_edge::config::Releases;
use support::{edge, until};
use traffic_map::{Edge, Map, MapParts, Region};

fn map(edges: u8) -> Vec<u8> {
    let edge = |number: u8| Edge {
        name: format!("edge-{number}"),
        region: 1,
        addresses: vec![[127, 0, 1, number].into()],
        rtsp_port: 8554,
        handoff: Some(([127, 0, 1, number], 8555).into()),
        capacity_sessions: 10,
        public_key: Some([number; 32]),
        profiles: Vec::new(),
    };
    let parts = MapParts {
        ecs: (24, 56),
        v4: vec![(0, None)],
        v6: vec![(0, None)],
        demand: Vec::new(),
        placements: Vec::new(),
        regions: vec![Region {
            id: 1,
            name: "vienna".to_owned(),
            at: Some((48.2, 16.4)),
            capacity: 100,
            edges: (0..usize::from(edges)).collect(),
        }],
        edges: (1..=edges).map(edge).collect(),
    };
    Map::new(parts).unwrap().encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_releases_and_refuses_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let releases = folder.path().join("releases");
    let key = distribution::keys::generate();
    let trusted_key = folder.path().join("release.pub");
    distribution::keys::write_public_key(&trusted_key, &key.verifying_key()).unwrap();
    let publish = |key: &distribution::SigningKey, map: &[u8]| {
        distribution::release::publish(&releases, key, &[("map", map)], 1, 3).unwrap();
    };
    publish(&key, &map(2));
    let edge = edge("edge-1", |config| {
        let state = folder.path().join("state");
        config.releases = Some(Releases {
            folder: releases.clone(),
            trusted_key,
            state,
        });
    })
    .await;
    let fleet = &edge.running.edge.fleet;
    let metrics = &edge.running.edge.metrics;
    assert_eq!(
        fleet.load().len(),
        2,
        "the release at hand counts from the start"
    );
    assert_eq!(fleet.load().candidates("edge-1")[0].region, "vienna");
    publish(&key, &map(3));
    until("the new map is taken", || fleet.load().len() == 3).await;
    publish(&key, b"no map");
    until("a bad map is noticed", || {
        metrics.releases_refused.get() == 1
    })
    .await;
    publish(&distribution::keys::generate(), &map(4));
    until("a foreign signature is noticed", || {
        metrics.releases_refused.get() == 2
    })
    .await;
    assert_eq!(fleet.load().len(), 3, "the last good map stays");
    assert_eq!(metrics.map_generation.get(), 2);
}
