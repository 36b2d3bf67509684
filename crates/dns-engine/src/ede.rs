//! Extended DNS errors (RFC 8914): why an answer is what it is, for people who look for a fault.

/// None of the other codes; the text says it.
pub const OTHER: u16 = 0;
/// The data may be out of date (§4.4).
pub const STALE_ANSWER: u16 = 3;
/// The server is starting or reloading (§4.15).
pub const NOT_READY: u16 = 14;
/// The operator does not allow it for this client (§4.19).
pub const PROHIBITED: u16 = 18;
/// No loaded zone holds the name (§4.21).
pub const NOT_AUTHORITATIVE: u16 = 20;
/// The operation or query is not supported (§4.22).
pub const NOT_SUPPORTED: u16 = 21;
/// The data to answer from is unusable, an expired zone for one (§4.25).
pub const INVALID_DATA: u16 = 24;
/// A type that is no type of a question (RFC 9824 §9).
pub const INVALID_QUERY_TYPE: u16 = 30;

/// An extended error: a code, and a few words that need no record of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedError {
    /// Number in the registry "Extended DNS Error Codes".
    pub code: u16,
    /// May be empty; left out if it would not fit.
    pub text: &'static str,
}

impl ExtendedError {
    /// An error whose code says it all.
    pub const fn bare(code: u16) -> Self {
        Self { code, text: "" }
    }
}
