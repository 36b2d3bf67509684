//! The records of a zone gathered by owner, in time that grows with their number alone.

use super::super::place::Faults;
use super::super::records::{Item, Records};
use crate::hash::NameTable;
use crate::name::{self, Text};
use crate::rtype;

/// Which of the types that decide about other names an owner has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Has(u8);

impl Has {
    pub(super) const NS: Self = Self(1);
    pub(super) const DNAME: Self = Self(2);
    pub(super) const CNAME: Self = Self(4);
    pub(super) const OTHER: Self = Self(8);

    fn of(rtype: u16) -> Self {
        match rtype {
            rtype::NS => Self::NS,
            rtype::DNAME => Self::DNAME,
            rtype::CNAME => Self::CNAME,
            _ => Self::OTHER,
        }
    }

    pub(super) fn any(self, which: Self) -> bool {
        self.0 & which.0 != 0
    }
}

/// One owner and its records, sorted by type; within a type the order of the file stays.
pub(super) struct Owner<'o> {
    /// Lower-cased wire name.
    pub(super) name: &'o [u8],
    pub(super) items: &'o [Item],
    pub(super) has: Has,
}

/// All owners of a zone.
pub(super) struct Owners<'r> {
    pub(super) records: &'r Records,
    names: NameTable,
    /// For each name the end of its records in `items`, and what it has.
    ends: Vec<(u32, Has)>,
    items: Vec<Item>,
    /// What any owner has.
    pub(super) has: Has,
}

impl<'r> Owners<'r> {
    /// Gathers the records of the zone `apex`; those of other zones are reported and left out.
    pub(super) fn gather(records: &'r Records, apex: &[u8], faults: &mut Faults) -> Self {
        let mut names = NameTable::default();
        let mut ends = Vec::<(u32, Has)>::new();
        let mut numbers = Vec::with_capacity(records.items.len());
        let (mut before, mut number) = (None, OUTSIDE);
        let mut lowered = Vec::new();
        for item in &records.items {
            // Lines without an owner of their own share the octets of the one above.
            if before.replace(item.owner_at()) != Some(item.owner_at()) {
                lowered.clear();
                lowered.extend_from_slice(records.owner_of(item));
                lowered.make_ascii_lowercase();
                number = match name::is_within(&lowered, apex) {
                    true => names.insert(&lowered),
                    false => OUTSIDE,
                };
            }
            numbers.push(number);
            if number == OUTSIDE {
                let (owner, apex) = (Text(records.owner_of(item)), Text(apex));
                let message = format!("{owner} is outside the zone {apex}");
                let hint =
                    "a name without a final dot is completed by $ORIGIN; move others to their zone";
                faults.error(item.owner_place(), message, hint);
                continue;
            }
            if ends.len() <= number as usize {
                ends.push((0, Has::default()));
            }
            if let Some((count, has)) = ends.get_mut(number as usize) {
                *count += 1;
                has.0 |= Has::of(item.rtype).0;
            }
        }
        let has = Has(ends.iter().fold(0, |all, (_, has)| all | has.0));
        let items = in_order(records, &numbers, &mut ends);
        Self {
            records,
            names,
            ends,
            items,
            has,
        }
    }

    /// Every owner, in the order in which they first stand in the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = Owner<'_>> {
        (0..self.names.len() as u32).filter_map(|number| self.owner(number))
    }

    /// The owner of a lower-cased name.
    pub(super) fn find(&self, name: &[u8]) -> Option<Owner<'_>> {
        self.owner(self.names.find(name)?)
    }

    fn owner(&self, number: u32) -> Option<Owner<'_>> {
        let &(end, has) = self.ends.get(number as usize)?;
        let before = (number as usize).checked_sub(1);
        let start = before.and_then(|before| self.ends.get(before));
        let start = start.map_or(0, |(end, _)| *end);
        Some(Owner {
            name: self.names.name(number),
            items: self.items.get(start as usize..end as usize)?,
            has,
        })
    }
}

/// The number of owners outside the zone.
const OUTSIDE: u32 = u32::MAX;

/// Sorts records by owner and type without comparing names: the number of each owner's records says where they go.
/// Makes ends of the counts.
fn in_order(records: &Records, numbers: &[u32], counts: &mut [(u32, Has)]) -> Vec<Item> {
    let mut sum = 0;
    for (count, _) in counts.iter_mut() {
        sum += std::mem::replace(count, sum);
    }
    let Some(any) = records.items.first() else {
        return Vec::new();
    };
    let mut items = vec![*any; sum as usize];
    for (item, number) in records.items.iter().zip(numbers) {
        // Starts become ends while the places fill.
        if let Some((at, _)) = counts.get_mut(*number as usize) {
            if let Some(place) = items.get_mut(*at as usize) {
                *place = *item;
            }
            *at += 1;
        }
    }
    let mut start = 0;
    for (end, _) in counts.iter() {
        if let Some(of_owner) = items.get_mut(start as usize..*end as usize) {
            of_owner.sort_by_key(|item| item.rtype);
        }
        start = *end;
    }
    items
}
