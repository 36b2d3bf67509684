//! What a record of each type looks like, for findings.

use crate::rtype;

/// An example in the words of the type's RFC.
pub(super) fn shape(rtype: u16) -> &'static str {
    match rtype {
        rtype::A => "write `A 192.0.2.1`",
        rtype::AAAA => "write `AAAA 2001:db8::1`",
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => "write one name, as in `NS ns1`",
        rtype::SOA => "write `SOA primary mailbox serial refresh retry expire minimum`",
        rtype::MX => "write `MX preference host`",
        rtype::TXT | rtype::SPF => "write `TXT \"text\"`",
        rtype::RP => "write `RP mailbox text-name`",
        rtype::AFSDB => "write `AFSDB subtype host`",
        rtype::KX => "write `KX preference host`",
        rtype::SRV => "write `SRV priority weight port target`",
        rtype::CAA => "write `CAA flags tag \"value\"`",
        rtype::DS | rtype::CDS => "write `DS key-tag algorithm digest-type digest`",
        rtype::DNSKEY | rtype::CDNSKEY => "write `DNSKEY flags 3 algorithm key`",
        rtype::TLSA | rtype::SMIMEA => "write `TLSA usage selector matching-type data`",
        rtype::NAPTR => "write `NAPTR order preference \"flags\" \"service\" \"regexp\" name`",
        rtype::HINFO => "write `HINFO \"cpu\" \"os\"`",
        rtype::URI => "write `URI priority weight \"uri\"`",
        rtype::SSHFP => "write `SSHFP algorithm type fingerprint`",
        rtype::CERT => "write `CERT type key-tag algorithm certificate`",
        rtype::LOC => {
            "write `LOC 52 22 23.000 N 4 53 32.000 E -2.00m`, then size and precision if known"
        }
        rtype::APL => "write `APL 1:192.0.2.0/24 !2:2001:db8::/32`",
        rtype::IPSECKEY => "write `IPSECKEY precedence gateway-type algorithm gateway key`",
        rtype::AMTRELAY => "write `AMTRELAY precedence discovery-optional type relay`",
        rtype::HIP => "write `HIP algorithm identity-tag key servers`",
        rtype::CSYNC => "write `CSYNC serial flags types`",
        rtype::ZONEMD => "write `ZONEMD serial scheme hash-algorithm digest`",
        rtype::SVCB | rtype::HTTPS => "write `HTTPS priority target key=value ...`",
        rtype::DSYNC => "write `DSYNC type scheme port target`",
        rtype::NID | rtype::L64 => "write `NID preference 0014:4fff:ff20:ee64`",
        rtype::L32 => "write `L32 preference 10.1.2.0`",
        rtype::LP => "write `LP preference name`",
        rtype::EUI48 => "write `EUI48 00-00-5e-00-53-2a`",
        rtype::EUI64 => "write `EUI64 00-00-5e-ef-10-00-00-2a`",
        rtype::OPENPGPKEY | rtype::DHCID => "write the octets in base 64",
        _ => r"or write `\# length hexadecimal` (RFC 3597)",
    }
}
