//! Record types by number and by mnemonic (IANA, "Resource Record (RR) TYPEs").

/// Address, IPv4 (RFC 1035).
pub const A: u16 = 1;
/// Name server (RFC 1035).
pub const NS: u16 = 2;
/// Alias (RFC 1035).
pub const CNAME: u16 = 5;
/// Start of authority (RFC 1035).
pub const SOA: u16 = 6;
/// Mailbox (RFC 1035, obsolete).
pub const MB: u16 = 7;
/// Mail group member (RFC 1035, obsolete).
pub const MG: u16 = 8;
/// Mail rename (RFC 1035, obsolete).
pub const MR: u16 = 9;
/// Pointer (RFC 1035).
pub const PTR: u16 = 12;
/// Host information, the answer to ANY (RFC 8482).
pub const HINFO: u16 = 13;
/// Mailbox information (RFC 1035, obsolete).
pub const MINFO: u16 = 14;
/// Mail exchange (RFC 1035).
pub const MX: u16 = 15;
/// Text (RFC 1035).
pub const TXT: u16 = 16;
/// Responsible person (RFC 1183).
pub const RP: u16 = 17;
/// AFS data base (RFC 1183).
pub const AFSDB: u16 = 18;
/// X.25 address (RFC 1183).
pub const X25: u16 = 19;
/// ISDN address (RFC 1183).
pub const ISDN: u16 = 20;
/// Route through (RFC 1183).
pub const RT: u16 = 21;
/// Key, for SIG(0) (RFC 2931).
pub const KEY: u16 = 25;
/// X.400 mapping (RFC 2163).
pub const PX: u16 = 26;
/// Geographical position (RFC 1712).
pub const GPOS: u16 = 27;
/// Address, IPv6 (RFC 3596).
pub const AAAA: u16 = 28;
/// Location (RFC 1876).
pub const LOC: u16 = 29;
/// Service location (RFC 2782).
pub const SRV: u16 = 33;
/// Naming authority pointer (RFC 3403).
pub const NAPTR: u16 = 35;
/// Key exchanger (RFC 2230).
pub const KX: u16 = 36;
/// Certificate (RFC 4398).
pub const CERT: u16 = 37;
/// Alias of a subtree (RFC 6672).
pub const DNAME: u16 = 39;
/// EDNS pseudo-record (RFC 6891).
pub const OPT: u16 = 41;
/// Address prefixes (RFC 3123).
pub const APL: u16 = 42;
/// Delegation signer (RFC 4034).
pub const DS: u16 = 43;
/// SSH fingerprint (RFC 4255).
pub const SSHFP: u16 = 44;
/// IPsec key (RFC 4025).
pub const IPSECKEY: u16 = 45;
/// Signature (RFC 4034).
pub const RRSIG: u16 = 46;
/// Denial (RFC 4034).
pub const NSEC: u16 = 47;
/// Zone key (RFC 4034).
pub const DNSKEY: u16 = 48;
/// DHCP client (RFC 4701).
pub const DHCID: u16 = 49;
/// Hashed denial (RFC 5155).
pub const NSEC3: u16 = 50;
/// Parameters of hashed denial (RFC 5155).
pub const NSEC3PARAM: u16 = 51;
/// Certificate association (RFC 6698).
pub const TLSA: u16 = 52;
/// Certificate association for mail (RFC 8162).
pub const SMIMEA: u16 = 53;
/// Host identity (RFC 8005).
pub const HIP: u16 = 55;
/// Zone status.
pub const NINFO: u16 = 56;
/// Key for NAPTR.
pub const RKEY: u16 = 57;
/// Trust anchor link.
pub const TALINK: u16 = 58;
/// DS the child asks for (RFC 7344).
pub const CDS: u16 = 59;
/// DNSKEY the child asks for (RFC 7344).
pub const CDNSKEY: u16 = 60;
/// OpenPGP key (RFC 7929).
pub const OPENPGPKEY: u16 = 61;
/// What the parent may copy from the child (RFC 7477).
pub const CSYNC: u16 = 62;
/// Digest of the zone (RFC 8976).
pub const ZONEMD: u16 = 63;
/// Service binding (RFC 9460).
pub const SVCB: u16 = 64;
/// Service binding for HTTPS (RFC 9460).
pub const HTTPS: u16 = 65;
/// Where to announce changes of a delegation (RFC 9859).
pub const DSYNC: u16 = 66;
/// Obsolete twin of TXT (RFC 7208).
pub const SPF: u16 = 99;
/// Node identifier (RFC 6742).
pub const NID: u16 = 104;
/// Locator of 32 bits (RFC 6742).
pub const L32: u16 = 105;
/// Locator of 64 bits (RFC 6742).
pub const L64: u16 = 106;
/// Name of locators (RFC 6742).
pub const LP: u16 = 107;
/// MAC address of 48 bits (RFC 7043).
pub const EUI48: u16 = 108;
/// MAC address of 64 bits (RFC 7043).
pub const EUI64: u16 = 109;
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
/// Application visibility.
pub const AVC: u16 = 258;
/// Multicast relay (RFC 8777).
pub const AMTRELAY: u16 = 260;
/// Resolver information (RFC 9606).
pub const RESINFO: u16 = 261;
/// Public wallet address.
pub const WALLET: u16 = 262;
/// Trust anchor.
pub const TA: u16 = 32768;
/// Look-aside validation (RFC 8749, obsolete).
pub const DLV: u16 = 32769;

/// Mnemonics; other types are written `TYPEnnn` (RFC 3597).
const MNEMONICS: &[(u16, &str)] = &[
    (A, "A"),
    (NS, "NS"),
    (CNAME, "CNAME"),
    (SOA, "SOA"),
    (MB, "MB"),
    (MG, "MG"),
    (MR, "MR"),
    (PTR, "PTR"),
    (HINFO, "HINFO"),
    (MINFO, "MINFO"),
    (MX, "MX"),
    (TXT, "TXT"),
    (RP, "RP"),
    (AFSDB, "AFSDB"),
    (X25, "X25"),
    (ISDN, "ISDN"),
    (RT, "RT"),
    (KEY, "KEY"),
    (PX, "PX"),
    (GPOS, "GPOS"),
    (AAAA, "AAAA"),
    (LOC, "LOC"),
    (SRV, "SRV"),
    (NAPTR, "NAPTR"),
    (KX, "KX"),
    (CERT, "CERT"),
    (DNAME, "DNAME"),
    (OPT, "OPT"),
    (APL, "APL"),
    (DS, "DS"),
    (SSHFP, "SSHFP"),
    (IPSECKEY, "IPSECKEY"),
    (RRSIG, "RRSIG"),
    (NSEC, "NSEC"),
    (DNSKEY, "DNSKEY"),
    (DHCID, "DHCID"),
    (NSEC3, "NSEC3"),
    (NSEC3PARAM, "NSEC3PARAM"),
    (TLSA, "TLSA"),
    (SMIMEA, "SMIMEA"),
    (HIP, "HIP"),
    (NINFO, "NINFO"),
    (RKEY, "RKEY"),
    (TALINK, "TALINK"),
    (CDS, "CDS"),
    (CDNSKEY, "CDNSKEY"),
    (OPENPGPKEY, "OPENPGPKEY"),
    (CSYNC, "CSYNC"),
    (ZONEMD, "ZONEMD"),
    (SVCB, "SVCB"),
    (HTTPS, "HTTPS"),
    (DSYNC, "DSYNC"),
    (SPF, "SPF"),
    (NID, "NID"),
    (L32, "L32"),
    (L64, "L64"),
    (LP, "LP"),
    (EUI48, "EUI48"),
    (EUI64, "EUI64"),
    (NXNAME, "NXNAME"),
    (TKEY, "TKEY"),
    (TSIG, "TSIG"),
    (IXFR, "IXFR"),
    (AXFR, "AXFR"),
    (MAILB, "MAILB"),
    (MAILA, "MAILA"),
    (ANY, "ANY"),
    (URI, "URI"),
    (CAA, "CAA"),
    (AVC, "AVC"),
    (AMTRELAY, "AMTRELAY"),
    (RESINFO, "RESINFO"),
    (WALLET, "WALLET"),
    (TA, "TA"),
    (DLV, "DLV"),
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
