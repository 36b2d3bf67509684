//! Resolving against a real name server on a socket: what comes out, and how each failure is told.

use std::sync::atomic::Ordering;

use crate::name_server::{NameServer, address, code, name_server, srv};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use player::dns::{ResolverSpec, Resolvers};
use player::name::{ClientNet, ServiceName};
use player::resolve::{ResolveError, ServerSet, resolve};
use rand::SeedableRng;
use rand::rngs::StdRng;

const SERVICE: &str = "_rtsp._tcp.live.stream.example.";

async fn ask(specs: &[ResolverSpec], client: Option<&str>) -> Result<ServerSet, ResolveError> {
    let resolvers = Resolvers::new(specs)?;
    let service: ServiceName = SERVICE.parse()?;
    let client: Option<ClientNet> = client.map(|net| net.parse().unwrap());
    resolve(
        &resolvers,
        &service,
        client.as_ref(),
        &mut StdRng::seed_from_u64(1),
    )
    .await
}

fn all(server: &NameServer) -> Vec<ResolverSpec> {
    vec![ResolverSpec {
        zone: None,
        address: server.address,
    }]
}

/// Two targets in two priorities, `far` with both families.
fn zone(question: &Query, answer: &mut Message) -> bool {
    let owner = question.name().to_string();
    match (owner.as_str(), question.query_type()) {
        (SERVICE | "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.", RecordType::SRV) => {
            answer.add_answer(srv(question, 20, 0, 8555, "far.edge.stream.example."));
            answer.add_answer(srv(question, 10, 5, 8554, "near.edge.stream.example."));
            true
        }
        ("near.edge.stream.example.", RecordType::A) => {
            answer.add_answer(address(question, "127.0.1.1"));
            answer.add_answer(address(question, "127.0.1.2"));
            true
        }
        ("far.edge.stream.example.", RecordType::A) => {
            answer.add_answer(address(question, "127.0.1.9"));
            true
        }
        ("far.edge.stream.example.", RecordType::AAAA) => {
            answer.add_answer(address(question, "2001:db8::9"));
            true
        }
        ("near.edge.stream.example.", _) => true,
        _ => code(answer, ResponseCode::NXDomain),
    }
}

#[tokio::test]
async fn a_service_becomes_a_server_set_in_order_of_priority() {
    let server = name_server(|question, answer, _| zone(question, answer)).await;
    let set = ask(&all(&server), None).await.unwrap();
    assert_eq!(set.name, SERVICE);
    assert_eq!(set.servers.len(), 2);
    assert_eq!(set.servers[0].token(), "near");
    let near: Vec<_> = set.servers[0].sockets().map(|s| s.to_string()).collect();
    assert_eq!(near, ["127.0.1.1:8554", "127.0.1.2:8554"]);
    let far: Vec<_> = set.servers[1].sockets().map(|s| s.to_string()).collect();
    assert_eq!(far, ["127.0.1.9:8555", "[2001:db8::9]:8555"]);
}

#[tokio::test]
async fn the_client_label_is_in_the_query() {
    let server = name_server(|question, answer, _| zone(question, answer)).await;
    let set = ask(&all(&server), Some("198.51.100.7")).await.unwrap();
    assert_eq!(
        set.name,
        "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example."
    );
}

#[tokio::test]
async fn the_longest_zone_chooses_the_resolver() {
    let first = name_server(|question, answer, _| {
        if question.name().to_string().contains("edge") {
            return code(answer, ResponseCode::Refused);
        }
        zone(question, answer)
    })
    .await;
    let second = name_server(|question, answer, _| zone(question, answer)).await;
    let specs = [
        format!("stream.example={}", first.address).parse().unwrap(),
        format!("edge.stream.example={}", second.address)
            .parse()
            .unwrap(),
    ];
    let set = ask(&specs, None).await.unwrap();
    assert_eq!(set.servers[0].token(), "near");
    assert_eq!(first.queries.load(Ordering::Relaxed), 1);
    assert_eq!(second.queries.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = name_server(|question, answer, tcp| {
        if !tcp && question.query_type() == RecordType::SRV {
            answer.metadata.truncation = true;
            return true;
        }
        zone(question, answer)
    })
    .await;
    assert_eq!(ask(&all(&server), None).await.unwrap().servers.len(), 2);
}

#[tokio::test]
async fn a_silent_udp_port_is_tried_over_tcp() {
    let server = name_server(|question, answer, tcp| tcp && zone(question, answer)).await;
    assert_eq!(ask(&all(&server), None).await.unwrap().servers.len(), 2);
}

#[tokio::test]
async fn an_answer_within_its_ttl_is_not_asked_for_twice() {
    let server = name_server(|question, answer, _| {
        // Negative answers without an SOA are not cached (RFC 2308 §5): leave none.
        if question.query_type() == RecordType::AAAA {
            answer.add_answer(address(question, "::1"));
            return true;
        }
        zone(question, answer)
    })
    .await;
    let resolvers = Resolvers::new(&all(&server)).unwrap();
    let service: ServiceName = SERVICE.parse().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    resolve(&resolvers, &service, None, &mut rng).await.unwrap();
    let before = server.queries.load(Ordering::Relaxed);
    let set = resolve(&resolvers, &service, None, &mut rng).await.unwrap();
    assert_eq!(server.queries.load(Ordering::Relaxed), before);
    assert!(set.valid_until > std::time::Instant::now());
}

/// The error a zone leads to.
async fn failure(
    zone: impl Fn(&Query, &mut Message, bool) -> bool + Send + Sync + 'static,
) -> ResolveError {
    let server = name_server(zone).await;
    ask(&all(&server), None).await.unwrap_err()
}

#[tokio::test]
async fn each_failure_has_its_own_error() {
    let error = failure(|_, answer, _| code(answer, ResponseCode::NXDomain)).await;
    assert_eq!(
        error,
        ResolveError::NoSuchName {
            name: SERVICE.into()
        }
    );
    let error = failure(|_, answer, _| code(answer, ResponseCode::NoError)).await;
    assert_eq!(
        error,
        ResolveError::NoRecords {
            name: SERVICE.into(),
            rtype: "SRV".into()
        }
    );
    let error = failure(|_, answer, _| code(answer, ResponseCode::Refused)).await;
    assert_eq!(
        error,
        ResolveError::Refused {
            name: SERVICE.into()
        }
    );
    let error = failure(|_, answer, _| code(answer, ResponseCode::ServFail)).await;
    assert!(
        matches!(error, ResolveError::ServerFailure { .. }),
        "{error}"
    );
    let error = failure(|question, answer, _| {
        answer.add_answer(srv(question, 0, 0, 0, "."));
        true
    })
    .await;
    assert_eq!(
        error,
        ResolveError::NotAvailable {
            name: SERVICE.into()
        }
    );
    let error = failure(|_, _, _| false).await;
    assert_eq!(
        error,
        ResolveError::Timeout {
            name: SERVICE.into()
        }
    );
}

#[tokio::test]
async fn targets_without_addresses_are_named_with_their_reasons() {
    let error = failure(|question, answer, _| match question.query_type() {
        RecordType::SRV => zone(question, answer),
        _ if question.name().to_string().starts_with("near") => true,
        _ => code(answer, ResponseCode::Refused),
    })
    .await;
    let text = error.to_string();
    assert!(matches!(error, ResolveError::NoAddresses { .. }), "{text}");
    assert!(
        text.contains("near.edge.stream.example.: no A and no AAAA records"),
        "{text}"
    );
    assert!(
        text.contains("far.edge.stream.example.: the name server refused"),
        "{text}"
    );
}

#[tokio::test]
async fn a_closed_port_is_an_error_and_soon() {
    let specs = ["127.0.0.1:1".parse().unwrap()];
    let started = std::time::Instant::now();
    let error = ask(&specs, None).await.unwrap_err();
    assert!(
        matches!(
            error,
            ResolveError::Timeout { .. } | ResolveError::Unreachable { .. }
        ),
        "{error:?}"
    );
    assert!(started.elapsed().as_secs() < 10);
}
