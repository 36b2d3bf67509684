//! UDP by AF_XDP between two network namespaces: asked by `dig` and by sockets of our own, over a veth pair. Where the kernel
//! does not let this process have namespaces or bpf(2), that is said, and nothing else is.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../../tests/harness/namespaces.rs"]
mod namespaces; // the harness's, which itself stands on this package
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use hickory_proto::op::Message;
use namespaces::{SERVER_V4, SERVER_V6};
use server::{Scene, scene};

/// Everything that a message of ours holds besides the question.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

fn query(id: u16, name: &str, rtype: u16, padding: usize) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, rtype as u8, 0, 1]);
    message.extend(OPT);
    if padding > 0 {
        let length = message.len() - 2;
        message[length..].copy_from_slice(&(padding as u16 + 4).to_be_bytes());
        message.extend([0, 12]); // RFC 7830
        message.extend((padding as u16).to_be_bytes());
        message.resize(message.len() + padding, 0);
    }
    message
}

fn over_udp(server: &str, query: &[u8]) -> Vec<u8> {
    let server = SocketAddr::new(server.parse().unwrap(), 53);
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send(query).unwrap();
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    answer
}

fn over_tcp(server: &str, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((server, 53)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
        .write_all(&(query.len() as u16).to_be_bytes())
        .unwrap();
    stream.write_all(query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn questions() -> Vec<Vec<u8>> {
    let asked = [
        ("stream.test", 6),
        ("stream.test", 2),
        ("origin.stream.test", 1),
        ("_rtsp._tcp.live.stream.test", 16),
        ("big.stream.test", 16),
        ("nowhere.stream.test", 1),
        ("elsewhere.example", 1),
    ];
    let messages = asked.iter().enumerate();
    messages
        .map(|(id, (name, rtype))| query(id as u16, name, *rtype, 0))
        .collect()
}

fn dig(scene: &Scene, arguments: &[&str]) -> String {
    let mut command: Command = scene.wire.client.command("dig");
    command.args(["+tries=1", "+time=10", "+noall", "+answer", "+comments"]);
    let output = command.args(arguments).output().expect("dig runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What every mode has to do.
fn check_answers(scene: &Scene, mode: &str) {
    assert_eq!(
        scene.metric(&format!(
            "signpost_dns_xdp_queues{{interface=\"dns0\",mode=\"{mode}\"}}"
        )),
        1
    );
    let mut expected = 0;
    for server in [SERVER_V4, SERVER_V6] {
        let text = dig(scene, &[&format!("@{server}"), "origin.stream.test", "A"]);
        assert!(
            text.contains("status: NOERROR") && text.contains("192.0.2.80"),
            "{text}"
        );
        expected += 1;
        assert_eq!(scene.by_xdp(), expected, "dig to {server}");
        for query in questions() {
            let below = scene.wire.client.run(|| over_udp(server, &query));
            expected += 1;
            assert_eq!(scene.by_xdp(), expected);
            // From its own host a server is asked over loopback.
            let by_socket = scene.wire.server.run(|| over_udp(server, &query));
            assert_eq!(below, by_socket, "{:?}", Message::from_vec(&by_socket));
            let by_tcp = scene.wire.client.run(|| over_tcp(server, &query));
            assert_eq!(by_tcp[..12], by_socket[..12]);
        }
        let text = dig(
            scene,
            &[&format!("@{server}"), "+tcp", "origin.stream.test", "A"],
        );
        assert!(text.contains("192.0.2.80"), "{text}");
        let ping = scene
            .wire
            .client
            .command("ping")
            .args(["-c", "1", "-W", "10", server])
            .output();
        if let Ok(ping) = ping.filter_found() {
            assert!(ping.status.success(), "{ping:?}");
        }
        // Two fragments: the kernel puts them together, and a socket gets the query.
        let long = query(9, "origin.stream.test", 1, 1700);
        let answer = Message::from_vec(&scene.wire.client.run(|| over_udp(server, &long))).unwrap();
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(
            scene.by_xdp(),
            expected,
            "TCP, ICMP and fragments are the kernel's"
        );
    }
    for cause in ["malformed", "refused_source", "send_failed", "panics"] {
        let line = format!("signpost_dns_transport_total{{transport=\"udp\",cause=\"{cause}\"}}");
        assert_eq!(scene.metric(&line), 0, "{cause}");
    }
}

/// `ping` is not everywhere.
trait Found {
    fn filter_found(self) -> Result<std::process::Output, ()>;
}

impl Found for std::io::Result<std::process::Output> {
    fn filter_found(self) -> Result<std::process::Output, ()> {
        let output = self.expect("ip runs");
        match String::from_utf8_lossy(&output.stderr).contains("No such file") {
            true => Err(()),
            false => Ok(output),
        }
    }
}

#[test]
fn udp_comes_by_xdp_and_all_else_by_the_kernel() {
    let Some(scene) = scene(1500, "") else { return };
    check_answers(&scene, "native");
}

#[test]
fn behind_the_driver_it_answers_the_same() {
    let Some(scene) = scene(1500, "mode = \"generic\"\n") else {
        return;
    };
    check_answers(&scene, "generic");
}

#[test]
fn the_program_leaves_with_the_process_however_that_ends() {
    for signal in ["TERM", "KILL"] {
        let Some(mut scene) = scene(1500, "") else {
            return;
        };
        assert!(scene.wire.link().contains("xdp"), "{}", scene.wire.link());
        scene.end(signal);
        assert!(!scene.wire.link().contains("xdp"), "{}", scene.wire.link());
    }
}

#[test]
fn an_answer_that_the_interface_does_not_carry_has_to_come_over_tcp() {
    let Some(scene) = scene(576, "") else { return };
    let query = query(1, "big.stream.test", 16, 0);
    let cut = scene.wire.client.run(|| over_udp(SERVER_V4, &query));
    assert_eq!(scene.by_xdp(), 1);
    let cut = Message::from_vec(&cut).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let whole = Message::from_vec(&scene.wire.client.run(|| over_tcp(SERVER_V4, &query))).unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 1);
}

#[test]
fn a_burst_is_answered_to_the_last_query() {
    let Some(scene) = scene(1500, "") else { return };
    let all = 64 * 64;
    scene.wire.client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((SERVER_V4, 53)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = [0; 2048];
        // More than there are frames of either kind, so that all of them go round; not more at once than a socket holds.
        for burst in 0..64_u16 {
            for number in 0..64 {
                socket
                    .send(&query(burst * 64 + number, "origin.stream.test", 1, 0))
                    .unwrap();
            }
            for number in 0..64 {
                assert!(socket.recv(&mut answer).unwrap() > 12);
                assert_eq!(
                    u16::from_be_bytes([answer[0], answer[1]]),
                    burst * 64 + number
                );
            }
        }
    });
    assert_eq!(scene.by_xdp(), all);
}
