//! Records gathered by owner and type, in time that grows with their number alone: no names are compared but with their
//! like, and nothing is copied but lower-cased owners.

use std::sync::Arc;

use crate::name;
use crate::names::Names;
use crate::rtype;

/// Which of the types an owner has that decide about other names or other types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Has(u8);

impl Has {
    pub(crate) const NS: Self = Self(1);
    pub(crate) const DNAME: Self = Self(2);
    pub(crate) const CNAME: Self = Self(4);
    /// Any other type.
    pub(crate) const OTHER: Self = Self(8);

    fn of(rtype: u16) -> Self {
        match rtype {
            rtype::NS => Self::NS,
            rtype::DNAME => Self::DNAME,
            rtype::CNAME => Self::CNAME,
            _ => Self::OTHER,
        }
    }

    /// True if one of these is there.
    pub(crate) fn any(self, which: Self) -> bool {
        self.0 & which.0 != 0
    }

    /// These and those.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The records of a zone, known by their place in a list that someone else keeps.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Every owner, and then every name between one and the zone's own that has no records itself.
    pub(crate) names: Arc<Names>,
    /// For each owner the end of its records in `order`, and what it has.
    ends: Vec<(u32, Has)>,
    order: Vec<u32>,
    /// Places of records that are not in the zone.
    pub(crate) outside: Vec<u32>,
    /// What any name below the zone's own has.
    pub(crate) below: Has,
}

impl Gathered {
    /// Gathers `count` records of the zone `origin` (lower-cased); `record` gives the owner and type at a place.
    /// `None` if they are more than can be numbered.
    pub(crate) fn of<'r>(
        origin: &[u8],
        count: usize,
        record: impl Fn(u32) -> (&'r [u8], u16),
    ) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        let mut names = Names::default();
        let mut ends = Vec::<(u32, Has)>::new();
        let (mut numbers, mut outside) = (Vec::with_capacity(count as usize), Vec::new());
        let mut before: Option<(&[u8], Option<u32>)> = None;
        let mut lowered = Vec::with_capacity(name::NAME_MAX);
        for place in 0..count {
            let (owner, rtype) = record(place);
            let number = match before.filter(|(same, _)| *same == owner) {
                Some((_, number)) => number,
                None => {
                    lowered.clear();
                    lowered.extend_from_slice(owner);
                    lowered.make_ascii_lowercase();
                    match name::is_within(&lowered, origin) {
                        true => Some(names.insert(&lowered)?.0),
                        false => None,
                    }
                }
            };
            before = Some((owner, number));
            numbers.push(number.unwrap_or(OUTSIDE));
            let Some(number) = number else {
                outside.push(place);
                continue;
            };
            if ends.len() < names.len() {
                ends.resize(names.len(), (0, Has::default()));
            }
            if let Some((count, has)) = ends.get_mut(number as usize) {
                *count += 1;
                *has = has.and(Has::of(rtype));
            }
        }
        for owner in 0..ends.len() as u32 {
            insert_between(owner, origin, &mut names)?;
        }
        let apex = names
            .find_plain(origin)
            .map_or(usize::MAX, |apex| apex as usize);
        let below = ends
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != apex);
        let below = below.fold(Has::default(), |all, (_, (_, has))| all.and(*has));
        let order = in_order(&numbers, &mut ends, |place| record(place).1);
        Some(Self {
            names: Arc::new(names),
            ends,
            order,
            outside,
            below,
        })
    }

    /// The numbers of all owners; those of names without records come after them.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..self.ends.len() as u32
    }

    /// Places of the records of a name, sorted by type; within a type the order of the list stays.
    pub(crate) fn records(&self, number: u32) -> &[u32] {
        let end = |number: u32| {
            self.ends
                .get(number as usize)
                .map_or(0, |(end, _)| *end as usize)
        };
        let start = number.checked_sub(1).map_or(0, end);
        self.order.get(start..end(number)).unwrap_or_default()
    }

    /// What a name has.
    pub(crate) fn has(&self, number: u32) -> Has {
        self.ends
            .get(number as usize)
            .map(|(_, has)| *has)
            .unwrap_or_default()
    }

    /// The nearest name above that is `wanted`, the zone's own included.
    pub(crate) fn above(
        &self,
        number: u32,
        origin: &[u8],
        wanted: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let above = name::suffixes(self.names.name(number)).skip(1);
        above
            .take_while(|above| above.len() >= origin.len())
            .filter_map(|above| self.names.find_plain(above))
            .find(|above| wanted(*above))
    }
}

/// The number of records outside the zone.
const OUTSIDE: u32 = u32::MAX;

/// Numbers every name between an owner and the zone's own. Where one is known already, so are those above it, or they
/// come with that owner.
fn insert_between(owner: u32, origin: &[u8], names: &mut Names) -> Option<()> {
    let length = names.name(owner).len();
    let (mut offset, mut new) = (0, true);
    while new && length - offset > origin.len() {
        offset += 1 + usize::from(*names.name(owner).get(offset)?);
        (_, new) = names.insert_suffix(owner, offset)?;
    }
    Some(())
}

/// Sorts places by number and type: the count of each number says where its places go. Makes ends of the counts.
fn in_order(numbers: &[u32], counts: &mut [(u32, Has)], rtype: impl Fn(u32) -> u16) -> Vec<u32> {
    let mut sum = 0;
    for (count, _) in counts.iter_mut() {
        sum += std::mem::replace(count, sum);
    }
    let mut order = vec![0; sum as usize];
    for (place, number) in numbers.iter().enumerate() {
        // Starts become ends while the places fill.
        if let Some((at, _)) = counts.get_mut(*number as usize) {
            if let Some(slot) = order.get_mut(*at as usize) {
                *slot = place as u32;
            }
            *at += 1;
        }
    }
    let mut start = 0;
    for (end, _) in counts.iter() {
        if let Some(of_name) = order.get_mut(start as usize..*end as usize)
            && of_name.len() > 1
        {
            of_name.sort_by_key(|place| rtype(*place));
        }
        start = *end;
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gathers_by_owner_and_type_and_numbers_what_lies_between() {
        let records: [(&[u8], u16); 6] = [
            (b"\x01A\x01b\x01t\0", 16),
            (b"\x01t\0", 6),
            (b"\x01x\x01o\0", 1),
            (b"\x01a\x01B\x01t\0", 1),
            (b"\x01a\x01b\x01t\0", 16),
            (b"\x01t\0", 2),
        ];
        let gathered = Gathered::of(b"\x01t\0", 6, |place| records[place as usize]).unwrap();
        let at = |name: &[u8]| gathered.records(gathered.names.find_plain(name).unwrap());
        assert_eq!(at(b"\x01a\x01b\x01t\0"), [3, 0, 4]);
        assert_eq!(at(b"\x01b\x01t\0"), [0; 0]);
        assert_eq!(at(b"\x01t\0"), [5, 1]);
        assert_eq!(gathered.outside, [2]);
        assert_eq!((gathered.numbers().len(), gathered.names.len()), (2, 3));
        assert!(gathered.below.any(Has::OTHER) && !gathered.below.any(Has::NS));
        let below = gathered.names.find_plain(b"\x01a\x01b\x01t\0").unwrap();
        let apex = gathered.names.find_plain(b"\x01t\0");
        let above =
            |which| gathered.above(below, b"\x01t\0", |above| gathered.has(above).any(which));
        assert_eq!(above(Has::NS), apex);
        assert_eq!(above(Has::DNAME), None);
    }

    proptest! {
        #[test]
        fn every_record_is_in_the_group_of_its_owner(
            records in prop::collection::vec((prop::sample::select(vec![
                &b"\x01t\0"[..], b"\x01a\x01t\0", b"\x01A\x01t\0", b"\x01b\x01a\x01t\0", b"\x01u\0", b"\0",
            ]), 0..4_u16), 0..30),
        ) {
            let gathered = Gathered::of(b"\x01t\0", records.len(), |place| records[place as usize]).unwrap();
            let mut seen = gathered.outside.clone();
            for number in gathered.numbers() {
                let group = gathered.records(number);
                prop_assert!(group.is_sorted_by_key(|place| (records[*place as usize].1, *place)));
                for place in group {
                    let owner = records[*place as usize].0.to_ascii_lowercase();
                    prop_assert_eq!(gathered.names.name(number), &owner[..]);
                }
                seen.extend(group);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..records.len() as u32).collect::<Vec<_>>());
        }
    }
}
