//! UDP and TCP bound together.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use dns_transport::pair;
use dns_transport::proxy::Trusted;

use crate::echo::Echo;

fn bind(listen: &str) -> std::io::Result<SocketAddr> {
    let (udp, tcp) = pair::bind(
        listen.parse().unwrap(),
        1,
        &Trusted::default(),
        &Echo::default(),
    )?;
    assert_eq!(udp.local(), tcp.local_addr().unwrap());
    Ok(udp.local())
}

#[tokio::test]
async fn port_0_is_one_port_for_both() {
    assert_ne!(bind("127.0.0.1:0").unwrap().port(), 0);
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_transport() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    let error = bind(&taken).unwrap_err().to_string();
    assert!(error.starts_with(&format!("TCP {taken} ")), "{error}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = udp.local_addr().unwrap().to_string();
    let error = bind(&taken).unwrap_err().to_string();
    assert!(error.starts_with(&format!("UDP {taken} ")), "{error}");
}

#[tokio::test]
async fn both_wildcards_share_a_port() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 on this machine: not tested");
        return;
    }
    // The port that is free in one family may be taken in the other.
    let shared = (0..20).any(|_| {
        let listen = "[::]:0".parse().unwrap();
        let (v6, _tcp) = pair::bind(listen, 1, &Trusted::default(), &Echo::default()).unwrap();
        bind(&format!("0.0.0.0:{}", v6.local().port())).is_ok()
    });
    assert!(shared);
}
