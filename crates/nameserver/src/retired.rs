//! Snapshots that are not served any more. To free a zone of a million records takes tens of milliseconds, and whoever
//! lets go of the last reference does it: that must not be a thread that answers queries. So one reference stays here
//! until it is the last one.

use std::sync::{Arc, Mutex, PoisonError};

/// Those that some worker may still answer from.
#[derive(Debug)]
pub(crate) struct Retired<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Retired<T> {
    /// Keeps what was served until now.
    pub(crate) fn keep(&self, old: Arc<T>) {
        self.lock(|kept| kept.push(old));
    }

    /// Frees what nobody uses any more, on the thread that calls this.
    pub(crate) fn free(&self) {
        // A count of one cannot rise again: what is here is not given out.
        let unused = self.lock(|kept| -> Vec<Arc<T>> {
            kept.extract_if(.., |old| Arc::strong_count(old) == 1)
                .collect()
        });
        drop(unused); // without the lock: it takes its time
    }

    fn lock<R>(&self, change: impl FnOnce(&mut Vec<Arc<T>>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frees_what_is_used_by_nobody_else() {
        let (retired, used) = (Retired::default(), Arc::new(1));
        let probe = Arc::downgrade(&used);
        retired.keep(Arc::clone(&used));
        retired.free();
        drop(used);
        assert!(probe.upgrade().is_some(), "kept for whoever used it last");
        retired.free();
        assert!(probe.upgrade().is_none());
    }
}
