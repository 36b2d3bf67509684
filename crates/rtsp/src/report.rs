//! The race report: what the player measured when it asked every edge of the server set for its capabilities.
//! It goes to the edge that won, in a SET_PARAMETER body.
//!
//! ```text
//! client: 198.51.100.0/24
//! race: 127.0.1.3 1840 ok
//! race: 127.0.1.4 0 timeout
//! ```

use std::net::IpAddr;

use crate::parameters;

/// Most race lines in one report: a server set is smaller, and each becomes a measurement line.
pub const RACES_MAX: usize = 32;

/// How one edge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Ok,
    /// No answer in time.
    Timeout,
    /// The connection was refused, or the answer was not a good one.
    Refused,
}

/// One edge in the race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// The edge's address.
    pub edge: IpAddr,
    /// From asking to the answer, microseconds; 0 without one.
    pub rtt_us: u32,
    /// How it did.
    pub outcome: Outcome,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaceReport {
    /// The client's network as the client sees it (`198.51.100.0/24`); the edge believes it from listed sources only.
    pub client: Option<(IpAddr, u8)>,
    /// One entry per edge asked.
    pub races: Vec<Race>,
}

impl RaceReport {
    /// The body's text.
    pub fn to_body(&self) -> String {
        let mut body = String::new();
        if let Some((address, length)) = self.client {
            body.push_str(&format!("client: {address}/{length}\r\n"));
        }
        for race in &self.races {
            let word = match race.outcome {
                Outcome::Ok => "ok",
                Outcome::Timeout => "timeout",
                Outcome::Refused => "refused",
            };
            body.push_str(&format!("race: {} {} {word}\r\n", race.edge, race.rtt_us));
        }
        body
    }

    /// Reads a body; `None` if it is not a race report or has more than [`RACES_MAX`] entries.
    pub fn parse(body: &[u8]) -> Option<RaceReport> {
        let mut report = RaceReport::default();
        for (name, value) in parameters::parse(body)? {
            match name {
                "client" if report.client.is_none() => report.client = Some(parse_network(value)?),
                "race" if report.races.len() < RACES_MAX => report.races.push(parse_race(value)?),
                _ => return None,
            }
        }
        (!report.races.is_empty()).then_some(report)
    }
}

fn parse_network(value: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

fn parse_race(value: &str) -> Option<Race> {
    let mut words = value.split_ascii_whitespace();
    let edge = words.next()?.parse().ok()?;
    let rtt_us = words.next()?.parse().ok()?;
    let outcome = match words.next()? {
        "ok" => Outcome::Ok,
        "timeout" => Outcome::Timeout,
        "refused" => Outcome::Refused,
        _ => return None,
    };
    words.next().is_none().then_some(Race {
        edge,
        rtt_us,
        outcome,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_reads_and_writes() {
        let text = "client: 198.51.100.0/24\r\nrace: 127.0.1.3 1840 ok\r\nrace: ::1 0 timeout\r\n";
        let report = RaceReport::parse(text.as_bytes()).unwrap();
        assert_eq!(report.client, Some(("198.51.100.0".parse().unwrap(), 24)));
        assert_eq!(report.races.len(), 2);
        assert_eq!(report.to_body(), text);
    }

    #[test]
    fn refuses_what_is_no_report() {
        for text in [
            "",
            "client: 198.51.100.0/24",
            "race: 127.0.0.1 ok",
            "race: 127.0.0.1 1 fine",
            "race: 127.0.0.1 1 ok more",
            "race: 127.0.0.1 -1 ok",
            "client: 1.2.3.4/33\r\nrace: 127.0.0.1 1 ok",
            "handoff: x",
        ] {
            assert_eq!(RaceReport::parse(text.as_bytes()), None, "{text}");
        }
        let many = "race: 127.0.0.1 1 ok\r\n".repeat(RACES_MAX + 1);
        assert_eq!(RaceReport::parse(many.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = RaceReport::parse(text.as_bytes());
        }
    }
}
