//! Zone transfers: out to secondaries (AXFR, RFC 5936; IXFR, RFC 1995), in from primaries, and when to ask.
//!
//! ```text
//! reload ─ Journal::advance ─┐                       ┌─ Refresh: when to ask whom (RFC 1035 §4.3.5); Probe: which version
//! query ─ Policy ─ Sending ──┴─► messages … messages ┴─► Receiving ─ Zone
//! ```
//!
//! Off until a zone names who may have it. What goes out are the zone's own records: per-client answers
//! and on-line signatures are made for one query and never leave this way.

mod compose;
mod grant;
mod journal;
mod patch;
mod policy;
mod probe;
mod receiving;
mod refresh;
mod sending;

pub(crate) use grant::{Grant, judge};
pub use journal::{Advance, Bounds, Journal};
pub use policy::{Policy, Rule, ZonePolicy};
pub use probe::{Heard, Probe};
pub use receiving::{Complete, Limits, Progress, Receiving, TransferError};
pub use refresh::{Refresh, Timers};
pub use sending::{Sending, Sent};

/// True if `serial` comes after `than` on the circle of serial numbers (RFC 1982 §3.2).
pub fn is_newer(serial: u32, than: u32) -> bool {
    (1..1 << 31).contains(&serial.wrapping_sub(than))
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn serials_are_compared_on_a_circle() {
        let check = |serial, than, expected| {
            assert_eq!(is_newer(serial, than), expected, "{serial} {than}");
        };
        check(2, 1, true);
        check(1, 2, false);
        check(1, 1, false);
        check(0, u32::MAX, true);
        check(u32::MAX, 0, false);
        check(1 << 31, 1, true);
        // Half-way round neither is newer.
        check(1 << 31, 0, false);
        check(0, 1 << 31, false);
    }
}
