//! More connections than the server is willing or able to hold.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use dns_transport::proxy::Trusted;
use dns_transport::{Server, StreamLimits, pair, tcp};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::echo::Echo;
use crate::running::{PATIENCE, Running, connect, frame, read_text};

/// Keeps a connection open, an octet at a time of a message that never ends, and comes back when it is closed.
async fn drip(from: String, to: SocketAddr) {
    loop {
        if let Ok(mut stream) = connect(&from, to).await {
            while stream.write_all(&[0xFF]).await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The measurement with 5,000 of them is `cargo run --release -p dns-transport --example drip`.
#[tokio::test]
async fn dripping_connections_from_everywhere_keep_no_query_out() {
    let server = Running::start(
        StreamLimits {
            connections_max: 64,
            ..StreamLimits::default()
        },
        tcp::serve,
    );
    let mut drips = JoinSet::new();
    for number in 0..400 {
        let from = format!("127.1.{}.{}", number / 250, number % 250 + 1);
        drips.spawn(drip(from, server.local));
    }
    server
        .until("a full house", |totals| totals.evicted > 100)
        .await;
    for _ in 0..50 {
        let mut stream = connect("127.0.0.9", server.local).await.unwrap();
        stream.write_all(&frame(b"x")).await.unwrap();
        assert_eq!(read_text(&mut stream).await, "x|127.0.0.1|tcp");
    }
    drips.shutdown().await;
    let totals = server.stop().await;
    assert_eq!((totals.queries, totals.answered), (50, 50));
    assert_eq!(totals.accepted, totals.closed);
}

/// Descriptors of the child process: about 15 go to the runtime and the listeners.
const DESCRIPTORS: usize = 60;

#[test]
fn a_server_without_free_descriptors_goes_on_serving() {
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -n {DESCRIPTORS} && exec \"$@\""),
            "sh",
        ])
        .arg(test)
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "overload::serve_until_the_input_ends",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.find_map(|line| line.unwrap().strip_prefix("serving ")?.parse().ok());
    let local: SocketAddr = told.unwrap();

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(local).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut idle = Vec::new();
    for _ in 0..3 * DESCRIPTORS {
        idle.push(std::net::TcpStream::connect(local).unwrap());
    }
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(local).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&frame(b"x")).unwrap();
        let expected = frame(b"x|127.0.0.1|tcp");
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
        udp.send(b"y").unwrap();
        let length = udp.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"y|127.0.0.1|udp");
    }
    drop(child.stdin.take());
    let failed = lines.find_map(|line| line.unwrap().strip_prefix("accepts failed ")?.parse().ok());
    assert!(failed.is_some_and(|failed: u64| failed > 0), "{failed:?}");
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
#[ignore = "run by the test above in a process of its own"]
async fn serve_until_the_input_ends() {
    let (udp, listener) = pair::bind(
        "127.0.0.1:0".parse().unwrap(),
        1,
        &Trusted::default(),
        &Echo::default(),
    )
    .unwrap();
    let server = Server::new(Echo::default());
    let counters = server.counters.clone();
    println!("\nserving {}", udp.local());
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let shutdown = async {
        let _ = ended.await;
    };
    tcp::serve(listener, server, shutdown).await.unwrap();
    println!("\naccepts failed {}", counters.totals().accept_failed);
}
