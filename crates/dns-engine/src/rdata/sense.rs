//! Data of the right shape that still cannot mean anything: digests of a wrong length, keys of no protocol.

use crate::rtype;

/// What is wrong with well-formed data, and what to do.
pub(crate) fn nonsense(rtype: u16, data: &[u8]) -> Option<(&'static str, &'static str)> {
    match rtype {
        rtype::DS | rtype::CDS | rtype::TA | rtype::DLV => delegation_signer(rtype, data),
        rtype::DNSKEY | rtype::CDNSKEY => key(rtype, data),
        rtype::SSHFP => digest(*data.get(1)?, &[(1, 20), (2, 32)], data.len() - 2),
        rtype::TLSA | rtype::SMIMEA => digest(*data.get(2)?, &[(1, 32), (2, 64)], data.len() - 3),
        rtype::ZONEMD => match data.get(6..)? {
            // RFC 8976 §2.2.4; what other schemes hold is theirs to say.
            rest if rest.len() < 12 => Some(TOO_SHORT),
            rest if *data.get(4)? == 1 => digest(*data.get(5)?, &[(1, 48), (2, 64)], rest.len()),
            _ => None,
        },
        _ => None,
    }
}

const TOO_SHORT: (&str, &str) = (
    "a digest of less than 12 octets",
    "make it again with a tool that knows RFC 8976",
);

/// A digest of a known kind has a known length.
fn digest(
    kind: u8,
    lengths: &[(u8, usize)],
    length: usize,
) -> Option<(&'static str, &'static str)> {
    let known = lengths.iter().find(|(known, _)| *known == kind);
    known.filter(|(_, wanted)| *wanted != length).map(|_| {
        (
            "the digest has not the length of its kind",
            "copy it whole; SHA-1 has 40 hexadecimal digits, SHA-256 64, SHA-384 96, SHA-512 128",
        )
    })
}

fn delegation_signer(rtype: u16, data: &[u8]) -> Option<(&'static str, &'static str)> {
    let [_, _, algorithm, kind, rest @ ..] = data else {
        return None;
    };
    match (rtype, algorithm) {
        (rtype::CDS, 0) if data == [0; 5] => None,
        (rtype::CDS, 0) => Some((
            "algorithm 0 asks for the removal of the DS records, in one form only",
            "write `CDS 0 0 0 00` (RFC 8078 §4)",
        )),
        // RFC 4509, RFC 5933, RFC 6605.
        _ => digest(*kind, &[(1, 20), (2, 32), (3, 32), (4, 48)], rest.len()),
    }
}

fn key(rtype: u16, data: &[u8]) -> Option<(&'static str, &'static str)> {
    let [_, _, protocol, algorithm, ..] = data else {
        return None;
    };
    match (rtype, algorithm) {
        (rtype::CDNSKEY, 0) if data == [0, 0, 3, 0, 0] => None,
        (rtype::CDNSKEY, 0) => Some((
            "algorithm 0 asks for the removal of the DS records, in one form only",
            "write `CDNSKEY 0 3 0 AA==` (RFC 8078 §4)",
        )),
        _ if *protocol != 3 => Some((
            "the protocol of a zone key is 3",
            "write `flags 3 algorithm key` (RFC 4034 §2.1.2)",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_lengths_of_digests_and_the_forms_of_removal() {
        let check = |rtype, head: &[u8], length, expected| {
            let data = [head, &vec![0; length]].concat();
            assert_eq!(
                nonsense(rtype, &data).is_some(),
                expected,
                "{rtype} {head:?}"
            );
        };
        check(rtype::DS, &[0, 1, 13, 2], 32, false);
        check(rtype::DS, &[0, 1, 13, 2], 31, true);
        check(rtype::DS, &[0, 1, 13, 99], 3, false);
        check(rtype::DS, &[0, 0, 0, 0], 1, false);
        check(rtype::CDS, &[0, 0, 0, 0], 1, false);
        check(rtype::CDS, &[0, 0, 0, 0], 2, true);
        check(rtype::CDS, &[0, 1, 0, 0], 1, true);
        check(rtype::CDNSKEY, &[0, 0, 3, 0], 1, false);
        check(rtype::CDNSKEY, &[1, 0, 3, 0], 1, true);
        check(rtype::DNSKEY, &[1, 0, 3, 13], 64, false);
        check(rtype::DNSKEY, &[1, 0, 1, 13], 64, true);
        check(rtype::SSHFP, &[4, 2], 32, false);
        check(rtype::SSHFP, &[4, 1], 32, true);
        check(rtype::TLSA, &[3, 1, 1], 32, false);
        check(rtype::TLSA, &[3, 1, 2], 32, true);
        check(rtype::TLSA, &[3, 1, 0], 7, false);
        check(rtype::ZONEMD, &[0, 0, 0, 1, 1, 1], 48, false);
        check(rtype::ZONEMD, &[0, 0, 0, 1, 1, 2], 48, true);
        check(rtype::ZONEMD, &[0, 0, 0, 1, 241, 1], 20, false);
        check(rtype::ZONEMD, &[0, 0, 0, 1, 1, 240], 11, true);
    }
}
