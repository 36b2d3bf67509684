//! RFC 7828, keepalive: how long an idle connection may stay, told to who asks.

use std::{io::Read, net::TcpStream};

use conformance::{
    case::{Transport, check_over, look_at},
    decode::Message,
    exchange::PATIENCE,
    question::Question,
    site::Site,
    tap::{read_message, write_message},
};

const WWW: &str = "NOERROR aa\nanswer www.rfc6891.test. 300 A 192.0.2.2";
const KEEPALIVE: u16 = 11;

#[test]
fn over_tcp_who_asks_is_told_how_long_a_connection_may_be_idle() {
    // A little less than the ten seconds that it is kept.
    check_over(
        &[Transport::Tcp],
        "3.3.2",
        "www.rfc6891.test A +keepalive",
        &format!("{WWW}\noption TCP KEEPALIVE: 8.0 secs"),
    );
    check_over(&[Transport::Tcp], "3.3.2", "www.rfc6891.test A", WWW);
}

#[test]
fn over_udp_it_is_ignored() {
    check_over(
        &[Transport::Udp],
        "3.3.1",
        "www.rfc6891.test A +keepalive",
        WWW,
    );
    check_over(
        &[Transport::Udp],
        "3.3.1",
        "www.rfc6891.test A +ednsopt=11:0064",
        WWW,
    );
}

#[test]
fn only_a_server_states_a_time() {
    check_over(
        &[Transport::Tcp],
        "3.2.1",
        "www.rfc6891.test A +ednsopt=11:0064",
        "FORMERR
option TCP KEEPALIVE: 8.0 secs",
    );
}

#[test]
fn an_idle_connection_is_closed_after_the_time_that_was_told() {
    let site = Site::set_up("[tcp]\nidle_ms = 500\n");
    look_at(
        &site.servers,
        &[Transport::Tcp],
        "3.4",
        "www.rfc6891.test A +keepalive",
        |server, answer| {
            assert_eq!(
                answer.options,
                ["TCP KEEPALIVE: 0.4 secs"],
                "{}",
                answer.text
            );
            let mut stream = TcpStream::connect(server.dns).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
            let query = Question::new("www.rfc6891.test.", 1)
                .option(KEEPALIVE, &[])
                .octets(5);
            write_message(&stream, &query).expect("a query is sent");
            let reply = read_message(&stream).expect("an answer");
            let message = Message::read(&reply).expect("a message");
            assert_eq!(message.option(KEEPALIVE), Some(&[0, 4][..]), "{message:?}");
            assert_eq!(stream.read(&mut [0; 1]).expect("an orderly end"), 0);
        },
    );
}
