//! A server from its first address to its end.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dns_engine::ZonesOnly;
use nameserver::{Settings, Starting};
use service::shutdown::{self, Trigger};

use crate::scene::{
    LOOPBACK, address, blocking, exchange, metrics, open, over_tcp, over_udp, query, start, until,
    zones,
};

fn two_addresses() -> Settings {
    Settings {
        listen: vec![LOOPBACK, LOOPBACK],
        workers: 1,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_snapshot_answers_on_every_address_over_udp_and_tcp() {
    let (trigger, shutdown) = shutdown::channel();
    let (server, door, registry) = start(two_addresses(), shutdown);
    let running = open(server);
    let addresses = running.dns.clone();
    assert_eq!(addresses.len(), 2);
    for expected in ["192.0.2.2", "192.0.2.3"] {
        door.serve(zones(expected), Arc::new(ZonesOnly));
        for server in addresses.clone() {
            assert_eq!(blocking(move || over_udp(server)).await, expected);
            assert_eq!(blocking(move || over_tcp(server)).await, expected);
        }
    }
    let text = metrics(&registry);
    for transport in ["udp", "tcp"] {
        let line = format!(
            "signpost_dns_requests_total{{type=\"A\",transport=\"{transport}\",family=\"ipv4\"}} 4\n"
        );
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_cannot_be_served_below_the_sockets_leaves_them_serving() {
    let (trigger, shutdown) = shutdown::channel();
    let settings = Settings {
        xdp: nameserver::settings::Xdp {
            interfaces: vec!["nowhere0".to_owned()],
            ..Default::default()
        },
        ..two_addresses()
    };
    let (server, door, registry) = start(settings, shutdown);
    let running = open(server);
    door.serve(zones("192.0.2.2"), Arc::new(ZonesOnly));
    for server in running.dns.clone() {
        assert_eq!(blocking(move || over_udp(server)).await, "192.0.2.2");
        assert_eq!(blocking(move || over_tcp(server)).await, "192.0.2.2");
    }
    let text = metrics(&registry);
    for line in [
        "signpost_dns_xdp_queues{interface=\"nowhere0\",mode=\"none\"} 0\n",
        "signpost_dns_xdp_datagrams_total{interface=\"nowhere0\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

/// Waits for a server one of whose parts is gone: it ends with an error that names the part, and lets go of its addresses,
/// although nobody asked it to end.
async fn check_ends(server: Starting, trigger: &Trigger, expected: &str) {
    let running = open(server);
    let address = running.dns[0];
    let error = running.wait().await.unwrap_err();
    assert!(format!("{error:#}").contains(expected), "{error:#}");
    assert!(TcpStream::connect(address).is_err(), "it still listens");
    trigger.fire();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_ends_takes_the_server_with_it() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, _) = start(two_addresses(), shutdown);
    server.task("a part", async { Ok(()) });
    check_ends(server, &trigger, "a part ended by itself").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_takes_the_server_with_it() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, _) = start(two_addresses(), shutdown);
    server.task("a part", async { anyhow::bail!("no more disk") });
    check_ends(server, &trigger, "a part: no more disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_following_files_leaves_the_server_answering_and_following() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, door, _) = start(two_addresses(), shutdown);
    door.serve(zones("192.0.2.2"), Arc::new(ZonesOnly));
    let (polled, told) = tokio::sync::oneshot::channel();
    let (mut polls, mut polled) = (0, Some(polled));
    server.poll("following the files", move || {
        polls += 1;
        if polls == 2 {
            let _ = polled.take().map(|polled| polled.send(()));
        }
        panic!("as it was meant to");
    });
    let running = open(server);
    told.await.unwrap();
    let address = running.dns[0];
    assert_eq!(blocking(move || over_udp(address)).await, "192.0.2.2");
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_polls_ends_with_the_server() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, _) = start(two_addresses(), shutdown);
    let polled = Arc::new(AtomicBool::new(false));
    let (seen, ending) = (polled.clone(), trigger.clone());
    server.poll("polling", move || {
        seen.store(true, Ordering::Relaxed);
        ending.fire();
    });
    open(server).wait().await.unwrap();
    assert!(polled.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_identity_are_those_of_the_settings() {
    #[derive(serde::Deserialize)]
    struct Tables {
        udp_payload: nameserver::settings::UdpPayload,
        identity: nameserver::settings::Identity,
    }
    let text = "udp_payload = 1400\nidentity = { nsid = \"cdg1\" }";
    let Tables {
        udp_payload,
        identity,
    } = service::config::parse("x.toml", text).unwrap();
    let settings = Settings {
        udp_payload,
        identity,
        ..Settings::default()
    };
    let (_trigger, shutdown) = shutdown::channel();
    let (server, _, _) = start(settings, shutdown);
    let running = open(server);
    let server = running.dns[0];
    let answer = blocking(move || {
        let mut query = query();
        query[11] = 1; // one additional record: OPT, 4096 octets, with the option NSID
        query.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0]);
        exchange(server, &query)
    })
    .await;
    let opt = [0, 0, 41, 5, 0x78, 0, 0, 0, 0, 0, 8, 0, 3, 0, 4];
    assert!(
        answer.ends_with(&[&opt[..], b"cdg1"].concat()),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_when_the_settings_say() {
    let mut settings = Settings::default();
    settings.tcp.idle_ms = 20.try_into().unwrap();
    let (_trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings, shutdown);
    let running = open(server);
    let address = running.dns[0];
    blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    })
    .await;
    let line = "signpost_dns_transport_total{transport=\"tcp\",cause=\"timed_out\"} 1";
    until(&registry, line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_of_the_settings_has_to_introduce_its_clients() {
    #[derive(serde::Deserialize)]
    struct Tables {
        proxy: nameserver::settings::Proxy,
    }
    let text = "proxy = { networks = [\"127.0.0.0/8\"] }";
    let Tables { proxy } = service::config::parse("x.toml", text).unwrap();
    let settings = Settings {
        proxy,
        ..Settings::default()
    };
    let (_trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings, shutdown);
    let running = open(server);
    let server = running.dns[0];
    let answer = blocking(move || {
        // Version 2, PROXY, UDP over IPv6, [2001:db8::1]:7777 to [2001:db8::2]:53.
        let mut introduced = b"\r\n\r\n\0\r\nQUIT\n\x21\x22\0\x24".to_vec();
        for last in [1, 2] {
            introduced.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        introduced.extend([30, 97, 0, 53]);
        introduced.extend(query());
        exchange(server, &introduced)
    })
    .await;
    assert_eq!(address(&answer), "192.0.2.2");
    let line = "signpost_dns_requests_total{type=\"A\",transport=\"udp\",family=\"ipv6\"} 1";
    assert!(metrics(&registry).contains(line), "{}", metrics(&registry));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_over_the_limit_of_the_settings_is_told_to_come_over_tcp_or_nothing() {
    #[derive(serde::Deserialize)]
    struct Tables {
        rate_limit: nameserver::settings::RateLimit,
    }
    let text = "rate_limit = { per_second = 1, burst = 3, slip = 2, exempt = [] }";
    let Tables { rate_limit } = service::config::parse("x.toml", text).unwrap();
    let settings = Settings {
        workers: 1,
        rate_limit,
        ..Settings::default()
    };
    let (_trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings, shutdown);
    let running = open(server);
    let server = running.dns[0];
    let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    for _ in 0..13 {
        socket.send_to(&query(), server).unwrap();
    }
    // Those over the limit are not read so far that their type would be known.
    let requests = "signpost_ecs_requests_total{present=\"no\"} 13";
    until(&registry, requests).await;
    let text = metrics(&registry);
    let count = |result: &str| -> u32 {
        let line = format!("signpost_dns_rate_limited_total{{result=\"{result}\"}} ");
        let value = text.lines().find_map(|shown| shown.strip_prefix(&line));
        value.unwrap().parse().unwrap()
    };
    // A loaded machine may take seconds, each of which is good for one more answer.
    let (slipped, dropped) = (count("slipped"), count("dropped"));
    assert!((1..=5).contains(&slipped), "{text}");
    assert!(dropped == slipped || dropped == slipped + 1, "{text}");
    let line = format!("signpost_dns_dropped_total{{reason=\"rate_limited\"}} {dropped}");
    assert!(text.contains(&line), "{text}");
    assert_eq!(blocking(move || over_tcp(server)).await, "192.0.2.2");
}
