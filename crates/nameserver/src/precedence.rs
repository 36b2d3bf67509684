//! Who answers goes first: reading a new version takes seconds of computing, and on a core that is nearly busy with answers
//! it would take half of it.

use std::cell::Cell;

/// The most there is: such a thread gets what those that answer leave, and on a saturated core a seventieth.
const NICENESS: i32 = 19;

thread_local! {
    static BEHIND: Cell<bool> = const { Cell::new(false) };
}

/// Lets the calling thread, which answers nobody, come behind those that do, for good: to take that back needs a privilege.
pub(crate) fn give_way() {
    if !BEHIND.replace(true) {
        // On Linux it is the thread's own. Nobody is kept from being nicer.
        let _ = rustix::process::nice(NICENESS);
    }
}
