//! The owners of a zone with their records, as the checks see them.

use super::super::records::{Item, Records};
use crate::gather::{Gathered, Has};

/// All owners of a zone.
#[derive(Clone, Copy)]
pub(super) struct Owners<'r> {
    /// Lower-cased.
    pub(super) apex: &'r [u8],
    pub(super) records: &'r Records,
    pub(super) gathered: &'r Gathered,
    /// There is a DNAME record at the apex, which hides everything else.
    pub(super) apex_is_renamed: bool,
}

/// One owner and its records.
#[derive(Clone, Copy)]
pub(super) struct Owner<'r> {
    pub(super) number: u32,
    /// Lower-cased wire name.
    pub(super) name: &'r [u8],
    pub(super) has: Has,
    /// Where its records are in the list, sorted by type.
    places: &'r [u32],
    records: &'r Records,
}

impl<'r> Owners<'r> {
    /// Every owner, in the order in which they first stand in the file.
    pub(super) fn iter(self) -> impl Iterator<Item = Owner<'r>> {
        let owners = self
            .gathered
            .numbers()
            .map(move |number| self.owner(number));
        owners.filter(|owner| !owner.places.is_empty())
    }

    /// The owner of a number.
    pub(super) fn owner(self, number: u32) -> Owner<'r> {
        Owner {
            number,
            name: self.gathered.names.name(number),
            has: self.gathered.has(number),
            places: self.gathered.records(number),
            records: self.records,
        }
    }

    /// The records of the zone's own name.
    pub(super) fn at_apex(self) -> impl Iterator<Item = &'r Item> + Clone {
        let number = self.gathered.names.find_plain(self.apex);
        let own = number.map(|number| self.owner(number));
        own.into_iter().flat_map(Owner::items)
    }
}

impl<'r> Owner<'r> {
    /// Its records, sorted by type; within a type the order of the file stays.
    pub(super) fn items(self) -> impl Iterator<Item = &'r Item> + Clone {
        items(self.records, self.places)
    }

    /// Its records type by type.
    pub(super) fn sets(self) -> impl Iterator<Item = impl Iterator<Item = &'r Item> + Clone> {
        let rtype = move |place: &u32| {
            self.records
                .items
                .get(*place as usize)
                .map(|item| item.rtype)
        };
        let sets = self
            .places
            .chunk_by(move |one, next| rtype(one) == rtype(next));
        sets.map(move |places| items(self.records, places))
    }
}

fn items<'r>(records: &'r Records, places: &'r [u32]) -> impl Iterator<Item = &'r Item> + Clone {
    places
        .iter()
        .filter_map(|place| records.items.get(*place as usize))
}
