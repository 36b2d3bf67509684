//! What gives way when space is short: additional records first, then everything (RFC 2181 §9, RFC 9471).

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::collections::BTreeMap;

use common::{Answer, Query, only};
use dns_engine::{Snapshot, Transport};

/// Delegations with glue of every kind, and a service with many hosts.
fn zone() -> Snapshot {
    let mut zone =
        "$ORIGIN t.\n$TTL 60\n@ SOA ns m 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for number in 0..8 {
        zone += &format!("inside NS ns{number}.inside\nns{number}.inside A 192.0.2.{number}\n");
        zone += &format!("ns{number}.inside AAAA 2001:db8::{number}\n");
        zone += &format!(
            "mixed NS a-longer-sibling{number}.other\na-longer-sibling{number}.other A 192.0.2.7\n"
        );
        zone += &format!("mixed NS ns{number}.mixed\nns{number}.mixed A 192.0.2.8\n");
        zone += &format!(
            "s SRV 1 1 1 host{number}\nhost{number} A 192.0.2.9\nhost{number} A 192.0.2.10\n"
        );
        zone += &format!("host{number} AAAA 2001:db8::1:{number}\n");
        zone += &format!("many TXT \"{number}{}\"\n", "x".repeat(80));
    }
    only(&(zone + "other NS ns.other\nns.other A 192.0.2.11\nlink CNAME many\n"))
}

/// Records by section, owner and type.
fn sets(answer: &Answer) -> BTreeMap<(usize, String), usize> {
    let mut sets = BTreeMap::new();
    for (section, records) in [&answer.answers, &answer.authority, &answer.additional]
        .into_iter()
        .enumerate()
    {
        for record in records {
            let mut fields = record.split(' ');
            let (owner, rtype) = (fields.next().unwrap(), fields.nth(1).unwrap());
            *sets
                .entry((section, format!("{owner} {rtype}")))
                .or_default() += 1;
        }
    }
    sets
}

#[test]
fn at_every_size_record_sets_are_whole_and_only_additional_ones_are_missing() {
    let zone = zone();
    for (qname, qtype, required) in [
        ("x.inside.t", "A", "inside.t"),
        ("x.mixed.t", "A", "mixed.t"),
        ("s.t", "SRV", "none"),
        ("many.t", "TXT", "none"),
        ("link.t", "TXT", "none"),
        ("missing.t", "A", "none"),
    ] {
        let whole = sets(
            &Query::new(qname, qtype)
                .edns(1232)
                .ask_over(&zone, Transport::Tcp),
        );
        let (mut cut, mut without) = (0, 0);
        let mut records_before = 0;
        for size in 512..=1232 {
            let answer = Query::new(qname, qtype).edns(size).ask(&zone);
            assert!(answer.octets.len() <= size.into());
            assert!(answer.opt.is_some());
            let seen = sets(&answer);
            if answer.flags.contains("tc") {
                assert!(seen.is_empty(), "{qname} {size}");
                assert_eq!(records_before, 0, "{qname} {size}: cut where less had fit");
                cut += 1;
                continue;
            }
            for (set, count) in &whole {
                let missing = !seen.contains_key(set);
                let glue = set.1.split(' ').next().unwrap().ends_with(required);
                assert!(!missing || set.0 == 2 && !glue, "{qname} {size} {set:?}");
                assert!(missing || seen[set] == *count, "{qname} {size} {set:?}");
                without += usize::from(missing);
            }
            assert!(seen.keys().all(|set| whole.contains_key(set)));
            let records = seen.values().sum();
            assert!(records >= records_before, "{qname} {size}");
            records_before = records;
        }
        println!("{qname} {qtype}: cut at {cut} sizes, {without} sets left out");
        match qname {
            "missing.t" => assert_eq!((cut, without), (0, 0)),
            "x.inside.t" | "many.t" | "link.t" => assert!(without == 0),
            _ => assert!(without > 0),
        }
    }
}

#[test]
fn glue_inside_the_delegated_zone_comes_before_that_of_siblings() {
    // RFC 9471 §3.1 requires the one, §3.2 does not require the other.
    let answer = Query::new("x.mixed.t", "A").edns(600).ask(&zone());
    assert!(!answer.flags.contains("tc"), "{answer:?}");
    let inside = answer
        .additional
        .iter()
        .filter(|record| record.contains(".mixed.t. "));
    assert_eq!(inside.count(), 8);
}
