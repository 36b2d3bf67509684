//! Record types by number and by mnemonic (IANA, "Resource Record (RR) TYPEs").

/// Address, IPv4 (RFC 1035).
pub const A: u16 = 1;
/// Name server (RFC 1035).
pub const NS: u16 = 2;
/// Alias (RFC 1035).
pub const CNAME: u16 = 5;
/// Start of authority (RFC 1035).
pub const SOA: u16 = 6;
/// Pointer (RFC 1035).
pub const PTR: u16 = 12;
/// Host information, the answer to ANY (RFC 8482).
pub const HINFO: u16 = 13;
/// Mail exchange (RFC 1035).
pub const MX: u16 = 15;
/// Text (RFC 1035).
pub const TXT: u16 = 16;
/// Address, IPv6 (RFC 3596).
pub const AAAA: u16 = 28;
/// Service location (RFC 2782).
pub const SRV: u16 = 33;
/// Naming authority pointer (RFC 3403).
pub const NAPTR: u16 = 35;
/// Alias of a subtree (RFC 6672).
pub const DNAME: u16 = 39;
/// EDNS pseudo-record (RFC 6891).
pub const OPT: u16 = 41;
/// Delegation signer (RFC 4034).
pub const DS: u16 = 43;
/// SSH fingerprint (RFC 4255).
pub const SSHFP: u16 = 44;
/// Signature (RFC 4034).
pub const RRSIG: u16 = 46;
/// Denial (RFC 4034).
pub const NSEC: u16 = 47;
/// Zone key (RFC 4034).
pub const DNSKEY: u16 = 48;
/// Hashed denial (RFC 5155).
pub const NSEC3: u16 = 50;
/// Parameters of hashed denial (RFC 5155).
pub const NSEC3PARAM: u16 = 51;
/// Certificate association (RFC 6698).
pub const TLSA: u16 = 52;
/// Certificate association for mail (RFC 8162).
pub const SMIMEA: u16 = 53;
/// DS the child asks for (RFC 7344).
pub const CDS: u16 = 59;
/// DNSKEY the child asks for (RFC 7344).
pub const CDNSKEY: u16 = 60;
/// Service binding (RFC 9460).
pub const SVCB: u16 = 64;
/// Service binding for HTTPS (RFC 9460).
pub const HTTPS: u16 = 65;
/// Obsolete twin of TXT (RFC 7208).
pub const SPF: u16 = 99;
/// "No such name" in compact denial, never asked for (RFC 9824).
pub const NXNAME: u16 = 128;
/// Key exchange (RFC 2930).
pub const TKEY: u16 = 249;
/// Transaction signature (RFC 8945).
pub const TSIG: u16 = 250;
/// Incremental transfer (RFC 1995).
pub const IXFR: u16 = 251;
/// Full transfer (RFC 5936).
pub const AXFR: u16 = 252;
/// Obsolete mail question (RFC 1035).
pub const MAILB: u16 = 253;
/// Obsolete mail question (RFC 1035).
pub const MAILA: u16 = 254;
/// All types (RFC 8482).
pub const ANY: u16 = 255;
/// URI (RFC 7553).
pub const URI: u16 = 256;
/// Certification authority authorisation (RFC 8659).
pub const CAA: u16 = 257;

/// Mnemonics a zone file may use; other types are written `TYPEnnn` (RFC 3597).
const MNEMONICS: &[(u16, &str)] = &[
    (A, "A"),
    (NS, "NS"),
    (CNAME, "CNAME"),
    (SOA, "SOA"),
    (PTR, "PTR"),
    (HINFO, "HINFO"),
    (MX, "MX"),
    (TXT, "TXT"),
    (AAAA, "AAAA"),
    (SRV, "SRV"),
    (NAPTR, "NAPTR"),
    (DNAME, "DNAME"),
    (OPT, "OPT"),
    (DS, "DS"),
    (SSHFP, "SSHFP"),
    (RRSIG, "RRSIG"),
    (NSEC, "NSEC"),
    (DNSKEY, "DNSKEY"),
    (NSEC3, "NSEC3"),
    (NSEC3PARAM, "NSEC3PARAM"),
    (TLSA, "TLSA"),
    (SMIMEA, "SMIMEA"),
    (CDS, "CDS"),
    (CDNSKEY, "CDNSKEY"),
    (SVCB, "SVCB"),
    (HTTPS, "HTTPS"),
    (SPF, "SPF"),
    (TKEY, "TKEY"),
    (TSIG, "TSIG"),
    (IXFR, "IXFR"),
    (AXFR, "AXFR"),
    (ANY, "ANY"),
    (URI, "URI"),
    (CAA, "CAA"),
];

/// The number of a mnemonic or of `TYPEnnn`, in any case.
pub fn parse(text: &str) -> Option<u16> {
    let known = MNEMONICS
        .iter()
        .find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text));
    known
        .map(|&(number, _)| number)
        .or_else(|| numbered(text, "TYPE"))
}

/// The mnemonic, or `TYPEnnn`.
pub fn text(rtype: u16) -> String {
    let known = MNEMONICS.iter().find(|&&(number, _)| number == rtype);
    known.map_or_else(
        || format!("TYPE{rtype}"),
        |(_, mnemonic)| (*mnemonic).to_owned(),
    )
}

/// True for types that no zone can hold: questions and pseudo-records (RFC 6895 §3.1).
pub fn is_meta(rtype: u16) -> bool {
    rtype == OPT || (128..=255).contains(&rtype)
}

/// Reads `PREFIXnnn` (RFC 3597 §5).
pub(crate) fn numbered(text: &str, prefix: &str) -> Option<u16> {
    let (head, digits) = text.split_at_checked(prefix.len())?;
    let plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    if plain && head.eq_ignore_ascii_case(prefix) {
        digits.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_and_numbers_read_back() {
        for &(number, mnemonic) in MNEMONICS {
            assert_eq!(parse(mnemonic), Some(number));
            assert_eq!(parse(&mnemonic.to_lowercase()), Some(number));
            assert_eq!(text(number), mnemonic);
        }
        assert_eq!(parse("TYPE65280"), Some(65280));
        assert_eq!(text(65280), "TYPE65280");
        assert_eq!(parse("TYPE"), None);
        assert_eq!(parse("TYPE+1"), None);
        assert_eq!(parse("TYPE65536"), None);
    }
}
