//! ZONEMD records have to match the zone (RFC 8976): a secondary that verifies it would refuse what this server serves.

use ring::digest::{Algorithm, Context, SHA384, SHA512};

use super::super::place::Faults;
use super::super::records::Item;
use super::owners::Owners;
use crate::rdata;
use crate::rrset::RrSet;
use crate::rtype;
use crate::zone::Zone;

/// The scheme "simple" (RFC 8976 §5.2).
const SIMPLE: u8 = 1;

/// Reports digests that do not match, unless another one does: one is enough (RFC 8976 §4).
pub(super) fn check(zone: &Zone, owners: Owners<'_>, faults: &mut Faults) {
    let items = owners.at_apex().filter(|item| item.rtype == rtype::ZONEMD);
    let serial = zone.serial();
    let (mut wrong, mut right) = (Vec::new(), false);
    for item in items {
        let data = owners.records.data(item);
        // Other schemes and algorithms are for others to verify.
        let Some((of, algorithm, digest)) = read(data) else {
            continue;
        };
        if of != serial {
            let message = format!("the digest is of serial {of}, the zone has serial {serial}");
            wrong.push((item, message));
        } else if digest_of(zone, algorithm) == digest {
            right = true;
        } else {
            wrong.push((item, "the digest does not match the zone".to_owned()));
        }
    }
    for (item, message) in wrong {
        tell(item, message, right, faults);
    }
}

fn tell(item: &Item, message: String, another_is_right: bool, faults: &mut Faults) {
    let hint = "make it again when everything else is written, or remove it (RFC 8976)";
    match another_is_right {
        true => faults.warning(item.place(), message, hint),
        false => faults.error(item.place(), message, hint),
    }
}

/// Serial, hash algorithm and digest of a record that can be verified here.
fn read(data: &[u8]) -> Option<(u32, &'static Algorithm, &[u8])> {
    let (&[s0, s1, s2, s3, SIMPLE, algorithm], digest) = data.split_first_chunk::<6>()? else {
        return None;
    };
    let algorithm = match algorithm {
        1 => &SHA384,
        2 => &SHA512,
        _ => return None,
    };
    Some((u32::from_be_bytes([s0, s1, s2, s3]), algorithm, digest))
}

/// The digest over all records in canonical form and order but the zone's own ZONEMD records (RFC 8976 §3.3).
fn digest_of(zone: &Zone, algorithm: &'static Algorithm) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    for (name, node) in zone.ordered() {
        let sets = node.rrsets().iter();
        for set in sets.filter(|set| set.rtype != rtype::ZONEMD || name != zone.origin()) {
            add(name, set, &mut context);
        }
    }
    context.finish().as_ref().to_vec()
}

/// Adds the records of one name and type, sorted.
fn add(owner: &[u8], set: &RrSet, context: &mut Context) {
    let forms = set
        .rdatas()
        .map(|data| rdata::canonical_form(set.rtype, data));
    let mut forms: Vec<Vec<u8>> = forms.collect();
    forms.sort_unstable();
    for data in forms {
        context.update(owner);
        context.update(&set.rtype.to_be_bytes());
        context.update(&[0, 1]);
        context.update(&set.ttl.to_be_bytes());
        context.update(&(data.len() as u16).to_be_bytes());
        context.update(&data);
    }
}
