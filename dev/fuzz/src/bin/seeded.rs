//! Runs every target for so many seconds on examples that are spoilt by chance: `seeded SECONDS [TARGET [SEED]]`.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(10), |seconds| seconds.parse());
    let (only, seed) = (arguments.next(), arguments.next());
    let seed = seed.map_or(Ok(2026), |seed| seed.parse());
    let (Ok(seconds), Ok(seed)) = (seconds, seed) else {
        eprintln!("usage: seeded SECONDS [TARGET [SEED]]");
        return ExitCode::from(2);
    };
    let wanted = |target: &&Target| only.as_ref().is_none_or(|only| only == target.name);
    let mut good = true;
    for target in TARGETS.iter().filter(wanted) {
        good &= attack(target, Duration::from_secs(seconds), seed);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// False if a round failed.
fn attack(target: &Target, time: Duration, seed: u64) -> bool {
    let examples = (target.examples)();
    for example in &examples {
        (target.run)(example);
    }
    let begun = Instant::now();
    let mut round = 0_u64;
    while begun.elapsed() < time {
        // Each round can be run again by itself.
        let mut random = Random(seed ^ round.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let bytes = spoil(&examples, &mut random);
        if catch_unwind(|| (target.run)(&bytes)).is_err() {
            let text = String::from_utf8_lossy(&bytes);
            eprintln!(
                "{}, seed {seed}, round {round}:\n{bytes:02x?}\n{text}",
                target.name
            );
            return false;
        }
        round += 1;
    }
    println!("{}: {round} rounds", target.name);
    true
}

fn spoil(examples: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = examples[random.below(examples.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            _ if bytes.is_empty() => {}
            2 => drop(bytes.remove(at)),
            3 => {
                let end = at + random.below(bytes.len() - at);
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'('][random.below(8)],
            5 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.next() as u8,
        }
    }
    bytes
}
