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
    let (v6, _listener) = pair::bind(
        "[::]:0".parse().unwrap(),
        1,
        &Trusted::default(),
        &Echo::default(),
    )
    .unwrap();
    let port = v6.local().port();
    assert_eq!(bind(&format!("0.0.0.0:{port}")).unwrap().port(), port);
}
