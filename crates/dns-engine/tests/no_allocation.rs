//! Once warm, a query allocates nothing, whatever is asked.

#![allow(
    unsafe_code,
    reason = "a global allocator that counts has no safe form"
)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;
mod verifiers;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;

use common::{Query, example_with, meta};
use dns_engine::dnssec::Algorithm;
use dns_engine::{
    Client, CookieSecret, Cookies, Outcome, Question, RateLimit, Scratch, Snapshot, Tailor,
    Tailored, Transport, Verdict, respond,
};
use verifiers::sign;

thread_local! {
    /// Per thread, so that the test harness does not disturb the count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain cell of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Tokens;

impl Tailor for Tokens {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        if question.labels().next() != Some(b"token") {
            return Verdict::Zone;
        }
        answer.set_ttl(30);
        answer.set_scope(client.subnet.map_or(0, |subnet| subnet.source_len));
        for weight in 0..16 {
            answer.srv(
                1,
                weight,
                8554,
                b"\x1babcdefghijklmnopqrstuvwxyz0\x04edge\x07example\0",
            );
            answer.a(Ipv4Addr::LOCALHOST);
        }
        Verdict::Answer
    }
}

#[test]
fn warm_queries_allocate_nothing() {
    check(&example_with(Tokens), 0);
}

/// Cookies, the rate limit and every option cost no allocation either.
#[test]
fn warm_queries_to_a_server_with_everything_on_allocate_nothing() {
    let mut snapshot = example_with(Tokens);
    snapshot.identity.nsid = Some(b"a".as_slice().into());
    snapshot.identity.version = Some("b".into());
    snapshot.limits.keepalive = Some(100);
    snapshot.cookies = Some(Cookies::new(CookieSecret([5; 16])));
    snapshot.rate = Some(RateLimit {
        burst: 1000,
        slip: 1,
        ..RateLimit::default()
    });
    check(&snapshot, 0);
}

/// Signatures are made once; then they come from the cache.
#[test]
fn warm_queries_for_signed_answers_allocate_nothing() {
    check(
        &sign(example_with(Tokens), Algorithm::EcdsaP256Sha256),
        0x8000,
    );
}

/// Asks for everything, with these EDNS flags where there is EDNS.
fn check(snapshot: &Snapshot, flags: u32) {
    let names = [
        "mail.example",
        "example",
        "www.example",
        "nothing.example",
        "a.b.wild.example",
        "x.sub.example",
        "sub.example",
        "a.renamed.example",
        "_rtsp._tcp.live.example",
        "_tcp.live.example",
        "token.example",
        "other.test",
        "dangling.example",
        "out.example",
    ];
    let mut queries = vec![vec![0; 12], vec![0; 3]];
    for qname in names {
        for qtype in ["A", "SRV", "NS", "MX", "SOA", "ANY", "DS", "TXT", "OPT"] {
            let query = Query::new(qname, qtype);
            queries.push(query.wire());
            queries.push(query.clone().edns_flags(flags).wire());
            let subnet = query.clone().subnet(&[0, 1, 24, 0, 198, 51, 100]);
            queries.push(subnet.edns_flags(flags).wire());
            let all = query.option(3, b"").option(10, b"clientid").option(11, b"");
            queries.push(all.option(12, b"").option(19, b"").wire());
            queries.push(Query::new("version.bind", qtype).class(3).wire());
        }
    }
    let mut scratch = Scratch::new();
    let mut out = vec![0; 65_535];
    let mut round = || {
        let mut sent = 0;
        for query in &queries {
            for transport in [Transport::Udp, Transport::Tcp] {
                let outcome = respond(snapshot, query, &meta(transport), &mut scratch, &mut out);
                sent += usize::from(matches!(outcome, Outcome::Send(_)));
            }
        }
        sent
    };
    round();
    let before = ALLOCATIONS.with(Cell::get);
    let sent = round();
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(after - before, 0);
    assert!(sent > 700, "{sent}");
    // The counter counts: `meta` parses addresses without, a new query with allocation.
    drop(Query::new("a", "A"));
    assert!(ALLOCATIONS.with(Cell::get) > after);
}
