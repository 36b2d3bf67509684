//! Server cookies (RFC 7873) in the form that all servers of an anycast set agree on (RFC 9018).

use std::fmt;
use std::net::IpAddr;

use crate::siphash::siphash_2_4;

/// A key of 128 bits for server cookies; whoever knows it can forge them.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret(
    /// Random octets, the same on every server behind one address.
    pub [u8; 16],
);

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

/// How cookies are made and checked. To roll a secret over (RFC 9018 §5): accept the new one everywhere,
/// then sign with it and accept the old one, then drop that after an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookies {
    /// New cookies are made with it; it is accepted, too.
    pub signing: CookieSecret,
    /// Further secrets whose cookies are accepted: the one before, or the one to come.
    pub accepted: Vec<CookieSecret>,
    /// UDP answers of more octets than this go only to clients with a valid cookie. Others are told to come
    /// again with the cookie they get (BADCOOKIE), or over TCP if they sent none. `None`: no such rule.
    pub required_above: Option<u16>,
}

/// What the cookie of a query proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CookieState {
    /// There was none, or cookies are off.
    #[default]
    None,
    /// A client cookie alone: the client asks for a server cookie.
    ClientOnly,
    /// A server cookie that is not ours, or too old, or made for another address.
    Bad,
    /// Ours: the source address is not forged.
    Valid,
}

/// Octets of a client cookie (RFC 7873 §4.1).
const CLIENT: usize = 8;
/// Octets of a server cookie of ours (RFC 9018 §4).
const SERVER: usize = 16;
/// Octets of our cookie option: client and server cookie.
pub(crate) const COOKIE: usize = CLIENT + SERVER;
/// Version and reserved octets of a server cookie (RFC 9018 §4.1, §4.2).
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// How long cookies are good, and how far a sister server's clock may be ahead (RFC 9018 §4.3).
const AGE_SECONDS_MAX: i32 = 60 * 60;
const AHEAD_SECONDS_MAX: i32 = 5 * 60;
/// From this age on the client gets a new one (RFC 9018 §4.3).
const RENEWAL_SECONDS: i32 = 30 * 60;

/// A cookie option that was looked at: what it proved, and the option of the answer.
pub(crate) struct Checked {
    pub(crate) state: CookieState,
    pub(crate) answer: [u8; COOKIE],
}

/// True for lengths that a cookie option may have: a client cookie, alone or with 8 to 32 octets (RFC 7873 §5.2.2).
pub(crate) fn is_well_formed(option: &[u8]) -> bool {
    matches!(option.len(), 8 | 16..=40)
}

impl Cookies {
    /// Cookies of one secret, none required.
    pub fn new(signing: CookieSecret) -> Self {
        Self {
            signing,
            accepted: Vec::new(),
            required_above: None,
        }
    }

    /// Checks the option of a query; `None` if its length is wrong. `source` must not be IPv4-mapped.
    pub(crate) fn check(&self, option: &[u8], source: IpAddr, now: u64) -> Option<Checked> {
        if !is_well_formed(option) {
            return None;
        }
        let (client, server) = option.split_first_chunk::<CLIENT>()?;
        // Serial arithmetic: the wrap in 2106 passes unnoticed (RFC 1982).
        let now = now as u32;
        let mut answer = [0; COOKIE];
        let (state, keep) = match <&[u8; SERVER]>::try_from(server) {
            Err(_) if server.is_empty() => (CookieState::ClientOnly, false),
            Err(_) => (CookieState::Bad, false),
            Ok(server) => self.judge(client, server, source, now),
        };
        if keep {
            answer.copy_from_slice(option);
        } else {
            answer[..CLIENT].copy_from_slice(client);
            answer[CLIENT..].copy_from_slice(&self.make(client, source, now));
        }
        Some(Checked { state, answer })
    }

    /// A new server cookie.
    fn make(&self, client: &[u8; CLIENT], source: IpAddr, now: u32) -> [u8; SERVER] {
        let mut cookie = [0; SERVER];
        cookie[..4].copy_from_slice(&VERSION);
        cookie[4..8].copy_from_slice(&now.to_be_bytes());
        let hash = hash(&self.signing, client, &cookie, source);
        cookie[8..].copy_from_slice(&hash.to_le_bytes());
        cookie
    }

    /// Whether a server cookie is ours and in time, and whether the client may keep it.
    fn judge(
        &self,
        client: &[u8; CLIENT],
        server: &[u8; SERVER],
        source: IpAddr,
        now: u32,
    ) -> (CookieState, bool) {
        let [version, _, _, _, t0, t1, t2, t3, seen @ ..] = *server;
        let age = now.wrapping_sub(u32::from_be_bytes([t0, t1, t2, t3])) as i32;
        let in_time = (-AHEAD_SECONDS_MAX..=AGE_SECONDS_MAX).contains(&age);
        if version != VERSION[0] || !in_time {
            return (CookieState::Bad, false);
        }
        let seen = u64::from_le_bytes(seen);
        let made_with = |secret| hash(secret, client, server, source) == seen;
        if made_with(&self.signing) {
            // Reserved octets are hashed as they are, but ours are zero (RFC 9018 §4.2).
            let ours = server[..4] == VERSION;
            return (CookieState::Valid, ours && age < RENEWAL_SECONDS);
        }
        let accepted = self.accepted.iter().any(made_with);
        let state = if accepted {
            CookieState::Valid
        } else {
            CookieState::Bad
        };
        (state, false)
    }
}

/// Client cookie, version, reserved, timestamp and address, in this order (RFC 9018 §4.4).
fn hash(
    CookieSecret(secret): &CookieSecret,
    client: &[u8; CLIENT],
    server: &[u8; SERVER],
    source: IpAddr,
) -> u64 {
    let client = u64::from_le_bytes(*client);
    let stamp = u128::from_le_bytes(*server) as u64;
    let octets = |count: u64| count << 56;
    match source {
        IpAddr::V4(address) => {
            let address = u32::from_le_bytes(address.octets());
            siphash_2_4(secret, &[client, stamp], octets(20) | u64::from(address))
        }
        IpAddr::V6(address) => {
            let address = u128::from_le_bytes(address.octets());
            let words = [client, stamp, address as u64, (address >> 64) as u64];
            siphash_2_4(secret, &words, octets(32))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        std::array::from_fn(|place| u8::from_str_radix(&hex[2 * place..][..2], 16).unwrap())
    }

    fn secret(hex: &str) -> CookieSecret {
        CookieSecret(octets(hex))
    }

    const FIRST: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    #[test]
    fn makes_the_cookies_of_rfc_9018() {
        // Appendices A.1 to A.4: secret, client cookie, address, time, server cookie.
        let check = |key: &str, client: &str, source: &str, now: u64, expected: &str| {
            let cookies = Cookies::new(secret(key));
            let option: [u8; 8] = octets(client);
            let checked = cookies
                .check(&option, source.parse().unwrap(), now)
                .unwrap();
            assert_eq!(checked.state, CookieState::ClientOnly);
            assert_eq!(checked.answer[..8], option);
            assert_eq!(checked.answer[8..], octets::<16>(expected));
        };
        let (client, source) = ("2464c4abcf10c957", "198.51.100.100");
        check(
            FIRST,
            client,
            source,
            1_559_731_985,
            "010000005cf79f111f8130c3eee29480",
        );
        check(
            FIRST,
            client,
            source,
            1_559_734_385,
            "010000005cf7a871d4a564a1442aca77",
        );
        check(
            FIRST,
            "fc93fc62807ddb86",
            "203.0.113.203",
            1_559_734_700,
            "010000005cf7a9acf73a7810aca2381e",
        );
        let source = "2001:db8:220:1:59de:d0f4:8769:82b8";
        check(
            "445536bcd2513298075a5d379663c962",
            "22681ab97d52c298",
            source,
            1_559_741_961,
            "010000005cf7c609a6bb79d16625507a",
        );
    }

    fn judged(cookies: &Cookies, option: &[u8], source: &str, now: u64) -> (CookieState, bool) {
        let checked = cookies.check(option, source.parse().unwrap(), now).unwrap();
        (checked.state, checked.answer == *option)
    }

    #[test]
    fn a_cookie_is_kept_for_half_an_hour_and_good_for_one() {
        let cookies = Cookies::new(secret(FIRST));
        let issued = 1_559_731_985;
        let option: [u8; 24] = octets("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        let check = |now: u64, state, kept| {
            let seen = judged(&cookies, &option, "198.51.100.100", now);
            assert_eq!(seen, (state, kept), "{now}");
        };
        check(issued, CookieState::Valid, true);
        check(issued + 1799, CookieState::Valid, true);
        check(issued + 1800, CookieState::Valid, false);
        check(issued + 3600, CookieState::Valid, false);
        check(issued + 3601, CookieState::Bad, false);
        check(issued - 300, CookieState::Valid, true);
        check(issued - 301, CookieState::Bad, false);
        let elsewhere = judged(&cookies, &option, "198.51.100.101", issued);
        assert_eq!(elsewhere.0, CookieState::Bad);
    }

    #[test]
    fn reserved_octets_are_hashed_as_they_are_and_the_new_cookie_has_none() {
        // Appendix A.3: the cookie was made at 1559727985.
        let cookies = Cookies::new(secret(FIRST));
        let option: [u8; 24] = octets("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let seen = judged(&cookies, &option, "203.0.113.203", 1_559_727_985);
        assert_eq!(seen, (CookieState::Valid, false));
    }

    #[test]
    fn the_secret_before_is_accepted_and_its_cookies_are_replaced() {
        // Appendix A.4.
        let mut cookies = Cookies::new(secret("445536bcd2513298075a5d379663c962"));
        let option: [u8; 24] = octets("22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        let source = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let now = 1_559_741_961;
        assert_eq!(judged(&cookies, &option, source, now).0, CookieState::Bad);
        cookies.accepted = vec![secret(FIRST), secret("dd3bdf9344b678b185a6f5cb60fca715")];
        let checked = cookies
            .check(&option, source.parse().unwrap(), now)
            .unwrap();
        assert_eq!(checked.state, CookieState::Valid);
        assert_eq!(
            checked.answer[8..],
            octets::<16>("010000005cf7c609a6bb79d16625507a")
        );
    }

    #[test]
    fn time_wraps_in_2106_without_notice() {
        let cookies = Cookies::new(secret(FIRST));
        let end = u64::from(u32::MAX);
        let source = "198.51.100.100".parse().unwrap();
        let given = cookies.check(&[7; 8], source, end).unwrap().answer;
        let seen = judged(&cookies, &given, "198.51.100.100", end + 10);
        assert_eq!(seen, (CookieState::Valid, true));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", Cookies::new(CookieSecret([0xAB; 16]))).contains("171"));
    }

    proptest! {
        #[test]
        fn no_octets_but_ours_are_valid(
            option in prop::collection::vec(any::<u8>(), 0..60),
            source in any::<std::net::IpAddr>(),
            now in any::<u64>(),
            flip in 0..192_usize,
        ) {
            let mut cookies = Cookies::new(CookieSecret([1; 16]));
            cookies.accepted.push(CookieSecret([2; 16]));
            let checked = cookies.check(&option, source, now);
            prop_assert_eq!(checked.is_some(), matches!(option.len(), 8 | 16..=40));
            let Some(checked) = checked else { return Ok(()) };
            prop_assert!(checked.state != CookieState::Valid);
            let mut given = checked.answer;
            let seen = cookies.check(&given, source, now).unwrap();
            prop_assert_eq!((seen.state, seen.answer), (CookieState::Valid, given));
            // Another client cookie, version, time or hash is not ours.
            given[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(cookies.check(&given, source, now).unwrap().state == CookieState::Bad);
        }
    }
}
