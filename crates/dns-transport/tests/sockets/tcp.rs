//! TCP connections through real sockets.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dns_transport::{StreamLimits, tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::echo::{Echo, STREAM, STREAM_MESSAGE};
use crate::running::{PATIENCE, Running, connect, frame, is_closed, read_frame, read_text};

fn start(limits: StreamLimits) -> Running {
    Running::start(limits, tcp::serve)
}

/// Asks once, and is answered.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(&frame(b"x")).await.unwrap();
    assert_eq!(read_text(stream).await, "x|127.0.0.1|tcp");
}

#[tokio::test]
async fn answers_pipelined_queries_in_order() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    let queries: Vec<u8> = (0..500)
        .flat_map(|n| frame(format!("q{n}").as_bytes()))
        .collect();
    stream.write_all(&queries).await.unwrap();
    for number in 0..500 {
        let expected = format!("q{number}|127.0.0.1|tcp");
        assert_eq!(read_text(&mut stream).await, expected);
    }
    drop(stream);
    let totals = server.stop().await;
    assert_eq!(
        (totals.queries, totals.answered, totals.accepted),
        (500, 500, 1)
    );
    assert_eq!(totals.closed, 1);
}

#[tokio::test]
async fn frames_may_be_split_at_every_octet() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    let (first, second) = ("first|127.0.0.1|tcp", "second|127.0.0.1|tcp");
    let two = [frame(b"first"), frame(b"second")].concat();
    for split in 0..=two.len() {
        stream.write_all(&two[..split]).await.unwrap();
        // An answer to the first part, where there is one, shows that it was read by itself.
        let mut expected = vec![first, second];
        if split >= frame(b"first").len() {
            assert_eq!(read_text(&mut stream).await, expected.remove(0));
        }
        if split == two.len() {
            assert_eq!(read_text(&mut stream).await, expected.remove(0));
        }
        stream.write_all(&two[split..]).await.unwrap();
        for answer in expected {
            assert_eq!(read_text(&mut stream).await, answer);
        }
    }
    for octet in two {
        stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_text(&mut stream).await, first);
    assert_eq!(read_text(&mut stream).await, second);
}

#[tokio::test]
async fn many_large_answers_pass_whole() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    let queries = frame(b"big").repeat(20);
    let (mut reader, mut writer) = stream.split();
    let write = async { writer.write_all(&queries).await.unwrap() };
    let read = async {
        for _ in 0..20 {
            let message = read_frame(&mut reader).await.unwrap();
            assert_eq!(message.len(), 65_535);
            assert!(message.iter().all(|&octet| octet == b'b'));
        }
    };
    tokio::join!(write, read);
}

/// Reads messages `numbers` of a stream.
async fn read_stream(stream: &mut TcpStream, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let message = read_frame(stream).await.unwrap();
        assert_eq!(message.len(), STREAM_MESSAGE);
        assert_eq!(message[..4], number.to_be_bytes());
    }
}

#[tokio::test]
async fn a_stream_of_messages_is_made_no_faster_than_the_client_takes_it() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    stream.write_all(&frame(b"stream")).await.unwrap();
    for number in 0..STREAM {
        read_stream(&mut stream, number..number + 1).await;
        // What is under way fits into the buffers of two sockets and of the connection: 60 MB would not.
        let ahead = server.streamed.load(Relaxed) - number as usize;
        assert!(ahead < 400, "{ahead} messages ahead of the client");
    }
    drop(stream);
    assert_eq!(server.stop().await.answered, u64::from(STREAM));
}

#[tokio::test]
async fn queries_are_answered_while_a_stream_is_sent() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    let queries = [frame(b"stream"), frame(b"stream"), frame(b"x")].concat();
    stream.write_all(&queries).await.unwrap();
    ask_between(&mut stream).await;
    read_stream(&mut stream, 0..1).await;
    stream.write_all(&frame(b"y")).await.unwrap();
    // Somewhere in the first stream, not behind two of them.
    let mut next = 1;
    loop {
        let message = read_frame(&mut stream).await.unwrap();
        if message == b"y|127.0.0.1|tcp" {
            break;
        }
        assert_eq!(message[..4], u32::to_be_bytes(next));
        next += 1;
    }
    assert!(next < STREAM);
    read_stream(&mut stream, next..STREAM).await;
    // A client that has asked for everything may close its side and still gets it.
    stream.shutdown().await.unwrap();
    read_stream(&mut stream, 0..STREAM).await;
    assert!(is_closed(&mut stream).await);
}

/// Takes the answer to `x`, which came with the queries for streams and goes out before them.
async fn ask_between(stream: &mut TcpStream) {
    assert_eq!(read_text(stream).await, "x|127.0.0.1|tcp");
}

#[tokio::test]
async fn a_client_that_takes_no_more_of_a_stream_is_closed() {
    let server = start(StreamLimits {
        write: Duration::from_millis(50),
        ..StreamLimits::default()
    });
    let mut stream = server.connect().await;
    stream.write_all(&frame(b"stream")).await.unwrap();
    server.until("closed", |totals| totals.closed == 1).await;
    assert_eq!(server.counters.totals().timed_out, 1);
    assert!(server.streamed.load(Relaxed) < STREAM as usize);
}

#[tokio::test]
async fn the_longest_query_is_taken() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    let query = vec![b'x'; 65_000];
    stream.write_all(&frame(&query)).await.unwrap();
    let answer = read_frame(&mut stream).await.unwrap();
    assert!(answer.starts_with(&query) && answer.ends_with(b"|tcp"));
}

#[tokio::test]
async fn answers_what_came_before_a_message_without_answer_and_closes() {
    let server = start(StreamLimits::default());
    let mut stream = server.connect().await;
    stream
        .write_all(&[frame(b"good"), frame(b"silent"), frame(b"late")].concat())
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await, "good|127.0.0.1|tcp");
    assert!(is_closed(&mut stream).await);
    let totals = server.stop().await;
    assert_eq!((totals.answered, totals.malformed), (1, 1));
}

#[tokio::test]
async fn idle_and_slow_connections_are_closed() {
    let short = Duration::from_millis(50);
    let idle = start(StreamLimits {
        idle: short,
        ..StreamLimits::default()
    });
    assert!(is_closed(&mut idle.connect().await).await);
    assert_eq!(idle.stop().await.timed_out, 1);

    let slow = start(StreamLimits {
        message: short,
        ..StreamLimits::default()
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
    timeout(PATIENCE, trickle).await.expect("closed in time");
    assert_eq!(slow.stop().await.timed_out, 1);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_closed() {
    let server = start(StreamLimits {
        write: Duration::from_millis(50),
        ..StreamLimits::default()
    });
    let mut stream = server.connect().await;
    // Far more answers than socket buffers hold.
    let _ = stream.write_all(&frame(b"big").repeat(1000)).await;
    server.until("closed", |totals| totals.closed == 1).await;
    assert_eq!(server.counters.totals().timed_out, 1);
}

#[tokio::test]
async fn a_newcomer_to_a_full_house_gets_the_place_of_the_longest_idle() {
    let server = start(StreamLimits {
        connections_max: 3,
        ..StreamLimits::default()
    });
    let mut open = Vec::new();
    for last in 1..=3 {
        let from = format!("127.0.1.{last}");
        open.push(connect(&from, server.local).await.unwrap());
        ask(&mut open[last - 1]).await;
    }
    // Octets that complete no query do not count as activity.
    ask(&mut open[0]).await;
    open[1].write_all(&[0xFF]).await.unwrap();
    ask(&mut server.connect().await).await;
    assert!(is_closed(&mut open[1]).await);
    ask(&mut open[2]).await;
    ask(&mut open[0]).await;
    let totals = server.stop().await;
    assert_eq!((totals.accepted, totals.evicted, totals.closed), (4, 1, 4));
}

#[tokio::test]
async fn a_source_over_its_cap_loses_its_own_longest_idle_connection() {
    let server = start(StreamLimits {
        connections_per_source_max: 2,
        ..StreamLimits::default()
    });
    let mut other = connect("127.0.0.2", server.local).await.unwrap();
    ask(&mut other).await;
    let mut first = server.connect().await;
    ask(&mut first).await;
    let mut second = server.connect().await;
    ask(&mut second).await;
    ask(&mut first).await;
    let mut third = server.connect().await;
    ask(&mut third).await;
    assert!(is_closed(&mut second).await);
    for stream in [&mut other, &mut first, &mut third] {
        ask(stream).await;
    }
    assert_eq!(server.stop().await.evicted, 1);
}

#[tokio::test]
async fn a_wildcard_bind_tells_the_address_that_was_asked() {
    let listener = tcp::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = dns_transport::Server::new(Echo::default());
    tokio::spawn(tcp::serve(listener, server, std::future::pending()));
    for ip in ["127.0.0.1", "127.0.0.5"] {
        let mut stream = TcpStream::connect((ip, port)).await.unwrap();
        stream.write_all(&frame(b"x")).await.unwrap();
        assert_eq!(read_text(&mut stream).await, format!("x|{ip}|tcp"));
    }
}

#[tokio::test]
async fn a_panic_of_the_worker_costs_one_connection_and_frees_its_place() {
    let server = start(StreamLimits {
        connections_per_source_max: 1,
        ..StreamLimits::default()
    });
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(&frame(b"panic")).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    let totals = server.stop().await;
    assert_eq!((totals.accepted, totals.closed), (3, 3));
}

#[tokio::test]
async fn connections_that_outlast_the_drain_are_counted_as_closed() {
    let server = start(StreamLimits {
        drain: Duration::ZERO,
        ..StreamLimits::default()
    });
    let mut stream = server.connect().await;
    // Far more answers than socket buffers hold: the connection is writing when the server stops.
    let _ = stream.write_all(&frame(b"big").repeat(1000)).await;
    stream.read_u16().await.unwrap();
    let totals = server.stop().await;
    assert_eq!((totals.accepted, totals.closed), (1, 1));
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_the_listener_and_ends_streams_first() {
    let server = start(StreamLimits::default());
    let mut idle = server.connect().await;
    ask(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(&frame(b"stream")).await.unwrap();
    read_stream(&mut busy, 0..1).await;
    let local = server.local;
    let (totals, ()) = tokio::join!(server.stop(), read_stream(&mut busy, 1..STREAM));
    assert!(is_closed(&mut idle).await);
    assert!(is_closed(&mut busy).await);
    assert!(TcpStream::connect(local).await.is_err());
    assert_eq!(totals.accepted, totals.closed);
    assert_eq!(totals.answered, u64::from(STREAM) + 1);
}
