//! Service parameters of SVCB and HTTPS records on the wire (RFC 9460 §2.2): key, length, value, keys rising.

/// Keys that the others need (RFC 9460 §8).
pub(crate) const MANDATORY: u16 = 0;
/// Protocols (RFC 9460 §7.1).
pub(crate) const ALPN: u16 = 1;
/// The default protocol is not served (RFC 9460 §7.1).
pub(crate) const NO_DEFAULT_ALPN: u16 = 2;
/// Port (RFC 9460 §7.2).
pub(crate) const PORT: u16 = 3;
/// IPv4 addresses (RFC 9460 §7.3).
pub(crate) const IPV4HINT: u16 = 4;
/// Encrypted ClientHello.
pub(crate) const ECH: u16 = 5;
/// IPv6 addresses (RFC 9460 §7.3).
pub(crate) const IPV6HINT: u16 = 6;
/// Where DNS over HTTPS is (RFC 9461 §5).
pub(crate) const DOHPATH: u16 = 7;
/// Oblivious HTTP is served (RFC 9540 §4).
pub(crate) const OHTTP: u16 = 8;
/// "Invalid key" (RFC 9460 §14.3.2).
pub(crate) const RESERVED: u16 = 65_535;

/// Keys with names; others are written `keyNNNNN`.
const NAMES: &[(u16, &str)] = &[
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6HINT, "ipv6hint"),
    (DOHPATH, "dohpath"),
    (OHTTP, "ohttp"),
];

/// The number of a key, which is written in lower case (RFC 9460 §2.1).
pub(crate) fn key(text: &str) -> Option<u16> {
    if let Some((number, _)) = NAMES.iter().find(|(_, name)| *name == text) {
        return Some(*number);
    }
    let digits = text.strip_prefix("key")?;
    let plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    let canonical = plain && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical)
}

/// The name of a key.
pub(crate) fn key_text(key: u16) -> String {
    let named = NAMES.iter().find(|(number, _)| *number == key);
    named.map_or_else(|| format!("key{key}"), |(_, name)| (*name).to_owned())
}

/// The parameters, as long as they are whole.
pub(crate) fn parameters(data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (&[k0, k1, l0, l1], after) = rest.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
        rest = after;
        Some((u16::from_be_bytes([k0, k1]), value))
    })
}

/// True if the parameters are whole, in order, and make sense together.
pub(crate) fn is_well_formed(data: &[u8]) -> bool {
    let whole: usize = parameters(data).map(|(_, value)| 4 + value.len()).sum();
    whole == data.len()
        && parameters(data).is_sorted_by(|one, next| one.0 < next.0)
        && parameters(data).all(|(key, value)| misfit(key, value).is_none())
        && conflict(data).is_none()
}

/// What is wrong with the value of a known key.
pub(crate) fn misfit(key: u16, value: &[u8]) -> Option<&'static str> {
    let (good, what) = match key {
        MANDATORY => (is_key_list(value), "is not a list of other keys"),
        ALPN => (is_text_list(value), "is not a list of protocols"),
        NO_DEFAULT_ALPN | OHTTP => (value.is_empty(), "takes no value"),
        PORT => (value.len() == 2, "is not a port"),
        IPV4HINT => (is_list_of(4, value), "is not a list of IPv4 addresses"),
        IPV6HINT => (is_list_of(16, value), "is not a list of IPv6 addresses"),
        ECH => (!value.is_empty(), "is not an ECH configuration"),
        DOHPATH => (
            is_template(value),
            "is not a path with the variable `dns`, as in /dns-query{?dns}",
        ),
        RESERVED => (false, "is reserved"),
        _ => (true, ""),
    };
    (!good).then_some(what)
}

/// What is wrong between keys: one that is said to be mandatory and missing, or one that needs another.
pub(crate) fn conflict(data: &[u8]) -> Option<String> {
    let has = |wanted: u16| parameters(data).any(|(key, _)| key == wanted);
    let mandatory = parameters(data).find(|(key, _)| *key == MANDATORY);
    let (named, _) = mandatory
        .map_or(&[][..], |(_, value)| value)
        .as_chunks::<2>();
    let missing = named.iter().map(|octets| u16::from_be_bytes(*octets));
    if let Some(key) = missing.into_iter().find(|key| !has(*key)) {
        return Some(format!("the mandatory key {} is missing", key_text(key)));
    }
    let alone = has(NO_DEFAULT_ALPN) && !has(ALPN);
    alone.then(|| "no-default-alpn without alpn".to_owned())
}

/// Rising, at least one, and none is `mandatory` (RFC 9460 §8).
fn is_key_list(value: &[u8]) -> bool {
    let (keys, tail) = value.as_chunks::<2>();
    let rising = keys.is_sorted_by(|one, next| one < next);
    tail.is_empty() && rising && keys.first().is_some_and(|key| *key != [0, 0])
}

/// At least one item, none of them empty.
fn is_text_list(value: &[u8]) -> bool {
    let mut rest = value;
    while let [length @ 1..=u8::MAX, after @ ..] = rest {
        match after.get(usize::from(*length)..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty() && !value.is_empty()
}

fn is_list_of(length: usize, value: &[u8]) -> bool {
    !value.is_empty() && value.len().is_multiple_of(length)
}

/// A relative URI template (RFC 6570) with the variable `dns`.
fn is_template(value: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(value) else {
        return false;
    };
    let expressions = text
        .split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next());
    let mut names = expressions.flat_map(|expression| {
        let bare = expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        bare.split(',')
            .filter_map(|name| name.split([':', '*']).next())
    });
    text.starts_with('/') && names.any(|name| name == "dns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_keys() {
        assert_eq!(key("alpn"), Some(1));
        assert_eq!(key("key1"), Some(1));
        assert_eq!(key("key65535"), Some(65_535));
        for bad in ["ALPN", "key01", "key", "key65536", "port1", "key+1"] {
            assert_eq!(key(bad), None, "{bad}");
        }
        assert_eq!(
            (key_text(3), key_text(667)),
            ("port".into(), "key667".into())
        );
    }

    #[test]
    fn knows_what_a_value_may_be() {
        assert_eq!(misfit(DOHPATH, b"/q{?a,dns}"), None);
        assert_eq!(misfit(DOHPATH, b"/dns-query{?dns}"), None);
        assert!(misfit(DOHPATH, b"/dns").is_some());
        assert!(misfit(DOHPATH, b"/\xFF{?dns}").is_some());
        assert!(misfit(ALPN, b"\x02h2\0").is_some());
        assert!(misfit(MANDATORY, b"\0\x04\0\x01").is_some());
        assert!(misfit(IPV6HINT, &[0; 17]).is_some());
        assert!(misfit(PORT, b"\0").is_some());
        assert!(misfit(RESERVED, b"").is_some());
        assert_eq!(misfit(667, b"anything"), None);
    }
}
