//! The same query over every encrypted transport: what comes back is what came over TCP, octet for octet, but for what a
//! transport has of its own.

use crate::{
    case::{Transport, lawful},
    decode::Message,
    encrypted::{self, Addresses},
};

/// The encrypted transports, HTTPS in both its ways.
pub const ENCRYPTED: &[Transport] = &[
    Transport::Tls,
    Transport::Https,
    Transport::HttpsGet,
    Transport::Quic,
];

const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
/// What padded answers are a multiple of (RFC 8467 §4.1).
pub const BLOCK: usize = 468;

/// Sends what a client sent over TCP over all of them.
///
/// # Panics
/// When another answer comes back, or none.
pub fn same_everywhere(at: Addresses, query: &[u8], by_tcp: &[u8]) {
    let asked = Message::read_once(query).ok();
    let keepalive = asked.as_ref().and_then(|asked| asked.option(KEEPALIVE));
    let padded = asked
        .as_ref()
        .is_some_and(|asked| asked.option(PADDING).is_some());
    for &transport in ENCRYPTED {
        // What a keepalive option means is the transport's affair: over QUIC it is an error of its own (RFC 9250 §5.5.2).
        let of_streams = matches!(transport, Transport::Tls);
        if keepalive
            .is_some_and(|time| transport == Transport::Quic || !of_streams && !time.is_empty())
        {
            continue;
        }
        println!("  and over {transport:?}");
        let mut query = query.to_vec();
        if !of_streams {
            // RFC 8484 §4.1, RFC 9250 §4.2.1.
            query[..2].fill(0);
        }
        let reply = encrypted::exchange(at, transport, &query)
            .unwrap_or_else(|error| panic!("{transport:?}: {error}"));
        lawful(&reply);
        assert_eq!(reply[..2], query[..2], "{transport:?}: the identifier");
        let (told, expected) = (read(&reply), read(by_tcp));
        assert_eq!(
            told.option(PADDING).is_some(),
            padded,
            "{transport:?}: {told:?}"
        );
        assert!(
            !padded || reply.len().is_multiple_of(BLOCK),
            "{transport:?}: {}",
            reply.len()
        );
        let kept = of_streams && keepalive.is_some();
        assert_eq!(
            told.option(KEEPALIVE).is_some(),
            kept,
            "{transport:?}: {told:?}"
        );
        assert_eq!(
            body(&reply, &told),
            body(by_tcp, &expected),
            "{transport:?}"
        );
        assert_eq!(
            everywhere_alike(told),
            everywhere_alike(expected),
            "{transport:?}"
        );
    }
}

fn read(octets: &[u8]) -> Message {
    Message::read(octets).unwrap_or_else(|error| panic!("{error}\n{octets:02x?}"))
}

/// The octets between the identifier and the OPT record, which is the last.
fn body<'o>(octets: &'o [u8], message: &Message) -> &'o [u8] {
    let opt = message.opt.as_ref().map_or(0, |opt| {
        let options = opt.options.iter().map(|(_, data)| 4 + data.len());
        11 + options.sum::<usize>()
    });
    &octets[2..octets.len() - opt]
}

/// A message without what is the transport's or the moment's: a cookie has the time in it.
fn everywhere_alike(mut message: Message) -> Message {
    message.id = 0;
    if let Some(opt) = &mut message.opt {
        opt.options
            .retain(|(code, _)| !matches!(*code, KEEPALIVE | PADDING));
        for (code, data) in &mut opt.options {
            if *code == COOKIE {
                data.truncate(8);
            }
        }
    }
    message
}
