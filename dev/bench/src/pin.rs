//! One core for the server, another for the generator: else the scheduler decides what is measured.

use std::fs;
use std::process::{Child, Command};

use anyhow::Context;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Where the servers run.
pub(crate) const SERVER: usize = 0;
/// Where the generator runs.
pub(crate) const GENERATOR: usize = 1;

/// Puts this thread, and what it starts from now on, on a core; on a machine with one core, everything shares it.
pub(crate) fn this_thread(core: usize) -> anyhow::Result<()> {
    let mut one = CpuSet::new();
    one.set(core);
    match sched_setaffinity(None, &one) {
        Err(rustix::io::Errno::INVAL) => Ok(()), // there is no such core
        done => done.with_context(|| format!("cannot run on core {core}")),
    }
}

/// Starts a process whose threads all run on the servers' core.
pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let before = sched_getaffinity(None).context("the cores of this thread")?;
    this_thread(SERVER)?;
    let child = command.spawn();
    sched_setaffinity(None, &before).context("back to its own core")?;
    child.with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Lets all threads of a process run on both cores.
pub(crate) fn everywhere(process: u32) -> anyhow::Result<()> {
    let mut both = CpuSet::new();
    both.set(SERVER);
    both.set(GENERATOR);
    for task in fs::read_dir(format!("/proc/{process}/task")).context("a server's threads")? {
        let name = task?.file_name();
        let thread = name
            .to_str()
            .and_then(|name| Pid::from_raw(name.parse().ok()?));
        sched_setaffinity(thread, &both).context("both cores")?;
    }
    Ok(())
}
