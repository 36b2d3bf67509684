//! Rules for the records of one owner, and for owners below delegations and renamed names.

use super::super::place::Faults;
use super::super::records::Item;
use super::owners::{Owner, Owners};
use super::{check_final_dot, company};
use crate::gather::Has;
use crate::name::{self, Text};
use crate::request::HEADER;
use crate::rrset::repetitions;
use crate::rtype;

/// Octets of a message (RFC 1035 §4.2.2).
const MESSAGE_MAX: usize = u16::MAX as usize;
/// What an answer holds beside the owner and the records: header, type and class of the question, OPT.
const ANSWER_FRAME: usize = HEADER + 4 + 11;
/// Octets of a record beside its data, the owner as a pointer.
const RECORD_FRAME: usize = 12;

pub(super) fn check(owners: Owners<'_>, faults: &mut Faults) {
    let servers = servers(owners);
    for owner in owners.iter() {
        let mut checks = Checks {
            apex: owners.apex,
            owners,
            owner,
            servers: &servers,
            faults,
        };
        checks.name();
        checks.alone();
        for set in owner.sets() {
            checks.set(set);
        }
        checks.position();
    }
}

/// For each name of the zone whether an NS record names it; empty if nothing is delegated.
fn servers(owners: Owners<'_>) -> Vec<bool> {
    let gathered = owners.gathered;
    if !gathered.below.any(Has::NS) {
        return Vec::new();
    }
    let mut servers = vec![false; gathered.numbers().len()];
    let mut lowered = Vec::new();
    for item in &owners.records.items {
        if item.rtype == rtype::NS {
            lowered.clear();
            lowered.extend(owners.records.data(item).iter().map(u8::to_ascii_lowercase));
            let named = gathered.names.find_plain(&lowered);
            if let Some(server) = named.and_then(|number| servers.get_mut(number as usize)) {
                *server = true;
            }
        }
    }
    servers
}

struct Checks<'r, 'f> {
    apex: &'r [u8],
    owners: Owners<'r>,
    owner: Owner<'r>,
    /// See [`servers`].
    servers: &'f [bool],
    faults: &'f mut Faults,
}

impl<'r> Checks<'r, '_> {
    fn first(&self, rtype: u16) -> Option<&'r Item> {
        self.owner.items().find(|item| item.rtype == rtype)
    }

    fn is_apex(&self) -> bool {
        self.owner.name == self.apex
    }

    /// The owner's own labels.
    fn name(&mut self) {
        let Some(first) = self.owner.items().next() else {
            return;
        };
        let name = self.owner.name;
        check_final_dot(name, self.apex, first.owner_place(), self.faults);
        let odd = name::labels(name)
            .enumerate()
            .any(|(place, label)| label.contains(&b'*') && (place > 0 || label.len() > 1));
        if odd {
            let message = format!("the asterisk in {} is no wildcard", Text(name));
            let hint = "a wildcard is a first label that is `*` and nothing else (RFC 4592 §2.1.1)";
            self.faults.warning(first.owner_place(), message, hint);
        }
    }

    /// Types that do not stand beside others.
    fn alone(&mut self) {
        let has = self.owner.has;
        if let Some(alias) = self.first(rtype::CNAME)
            && (has.any(Has::OTHER) || has.any(Has::NS) || has.any(Has::DNAME))
        {
            let place = alias.place();
            let owner = self.owners.records.owner_of(alias);
            let message = format!("{} has other records beside its CNAME", Text(owner));
            let hint = "an alias stands alone (RFC 1034 §3.6.2): remove it or the other records";
            self.faults.error(place, message, hint);
        }
        if let Some(renamed) = self.first(rtype::DNAME)
            && has.any(Has::NS)
            && !self.is_apex()
        {
            let place = renamed.place();
            let message = "a DNAME record at a delegation";
            let hint = "the names below are either renamed or delegated (RFC 6672 §2.3)";
            self.faults.error(place, message, hint);
        }
        if let Some(signer) = self.first(rtype::DS)
            && !has.any(Has::NS)
            && !self.is_apex()
        {
            let place = signer.place();
            let message = "a DS record without a delegation";
            let hint = "add the NS records of the delegated zone (RFC 4035 §2.4)";
            self.faults.warning(place, message, hint);
        }
    }

    /// The records of one type.
    fn set(&mut self, set: impl Iterator<Item = &'r Item> + Clone) {
        let mut rest = set.clone();
        let Some(first) = rest.next() else { return };
        let rtype = first.rtype;
        self.types(first);
        let records = self.owners.records;
        for item in set.clone() {
            if company::has_idle_parameters(rtype, records.data(item)) {
                let message = "parameters in an alias form (priority 0)";
                let hint = "clients ignore them (RFC 9460 §2.4.2): remove them, or give a priority";
                self.faults.warning(item.place(), message, hint);
            }
        }
        if let Some(other) = rest.clone().find(|item| item.ttl != first.ttl) {
            let rtype = rtype::text(rtype);
            let message = format!("{rtype} records of one name differ in TTL");
            let hint = "the lowest is used: give them the same one (RFC 2181 §5.2)";
            self.faults.warning(other.place(), message, hint);
        }
        if rest.next().is_none() {
            return;
        }
        let datas = set.clone().map(|item| records.data(item));
        let mut different = 0;
        for (item, repeated) in set.clone().zip(repetitions(rtype, datas)) {
            different += usize::from(!repeated);
            let single = matches!(rtype, rtype::CNAME | rtype::DNAME);
            if repeated && rtype != rtype::SOA {
                let message = format!("the same {} record again", rtype::text(rtype));
                let hint = "it counts once (RFC 2181 §5): remove this line";
                self.faults.warning(item.place(), message, hint);
            } else if single && different > 1 {
                let message = format!("a second {} record", rtype::text(rtype));
                let hint = "a name has at most one: remove the other";
                self.faults.error(item.place(), message, hint);
            }
        }
        if let Some((item, message, hint)) = company::odd(records, set.clone()) {
            self.faults.warning(item.place(), message, hint);
        }
        let octets: usize = set
            .map(|item| RECORD_FRAME + records.data(item).len())
            .sum();
        if ANSWER_FRAME + self.owner.name.len() + octets > MESSAGE_MAX {
            let rtype = rtype::text(rtype);
            let message = format!("the {rtype} records of this name fit into no message");
            let hint = format!("an answer has up to {MESSAGE_MAX} octets: use several names");
            self.faults.error(first.place(), message, hint);
        }
    }

    /// Types that do not belong to this kind of owner.
    fn types(&mut self, first: &Item) {
        let rtype = first.rtype;
        if rtype == rtype::SOA && !self.is_apex() {
            let message = format!("a SOA record below the zone's own name {}", Text(self.apex));
            let hint = "each zone has a file of its own";
            self.faults.error(first.place(), message, hint);
        }
        let wild = self.owner.name.starts_with(b"\x01*");
        if wild && matches!(rtype, rtype::NS | rtype::DNAME | rtype::SOA) {
            let message = format!("a wildcard with a {} record", rtype::text(rtype));
            let hint = "its meaning is undefined (RFC 4592 §4): name the owners one by one";
            self.faults.error(first.place(), message, hint);
        }
        let of_zone = matches!(
            rtype,
            rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY | rtype::CSYNC | rtype::ZONEMD
        );
        if of_zone && !self.is_apex() {
            let (rtype, apex) = (rtype::text(rtype), Text(self.apex));
            let message = format!("a {rtype} record below the zone's own name {apex}");
            let hint = "nobody looks for it here: it belongs to the zone's own name";
            self.faults.warning(first.place(), message, hint);
        }
    }

    /// What may stand below delegations and renamed names.
    fn position(&mut self) {
        let (apex, records, gathered) = (self.apex, self.owners.records, self.owners.gathered);
        let above = |which: Has| {
            let wanted = |above| gathered.has(above).any(which);
            let found = gathered.above(self.owner.number, apex, wanted)?;
            Some(gathered.names.name(found))
        };
        if !gathered.below.any(Has::NS.and(Has::DNAME)) && !self.owners.apex_is_renamed {
            return;
        }
        if let Some(renamed) = above(Has::DNAME) {
            for item in self.owner.items() {
                let owner = Text(records.owner_of(item));
                let message = format!("{owner} is hidden by the DNAME record above it");
                let hint = format!("nothing may stand below {} (RFC 6672 §2.4)", Text(renamed));
                self.faults.error(item.owner_place(), message, hint);
            }
        }
        let Some(cut) = above(Has::NS).filter(|cut| *cut != apex) else {
            return;
        };
        let is_server = self.servers.get(self.owner.number as usize);
        if is_server == Some(&false)
            && let Some(address) = self.owner.items().find(|item| is_address(item.rtype))
        {
            let owner = Text(records.owner_of(address));
            let message = format!("no NS record names {owner}, which is below a delegation");
            let hint = "it is never served: remove it, or name it in the NS records";
            self.faults.warning(address.owner_place(), message, hint);
        }
        let hidden = self.owner.items();
        for item in hidden.filter(|item| !is_address(item.rtype)) {
            let owner = Text(records.owner_of(item));
            let message = format!("{owner} belongs to the delegated zone {}", Text(cut));
            let hint = "it is never served: below a delegation stand addresses of its name servers";
            self.faults.warning(item.owner_place(), message, hint);
        }
    }
}

fn is_address(rtype: u16) -> bool {
    matches!(rtype, rtype::A | rtype::AAAA)
}
