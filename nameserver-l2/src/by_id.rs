//! Where things are in a list, by their ids of 16 bits: one read, where a search has a dozen branches that nobody foresees.

/// A table as long as the largest id.
#[derive(Debug)]
pub(crate) struct ById(
    /// One more than the place; 0 for ids that nothing has.
    Vec<u32>,
);

impl ById {
    /// Ids in the order of the list.
    pub(crate) fn new(ids: impl IntoIterator<Item = u16>) -> ById {
        let mut places = Vec::new();
        for (id, place) in ids.into_iter().zip(1..) {
            let at = usize::from(id);
            if places.len() <= at {
                places.resize(at + 1, 0);
            }
            places[at] = place;
        }
        ById(places)
    }

    /// The place of the thing with this id.
    pub(crate) fn place(&self, id: u16) -> Option<usize> {
        let place = self.0.get(usize::from(id))?;
        (*place as usize).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_its_place_and_others_have_none() {
        let places = ById::new([7, 0, u16::MAX]);
        let found = [7, 0, u16::MAX, 1, 8].map(|id| places.place(id));
        assert_eq!(found, [Some(0), Some(1), Some(2), None, None]);
        assert_eq!(ById::new([]).place(0), None);
    }
}
