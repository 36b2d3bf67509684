//! TCP connections through real sockets.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::{Echo, STREAM, STREAM_MESSAGE};
use dns_transport::counters::TcpCounters;
use dns_transport::tcp::{self, TcpLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Server {
    local: SocketAddr,
    counters: TcpCounters,
    /// Messages of streams made.
    streamed: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

fn start(limits: TcpLimits) -> Server {
    let listener = tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let local = listener.local_addr().unwrap();
    let counters = TcpCounters::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let echo = Echo::default();
    let streamed = Arc::clone(&echo.streamed);
    let task = tokio::spawn(tcp::serve(
        listener,
        echo,
        limits,
        counters.clone(),
        shutdown,
    ));
    Server {
        local,
        counters,
        streamed,
        stop,
        task,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.local).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn stop(self) -> TcpCounters {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.counters
    }
}

fn frame(query: &[u8]) -> Vec<u8> {
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    framed
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = timeout(Duration::from_secs(5), stream.read_u16())
        .await
        .unwrap()
        .unwrap();
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.unwrap();
    message
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await;
    matches!(read.expect("closed in time"), Ok(0) | Err(_))
}

#[tokio::test]
async fn answers_pipelined_queries_in_order() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    let queries: Vec<u8> = (0..500)
        .flat_map(|n| frame(format!("q{n}").as_bytes()))
        .collect();
    stream.write_all(&queries).await.unwrap();
    for number in 0..500 {
        let expected = format!("q{number}|127.0.0.1|tcp");
        assert_eq!(read_frame(&mut stream).await, expected.as_bytes());
    }
    drop(stream);
    let totals = server.stop().await.totals();
    assert_eq!(
        (totals.queries, totals.answered, totals.accepted),
        (500, 500, 1)
    );
    assert_eq!(totals.closed, 1);
}

#[tokio::test]
async fn frames_may_be_split_at_every_octet() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    let two = [frame(b"first"), frame(b"second")].concat();
    for split in 0..=two.len() {
        stream.write_all(&two[..split]).await.unwrap();
        // An answer to the first part, where there is one, shows that it was read by itself.
        let mut expected = vec!["first|127.0.0.1|tcp", "second|127.0.0.1|tcp"];
        if split >= frame(b"first").len() {
            assert_eq!(read_frame(&mut stream).await, expected.remove(0).as_bytes());
        }
        if split == two.len() {
            assert_eq!(read_frame(&mut stream).await, expected.remove(0).as_bytes());
        }
        stream.write_all(&two[split..]).await.unwrap();
        for answer in expected {
            assert_eq!(read_frame(&mut stream).await, answer.as_bytes());
        }
    }
    for octet in two {
        stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_frame(&mut stream).await, b"first|127.0.0.1|tcp");
    assert_eq!(read_frame(&mut stream).await, b"second|127.0.0.1|tcp");
}

#[tokio::test]
async fn many_large_answers_pass_whole() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    let queries = frame(b"big").repeat(20);
    let (mut reader, mut writer) = stream.split();
    let write = async { writer.write_all(&queries).await.unwrap() };
    let read = async {
        for _ in 0..20 {
            let length = reader.read_u16().await.unwrap();
            assert_eq!(length, 65_535);
            let mut message = vec![0; usize::from(length)];
            reader.read_exact(&mut message).await.unwrap();
            assert!(message.iter().all(|&octet| octet == b'b'));
        }
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_stream_of_messages_is_made_no_faster_than_the_client_takes_it() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    let queries = [frame(b"x"), frame(b"stream"), frame(b"y")].concat();
    stream.write_all(&queries).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, b"x|127.0.0.1|tcp");
    for number in 0..STREAM {
        let message = read_frame(&mut stream).await;
        assert_eq!(message.len(), STREAM_MESSAGE);
        assert_eq!(message[..4], number.to_be_bytes());
        // What is under way fits into the buffers of two sockets and of the connection: 60 MB would not.
        let ahead = server.streamed.load(Relaxed) - number as usize;
        assert!(ahead < 400, "{ahead} messages ahead of the client");
    }
    assert_eq!(read_frame(&mut stream).await, b"y|127.0.0.1|tcp");
    drop(stream);
    assert_eq!(server.stop().await.totals().answered, u64::from(STREAM) + 2);
}

#[tokio::test]
async fn a_client_that_takes_no_more_of_a_stream_is_closed() {
    let server = start(TcpLimits {
        write: Duration::from_millis(50),
        ..TcpLimits::default()
    });
    let mut stream = server.connect().await;
    stream.write_all(&frame(b"stream")).await.unwrap();
    let closed = async {
        while server.counters.totals().closed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), closed)
        .await
        .expect("closed in time");
    assert_eq!(server.counters.totals().timed_out, 1);
    assert!(server.streamed.load(Relaxed) < STREAM as usize);
}

#[tokio::test]
async fn the_longest_query_is_taken() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    let query = vec![b'x'; 65_000];
    stream.write_all(&frame(&query)).await.unwrap();
    let answer = read_frame(&mut stream).await;
    assert!(answer.starts_with(&query) && answer.ends_with(b"|tcp"));
}

#[tokio::test]
async fn answers_what_came_before_a_message_without_answer_and_closes() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    stream
        .write_all(&[frame(b"good"), frame(b"silent"), frame(b"late")].concat())
        .await
        .unwrap();
    assert_eq!(read_frame(&mut stream).await, b"good|127.0.0.1|tcp");
    assert!(is_closed(&mut stream).await);
    let totals = server.stop().await.totals();
    assert_eq!((totals.answered, totals.malformed), (1, 1));
}

#[tokio::test]
async fn idle_and_slow_connections_are_closed() {
    let short = Duration::from_millis(50);
    let idle = start(TcpLimits {
        idle: short,
        ..TcpLimits::default()
    });
    assert!(is_closed(&mut idle.connect().await).await);
    assert_eq!(idle.stop().await.totals().timed_out, 1);

    let slow = start(TcpLimits {
        message: short,
        ..TcpLimits::default()
    });
    let mut stream = slow.connect().await;
    // An octet now and then must not keep a message open for ever.
    let trickle = async {
        loop {
            if stream.write_all(&[0xFF]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), trickle)
        .await
        .expect("closed in time");
    assert_eq!(slow.stop().await.totals().timed_out, 1);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_closed() {
    let server = start(TcpLimits {
        write: Duration::from_millis(50),
        ..TcpLimits::default()
    });
    let mut stream = server.connect().await;
    // Far more answers than socket buffers hold.
    let _ = stream.write_all(&frame(b"big").repeat(1000)).await;
    let closed = async {
        while server.counters.totals().closed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), closed)
        .await
        .expect("closed in time");
    assert_eq!(server.counters.totals().timed_out, 1);
}

#[tokio::test]
async fn caps_hold_in_total_and_per_source() {
    let total = TcpLimits {
        connections_max: 2,
        ..TcpLimits::default()
    };
    let per_source = TcpLimits {
        connections_per_source_max: 2,
        ..TcpLimits::default()
    };
    for limits in [total, per_source] {
        let server = start(limits);
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = server.connect().await;
            stream.write_all(&frame(b"x")).await.unwrap();
            read_frame(&mut stream).await;
            open.push(stream);
        }
        assert!(is_closed(&mut server.connect().await).await);
        // A place that was given back can be taken again.
        let mut first = open.remove(0);
        first.shutdown().await.unwrap();
        assert!(is_closed(&mut first).await);
        let reused = async {
            loop {
                let mut stream = server.connect().await;
                let _ = stream.write_all(&frame(b"x")).await;
                if stream.read_u16().await.is_ok() {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(5), reused)
            .await
            .expect("a free place");
        assert!(server.stop().await.totals().turned_away >= 1);
    }
}

#[tokio::test]
async fn a_panic_of_the_worker_costs_one_connection_and_frees_its_place() {
    let server = start(TcpLimits {
        connections_per_source_max: 1,
        ..TcpLimits::default()
    });
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(&frame(b"panic")).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    let totals = server.stop().await.totals();
    assert_eq!((totals.accepted, totals.closed), (3, 3));
}

#[tokio::test]
async fn connections_that_outlast_the_drain_are_counted_as_closed() {
    let server = start(TcpLimits {
        drain: Duration::ZERO,
        ..TcpLimits::default()
    });
    let mut stream = server.connect().await;
    // Far more answers than socket buffers hold: the connection is writing when the server stops.
    let _ = stream.write_all(&frame(b"big").repeat(1000)).await;
    stream.read_u16().await.unwrap();
    let totals = server.stop().await.totals();
    assert_eq!((totals.accepted, totals.closed), (1, 1));
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_the_listener() {
    let server = start(TcpLimits::default());
    let mut stream = server.connect().await;
    stream.write_all(&frame(b"x")).await.unwrap();
    read_frame(&mut stream).await;
    let local = server.local;
    let totals = timeout(Duration::from_secs(2), server.stop())
        .await
        .unwrap()
        .totals();
    assert!(is_closed(&mut stream).await);
    assert!(TcpStream::connect(local).await.is_err());
    assert_eq!(totals.accepted, totals.closed);
}
