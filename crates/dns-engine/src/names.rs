//! Lower-cased names by number, packed: a name costs its octets, four more, and sixteen in the table that finds it.

use crate::hashed::{Suffix, hash};
use crate::name;

/// Lower-cased wire names, numbered from 0 in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Names {
    octets: Vec<u8>,
    /// Where in `octets` each name starts; a name tells its end itself.
    starts: Vec<u32>,
    /// Open addressing with linear steps: the hash of a name, and its number plus 1, or 0 for a free slot. At most
    /// half of them are used, so that runs stay short. The low bits of a hash choose the slot, the others save most
    /// comparisons.
    slots: Vec<(u32, u32)>,
}

impl Names {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// True without any name.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: u32) -> &[u8] {
        name::read(self.from(number)).unwrap_or_default()
    }

    /// True if the first label of a name is an asterisk.
    pub(crate) fn is_wildcard(&self, number: u32) -> bool {
        self.from(number).starts_with(b"\x01*")
    }

    /// All names one after the other.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Where in the octets a name starts.
    pub(crate) fn start(&self, number: u32) -> Option<u32> {
        self.starts.get(number as usize).copied()
    }

    /// The octets from the start of a name on.
    fn from(&self, number: u32) -> &[u8] {
        let start = self.starts.get(number as usize).copied();
        let rest = start.and_then(|start| self.octets.get(start as usize..));
        rest.unwrap_or_default()
    }

    /// The number of a name.
    #[inline(always)]
    pub fn find(&self, name: Suffix<'_>) -> Option<u32> {
        let (_, number) = self.slots.get(self.slot(name.octets, name.hash)?)?;
        number.checked_sub(1)
    }

    /// The number of a name whose hash nobody knows yet.
    pub(crate) fn find_plain(&self, name: &[u8]) -> Option<u32> {
        let hash = hash(name);
        self.find(Suffix { octets: name, hash })
    }

    /// The number of a name, and whether it is new; `None` if there are too many names already.
    pub fn insert(&mut self, name: &[u8]) -> Option<(u32, bool)> {
        let start = self.octets.len();
        let found = self.enter(name, u32::try_from(start).ok()?)?;
        if found.1 {
            self.octets.extend_from_slice(name);
        }
        Some(found)
    }

    /// The number of what remains of a name behind its first `offset` octets. Its octets are shared.
    pub(crate) fn insert_suffix(&mut self, number: u32, offset: usize) -> Option<(u32, bool)> {
        let start = *self.starts.get(number as usize)? as usize + offset;
        let mut copy = name::NameBuffer::new();
        copy.set(name::read(self.octets.get(start..)?)?);
        self.enter(copy.as_slice(), start as u32)
    }

    /// Gives a name whose octets are (or will be) at `start` a number.
    fn enter(&mut self, name: &[u8], start: u32) -> Option<(u32, bool)> {
        if self.slots.len() < 2 * (self.starts.len() + 1) {
            self.grow();
        }
        let hash = hash(name);
        let number = u32::try_from(self.starts.len()).ok()?;
        let slot = self.slot(name, hash)?;
        match self.slots.get_mut(slot)? {
            (_, found @ 1..) => Some((*found - 1, false)),
            slot => {
                *slot = (hash, number.checked_add(1)?);
                self.starts.push(start);
                Some((number, true))
            }
        }
    }

    /// Where the name is, or the free slot where it belongs; `None` if the table is empty.
    #[inline(always)]
    fn slot(&self, name: &[u8], hash: u32) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let (print, number) = *self.slots.get(at)?;
            // A wire name is nowhere the beginning of another one.
            if number == 0 || print == hash && self.from(number - 1).starts_with(name) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(16);
        let slots = std::mem::replace(&mut self.slots, vec![(0, 0); length]);
        for slot in slots.into_iter().filter(|slot| slot.1 != 0) {
            let mut at = slot.0 as usize & (length - 1);
            while self.slots[at].1 != 0 {
                at = (at + 1) & (length - 1);
            }
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_finds_them_again() {
        let mut table = Names::default();
        assert_eq!(table.find_plain(b"\x01a\0"), None);
        let names: Vec<Vec<u8>> = (0..5_000)
            .map(|number| format!("\x06h{number:05}\x01t\0").into_bytes())
            .collect();
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.insert(name), Some((number as u32, true)));
            assert_eq!(table.insert(name), Some((number as u32, false)));
        }
        assert_eq!(table.len(), names.len());
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.find_plain(name), Some(number as u32));
            assert_eq!(table.name(number as u32), name);
        }
        assert_eq!(table.find_plain(b"\x06h00000\x01u\0"), None);
    }

    #[test]
    fn suffixes_share_the_octets_of_the_name() {
        let mut table = Names::default();
        table.insert(b"\x01a\x01b\x01c\0");
        assert_eq!(table.insert_suffix(0, 2), Some((1, true)));
        assert_eq!(table.insert_suffix(0, 2), Some((1, false)));
        assert_eq!(table.insert_suffix(0, 6), Some((2, true)));
        assert_eq!(
            (table.name(1), table.name(2)),
            (&b"\x01b\x01c\0"[..], &b"\0"[..])
        );
        assert_eq!(table.find_plain(b"\x01b\x01c\0"), Some(1));
        assert_eq!(table.octets.len(), 7);
        assert_eq!(table.insert(b"\x01b\x01c\0"), Some((1, false)));
    }
}
