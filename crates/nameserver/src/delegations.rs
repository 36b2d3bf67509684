//! What the zones of one server say about each other: a delegation and the zone that it leads to, both served here, have
//! to agree, or a resolver's answer depends on which of the two it heard first.

use std::collections::BTreeSet;

use dns_engine::{Zone, Zones, name, rtype};
use service::diagnostic::{Diagnostic, Report};

use crate::dnssec::{Dnssec, KeyFolder};

/// Everything in which parents and children differ. `file` tells the file of a zone (lower-cased wire name).
pub fn check(zones: &Zones, dnssec: &Dnssec, file: impl Fn(&[u8]) -> String) -> Report {
    let mut children: Vec<&Zone> = zones.iter().collect();
    children.sort_by_key(|zone| zone.origin());
    let mut report = Report::default();
    for child in children {
        let mut above = name::suffixes(child.origin()).skip(1);
        let Some(parent) = above.next().and_then(|above| zones.find(above)) else {
            continue;
        };
        let mut meeting = Meeting {
            parent,
            child,
            file: file(parent.origin()),
            report: &mut report,
        };
        match parent.delegation(child.origin()).map(name::lowered) {
            None => meeting.undelegated(),
            Some(cut) if *cut == *child.origin() => {
                meeting.name_servers();
                meeting.glue();
                meeting.signers(dnssec);
            }
            Some(_) => {} // the parent leaves it to a zone in between
        }
    }
    report
}

/// A zone and the one above it.
struct Meeting<'z, 'r> {
    parent: &'z Zone,
    child: &'z Zone,
    /// The parent's.
    file: String,
    report: &'r mut Report,
}

impl<'z> Meeting<'z, '_> {
    fn warn(&mut self, message: String, hint: &str) {
        let finding = Diagnostic::warning(&*self.file, message);
        self.report.push(finding.with_hint(hint));
    }

    fn undelegated(&mut self) {
        let (child, parent) = (
            name::text(self.child.origin()),
            name::text(self.parent.origin()),
        );
        self.warn(
            format!("{parent} does not delegate {child}, which is served here as well"),
            "add its NS records: others that serve the parent do not know of the child",
        );
    }

    /// The hosts of one side's NS records.
    fn hosts(&self, zone: &'z Zone) -> BTreeSet<Vec<u8>> {
        let set = zone.rrset(self.child.origin(), rtype::NS);
        set.into_iter()
            .flat_map(|set| set.rdatas().map(name::lowered))
            .collect()
    }

    fn name_servers(&mut self) {
        let (above, below) = (self.hosts(self.parent), self.hosts(self.child));
        if above != below {
            let child = name::text(self.child.origin());
            let (above, below) = (list(&above), list(&below));
            self.warn(
                format!("{child} is delegated to {above}, and itself says {below}"),
                "write the same NS records on both sides (RFC 1034 §4.2.2)",
            );
        }
    }

    fn glue(&mut self) {
        for host in self.hosts(self.parent) {
            let is_childs = name::is_within(&host, self.child.origin())
                && self.child.delegation(&host).is_none();
            if !is_childs {
                continue;
            }
            for rtype in [rtype::A, rtype::AAAA] {
                let addresses = |zone: &'z Zone| -> BTreeSet<&[u8]> {
                    let set = zone.rrset(&host, rtype);
                    set.into_iter().flat_map(|set| set.rdatas()).collect()
                };
                if addresses(self.parent) != addresses(self.child) {
                    let (host, rtype) = (name::text(&host), rtype::text(rtype));
                    let child = name::text(self.child.origin());
                    self.warn(
                        format!("the glue {host} has other {rtype} records than in {child}"),
                        "write the same addresses on both sides (RFC 1034 §4.2.2)",
                    );
                }
            }
        }
    }

    /// What the DS records promise has to be kept.
    fn signers(&mut self, dnssec: &Dnssec) {
        let origin = self.child.origin();
        let Some(set) = self.parent.rrset(origin, rtype::DS) else {
            return;
        };
        let child = name::text(origin);
        let message = if dnssec.signs(origin) {
            let mut folder = KeyFolder::new(&dnssec.keys);
            folder.poll(&mut Report::default()); // what is wrong with it is reported with the keys
            let known = folder.keys().filter(|key| key.zone == origin).any(|key| {
                let key = &key.scheduled.key;
                let promised = |data: &[u8]| data.get(..2) == Some(&key.tag().to_be_bytes()[..]);
                key.role().signs_keys() && set.rdatas().any(promised)
            });
            if known {
                return;
            }
            format!("the DS records of {child} are of none of its keys")
        } else {
            format!("{child} has DS records and is not signed")
        };
        let hint =
            "validating resolvers would refuse the whole zone: sign it, or remove the DS records";
        let finding = match dnssec.signs(self.parent.origin()) {
            true => Diagnostic::error(&*self.file, 0, 0, message),
            false => Diagnostic::warning(&*self.file, message),
        };
        self.report.push(finding.with_hint(hint));
    }
}

fn list(hosts: &BTreeSet<Vec<u8>>) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| name::text(host)).collect();
    hosts.join(", ")
}

#[cfg(test)]
mod tests {
    use dns_engine::zonefile;

    use super::*;

    fn zones(texts: &[(&str, &str)]) -> Zones {
        let mut zones = Zones::new();
        for (origin, records) in texts {
            let soa = "@ SOA n.o. m.o. 1 3 2 6 5";
            let text = format!("$ORIGIN {origin}\n$TTL 60\n{soa}\n{records}\n");
            let zone = zonefile::parse("t", &text, None).unwrap();
            assert!(zones.insert(zone).is_ok());
        }
        zones
    }

    /// The findings about a parent `p.` and its child `c.p.` with these records beside SOA.
    fn found(parent: &str, child: &str, signed: &[&str]) -> Vec<String> {
        let zones = zones(&[("p.", parent), ("c.p.", child)]);
        let keys = tempfile::tempdir().unwrap();
        let dnssec = Dnssec {
            keys: keys.path().to_owned(),
            zones: signed.iter().map(|zone| zone.parse().unwrap()).collect(),
            ..Dnssec::default()
        };
        let report = check(&zones, &dnssec, name::text);
        report.findings.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check_one(parent: &str, child: &str, signed: &[&str], expected: &str) {
        match &found(parent, child, signed)[..] {
            [one] => assert!(one.starts_with(expected), "{one}"),
            others => panic!("{others:?}"),
        }
    }

    const PARENT: &str = "@ NS n.o.\nc NS n.c\nc NS N.o.\nn.c A 192.0.2.1";
    const CHILD: &str = "@ NS N\n@ NS n.o.\nn A 192.0.2.1";

    #[test]
    fn a_delegation_that_says_the_same_is_no_finding() {
        assert_eq!(found(PARENT, CHILD, &[]), [""; 0]);
    }

    #[test]
    fn name_servers_that_differ_are_told() {
        let parent = format!("{PARENT}\nc NS other.o.");
        let expected = "p.: warning: c.p. is delegated to n.c.p., n.o., other.o., and itself says n.c.p., n.o.";
        check_one(&parent, CHILD, &[], expected);
    }

    #[test]
    fn glue_that_differs_is_told() {
        let child = CHILD.replace("192.0.2.1", "192.0.2.2");
        let expected = "p.: warning: the glue n.c.p. has other A records than in c.p.";
        check_one(PARENT, &child, &[], expected);
        let more = format!("{CHILD}\nn AAAA 2001:db8::1");
        let expected = "p.: warning: the glue n.c.p. has other AAAA records than in c.p.";
        check_one(PARENT, &more, &[], expected);
    }

    #[test]
    fn a_zone_that_is_not_delegated_is_told() {
        let expected = "p.: warning: p. does not delegate c.p., which is served here as well";
        check_one("@ NS n.o.", CHILD, &[], expected);
    }

    #[test]
    fn a_zone_below_another_delegation_is_its_business() {
        let zones = zones(&[("p.", "@ NS n.o.\nc NS n.o."), ("d.c.p.", "@ NS n.o.")]);
        assert!(check(&zones, &Dnssec::default(), name::text).is_empty());
    }

    #[test]
    fn signers_without_their_keys_are_told() {
        let digest = "00".repeat(32);
        let parent = format!("{PARENT}\nc DS 1 13 2 {digest}");
        let unsigned = "warning: c.p. has DS records and is not signed";
        check_one(&parent, CHILD, &[], &format!("p.: {unsigned}"));
        let unsigned = "error: c.p. has DS records and is not signed";
        check_one(&parent, CHILD, &["p."], &format!("p.: {unsigned}"));
        let keyless = "error: the DS records of c.p. are of none of its keys";
        check_one(&parent, CHILD, &["p.", "c.p."], &format!("p.: {keyless}"));
    }
}
