//! Runs the real `dig` and reads what it prints.

use std::{net::SocketAddr, process::Command};

/// What dig understood of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// NOERROR, NXDOMAIN, …
    pub status: String,
    /// qr aa rd, …
    pub flags: Vec<String>,
    /// `address/source/scope` of the client-subnet option.
    pub subnet: Option<String>,
    /// The line about EDNS, such as `version: 0, flags:; udp: 1232`.
    pub edns: Option<String>,
    /// Answer section.
    pub answer: Vec<Record>,
    /// Authority section.
    pub authority: Vec<Record>,
    /// Additional section, OPT left out.
    pub additional: Vec<Record>,
    /// EDNS options but the client subnet, as dig has them: `NSID: 61 62 ("ab")`.
    pub options: Vec<String>,
    /// Whatever dig found odd about the message.
    pub warnings: Vec<String>,
    /// All that it printed, for failing tests.
    pub text: String,
}

/// A record as dig prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// With the final dot.
    pub owner: String,
    /// Seconds.
    pub ttl: u32,
    /// SRV, A, …
    pub rtype: String,
    /// The rest of the line, single spaces between words.
    pub data: String,
}

impl Answer {
    /// The data of the answer section's records of one type.
    pub fn data(&self, rtype: &str) -> Vec<&str> {
        let of_type = self.answer.iter().filter(|record| record.rtype == rtype);
        of_type.map(|record| record.data.as_str()).collect()
    }

    /// The ECS scope, if the answer has the option.
    pub fn scope(&self) -> Option<u8> {
        self.subnet.as_deref()?.rsplit('/').next()?.parse().ok()
    }

    /// True for flags such as `aa`.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|has| has == flag)
    }

    /// NOERROR, no answer, and the SOA of this zone.
    pub fn is_nodata_of(&self, zone: &str) -> bool {
        self.status == "NOERROR" && self.is_negative_of(zone)
    }

    /// NXDOMAIN with the SOA of this zone.
    pub fn is_nxdomain_of(&self, zone: &str) -> bool {
        self.status == "NXDOMAIN" && self.is_negative_of(zone)
    }

    fn is_negative_of(&self, zone: &str) -> bool {
        let [soa] = self.authority.as_slice() else {
            return false;
        };
        self.answer.is_empty() && self.has("aa") && soa.rtype == "SOA" && soa.owner == zone
    }
}

/// Runs `dig @server arguments…` with one try of five seconds; cookies are off unless asked for.
///
/// # Panics
/// When dig cannot be run.
pub fn dig(server: SocketAddr, arguments: &[&str]) -> Answer {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+tries=1", "+time=5", "+norecurse", "+nocookie"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("dig cannot be run: {error}"));
    read(&String::from_utf8_lossy(&output.stdout))
}

/// Runs `kdig @server arguments…` with one try of five seconds, for transports that dig lacks. What it says about EDNS is
/// in the text alone.
///
/// # Panics
/// When kdig cannot be run.
pub fn kdig(server: SocketAddr, arguments: &[&str]) -> Answer {
    let output = Command::new("kdig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+retry=0", "+timeout=5", "+norecurse"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("kdig cannot be run: {error}"));
    let (said, complaints) = (&output.stdout, &output.stderr);
    read(&(String::from_utf8_lossy(said) + String::from_utf8_lossy(complaints)))
}

/// The line above EDNS and its options.
const OPTIONS: &str = ";; OPT PSEUDOSECTION:";

fn read(text: &str) -> Answer {
    let mut read = Answer {
        text: text.to_owned(),
        ..Answer::default()
    };
    let mut section = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(";; ->>HEADER<<-") {
            let status = rest
                .split("status: ")
                .nth(1)
                .and_then(|rest| rest.split([',', ';']).next());
            read.status = status.unwrap_or_default().to_owned();
        } else if let Some(rest) = line
            .strip_prefix(";; flags:")
            .or_else(|| line.strip_prefix(";; Flags:"))
        {
            let flags = rest.split(';').next().unwrap_or_default();
            read.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if let Some(rest) = line.strip_prefix("; CLIENT-SUBNET: ") {
            read.subnet = Some(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("; EDNS: ") {
            read.edns = Some(rest.to_owned());
        } else if let Some(option) = line.strip_prefix("; ").filter(|_| section == OPTIONS) {
            read.options.push(option.to_owned());
        } else if line == OPTIONS {
            section = OPTIONS;
        } else if let Some(name) = line
            .strip_prefix(";; ")
            .and_then(|l| l.strip_suffix(" SECTION:"))
        {
            section = name;
        } else if line.contains("WARNING") || line.contains("parse error") {
            read.warnings.push(line.to_owned());
        } else if let Some(record) = record(line) {
            match section {
                "ANSWER" => read.answer.push(record),
                "AUTHORITY" => read.authority.push(record),
                "ADDITIONAL" => read.additional.push(record),
                _ => {}
            }
        }
    }
    read
}

fn record(line: &str) -> Option<Record> {
    if line.starts_with(';') {
        return None;
    }
    let mut words = line.split_whitespace();
    let (owner, ttl, _class, rtype) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Record {
        owner: owner.to_owned(),
        ttl: ttl.parse().ok()?,
        rtype: rtype.to_owned(),
        data: words.collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_dig_prints() {
        let read = read(
            ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n\
             ;; flags: qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\
             ;; OPT PSEUDOSECTION:\n\
             ; EDNS: version: 0, flags:; udp: 1232\n\
             ; CLIENT-SUBNET: 198.51.100.0/24/22\n\
             ; NSID: 61 62 (\"ab\")\n\
             ;; QUESTION SECTION:\n;a.example.\t\tIN\tA\n\n\
             ;; ANSWER SECTION:\na.example.\t30\tIN\tA\t192.0.2.1\n\n\
             ;; Query time: 0 msec\n",
        );
        assert_eq!((read.status.as_str(), read.scope()), ("NOERROR", Some(22)));
        assert_eq!(read.data("A"), ["192.0.2.1"]);
        assert_eq!(read.options, ["NSID: 61 62 (\"ab\")"]);
        assert!(read.has("aa") && !read.has("tc") && read.warnings.is_empty());
    }
}
