//! The records of a zone while it is read, packed into one run of octets: a zone of a million records is read
//! without a million allocations.

use super::place::{Fault, Place};

/// One record; owner and data are in [`Records`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    owner: Owner,
    data_at: u32,
    data_length: u16,
    source: u16,
    owner_place: u32,
    type_place: u32,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
}

impl Item {
    /// Where its owner stands, or its line begins.
    pub(super) fn owner_place(&self) -> Place {
        Place {
            source: self.source,
            at: self.owner_place,
        }
    }

    /// Where its type stands.
    pub(super) fn place(&self) -> Place {
        Place {
            source: self.source,
            at: self.type_place,
        }
    }
}

/// An owner that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    at: u32,
    length: u8,
}

/// What stands in front of a record's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) owner: Owner,
    pub(super) owner_place: Place,
    pub(super) rtype: u16,
    pub(super) type_place: Place,
    pub(super) ttl: u32,
}

/// All records in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Records {
    octets: Vec<u8>,
    pub(super) items: Vec<Item>,
}

impl Records {
    /// Makes room for the records of a text, at a guess: growing step by step would take twice as much for a while.
    pub(super) fn reserve(&mut self, text: &str) {
        let lines = text.bytes().filter(|octet| *octet == b'\n').count();
        self.items.reserve(lines);
        self.octets.reserve(text.len());
    }

    /// Takes what `read` appends as an owner. One that is the same as `before` is not kept twice.
    pub(super) fn owner(
        &mut self,
        before: Option<Owner>,
        place: Place,
        read: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<Owner, Fault> {
        let (at, length) = self.append(place, read)?;
        let new = self.slice(at, length);
        if let Some(before) = before.filter(|before| self.name(*before) == new) {
            self.octets.truncate(at as usize);
            return Ok(before);
        }
        let length = length as u8; // a name has at most 255 octets
        Ok(Owner { at, length })
    }

    /// Takes what `read` appends as the data of a record.
    pub(super) fn record(
        &mut self,
        head: &Head,
        read: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (data_at, length) = self.append(head.type_place, read)?;
        self.items.push(Item {
            owner: head.owner,
            data_at,
            data_length: length as u16, // 65,535 at most: checked when it was read
            source: head.type_place.source,
            owner_place: head.owner_place.at,
            type_place: head.type_place.at,
            rtype: head.rtype,
            ttl: head.ttl,
        });
        Ok(())
    }

    /// Where what `read` appends begins, and how long it is; after a fault nothing is appended.
    fn append(
        &mut self,
        place: Place,
        read: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(u32, usize), Fault> {
        let start = self.octets.len();
        let mut result = read(&mut self.octets);
        if u32::try_from(self.octets.len()).is_err() {
            let message = "the zone takes more than 4 GiB";
            result = Err(Fault::new(place, message, "delegate a part of it"));
        }
        match result {
            Ok(()) => Ok((start as u32, self.octets.len() - start)),
            Err(fault) => {
                self.octets.truncate(start);
                Err(fault)
            }
        }
    }

    /// The wire name in the case it was written.
    pub(super) fn name(&self, owner: Owner) -> &[u8] {
        self.slice(owner.at, owner.length.into())
    }

    /// The owner of a record in the case it was written.
    pub(super) fn owner_of(&self, item: &Item) -> &[u8] {
        self.name(item.owner)
    }

    /// The data, names uncompressed.
    pub(super) fn data(&self, item: &Item) -> &[u8] {
        self.slice(item.data_at, item.data_length.into())
    }

    fn slice(&self, at: u32, length: usize) -> &[u8] {
        let at = at as usize;
        self.octets.get(at..at + length).unwrap_or_default()
    }
}
