//! The worked example asked by `dig`, an outside client: from a service to tokens to addresses, and
//! everything around it that a resolver may ask.

use std::net::SocketAddr;

use signpost_tests::{
    dig::{Answer, dig},
    example::{Example, TOKENS, ZONE},
    tools,
};

const LIVE: &str = "_rtsp._tcp.live.stream.example.";
/// Networks that the example routes by hand, so that answers do not follow the data.
const TO_US: &str = "198.51.100.0/24";
const TO_JAPAN: &str = "203.0.113.0/24";

/// Runs a story against the example; skips it, saying so, without dig.
async fn with_example(story: impl FnOnce(&Example) + Send + 'static) {
    if !tools::available("dig", "bind9-dnsutils") {
        return;
    }
    let example = Example::start().await.expect("the example starts");
    let told = tokio::task::spawn_blocking(move || {
        story(&example);
        example
    });
    told.await
        .expect("the story holds")
        .stop()
        .await
        .expect("an orderly end");
}

fn ask(server: SocketAddr, arguments: &[&str]) -> Answer {
    let answer = dig(server, arguments);
    assert!(answer.warnings.is_empty(), "{}", answer.text);
    assert!(answer.has("qr") && !answer.has("ra"), "{}", answer.text);
    answer
}

/// Priority, port and token of each SRV record.
fn tokens(answer: &Answer) -> Vec<(u16, u16, String)> {
    let read = |data: &str| {
        let words: Vec<&str> = data.split(' ').collect();
        let [priority, _weight, port, target] = words[..] else {
            panic!("{data}")
        };
        let token = target
            .strip_suffix(&format!(".{TOKENS}"))
            .expect("a token name");
        assert_eq!(token.len(), route_token::LENGTH, "{token}");
        (
            priority.parse().expect("a number"),
            port.parse().expect("a number"),
            token.to_owned(),
        )
    };
    answer.data("SRV").into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gives_tokens_by_client_subnet_with_a_scope() {
    with_example(|example| {
        let us = ask(example.l1, &[LIVE, "SRV", &format!("+subnet={TO_US}")]);
        assert_eq!(
            (us.status.as_str(), us.has("aa")),
            ("NOERROR", true),
            "{}",
            us.text
        );
        assert_eq!(
            us.subnet.as_deref(),
            Some("198.51.100.0/24/24"),
            "{}",
            us.text
        );
        let records = tokens(&us);
        assert_eq!(records.len(), 2, "{}", us.text);
        assert_eq!(records[0].1, 8554);
        assert!(records[0].0 < records[1].0, "by rank: {records:?}");
        assert!(
            us.answer
                .iter()
                .all(|record| record.ttl == 30 && record.owner == LIVE)
        );
        assert!(
            us.edns
                .as_deref()
                .is_some_and(|edns| edns.contains("udp: 1232")),
            "{}",
            us.text
        );

        let keys = example.ring.zone(TOKENS);
        let regions = records
            .iter()
            .map(|(_, _, token)| keys.open(token.as_bytes()).unwrap().region);
        let id = traffic_map::id_of_name;
        assert_eq!(regions.collect::<Vec<_>>(), [id("us-east"), id("us-west")]);

        let japan = ask(example.l1, &[LIVE, "SRV", &format!("+subnet={TO_JAPAN}")]);
        assert_ne!(tokens(&japan), records, "another place, other tokens");
        let v6 = ask(example.l1, &[LIVE, "SRV", "+subnet=2001:db8:40::/48"]);
        assert_eq!(tokens(&v6), tokens(&japan), "the same place by IPv6");
        assert_eq!(v6.scope(), Some(48), "{}", v6.text);
        let hidden = ask(example.l1, &[LIVE, "SRV", "+subnet=0.0.0.0/0"]);
        assert_eq!(hidden.scope(), Some(0), "{}", hidden.text);
        assert_eq!(
            tokens(&hidden),
            tokens(&ask(example.l1, &[LIVE, "SRV"])),
            "by its source"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_in_the_name_says_the_same_as_the_subnet() {
    with_example(|example| {
        for (label, subnet) in [
            ("ip4-198-51-100-0-24", TO_US),
            ("IP4-203-0-113-0-24", TO_JAPAN),
            ("ip6-2001-db8-40-0-0-0-0-0-48", "2001:db8:40::/48"),
        ] {
            let name = format!("_rtsp._tcp.{label}.live.{ZONE}");
            let other = "+subnet=127.0.0.0/24";
            let by_name = ask(example.l1, &[&name, "SRV", other]);
            let by_subnet = ask(example.l1, &[LIVE, "SRV", &format!("+subnet={subnet}")]);
            assert_eq!(tokens(&by_name), tokens(&by_subnet), "{}", by_name.text);
            assert_eq!(by_name.scope(), Some(0), "{}", by_name.text);
        }
        let id = format!("ip4-198-51-100-0-24.live.{ZONE}");
        for name in [format!("_rtsp._tcp.{id}"), format!("_tcp.{id}"), id] {
            let answer = ask(example.l1, &[&name, "NS"]);
            assert!(answer.is_nodata_of(ZONE), "{}", answer.text);
        }
        for mangled in ["ip4-198-51-100-1-24", "ip4-198-51-100-0-33", "ip6-1-48"] {
            let name = format!("_rtsp._tcp.{mangled}.live.{ZONE}");
            let answer = ask(example.l1, &[&name, "SRV"]);
            assert!(answer.is_nxdomain_of(ZONE), "{}", answer.text);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_level_answers_everything_else_as_any_zone() {
    with_example(|example| {
        let l1 = example.l1;
        assert!(ask(l1, &[LIVE, "AAAA"]).is_nodata_of(ZONE));
        assert!(ask(l1, &[&format!("_tcp.vod.{ZONE}"), "A"]).is_nodata_of(ZONE));
        assert!(ask(l1, &[&format!("vod.{ZONE}"), "NS"]).is_nodata_of(ZONE));
        assert!(ask(l1, &[&format!("_rtsp._tcp.news.{ZONE}"), "SRV"]).is_nxdomain_of(ZONE));
        let soa = ask(l1, &[ZONE, "SOA"]);
        assert_eq!(soa.data("SOA").len(), 1, "{}", soa.text);
        let ns = ask(l1, &[ZONE, "NS"]);
        assert_eq!(
            ns.data("NS"),
            ["ns1.stream.example.", "ns2.stream.example."]
        );
        assert_eq!(
            ns.additional.len(),
            2,
            "their addresses come along: {}",
            ns.text
        );
        let referral = ask(l1, &[&format!("x.{TOKENS}"), "A"]);
        let down = referral
            .authority
            .iter()
            .all(|r| r.rtype == "NS" && r.owner == TOKENS);
        assert!(down && referral.authority.len() == 2, "{}", referral.text);
        assert!(
            !referral.has("aa") && referral.additional.len() == 2,
            "{}",
            referral.text
        );
        let outside = ask(l1, &["example.", "A"]);
        assert_eq!(
            (outside.status.as_str(), outside.has("aa")),
            ("REFUSED", false)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_over_tcp_in_any_case_and_without_edns() {
    with_example(|example| {
        let subnet = format!("+subnet={TO_US}");
        let over = |extra: &[&str]| {
            let arguments = [&[LIVE, "SRV", subnet.as_str()], extra].concat();
            tokens(&ask(example.l1, &arguments))
        };
        let expected = over(&[]);
        assert_eq!(over(&["+tcp"]), expected);
        assert_eq!(over(&["+bufsize=512"]), expected);
        assert_eq!(over(&["+nsid", "+dnssec", "+cookie"]), expected);
        let mixed = "_RtSp._TcP.LiVe.sTrEaM.eXaMpLe.";
        let answer = ask(example.l1, &[mixed, "SRV", &subnet]);
        assert_eq!(
            (tokens(&answer), answer.answer[0].owner.as_str()),
            (expected, mixed)
        );
        let plain = ask(example.l1, &[LIVE, "SRV", "+noedns"]);
        assert!(
            plain.edns.is_none() && !tokens(&plain).is_empty(),
            "{}",
            plain.text
        );
        let version = ask(example.l1, &[LIVE, "SRV", "+edns=1", "+noednsneg"]);
        assert_eq!(version.status, "BADVERS", "{}", version.text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_addresses_and_everything_else_alike_does_not_exist() {
    with_example(|example| {
        let srv = ask(example.l1, &[LIVE, "SRV", &format!("+subnet={TO_US}")]);
        let (_, _, token) = tokens(&srv).remove(0);
        let name = format!("{token}.{TOKENS}");
        let answer = ask(example.l2, &[&name, "A"]);
        assert_eq!(
            (answer.status.as_str(), answer.has("aa")),
            ("NOERROR", true),
            "{}",
            answer.text
        );
        let addresses = answer.data("A");
        let of_us_east = ["127.0.1.3", "127.0.1.4"];
        assert!(
            !addresses.is_empty() && addresses.iter().all(|a| of_us_east.contains(a)),
            "{}",
            answer.text
        );
        assert!(
            answer.answer.iter().all(|record| record.ttl <= 10),
            "{}",
            answer.text
        );
        let shouted = ask(example.l2, &[&name.to_uppercase(), "A"]);
        assert_eq!(shouted.data("A").len(), addresses.len(), "{}", shouted.text);
        assert_eq!(
            ask(example.l2, &[&name, "A", "+tcp"]).data("A").len(),
            addresses.len()
        );
        assert!(ask(example.l2, &[&name, "TXT"]).is_nodata_of(TOKENS));
        assert!(
            ask(example.l2, &[&name, "AAAA"]).is_nodata_of(TOKENS),
            "us-east has IPv4 only"
        );

        let mut forged = token.clone().into_bytes();
        forged[9] = if forged[9] == b'a' { b'b' } else { b'a' };
        let forged = String::from_utf8(forged).unwrap();
        for wrong in [
            forged,
            "x".repeat(27),
            token[1..].to_owned(),
            format!("x.{token}"),
        ] {
            let answer = ask(example.l2, &[&format!("{wrong}.{TOKENS}"), "A"]);
            assert!(answer.is_nxdomain_of(TOKENS), "{}", answer.text);
        }
        assert!(ask(example.l2, &[TOKENS, "A"]).is_nodata_of(TOKENS));
        assert_eq!(ask(example.l2, &[TOKENS, "SOA"]).data("SOA").len(), 1);
        assert_eq!(ask(example.l2, &[LIVE, "SRV"]).status, "REFUSED");
    })
    .await;
}
