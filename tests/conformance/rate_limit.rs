//! How many answers over UDP a source gets that has proved nothing about itself: no RFC says so, every server does.
//! Over the limit come a question with TC and silence by turns; cookies, connections and other sources are not touched.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use conformance::{
    case::{Transport, check_at},
    decode::Message,
    exchange::{Client, PATIENCE},
    question::Question,
    site::{Server, Site},
};
use signpost_tests::{dig::dig, tools};

const COOKIE: u16 = 10;
const BURST: usize = 20;
const QUERIES: u16 = 200;

fn limited(more: &str) -> Site {
    Site::set_up(&format!(
        "[rate_limit]\nper_second = 1\nburst = {BURST}\nexempt = []\n{more}"
    ))
}

fn query() -> Question {
    Question::new("www.rfc6891.test.", 1)
}

/// What a source got for its queries, sent one right after another.
#[derive(Debug, Default)]
struct Got {
    whole: usize,
    slipped: usize,
    took: Duration,
}

impl Got {
    /// More answers than these no source gets: those at once, those for each second, and one that was begun.
    fn most(&self) -> usize {
        BURST + self.took.as_secs() as usize + 2
    }
}

/// Sends queries from an address, and one with a cookie behind them, whose answer says that all others have come: one
/// worker answers in order.
fn flood(server: &Server, source: Ipv4Addr, cookie: Option<&[u8]>) -> Got {
    let mut last = Client::from(source, server.dns);
    let good = cookie_of(server, &mut last);
    let begun = Instant::now();
    let mut client = Client::from(source, server.dns);
    for id in 1..=QUERIES {
        let query = match cookie {
            Some(cookie) => query().option(COOKIE, cookie),
            None => query(),
        };
        client.send(&query.octets(id));
    }
    let end = query().option(COOKIE, &good).octets(0);
    client.send(&end);
    let mut got = Got::default();
    loop {
        let reply = client
            .receive_any(PATIENCE)
            .expect("the last query is answered");
        let message = Message::read(&reply).expect("a message");
        if message.id == 0 {
            got.took = begun.elapsed();
            return got;
        }
        let (cut, records) = (message.is_truncated(), message.sections[0].len());
        assert_eq!(
            (message.rcode, records),
            (0, usize::from(!cut)),
            "{message:?}"
        );
        got.slipped += usize::from(cut);
        got.whole += usize::from(!cut);
    }
}

/// A good cookie for this client's address.
fn cookie_of(server: &Server, client: &mut Client) -> Vec<u8> {
    // Over the limit as well, every other query gets a reply, which has a cookie.
    let query = query().option(COOKIE, b"a client").octets(9);
    let replies = (0..20).find_map(|_| client.udp_within(&query, Duration::from_millis(500)));
    let reply = replies.unwrap_or_else(|| panic!("{} says nothing", server.name));
    let message = Message::read(&reply).expect("a message");
    message.option(COOKIE).expect("a cookie").to_vec()
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const FAR: Ipv4Addr = Ipv4Addr::new(127, 0, 99, 1);

#[test]
fn over_the_limit_come_tc_and_silence_by_turns() {
    let site = limited("slip = 2\n");
    for server in &site.servers {
        let got = flood(server, ONE, None);
        // One answer went to the query for the cookie.
        assert!((BURST - 1..=got.most()).contains(&got.whole), "{got:?}");
        let over = usize::from(QUERIES) - got.whole;
        assert!(got.slipped.abs_diff(over / 2) <= 1, "{got:?}");
    }
}

#[test]
fn the_operator_says_how_often_it_slips() {
    for (slip, expected) in [(0, 0), (1, 1), (4, 4)] {
        let site = limited(&format!("slip = {slip}\n"));
        for server in &site.servers {
            let got = flood(server, ONE, None);
            assert!(got.whole <= got.most(), "{got:?}");
            let over = usize::from(QUERIES) - got.whole;
            let slips = over.checked_div(expected).unwrap_or(0);
            assert!(got.slipped.abs_diff(slips) <= 1, "slip = {slip}: {got:?}");
        }
    }
}

#[test]
fn who_slips_gets_the_answer_over_tcp() {
    if !tools::available("dig", "bind9-dnsutils") {
        return;
    }
    let site = limited("slip = 1\n");
    for server in &site.servers {
        flood(server, Ipv4Addr::LOCALHOST, None);
        let answer = dig(server.dns, &["www.rfc6891.test", "A"]);
        assert!(
            answer.text.contains("Truncated, retrying in TCP"),
            "{}",
            answer.text
        );
        assert_eq!(answer.data("A"), ["192.0.2.2"], "{}", answer.text);
    }
    check_at(
        &site.servers,
        &[Transport::Udp],
        "over the limit",
        "www.rfc6891.test A",
        "NOERROR tc",
    );
}

#[test]
fn a_good_cookie_knows_no_limit_and_a_forged_one_does() {
    let site = limited("");
    for server in &site.servers {
        let mut cookie = cookie_of(server, &mut Client::from(ONE, server.dns));
        let got = flood(server, ONE, Some(&cookie));
        assert_eq!((got.whole, got.slipped), (QUERIES.into(), 0), "{got:?}");
        // Good queries are not counted, so the limit is still there for others.
        cookie[23] ^= 1;
        let got = flood(server, ONE, Some(&cookie));
        assert!(got.whole <= got.most() && got.whole > 0, "{got:?}");
    }
}

#[test]
fn connections_have_no_limit() {
    let site = limited("");
    for server in &site.servers {
        flood(server, Ipv4Addr::LOCALHOST, None);
        let mut client = Client::new(server.dns);
        for id in 0..QUERIES {
            let reply = client.tcp(&query().octets(id)).expect("an answer");
            let message = Message::read(&reply).expect("a message");
            assert_eq!(
                (message.id, message.sections[0].len()),
                (id, 1),
                "{message:?}"
            );
        }
    }
}

#[test]
fn another_source_is_not_disturbed() {
    let site = limited("");
    for server in &site.servers {
        flood(server, ONE, None);
        for source in [NEIGHBOUR, FAR] {
            let got = flood(server, source, None);
            assert!(got.whole >= BURST - 1, "{source}: {got:?}");
        }
    }
}

#[test]
fn a_network_has_a_limit_of_its_own() {
    const SHARE: usize = 32; // of a /24, in those of an address
    let site = limited("slip = 1\n");
    let [server, _] = &site.servers;
    let begun = Instant::now();
    let hosts = 1..=3 * SHARE as u8 / 2;
    let all: usize = hosts
        .map(|host| flood(server, Ipv4Addr::new(127, 0, 2, host), None).whole)
        .sum();
    let most = SHARE * (BURST + begun.elapsed().as_secs() as usize + 1);
    assert!((SHARE * (BURST - 2)..=most).contains(&all), "{all}, {most}");
    let got = flood(server, FAR, None);
    assert!(got.whole >= BURST - 1, "{got:?}");
}

#[test]
fn who_is_exempt_has_no_limit() {
    let site = Site::set_up(&format!(
        "[rate_limit]\nper_second = 1\nburst = {BURST}\nexempt = [\"127.0.1.0/24\"]\n"
    ));
    for server in &site.servers {
        assert_eq!(flood(server, ONE, None).whole, usize::from(QUERIES));
        let got = flood(server, FAR, None);
        assert!(got.whole <= got.most(), "{got:?}");
    }
}
