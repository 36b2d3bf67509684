//! The clients: transfers over TCP and TLS, questions over UDP.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use dns_transport::transfer::{Broken, Identity, IdentityError, Patience, Primary, fetch};
use dns_transport::{StreamLimits, ask, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::running::{Running, frame};
use crate::trust::{NAME, made};

fn primary(address: SocketAddr) -> Primary {
    Primary {
        address,
        source: Some(address.ip()),
        tls: None,
    }
}

/// A primary that reads a request and then does this.
async fn serving<F: Future<Output = ()> + Send>(
    then: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Primary {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut request = vec![0; length.into()];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        then(stream).await;
    });
    primary(address)
}

/// Takes messages until one says `end`.
async fn collect(primary: &Primary, patience: Patience) -> Result<Vec<Vec<u8>>, Broken> {
    let mut all = Vec::new();
    let done = fetch(primary, patience, b"request", |message| {
        all.push(message.to_vec());
        match message {
            b"end" => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    done.await.map(|()| all)
}

#[tokio::test]
async fn messages_come_whole_however_they_are_cut() {
    let primary = serving(async |mut stream| {
        let longest = vec![b'x'; 65_535];
        let octets = [frame(b"one"), frame(b""), frame(&longest), frame(b"end")].concat();
        for piece in octets.chunks(7_001) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await;
    let all = collect(&primary, Patience::default()).await.unwrap();
    let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
    assert_eq!(lengths, [3, 0, 65_535, 3]);
}

#[tokio::test]
async fn a_transfer_that_stops_half_way_is_broken() {
    for octets in [vec![], frame(b"one"), frame(b"end")[..4].to_vec()] {
        let primary = serving(async move |mut stream| {
            stream.write_all(&octets).await.unwrap();
        })
        .await;
        let broken = collect(&primary, Patience::default()).await.unwrap_err();
        assert!(matches!(broken, Broken::Closed), "{broken}");
    }
}

#[tokio::test]
async fn a_primary_that_says_nothing_or_goes_on_for_ever_is_left() {
    let silent = serving(async |stream| {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let patience = Patience {
        message: Duration::from_millis(50),
        ..Patience::default()
    };
    let broken = collect(&silent, patience).await.unwrap_err();
    assert!(matches!(broken, Broken::TooSlow), "{broken}");

    let talkative =
        || serving(async |mut stream| while stream.write_all(&frame(b"one")).await.is_ok() {});
    let patience = Patience {
        octets: 1_000,
        ..Patience::default()
    };
    let broken = collect(&talkative().await, patience).await.unwrap_err();
    assert!(matches!(broken, Broken::TooMuch), "{broken}");
    let patience = Patience {
        total: Duration::from_millis(50),
        ..Patience::default()
    };
    let broken = collect(&talkative().await, patience).await.unwrap_err();
    assert!(matches!(broken, Broken::TooSlow), "{broken}");
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let broken = collect(&primary(address), Patience::default()).await;
    assert!(matches!(broken, Err(Broken::Connect(_))), "{broken:?}");
}

#[tokio::test]
async fn over_tls_only_the_right_primary_is_asked() {
    let (chain, key, _) = made();
    let certificate = dns_transport::Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    let certificate = certificate.unwrap();
    let server = Running::start(
        StreamLimits::default(),
        |listener, server, end| async move { tls::serve(listener, server, &certificate, end).await },
    );
    let ask = async |name: &str, authorities: &str| {
        let primary = Primary {
            tls: Some(Identity::new(name, authorities.as_bytes()).unwrap()),
            ..primary(server.local)
        };
        let mut count = 0;
        let done = fetch(&primary, Patience::default(), b"stream", |_| {
            count += 1;
            match count {
                3 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        done.await
    };
    assert!(ask(NAME, &chain).await.is_ok());
    let (other, ..) = made();
    for (name, authorities) in [("other.test", &chain), (NAME, &other)] {
        let broken = ask(name, authorities).await;
        assert!(matches!(broken, Err(Broken::Connect(_))), "{broken:?}");
    }
}

#[test]
fn an_identity_needs_a_name_and_a_certificate() {
    let (chain, ..) = made();
    assert!(matches!(
        Identity::new("no name!", chain.as_bytes()),
        Err(IdentityError::Name(_))
    ));
    assert!(matches!(
        Identity::new(NAME, b"no certificate"),
        Err(IdentityError::Pem(_))
    ));
}

#[tokio::test]
async fn a_question_is_asked_again_until_the_right_answer_comes() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let mut query = [0; 16];
        for count in 0..3 {
            let (length, from) = server.recv_from(&mut query).await.unwrap();
            assert_eq!(&query[..length], b"question");
            if count == 1 {
                server.send_to(b"rubbish", from).await.unwrap();
            }
            if count == 2 {
                server.send_to(b"answer", from).await.unwrap();
            }
        }
    });
    let waits = [Duration::from_millis(50); 1_000];
    let read = |datagram: &[u8]| (datagram == b"answer").then_some(42);
    let answer = ask::ask(address, None, b"question", &waits, read).await;
    assert_eq!(answer.unwrap(), Some(42));
    answering.await.unwrap();
    // Now the port is closed.
    let answer = ask::ask(address, None, b"question", &waits[..2], read).await;
    assert_eq!(answer.unwrap(), None);
}
