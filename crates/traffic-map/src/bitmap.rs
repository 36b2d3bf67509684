//! IPv4 ranges as bits: one cache line holds all that most queries need to know of a /17.
//!
//! Scopes end at /24, so a /17 has 128 places where a range can start. How many bits are set up to an address says
//! which range it lies in, and the neighbouring bits are the range's ends. A binary search over 1.8 million starts
//! waits for memory about five times and then once for the unit, this once altogether.

use crate::ranges::{NO_UNIT, Place, Table, Units};

/// All IPv4 ranges.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    blocks: Box<[Block; BLOCKS]>,
    units: Units,
}

/// The number of /17 networks.
const BLOCKS: usize = 1 << 17;
/// Words of a bit for each /24.
const WORDS: usize = 2;
/// Units that fit into the rest of a block's cache line. Where 1.8 million ranges are spread evenly, a /17 has 14.
const NEAR: usize = 17;

/// A /17.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block {
    /// A bit for each /24, lowest first: set if a range starts there.
    starts: [u64; WORDS],
    /// How many ranges start before this block.
    rank: u32,
    /// Where the last of them starts.
    before: u32,
    /// The last key of the range that the block's last key lies in.
    after: u32,
    /// How many ranges start in the words before each word.
    ranks: [u8; WORDS],
    /// If units are narrow, those of that last range before and of the first ones that start here.
    near: [u16; NEAR],
}

impl Table for Bitmap {
    type Key = u32;

    fn new(starts: &[u32], units: Units) -> Bitmap {
        let mut blocks = Vec::with_capacity(BLOCKS);
        let mut rest = starts;
        let mut before = 0;
        for number in 0..BLOCKS as u32 {
            let count = rest.iter().take_while(|start| **start / BLOCK == number);
            let (here, after) = rest.split_at(count.count());
            let rank = starts.len() - rest.len();
            let mut words = [0_u64; WORDS];
            for start in here {
                let (word, bit) = place(*start);
                words[word] |= 1 << bit;
            }
            let mut ranks = [0; WORDS];
            for word in 1..WORDS {
                ranks[word] = ranks[word - 1] + words[word - 1].count_ones() as u8;
            }
            blocks.push(Block {
                starts: words,
                rank: rank as u32,
                before,
                after: after.first().map_or(u32::MAX, |next| next - 1),
                ranks,
                near: units.near(rank.wrapping_sub(1)),
            });
            before = here.last().copied().unwrap_or(before);
            rest = after;
        }
        let blocks = blocks.try_into().expect("as many blocks as there are");
        Bitmap { blocks, units }
    }

    #[inline]
    fn around(&self, key: u32) -> Place<u32> {
        let block = &self.blocks[(key / BLOCK) as usize];
        let (word, bit) = place(key);
        let up_to_here = u64::MAX >> (63 - bit);
        let starts = block.starts[word];
        let (below, above) = (starts & up_to_here, starts & !up_to_here);
        let local = u32::from(block.ranks[word]) + below.count_ones();
        // A range starts at address 0, so there is one up to every key.
        let index = block.rank.wrapping_add(local).wrapping_sub(1) as usize;
        let unit = match (&self.units, block.near.get(local as usize)) {
            (Units::Narrow(_), Some(&u16::MAX)) => NO_UNIT,
            (Units::Narrow(_), Some(unit)) => u32::from(*unit),
            (units, _) => units.at(index),
        };
        let network = key & !(WORD - 1);
        Place {
            index,
            unit,
            first: match below.checked_ilog2() {
                Some(bit) => network | bit << 8,
                None => block.start_before(word, network),
            },
            last: match above {
                0 => block.end_after(word, network),
                above => (network | above.trailing_zeros() << 8).wrapping_sub(1),
            },
        }
    }

    fn following(&self, place: &Place<u32>) -> Option<Place<u32>> {
        Some(self.around(place.last.checked_add(1)?))
    }
}

impl Block {
    /// The last start before a word, which stands for `network`.
    #[inline]
    fn start_before(&self, word: usize, network: u32) -> u32 {
        let before = self.starts[..word].iter().rev();
        let networks = (1..).map(|back| network.wrapping_sub(back * WORD));
        let mut starts = before
            .zip(networks)
            .filter_map(|(bits, network)| Some(network | bits.checked_ilog2()? << 8));
        starts.next().unwrap_or(self.before)
    }

    /// The last key before the first start after a word, which stands for `network`.
    #[inline]
    fn end_after(&self, word: usize, network: u32) -> u32 {
        let after = self.starts[word + 1..].iter();
        let networks = (1..).map(|on| network.wrapping_add(on * WORD));
        let mut starts = after
            .zip(networks)
            .filter(|(bits, _)| **bits != 0)
            .map(|(bits, network)| network | bits.trailing_zeros() << 8);
        starts.next().map_or(self.after, |start| start - 1)
    }
}

/// Keys that a word of bits stands for: a /18.
const WORD: u32 = 64 << 8;
/// Keys of a block.
const BLOCK: u32 = WORD * WORDS as u32;

/// Which word of its block a key belongs to, and which bit of that.
#[inline]
fn place(key: u32) -> (usize, u32) {
    ((key / WORD) as usize % WORDS, key >> 8 & 63)
}
