//! Edges that die and come back.

use hickory_proto::rr::RecordType;
use nameserver_l2::explain::Explanation;

use crate::scene::{FakeEdge, Scene, map, payload};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_edge_leaves_the_answers_and_comes_back() {
    let scene = Scene::new().await;
    let (a, b) = (
        FakeEdge::start("127.0.0.2:0").await,
        FakeEdge::start("127.0.0.3:0").await,
    );
    let map = map(&[(1, a.address), (1, b.address)]);
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    scene.until(&token, &[a.address, b.address]).await;
    let gone = a.kill().await;
    scene.until(&token, &[b.address]).await;
    scene.until_metric("signpost_edge_up{edge=\"e00\"} 0").await;
    let back = FakeEdge::start(&gone.to_string()).await;
    scene.until(&token, &[back.address, b.address]).await;
    scene.until_metric("signpost_edge_up{edge=\"e00\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_region_falls_to_the_next_of_the_placement_and_at_last_fails_open() {
    let scene = Scene::new().await;
    let mut edges = Vec::new();
    for (region, host) in [(1, 2), (1, 3), (2, 4), (3, 5)] {
        edges.push((region, FakeEdge::start(&format!("127.0.0.{host}:0")).await));
    }
    let all: Vec<_> = edges
        .iter()
        .map(|(region, edge)| (*region, edge.address))
        .collect();
    let map = map(&all);
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    let mut edges = edges.into_iter().map(|(_, edge)| edge);
    scene.until(&token, &[all[0].1, all[1].1]).await;
    for expected in [
        &[all[1].1][..],
        &[all[2].1],
        &[all[3].1],
        &[all[0].1, all[1].1],
    ] {
        edges.next().unwrap().kill().await;
        scene.until(&token, expected).await;
    }
    assert_eq!(
        scene.addresses(&token, RecordType::A).await.1.len(),
        2,
        "never empty"
    );
    let metrics = scene.get("/metrics").await;
    let opened = "signpost_answers_total{reason=\"fail_open\"} ";
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix(opened))
        .unwrap();
    assert_ne!(count, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_on_the_command_line_sees_what_the_server_sees() {
    let scene = Scene::new().await;
    let (a, b) = (
        FakeEdge::start("127.0.0.2:0").await,
        FakeEdge::start("127.0.0.3:0").await,
    );
    let map = map(&[(1, a.address), (2, b.address)]);
    scene.files.publish(&map);
    let token = scene.files.seal(&payload(&map, 1));
    a.kill().await;
    scene.until(&token, &[b.address]).await;
    let page = scene.get(&format!("/v1/explain?token={token}")).await;
    let served: Explanation = serde_json::from_str(page.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let (_, explainer) = nameserver_l2::check::explainer(&scene.config).await;
    assert_eq!(explainer.explain(&token, None).unwrap(), served);
    assert_eq!(served.routing.unwrap().why, "next_region");
}
