//! Response codes (IANA, "DNS RCODEs").

use std::fmt;

/// A response code; above 15 it is completed by the OPT record (RFC 6891 §6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Rcode(
    /// The number.
    pub u16,
);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query is malformed.
    pub const FORMERR: Self = Self(1);
    /// The server cannot answer just now.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// This kind of query is not implemented.
    pub const NOTIMP: Self = Self(4);
    /// The server will not answer this.
    pub const REFUSED: Self = Self(5);
    /// A DNAME makes the name too long (RFC 6672 §2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// This server does not speak for the zone, or the signature is not accepted (RFC 8945 §5.2).
    pub const NOTAUTH: Self = Self(9);
    /// Unknown EDNS version.
    pub const BADVERS: Self = Self(16);
    /// The server cookie is missing or wrong (RFC 7873 §8).
    pub const BADCOOKIE: Self = Self(23);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NOERROR => "NOERROR",
            Self::FORMERR => "FORMERR",
            Self::SERVFAIL => "SERVFAIL",
            Self::NXDOMAIN => "NXDOMAIN",
            Self::NOTIMP => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::YXDOMAIN => "YXDOMAIN",
            Self::NOTAUTH => "NOTAUTH",
            Self::BADVERS => "BADVERS",
            Self::BADCOOKIE => "BADCOOKIE",
            Self(number) => return write!(f, "RCODE{number}"),
        })
    }
}
