//! The values that labels take, and which one a number gets.

use dns_engine::{DropReason, Rcode, rtype};

/// Record types counted apart; the last stands for all others.
pub(super) const TYPES: [&str; 21] = [
    "A", "AAAA", "SRV", "NS", "SOA", "CNAME", "PTR", "MX", "TXT", "NAPTR", "DS", "DNSKEY", "NSEC",
    "CDS", "TLSA", "SVCB", "HTTPS", "CAA", "AXFR", "ANY", "other",
];

/// The place of a record type in [`TYPES`].
pub(super) fn rtype(number: u16) -> usize {
    match number {
        rtype::A => 0,
        rtype::AAAA => 1,
        rtype::SRV => 2,
        rtype::NS => 3,
        rtype::SOA => 4,
        rtype::CNAME => 5,
        rtype::PTR => 6,
        rtype::MX => 7,
        rtype::TXT => 8,
        rtype::NAPTR => 9,
        rtype::DS => 10,
        rtype::DNSKEY => 11,
        rtype::NSEC => 12,
        rtype::CDS => 13,
        rtype::TLSA => 14,
        rtype::SVCB => 15,
        rtype::HTTPS => 16,
        rtype::CAA => 17,
        rtype::AXFR | rtype::IXFR => 18,
        rtype::ANY => 19,
        _ => 20,
    }
}

/// In the order of [`dns_transport::Transport`].
pub(super) const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "https", "quic"];
/// Of the source address.
pub(super) const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// Response codes that have a label of their own; the last stands for all others.
pub(super) const RCODES: [&str; 11] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "NOTAUTH",
    "BADVERS",
    "BADCOOKIE",
    "OTHER",
];

/// The place of a response code in [`RCODES`].
pub(super) fn rcode(rcode: Rcode) -> usize {
    match rcode.0 {
        0..=6 => rcode.0.into(),
        9 => 7,
        16 => 8,
        23 => 9,
        _ => 10,
    }
}

/// Why a message gets no answer, in the order of [`drop`].
pub(super) const DROPS: [&str; 5] = [
    "too_short",
    "is_response",
    "no_client",
    "no_room",
    "rate_limited",
];

/// The place of a reason in [`DROPS`].
pub(super) fn drop(reason: DropReason) -> usize {
    match reason {
        DropReason::TooShort => 0,
        DropReason::IsResponse => 1,
        DropReason::NoClient => 2,
        DropReason::NoRoom => 3,
        DropReason::RateLimited => 4,
    }
}

/// Codes of extended errors below this are counted apart (IANA, "Extended DNS Error Codes").
pub(super) const EXTENDED_ERRORS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_label_of_its_name() {
        for number in 0..=u16::MAX {
            let text = rtype::text(number);
            let expected = match text.as_str() {
                "IXFR" => "AXFR",
                text if TYPES.contains(&text) => text,
                _ => "other",
            };
            assert_eq!(TYPES[rtype(number)], expected, "{text}");
        }
        for number in 0..=u16::MAX {
            let text = Rcode(number).to_string();
            let label = RCODES[rcode(Rcode(number))];
            assert!(
                label == text || !RCODES.contains(&text.as_str()),
                "{text} as {label}"
            );
        }
    }
}
