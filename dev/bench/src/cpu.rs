//! What a server has used so far: run time of all its threads and processes from the scheduler, in nanoseconds, and how
//! much of it was its own code; and its memory.

use std::fs;
use std::ops::Sub;
use std::path::PathBuf;
use std::time::Duration;

/// What a tree of processes has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Run time of all threads that still live.
    pub(crate) run: Duration,
    /// Clock ticks in user mode: few, and good for the ratio to `system` only.
    user: u64,
    system: u64,
}

impl Used {
    /// Of a process and everything it has started.
    pub(crate) fn by(process: u32) -> Used {
        let mut used = Used::default();
        for process in tree(process) {
            let folder = PathBuf::from(format!("/proc/{process}"));
            let tasks = fs::read_dir(folder.join("task")).into_iter().flatten();
            for task in tasks.flatten() {
                used.run += run_time(&task.path().join("schedstat"));
            }
            // proc(5), fields 14 and 15, counted behind the name, which may hold anything.
            let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let ticks = |at| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
            used.user += ticks(11).unwrap_or(0);
            used.system += ticks(12).unwrap_or(0);
        }
        used
    }

    /// The run time in user mode, as far as the ticks tell.
    pub(crate) fn user_run(&self) -> Duration {
        let ticks = (self.user + self.system).max(1);
        self.run.mul_f64(self.user as f64 / ticks as f64)
    }
}

impl Sub for Used {
    type Output = Used;

    fn sub(self, before: Used) -> Used {
        Used {
            run: self.run.saturating_sub(before.run),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// Run time of the calling thread so far.
pub(crate) fn thread_time() -> Duration {
    run_time("/proc/thread-self/schedstat".as_ref())
}

/// How long a core has not been idle, whoever it worked for, since the machine's start: in ticks of ten milliseconds, all
/// kinds of proc_stat(5) but idleness and waiting for disks.
pub(crate) fn core_busy(core: usize) -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core}");
    let mut lines = text.lines().map(str::split_whitespace);
    let line = lines.find_map(|mut line| (line.next() == Some(&name)).then_some(line));
    let ticks = line
        .into_iter()
        .flatten()
        .map(|word| word.parse::<u64>().unwrap_or(0));
    let busy = ticks
        .take(8)
        .enumerate()
        .filter(|(kind, _)| !matches!(kind, 3 | 4));
    Duration::from_millis(10 * busy.map(|(_, ticks)| ticks).sum::<u64>())
}

/// Octets of memory of a process and everything it has started; shared pages count in parts (PSS).
pub(crate) fn memory(process: u32) -> u64 {
    let of_one = |process: u32| {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    tree(process).into_iter().map(of_one).sum()
}

fn run_time(schedstat: &std::path::Path) -> Duration {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|time| time.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// A process and its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(Ok(process)) = name.to_str().map(str::parse::<u32>) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let parent = fields.split_whitespace().nth(1);
        parents.extend(parent.and_then(|parent| Some((process, parent.parse::<u32>().ok()?))));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_run_time_and_memory() {
        let before = Used::by(std::process::id());
        let mut sum = 0_u64;
        while (Used::by(std::process::id()) - before).run < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(memory(std::process::id()) > 100_000);
        assert_eq!(tree(std::process::id())[0], std::process::id());
    }
}
