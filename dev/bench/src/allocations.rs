//! Counts what is allocated: a query must cost none.

#![allow(
    unsafe_code,
    reason = "a global allocator that counts has no safe form"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::engine::Engine;
use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::{statics, tokens};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain cell of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations a warm query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allocations {
    /// Static, by client, and denied, at the first level.
    pub(crate) l1: f64,
    /// Tokens' addresses at the second.
    pub(crate) l2: f64,
}

/// Asks both levels' engines, with their real tailors, everything twice, and counts the second time.
pub(crate) fn count(site: &Site, known: &tokens::Known) -> anyhow::Result<Allocations> {
    let names = statics::names(statics::NAMES, &[1], &[]);
    let first = [names, tokens::clients(known, None), statics::invented()];
    Ok(Allocations {
        l1: of_level(Level::L1, site, &first)?,
        l2: of_level(Level::L2, site, &[tokens::addresses(known, tokens::OPENED)])?,
    })
}

/// The kinds of questions by turns, as a server with several zones is asked.
fn of_level(level: Level, site: &Site, kinds: &[Questions]) -> anyhow::Result<f64> {
    let mut engine = Engine::new(level, site)?;
    let turns = kinds.iter().map(Questions::len).max().unwrap_or(0);
    let mut round = || {
        let mut answered = 0;
        for turn in 0..turns {
            for questions in kinds {
                answered += usize::from(engine.ask(questions, turn % questions.len()));
            }
        }
        answered
    };
    round();
    let before = ALLOCATIONS.with(Cell::get);
    let answered = round();
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    let asked = turns * kinds.len();
    anyhow::ensure!(answered == asked, "{answered} right answers of {asked}");
    Ok(allocations as f64 / asked as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_counts() {
        let before = ALLOCATIONS.with(Cell::get);
        drop(std::hint::black_box(vec![1_u8]));
        assert_eq!(ALLOCATIONS.with(Cell::get), before + 1);
    }
}
