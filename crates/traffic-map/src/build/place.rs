//! From an assignment to placements: shares in thousandths, then the fallbacks.

use crate::placement::{Choice, SHARE_TOTAL};

/// Regions that share one unit at most; an optimum splits hardly more units than there are full regions.
const SHARED_MAX: usize = 3;
/// Ranked fallbacks behind them.
const FALLBACKS_MAX: usize = 3;

/// What one unit's placement is made from; regions are numbered as in `ids`.
pub(crate) struct Basis<'a> {
    /// The flow of the unit, empty if all of it is unplaced (or it has no demand).
    pub(crate) flow: &'a [(usize, u64)],
    /// Cost by region; `None` for a region that may not serve this class.
    pub(crate) cost: &'a [Option<u32>],
    /// For each region, the regions it spills into first.
    pub(crate) spill: &'a [Vec<usize>],
    /// Region ids.
    pub(crate) ids: &'a [u16],
}

/// The placement: shared regions, then the first region's spill list, then the next best by cost.
/// A unit without flow goes to its best region: an answer over capacity is better than none.
pub(crate) fn place(basis: &Basis<'_>) -> Vec<Choice> {
    let mut by_cost: Vec<usize> = (0..basis.cost.len())
        .filter(|region| cost(basis, *region).is_some())
        .collect();
    by_cost.sort_by_key(|region| (cost(basis, *region), *region));
    let mut shared: Vec<(usize, u64)> = basis.flow.to_vec();
    if shared.is_empty() {
        shared.extend(by_cost.first().map(|best| (*best, 1)));
    }
    shared.sort_by_key(|(region, amount)| (std::cmp::Reverse(*amount), *region));
    shared.truncate(SHARED_MAX);
    let mut choices: Vec<(usize, u16)> = shares(&shared);
    let first = choices.first().map_or(usize::MAX, |(region, _)| *region);
    let spill = basis.spill.get(first).map_or(&[][..], Vec::as_slice);
    let allowed = spill
        .iter()
        .copied()
        .filter(|region| cost(basis, *region).is_some());
    let fallbacks: Vec<usize> = allowed.chain(by_cost.iter().copied()).collect();
    let most = choices.len() + FALLBACKS_MAX;
    for region in fallbacks {
        if choices.len() < most && choices.iter().all(|(known, _)| *known != region) {
            choices.push((region, 0));
        }
    }
    let mut choices: Vec<Choice> = choices
        .into_iter()
        .filter_map(|(region, share)| {
            Some(Choice {
                region: *basis.ids.get(region)?,
                share,
            })
        })
        .collect();
    let shared = choices.iter().take_while(|choice| choice.share > 0).count();
    if let Some(shared) = choices.get_mut(..shared) {
        shared.sort_by_key(|choice| (std::cmp::Reverse(choice.share), choice.region));
    }
    choices
}

/// The placement an override asks for: its order, the first one with everything.
pub(crate) fn forced(order: &[u16]) -> Vec<Choice> {
    let share = |rank| if rank == 0 { SHARE_TOTAL as u16 } else { 0 };
    let ranked = order.iter().take(1 + FALLBACKS_MAX).enumerate();
    ranked
        .map(|(rank, region)| Choice {
            region: *region,
            share: share(rank),
        })
        .collect()
}

fn cost(basis: &Basis<'_>, region: usize) -> Option<u32> {
    basis.cost.get(region).copied().flatten()
}

/// Thousandths by largest remainder; a share that would round to nothing goes to the others.
fn shares(amounts: &[(usize, u64)]) -> Vec<(usize, u16)> {
    let total: u128 = amounts.iter().map(|(_, amount)| u128::from(*amount)).sum();
    let exact = |amount: u64| u128::from(amount) * u128::from(SHARE_TOTAL);
    let mut shares: Vec<(usize, u16, u128)> = amounts
        .iter()
        .map(|(region, amount)| {
            let quotient = exact(*amount).checked_div(total).unwrap_or(0);
            (
                *region,
                quotient as u16,
                exact(*amount).checked_rem(total).unwrap_or(0),
            )
        })
        .collect();
    let given: u32 = shares.iter().map(|(_, share, _)| u32::from(*share)).sum();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(shares.get(*i).map(|share| share.2)));
    for i in order
        .into_iter()
        .take(SHARE_TOTAL.saturating_sub(given) as usize)
    {
        if let Some(share) = shares.get_mut(i) {
            share.1 += 1;
        }
    }
    shares
        .into_iter()
        .filter(|share| share.1 > 0)
        .map(|share| (share.0, share.1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flow: &[(usize, u64)], cost: &[Option<u32>], expected: &[(u16, u16)]) {
        let ids: Vec<u16> = (10..20).collect();
        let mut spill = vec![Vec::new(); 10];
        spill[1] = vec![4];
        let got = place(&Basis {
            flow,
            cost,
            spill: &spill,
            ids: &ids,
        });
        let got: Vec<_> = got
            .iter()
            .map(|choice| (choice.region, choice.share))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn the_assigned_region_comes_first_and_the_next_best_follow() {
        let cost = [Some(30), Some(10), Some(20), Some(40), Some(90)];
        check(&[(2, 7)], &cost, &[(12, 1000), (11, 0), (10, 0), (13, 0)]);
    }

    #[test]
    fn a_spill_list_goes_before_the_next_best() {
        let cost = [Some(30), Some(10), Some(20), Some(40), Some(90)];
        check(&[(1, 7)], &cost, &[(11, 1000), (14, 0), (12, 0), (10, 0)]);
    }

    #[test]
    fn shares_add_up_to_a_thousand_and_the_largest_is_first() {
        check(
            &[(0, 1), (2, 2)],
            &[Some(1); 3],
            &[(12, 667), (10, 333), (11, 0)],
        );
        check(
            &[(0, 1), (1, 1), (2, 1)],
            &[Some(1); 3],
            &[(10, 334), (11, 333), (12, 333)],
        );
        check(
            &[(0, 1), (2, 1_000_000)],
            &[Some(1); 3],
            &[(12, 1000), (10, 0), (11, 0)],
        );
    }

    #[test]
    fn a_unit_without_flow_goes_to_its_best_allowed_region() {
        check(&[], &[None, Some(9), Some(8)], &[(12, 1000), (11, 0)]);
    }
}
