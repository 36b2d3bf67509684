//! Placements: ranked, weighted lists of regions, kept once each and named by their content.

use std::collections::BTreeMap;

/// Choices in one placement: the shared first rank and the fallbacks behind it. Six regions are more than
/// any answer carries (at most four SRV records fit well into a small UDP answer).
pub const MAX_CHOICES: usize = 6;
/// Different placements in one map; a unit names its placement in 16 bits.
pub const MAX_PLACEMENTS: usize = 65_535;
/// The shares of one placement add up to this.
pub(crate) const SHARE_TOTAL: u32 = 1000;

/// One region of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Region id.
    pub region: u16,
    /// Share of the unit's demand in thousandths; 0 marks a fallback.
    pub share: u16,
}

/// A choice with its rank, ready to become an SRV record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// SRV priority: 0 for all regions with a share, then 1, 2, … for the fallbacks in their order.
    pub priority: u16,
    /// SRV weight: the share for priority 0, 0 for a fallback, which is alone in its priority.
    pub weight: u16,
    /// Region id.
    pub region: u16,
}

/// A placement as the map stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementView<'a> {
    /// Hash of the content: equal lists have equal ids, in every release.
    pub id: u32,
    /// Regions with a share first (largest share first, then lowest id), then the fallbacks, best first.
    /// The shares add up to 1000.
    pub choices: &'a [Choice],
}

impl<'a> PlacementView<'a> {
    /// The choices with SRV priority and weight.
    pub fn ranked(self) -> impl Iterator<Item = Ranked> + use<'a> {
        let mut fallbacks = 0;
        self.choices.iter().map(move |choice| {
            if choice.share == 0 {
                fallbacks += 1;
            }
            Ranked {
                priority: fallbacks,
                weight: choice.share,
                region: choice.region,
            }
        })
    }
}

/// All placements of a map, sorted by content; a placement is named by its index here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placements {
    /// `ends[i]` is where placement `i` ends in `choices`; it begins where the one before ends.
    ends: Vec<u32>,
    choices: Vec<Choice>,
    ids: Vec<u32>,
    /// (id, index), sorted, for look-ups by id.
    by_id: Vec<(u32, u16)>,
}

/// Why a list of choices is no placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPlacement {
    #[error("a placement is empty or longer than {MAX_CHOICES}")]
    Length,
    #[error("the shares of a placement do not add up to 1000")]
    Shares,
    #[error("a placement's choices are not in canonical order, or a region is named twice")]
    Order,
    #[error("the placements are not in ascending order")]
    NotSorted,
    #[error("there are more than {MAX_PLACEMENTS} placements")]
    TooMany,
}

impl Placements {
    /// Takes lists that are already sorted and different from each other; checks that they are.
    pub(crate) fn from_sorted<'a>(
        lists: impl Iterator<Item = &'a [Choice]>,
    ) -> Result<Placements, BadPlacement> {
        let mut placements = Placements::default();
        let mut previous: &[Choice] = &[];
        for list in lists {
            check(list)?;
            if previous >= list {
                return Err(BadPlacement::NotSorted);
            }
            previous = list;
            if placements.ends.len() >= MAX_PLACEMENTS {
                return Err(BadPlacement::TooMany);
            }
            placements.choices.extend_from_slice(list);
            placements.ends.push(placements.choices.len() as u32);
        }
        placements.name();
        Ok(placements)
    }

    /// Gives each list its id. When two lists hash alike, the later one in content order is hashed again
    /// with a counter until its id is free, so the ids depend on the set of lists only.
    fn name(&mut self) {
        let mut taken = BTreeMap::new();
        for index in 0..self.ends.len() {
            let list = self.list(index).unwrap_or(&[]);
            let mut round = 0;
            while taken.contains_key(&content_hash(list, round)) {
                round += 1;
            }
            let id = content_hash(list, round);
            taken.insert(id, index as u16);
            self.ids.push(id);
        }
        self.by_id = taken.into_iter().collect();
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn list(&self, index: usize) -> Option<&[Choice]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.choices.get(start..end)
    }

    pub(crate) fn view(&self, index: usize) -> Option<PlacementView<'_>> {
        Some(PlacementView {
            id: *self.ids.get(index)?,
            choices: self.list(index)?,
        })
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<PlacementView<'_>> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.view(usize::from(self.by_id.get(at)?.1))
    }
}

fn check(list: &[Choice]) -> Result<(), BadPlacement> {
    if list.is_empty() || list.len() > MAX_CHOICES {
        return Err(BadPlacement::Length);
    }
    if list
        .iter()
        .map(|choice| u32::from(choice.share))
        .sum::<u32>()
        != SHARE_TOTAL
    {
        return Err(BadPlacement::Shares);
    }
    for (i, choice) in list.iter().enumerate() {
        let Some(next) = list.get(i + 1) else { break };
        let falls = next.share < choice.share;
        let ties = next.share == choice.share && (choice.share == 0 || choice.region < next.region);
        let twice = list
            .iter()
            .skip(i + 1)
            .any(|other| other.region == choice.region);
        if !(falls || ties) || twice {
            return Err(BadPlacement::Order);
        }
    }
    Ok(())
}

fn content_hash(list: &[Choice], round: u32) -> u32 {
    let mut bytes = Vec::with_capacity(list.len() * 4 + 4);
    for choice in list {
        bytes.extend_from_slice(&choice.region.to_le_bytes());
        bytes.extend_from_slice(&choice.share.to_le_bytes());
    }
    if round > 0 {
        bytes.extend_from_slice(&round.to_le_bytes());
    }
    let hash = fnv1a(&bytes);
    (hash ^ (hash >> 32)) as u32
}

/// FNV-1a with a final mix (the multiplications of SplitMix64), as short inputs leave the top bits poor.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(choices: &[(u16, u16)]) -> Vec<Choice> {
        choices
            .iter()
            .map(|(region, share)| Choice {
                region: *region,
                share: *share,
            })
            .collect()
    }

    #[test]
    fn ranks_shared_regions_first_and_fallbacks_after() {
        let lists = [list(&[(4, 700), (2, 300), (9, 0), (1, 0)])];
        let placements = Placements::from_sorted(lists.iter().map(Vec::as_slice)).unwrap();
        let view = placements.view(0).unwrap();
        let ranked: Vec<_> = view
            .ranked()
            .map(|r| (r.priority, r.weight, r.region))
            .collect();
        assert_eq!(ranked, [(0, 700, 4), (0, 300, 2), (1, 0, 9), (2, 0, 1)]);
        assert_eq!(placements.by_id(view.id), Some(view));
    }

    #[test]
    fn an_id_does_not_depend_on_the_other_placements() {
        let one = [list(&[(1, 1000)])];
        let two = [list(&[(0, 1000)]), list(&[(1, 1000)])];
        let alone = Placements::from_sorted(one.iter().map(Vec::as_slice)).unwrap();
        let among = Placements::from_sorted(two.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(alone.view(0).unwrap().id, among.view(1).unwrap().id);
    }

    #[test]
    fn refuses_lists_that_are_not_canonical() {
        let check = |choices: &[(u16, u16)], expected| {
            let lists = [list(choices)];
            let got = Placements::from_sorted(lists.iter().map(Vec::as_slice));
            assert_eq!(got.unwrap_err(), expected);
        };
        check(&[], BadPlacement::Length);
        check(&[(1, 999)], BadPlacement::Shares);
        check(&[(1, 300), (2, 700)], BadPlacement::Order);
        check(&[(2, 500), (1, 500)], BadPlacement::Order);
        check(&[(2, 1000), (2, 0)], BadPlacement::Order);
        check(&[(2, 1000), (3, 0), (3, 0)], BadPlacement::Order);
    }
}
