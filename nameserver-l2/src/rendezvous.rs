//! Weighted rendezvous hashing: each key orders all servers, in proportion to their weights, and a server that comes or
//! goes moves only its own keys.

use std::net::IpAddr;

use route_token::Payload;

/// The hash of a server's name (FNV-1a, 64 bits): the same in every process and release.
pub(crate) fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a token stands for, as one number; that it was assumed moves no viewer to another server.
pub(crate) fn key(payload: &Payload) -> u64 {
    let head = u64::from(payload.service) << 48 | u64::from(payload.region) << 32;
    mix(head | u64::from(payload.placement))
}

/// A number as a seed: neighbours are as different as any two.
pub(crate) fn number(number: u64) -> u64 {
    mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// An address as part of a key.
pub(crate) fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => number(v4.to_bits().into()),
        // The map tells addresses apart by their upper half.
        IpAddr::V6(v6) => number((v6.to_bits() >> 64) as u64),
    }
}

/// The cost of a server for a key; the lowest wins. With a uniform hash u, -ln(u) / weight is an exponential race, which
/// each server wins with the probability of its share of the weights. A weight of 0 (takes no sessions) comes last.
pub(crate) fn cost(seed: u64, key: u64, weight: f64) -> f64 {
    let uniform = uniform(seed, key);
    if weight > 0.0 {
        -uniform.ln() / weight
    } else {
        f64::MAX * uniform
    }
}

/// A cost that puts servers of the same weight, which is not 0, in the same order, and needs no logarithm.
pub(crate) fn cost_among_equals(seed: u64, key: u64) -> f64 {
    -uniform(seed, key)
}

/// 53 bits, and never 0: a uniform number in (0, 1].
fn uniform(seed: u64, key: u64) -> f64 {
    ((mix(seed ^ key) >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// The finalizer of SplitMix64: every input bit moves every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f64; 4] = [100.0, 100.0, 200.0, 400.0];

    fn winner(servers: &[usize], placement: u32) -> usize {
        let key = key(&Payload {
            service: 1,
            region: 2,
            placement,
            assumed: false,
        });
        let cost = |server: &usize| cost(seed(&format!("edge{server}")), key, WEIGHTS[*server]);
        *servers
            .iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .unwrap()
    }

    #[test]
    fn servers_win_in_proportion_to_their_weights() {
        let mut wins = [0u32; 4];
        (0..80_000).for_each(|placement| wins[winner(&[0, 1, 2, 3], placement)] += 1);
        for (won, expected) in wins.into_iter().zip([10_000u32, 10_000, 20_000, 40_000]) {
            assert!(won.abs_diff(expected) < 600, "{wins:?}");
        }
    }

    #[test]
    fn a_server_that_goes_moves_only_its_own_keys() {
        for placement in 0..10_000 {
            let before = winner(&[0, 1, 2, 3], placement);
            if before != 2 {
                assert_eq!(winner(&[0, 1, 3], placement), before);
            }
        }
    }

    #[test]
    fn equals_are_ordered_as_by_their_weights() {
        for key in 0..10_000 {
            let seeds = [seed("edge1"), seed("edge2")];
            let [one, other] = seeds.map(|seed| cost(seed, key, 100.0));
            let [short, shorter] = seeds.map(|seed| cost_among_equals(seed, key));
            assert_eq!(one.total_cmp(&other), short.total_cmp(&shorter), "{key}");
        }
    }

    #[test]
    fn a_server_without_capacity_comes_last() {
        for key in 0..1000 {
            assert!(cost(seed("a"), key, 0.0) > cost(seed("b"), key, 1.0));
        }
    }
}
