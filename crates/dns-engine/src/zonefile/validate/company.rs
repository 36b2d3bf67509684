//! Records that say "nothing" or "elsewhere", and so mean nothing in the company of others of their type.

use super::super::records::{Item, Records};
use crate::name;
use crate::rtype;

/// What is odd about several records of one name and type: where, what, and what to do.
pub(super) fn odd<'r>(
    records: &'r Records,
    set: impl Iterator<Item = &'r Item> + Clone,
) -> Option<(&'r Item, &'static str, &'static str)> {
    let mut rest = set.clone();
    let rtype = rest.next()?.rtype;
    rest.next()?;
    let (is_alone, message, hint): (fn(&[u8]) -> bool, _, _) = match rtype {
        rtype::MX => (
            |data| data.get(2..) == Some(name::ROOT),
            "a null MX record beside others",
            "`MX 0 .` says that there is no mail here, and stands alone (RFC 7505 §3)",
        ),
        // Removal is written in one form: algorithm 0.
        rtype::CDS => (
            |data| data.get(2) == Some(&0),
            "a CDS record that asks for the removal of the DS records, beside others",
            "it stands alone (RFC 8078 §4)",
        ),
        rtype::CDNSKEY => (
            |data| data.get(3) == Some(&0),
            "a CDNSKEY record that asks for the removal of the DS records, beside others",
            "it stands alone (RFC 8078 §4)",
        ),
        rtype::SVCB | rtype::HTTPS => (
            |data| data.starts_with(&[0, 0]),
            "an alias form (priority 0) beside others",
            "clients take the alias and ignore the rest (RFC 9460 §2.4.1): keep one of the two",
        ),
        _ => return None,
    };
    let item = set.clone().find(|item| is_alone(records.data(item)))?;
    Some((item, message, hint))
}

/// True if a record is an alias form with parameters, which clients ignore (RFC 9460 §2.4.2).
pub(super) fn has_idle_parameters(rtype: u16, data: &[u8]) -> bool {
    let target = data.strip_prefix(&[0, 0]);
    matches!(rtype, rtype::SVCB | rtype::HTTPS)
        && target
            .is_some_and(|target| name::read(target).is_some_and(|name| name.len() < target.len()))
}
