//! What this process, in which the servers run, holds: memory, files, panics.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Resident memory may grow by this much, for what allocators keep.
const GROWTH_MAX: usize = 4 << 20;
/// Connections that the test closed end at the server a little later.
const PATIENCE: Duration = Duration::from_secs(30);

/// Memory and open files.
#[derive(Debug)]
pub(crate) struct Use {
    resident: usize,
    files: usize,
}

impl Use {
    /// At this moment.
    pub(crate) fn now() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages = statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<usize>().ok());
        Self {
            resident: pages.expect("a number of pages") * 4096,
            files: fs::read_dir("/proc/self/fd").expect("Linux has it").count(),
        }
    }

    /// Waits until there is no more than there was.
    pub(crate) fn returns_to(before: &Self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = Self::now();
            if now.files <= before.files && now.resident <= before.resident + GROWTH_MAX {
                println!("before {before:?}, after {now:?}");
                return;
            }
            assert!(Instant::now() < until, "{now:?} after {before:?}");
            std::thread::yield_now();
        }
    }
}

/// Counts panics of any thread.
pub(crate) struct Watch {
    panics: Arc<AtomicUsize>,
}

impl Watch {
    /// From here on.
    pub(crate) fn begin() -> Self {
        let panics = Arc::new(AtomicUsize::new(0));
        let (counter, shown) = (Arc::clone(&panics), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            counter.fetch_add(1, Ordering::Relaxed);
            shown(info);
        }));
        Self { panics }
    }

    /// Fails if anything did, even where it was caught.
    pub(crate) fn nobody_panicked(&self) {
        assert_eq!(self.panics.load(Ordering::Relaxed), 0, "a thread panicked");
    }
}
