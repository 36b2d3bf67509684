//! Where IPv4 ranges start, as bits: one cache line holds all that a query needs to know of a /16 but its units.
//!
//! Scopes end at /24, so a /16 has 256 places where a range can start. Which range an address lies in is the number
//! of bits up to it, and the neighbouring bits are the range's ends. A binary search over 1.8 million starts waits
//! for memory about five times, this once.

use crate::ranges::{Place, Starts};
use crate::subnet::Key;

/// The starts of all IPv4 ranges.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    blocks: Box<[Block; BLOCKS]>,
}

/// The number of /16 networks.
const BLOCKS: usize = 1 << 16;

/// A /16.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Block {
    /// For each of its /18 networks, a bit for each /24, lowest first: set if a range starts there.
    starts: [u64; 4],
    /// For each of its /18 networks, how many ranges start before it, anywhere.
    ranks: [u32; 4],
    /// The last start before this block.
    before: u32,
    /// The last key of the range that the block's last key lies in.
    after: u32,
}

impl Starts for Bitmap {
    type Key = u32;

    /// `starts` ascend from 0 and are multiples of a /24.
    fn new(starts: Vec<u32>) -> Bitmap {
        let mut blocks = vec![Block::default(); BLOCKS];
        for start in &starts {
            if let Some(block) = blocks.get_mut(start.top16()) {
                let (word, bit) = place(*start);
                block.starts[word] |= 1 << bit;
            }
        }
        let mut rank = 0;
        let mut before = 0;
        for (block, top) in blocks.iter_mut().zip(0_u32..) {
            block.before = before;
            for (word, rank_of_word) in block.starts.iter().zip(&mut block.ranks) {
                *rank_of_word = rank;
                rank += word.count_ones();
            }
            before = last_start(&block.starts, top << 16).unwrap_or(before);
        }
        let mut after = u32::MAX;
        for (top, block) in blocks.iter_mut().enumerate().rev() {
            block.after = after;
            if let Some(start) = first_start(&block.starts, (top as u32) << 16) {
                after = start.wrapping_sub(1); // of address 0, used by no one
            }
        }
        let blocks = blocks.try_into().expect("as many blocks as were made");
        Bitmap { blocks }
    }

    #[inline]
    fn around(&self, key: u32) -> Place<u32> {
        let block = &self.blocks[key.top16()];
        let (word, bit) = place(key);
        let network = key & !0x3fff;
        let starts = block.starts[word];
        let up_to_here = u64::MAX >> (63 - bit);
        let (below, above) = (starts & up_to_here, starts & !up_to_here);
        let first = match below {
            0 => last_start(&block.starts[..word], key & !0xffff).unwrap_or(block.before),
            below => network | (63 - below.leading_zeros()) << 8,
        };
        let last = match above {
            0 => match first_start(&block.starts[word + 1..], network.wrapping_add(0x4000)) {
                None => block.after,
                Some(next) => next - 1,
            },
            above => (network | above.trailing_zeros() << 8) - 1,
        };
        Place {
            // A range starts at address 0, so there is one up to every key.
            index: (block.ranks[word] + below.count_ones()).wrapping_sub(1) as usize,
            first,
            last,
        }
    }

    fn following(&self, place: &Place<u32>) -> Option<Place<u32>> {
        Some(self.around(place.last.checked_add(1)?))
    }
}

/// The place of a /24 in its /16: which /18, and which bit of it.
#[inline]
fn place(key: u32) -> (usize, u32) {
    ((key >> 14 & 3) as usize, key >> 8 & 63)
}

/// The last start in some /18 networks, the first of which begins at `first`.
#[inline]
fn last_start(words: &[u64], first: u32) -> Option<u32> {
    let number = words.iter().rposition(|word| *word != 0)?;
    let word = words.get(number)?;
    Some(first + ((number as u32) << 14) + ((63 - word.leading_zeros()) << 8))
}

/// The first start in some /18 networks, the first of which begins at `first`.
#[inline]
fn first_start(words: &[u64], first: u32) -> Option<u32> {
    let number = words.iter().position(|word| *word != 0)?;
    let word = words.get(number)?;
    Some(first + ((number as u32) << 14) + (word.trailing_zeros() << 8))
}
