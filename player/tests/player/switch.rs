//! The whole way by name: resolve, race, report, play, and another server when the first one fails us.

use std::sync::Arc;
use std::time::Duration;

use crate::edge::{Edge, Fault, World};
use crate::name_server as names;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use player::dns::ResolverSpec;
use player::events::deaf;
use player::{Options, Report, Source, play};
use service::shutdown;

const SERVICE: &str = "_rtsp._tcp.live.stream.example.";

/// A name server whose service has these edges in this order of priority, each behind a token of its own.
async fn service(edges: &[&Edge]) -> ResolverSpec {
    let ports: Vec<u16> = edges.iter().map(|edge| edge.address.port()).collect();
    let server = names::name_server(move |question, answer, _| {
        let owner = question.name().to_string();
        match (owner.as_str(), question.query_type()) {
            (SERVICE, RecordType::SRV) => {
                for (rank, port) in ports.iter().enumerate() {
                    let target = format!("token{rank}.edge.stream.example.");
                    let mut record = names::srv(question, rank as u16, 0, *port, &target);
                    record.ttl = 1;
                    answer.add_answer(record);
                }
                true
            }
            (owner, RecordType::A) if owner.starts_with("token") => {
                answer.add_answer(names::address(question, "127.0.0.1"));
                true
            }
            (owner, _) if owner.starts_with("token") => true,
            _ => names::code(answer, ResponseCode::NXDomain),
        }
    })
    .await;
    ResolverSpec {
        zone: None,
        address: server.address,
    }
}

async fn play_service(resolver: ResolverSpec) -> Report {
    let mut options = Options::new(SERVICE.parse::<Source>().unwrap());
    options.resolvers = vec![resolver];
    options.requery_min = Duration::from_millis(200);
    let (_keep, shutdown) = shutdown::channel();
    play(options, deaf(), shutdown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_played_by_name_and_the_race_is_reported() {
    let world = World::new(90);
    let first = Edge::start(&world, Fault::None).await;
    let second = Edge::start(&world, Fault::None).await;
    let report = play_service(service(&[&first, &second]).await).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(
        (report.frames_shown, report.frames_lost),
        (90, 0),
        "{report:?}"
    );
    assert_eq!(report.token.as_deref(), Some("token0"));
    assert_eq!(report.server, Some(first.address.to_string()));
    assert!(
        report.race_reported && report.switches.is_empty(),
        "{report:?}"
    );
    let told = world.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, first.address.port());
    assert!(told[0].1.starts_with("race: 127.0.0.1 ") && told[0].1.ends_with(" ok\r\n"));
    for ms in [
        report.srv_ms,
        report.race_ms,
        report.describe_ms,
        report.join_ms,
    ] {
        assert!(ms.unwrap() > 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thinned_description_is_taken_from_another_server() {
    let world = World::new(240);
    let thinning = Edge::start(&world, Fault::Thins(1, 60)).await;
    let good = Edge::start(&world, Fault::None).await;
    let report = play_service(service(&[&thinning, &good]).await).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.switches.len(), 1, "{report:?}");
    let switch = &report.switches[0];
    assert!(switch.reason.contains("d1 is thinned"), "{switch:?}");
    assert_eq!(
        (switch.token.as_str(), &switch.to),
        ("token1", &good.address.to_string())
    );
    assert_eq!(report.server, Some(good.address.to_string()));
    // The old server is left at once, not when it has come to the end of the title.
    assert!(switch.duration_ms < 1_000.0, "{switch:?}");
    // Nothing of the untouched description is lost, and of the thinned one nothing after the switch.
    assert!(report.frames_lost < 60, "{report:?}");
    assert_eq!((report.frames_repeated, report.frames_out_of_order), (0, 0));
    let stamps = report.stamps.unwrap();
    assert_eq!((stamps.stamps_repeated, stamps.stamps_out_of_order), (0, 0));
    assert_eq!(report.frames_expected, 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_replaced_without_losing_a_frame() {
    for fault in [Fault::Dies(60), Fault::FallsSilent(60)] {
        let world = World::new(150);
        let dying = Edge::start(&world, fault).await;
        let good = Edge::start(&world, Fault::None).await;
        let report = play_service(service(&[&dying, &good]).await).await;
        assert!(report.ok, "{fault:?}: {report:?}");
        assert_eq!(report.switches.len(), 1, "{fault:?}: {report:?}");
        assert_eq!(
            (report.frames_shown, report.frames_lost),
            (150, 0),
            "{fault:?}: {report:?}"
        );
        let stamps = report.stamps.unwrap();
        let faults = (
            stamps.stamps_lost,
            stamps.stamps_repeated,
            stamps.stamps_out_of_order,
        );
        assert_eq!(faults, (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_server_the_end_is_an_error() {
    let dying = Edge::start(&World::new(150), Fault::Dies(60)).await;
    let report = play_service(service(&[&dying]).await).await;
    // The descriptions are sent by two tasks: on a busy machine one may be a frame or two behind at the end.
    let shown = 56..=60;
    assert!(
        !report.ok && shown.contains(&report.frames_shown),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn further_tokens_are_noticed_while_playing() {
    let world = World::new(120);
    let edge = Edge::start(&world, Fault::None).await;
    let (port, asked) = (
        edge.address.port(),
        Arc::new(std::sync::atomic::AtomicU16::new(0)),
    );
    let server = names::name_server(move |question, answer, _| {
        match question.query_type() {
            RecordType::SRV => {
                let round = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let target = format!("round{round}.edge.stream.example.");
                let mut record = names::srv(question, 0, 0, port, &target);
                record.ttl = 1;
                answer.add_answer(record);
            }
            RecordType::A => {
                answer.add_answer(names::address(question, "127.0.0.1"));
            }
            _ => {}
        }
        true
    })
    .await;
    let report = play_service(ResolverSpec {
        zone: None,
        address: server.address,
    })
    .await;
    assert!(report.ok, "{report:?}");
    assert!(report.further_tokens >= 2, "{report:?}");
}
