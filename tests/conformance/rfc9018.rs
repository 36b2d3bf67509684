//! RFC 9018, interoperable cookies: their layout, servers of one secret that know each other's, whatever make they are
//! of, and how a secret is rolled over.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use conformance::{
    decode::Message,
    exchange::Client,
    peer::{Kind, Peer, ZoneFile},
    question::Question,
    site::{Server, Site, here},
};
use signpost_tests::admin::until_metrics;
use tempfile::TempDir;

const COOKIE: u16 = 10;
const CLIENT: &[u8; 8] = b"a client";
const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const NEXT: &str = "445536bcd2513298075a5d379663c962";
/// How long following a file may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both servers with one file of secrets; without a good cookie they answer next to nothing.
struct Shared {
    site: Site,
    folder: TempDir,
}

impl Shared {
    fn new(secrets: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secrets");
        service::secret::replace(&file, secrets).expect("a file");
        let tables = format!("[cookies]\nsecrets = {file:?}\nrequired_above = 50\n");
        let site = Site::set_up(&tables);
        Self { site, folder }
    }

    fn roll(&self, secrets: &[&str]) {
        let file = self.folder.path().join("secrets");
        service::secret::replace(&file, &secrets.join("\n")).expect("a file");
    }

    fn servers(&self) -> &[Server; 2] {
        &self.site.servers
    }
}

/// Asks with a cookie; the answer and its cookie.
fn ask(server: SocketAddr, cookie: &[u8]) -> (Message, Vec<u8>) {
    let query = Question::new("www.rfc6891.test.", 1).option(COOKIE, cookie);
    let reply = Client::new(server)
        .udp(&query.octets(1))
        .expect("an answer");
    let message = Message::read_once(&reply).expect("a message");
    let given = message.option(COOKIE).map(<[u8]>::to_vec);
    let given = given.unwrap_or_else(|| panic!("no cookie: {message:?}"));
    assert_eq!(given[..8], *CLIENT, "{message:?}");
    (message, given)
}

fn given(server: SocketAddr) -> Vec<u8> {
    ask(server, CLIENT).1
}

const NOERROR: u16 = 0;
const BADCOOKIE: u16 = 23;

/// What a server of ours says to a cookie: whether it is good, and whether the client may keep it.
fn judged(server: &Server, cookie: &[u8]) -> (u16, bool) {
    let (message, got) = ask(server.dns, cookie);
    (message.rcode, got == cookie)
}

/// The cookie with one bit that is another.
fn forged(cookie: &[u8]) -> Vec<u8> {
    let mut cookie = cookie.to_vec();
    *cookie.last_mut().expect("a cookie") ^= 1;
    cookie
}

#[test]
fn a_cookie_is_version_zeros_time_and_hash() {
    let shared = Shared::new(SECRET);
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock after 1970");
    for server in shared.servers() {
        let cookie = given(server.dns);
        assert_eq!(cookie.len(), 24, "§4");
        assert_eq!(cookie[8..12], [1, 0, 0, 0], "§4.1, §4.2");
        let made = u32::from_be_bytes(cookie[12..16].try_into().expect("four octets"));
        let age = made.wrapping_sub(now.as_secs() as u32) as i32;
        assert!((-1..60).contains(&age), "§4.3: {age}");
    }
}

#[test]
fn servers_of_one_secret_know_each_others_cookies() {
    let shared = Shared::new(SECRET);
    let [one, other] = shared.servers();
    for (from, to) in [(one, other), (other, one)] {
        let cookie = given(from.dns);
        assert_eq!(judged(to, &cookie), (NOERROR, true), "§3");
        assert_eq!(judged(to, &forged(&cookie)), (BADCOOKIE, false), "§4.4");
    }
    let stranger = Shared::new(NEXT);
    assert_eq!(
        judged(one, &given(stranger.servers()[0].dns)),
        (BADCOOKIE, false)
    );
}

#[test]
fn a_secret_is_rolled_in_three_steps() {
    let shared = Shared::new(SECRET);
    let [server, _] = shared.servers();
    let old = given(server.dns);
    // The stage is over when what the other server makes is judged so.
    let until = |cookie: &[u8], expected| {
        let begun = Instant::now();
        while judged(server, cookie) != expected {
            assert!(begun.elapsed() < PATIENCE, "{:?}", judged(server, cookie));
        }
    };
    let next = Shared::new(NEXT);
    let new = given(next.servers()[0].dns);
    assert_eq!(judged(server, &new), (BADCOOKIE, false));
    // §5 stage 1: the new one is accepted, the old one still makes cookies.
    shared.roll(&[SECRET, NEXT]);
    until(&new, (NOERROR, false));
    assert_eq!(judged(server, &old), (NOERROR, true));
    // Stage 2: the other way round; who comes with an old cookie gets a new one.
    shared.roll(&[NEXT, SECRET]);
    until(&new, (NOERROR, true));
    assert_eq!(judged(server, &old), (NOERROR, false));
    let replaced = ask(server.dns, &old).1;
    assert_eq!(judged(&next.servers()[0], &replaced), (NOERROR, true));
    // Stage 3: the old one is forgotten.
    shared.roll(&[NEXT]);
    until(&old, (BADCOOKIE, false));
    assert_eq!(judged(server, &new), (NOERROR, true));
}

#[test]
fn a_file_that_is_wrong_leaves_the_secrets_in_force() {
    let shared = Shared::new(SECRET);
    let [server, _] = shared.servers();
    let cookie = given(server.dns);
    shared.roll(&["no secret"]);
    let refused = "signpost_reload_refused{source=\"cookies\"}";
    until_metrics(server.admin, refused, |seen| matches!(seen, [(_, 1.0)]));
    assert_eq!(judged(server, &cookie), (NOERROR, true));
}

#[test]
fn servers_of_other_makes_take_our_cookies_and_we_theirs() {
    let shared = Shared::new(SECRET);
    let origin = "rfc6891.test.".to_owned();
    let zone = ZoneFile {
        path: here("zones").join(format!("{origin}zone")),
        origin,
    };
    for kind in Kind::ALL {
        let Some(peer) = Peer::with_cookies(kind, std::slice::from_ref(&zone), SECRET) else {
            continue;
        };
        // BIND and Knot refuse who has no good cookie; NSD says so by giving the same one back.
        let takes = |cookie: &[u8]| {
            let (message, got) = ask(peer.dns, cookie);
            match kind {
                Kind::Nsd => got == cookie,
                Kind::Knot | Kind::Bind => message.rcode == NOERROR,
            }
        };
        let theirs = given(peer.dns);
        assert!(
            takes(&theirs) && !takes(&forged(&theirs)),
            "{kind:?} is as it should be"
        );
        for server in shared.servers() {
            let ours = given(server.dns);
            assert!(
                takes(&ours),
                "{kind:?} does not know {}'s cookie",
                server.name
            );
            assert_eq!(
                judged(server, &theirs),
                (NOERROR, true),
                "{kind:?} to {}",
                server.name
            );
            assert_eq!(judged(server, &forged(&theirs)), (BADCOOKIE, false));
        }
    }
}

#[test]
fn an_address_has_its_own_cookies() {
    let shared = Shared::new(SECRET);
    for server in shared.servers() {
        let cookie = given(server.dns);
        let query = Question::new("www.rfc6891.test.", 1)
            .option(COOKIE, &cookie)
            .octets(1);
        let reply = Client::from(Ipv4Addr::new(127, 0, 0, 2), server.dns).udp(&query);
        let reply = reply.expect("an answer");
        let message = Message::read(&reply).expect("a message");
        assert_eq!(message.rcode, BADCOOKIE, "§4.4: {message:?}");
    }
}
