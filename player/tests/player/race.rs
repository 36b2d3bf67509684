//! The race against servers that are quick, slow, silent, closed or no RTSP servers at all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use player::race::{Finish, LAP_TIMEOUT, Lap, race};
use player::resolve::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

const ANSWER: &str = "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP\r\n\
    Supported: mdc.media-edge, handoff.media-edge\r\nServer: fake/1\r\n\r\n";

/// A server that reads a request, waits for `gate` (if any), writes `answer`, and tells when the peer has gone.
async fn fake(answer: &'static str, gate: Option<Arc<Notify>>) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gone = Arc::new(Notify::new());
    let left = gone.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (gate, left) = (gate.clone(), left.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                if let Some(gate) = gate {
                    gate.notified().await;
                }
                stream.write_all(answer.as_bytes()).await.ok();
                while stream
                    .read(&mut buffer)
                    .await
                    .is_ok_and(|length| length > 0)
                {}
                left.notify_one();
            });
        }
    });
    (address, gone)
}

fn server(priority: u16, address: SocketAddr) -> Server {
    Server {
        priority,
        weight: 0,
        port: address.port(),
        target: format!("p{priority}.edge.stream.example."),
        addresses: vec![address.ip()],
        failure: None,
    }
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn result_of(laps: &[Lap], address: SocketAddr) -> Finish {
    laps.iter()
        .find(|lap| lap.address == address)
        .unwrap()
        .result
}

#[tokio::test]
async fn the_first_to_answer_wins_and_every_server_has_a_result() {
    let gate = Arc::new(Notify::new());
    let (quick, _) = fake(ANSWER, None).await;
    let (slow, slow_left) = fake(ANSWER, Some(gate.clone())).await;
    let (hanging, _) = fake(ANSWER, Some(Arc::new(Notify::new()))).await;
    let (unfit, _) = fake("RTSP/1.0 503 Service Unavailable\r\nCSeq: 1\r\n\r\n", None).await;
    let (babble, _) = fake("220 mail.example ESMTP\r\n\r\n", None).await;
    let closed = closed_port().await;
    let all = [closed, unfit, slow, hanging, babble, quick];
    let servers: Vec<_> = all.iter().map(|address| server(10, *address)).collect();
    let (events, _keep) = mpsc::channel(64);

    let won = race(&servers, "/live", &events).await.ok().unwrap();
    assert_eq!(won.winner.peer, quick);
    assert_eq!(won.lap.public, ["OPTIONS", "DESCRIBE", "SETUP"]);
    assert!(won.lap.supports("handoff.media-edge"));
    assert_eq!(won.lap.server.as_deref(), Some("fake/1"));

    gate.notify_one();
    slow_left.notified().await;
    let laps = won.laps.await.unwrap();
    assert_eq!(laps.len(), all.len());
    assert_eq!(result_of(&laps, quick), Finish::Ok);
    assert_eq!(result_of(&laps, slow), Finish::Ok);
    assert_eq!(result_of(&laps, hanging), Finish::Timeout);
    assert_eq!(result_of(&laps, closed), Finish::Refused);
    assert_eq!(result_of(&laps, unfit), Finish::Refused);
    assert_eq!(result_of(&laps, babble), Finish::Refused);
    let waited = laps
        .iter()
        .find(|lap| lap.address == hanging)
        .unwrap()
        .rtt_us;
    assert!(
        u128::from(waited) >= LAP_TIMEOUT.as_micros() - 100_000,
        "{waited}"
    );
}

#[tokio::test]
async fn the_report_names_every_server_once() {
    let (quick, _) = fake(ANSWER, None).await;
    let servers = [server(10, quick), server(10, closed_port().await)];
    let (events, _keep) = mpsc::channel(64);
    let won = race(&servers, "/live", &events).await.ok().unwrap();
    let laps = won.laps.await.unwrap();
    let report = player::race::report(&laps, Some(&"198.51.100.0/24".parse().unwrap()));
    let body = report.to_body();
    let lines: Vec<_> = body.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "client: 198.51.100.0/24"));
    assert!(body.contains("race: 127.0.0.1 0 refused"), "{body}");
    assert_eq!(
        rtsp::report::RaceReport::parse(body.as_bytes()),
        Some(report)
    );
}

#[tokio::test]
async fn the_next_priority_runs_only_when_nobody_answers() {
    let (first, _) = fake(ANSWER, None).await;
    let (second, _) = fake(ANSWER, None).await;
    let (events, _keep) = mpsc::channel(64);

    let servers = [server(10, first), server(20, second)];
    let won = race(&servers, "/live", &events).await.ok().unwrap();
    assert_eq!((won.winner.peer, won.laps.await.unwrap().len()), (first, 1));

    let servers = [server(10, closed_port().await), server(20, second)];
    let won = race(&servers, "/live", &events).await.ok().unwrap();
    assert_eq!(
        (won.winner.peer, won.laps.await.unwrap().len()),
        (second, 2)
    );
}

#[tokio::test]
async fn all_addresses_of_a_target_run() {
    let (here, _) = fake(ANSWER, None).await;
    let mut one = server(10, here);
    one.addresses.push("127.0.0.99".parse::<IpAddr>().unwrap());
    let (events, _keep) = mpsc::channel(64);
    let won = race(&[one], "/live", &events).await.ok().unwrap();
    assert_eq!(won.laps.await.unwrap().len(), 2);
}

#[tokio::test]
async fn nobody_there_gives_every_result_back() {
    let servers = [
        server(10, closed_port().await),
        server(20, closed_port().await),
    ];
    let (events, _keep) = mpsc::channel(64);
    let laps = race(&servers, "/live", &events).await.err().unwrap();
    assert_eq!(laps.len(), 2);
    assert!(
        laps.iter()
            .all(|lap| lap.result == Finish::Refused && lap.reason.is_some())
    );
}
