//! Daemons that tests run beside ours. They are unpacked, not installed, by `cargo xtask`, so that none is ever
//! started on the user's machine; where they are installed, those are taken.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::{example::repository, tools};

/// Where `cargo xtask test` unpacks Debian packages, below the repository.
const UNPACKED: &str = "target/peers/root";
/// Folders of programs, in that tree and on the machine; daemons are rarely on a user's path.
const PROGRAMS: [&str; 2] = ["usr/sbin", "usr/bin"];

/// A program and where its libraries are.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Finds a daemon; `None`, after saying what to install, where there is none.
///
/// # Panics
/// When it is missing and `SIGNPOST_REQUIRE_TOOLS` is `1`.
pub fn find(program: &str, debian_package: &str) -> Option<Tool> {
    let installed = below(Path::new("/"), program).map(|path| Tool {
        path,
        libraries: Vec::new(),
    });
    let found = installed.or_else(|| unpacked(&repository(UNPACKED), program));
    if found.is_none() {
        tools::available(program, debian_package);
    }
    found
}

fn below(root: &Path, program: &str) -> Option<PathBuf> {
    let places = PROGRAMS
        .iter()
        .map(|folder| root.join(folder).join(program));
    places.into_iter().find(|path| path.is_file())
}

fn unpacked(root: &Path, program: &str) -> Option<Tool> {
    let path = below(root, program)?;
    let mut libraries = vec![root.join("usr/lib"), root.join("lib")];
    for machine in ["x86_64-linux-gnu", "aarch64-linux-gnu"] {
        libraries.push(root.join("usr/lib").join(machine));
        libraries.push(root.join("lib").join(machine));
    }
    libraries.retain(|folder| folder.is_dir());
    Some(Tool { path, libraries })
}

/// Finds a file that a daemon loads while it runs: its name, below a folder of the daemon's among the libraries, where
/// packages put modules (`knot/modules-3.2/geoip.so`). Installed ones come first.
pub fn library(folder: &str, name: &str) -> Option<PathBuf> {
    let roots = [PathBuf::from("/"), repository(UNPACKED)];
    let folders = roots.iter().flat_map(|root| {
        let libraries = root.join("usr/lib");
        ["x86_64-linux-gnu", "aarch64-linux-gnu", "."]
            .map(|machine| libraries.join(machine).join(folder))
    });
    let with_children = folders.flat_map(|folder| {
        let children = fs::read_dir(&folder).into_iter().flatten().flatten();
        std::iter::once(folder).chain(children.map(|child| child.path()).collect::<Vec<_>>())
    });
    let mut files = with_children.map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

impl Tool {
    /// The top of the tree that it is in: `/`, or where its package was unpacked.
    pub fn root(&self) -> &Path {
        let top = self.path.ancestors().nth(3); // usr, sbin, the program
        top.unwrap_or(Path::new("/"))
    }

    /// A command that finds its libraries.
    ///
    /// # Panics
    /// When a folder has a colon in its name.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if !self.libraries.is_empty() {
            let paths: OsString = env::join_paths(&self.libraries).expect("folders without colons");
            command.env("LD_LIBRARY_PATH", paths);
        }
        command
    }
}

/// How long a daemon may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a daemon to end, by its process id, so that its children end with it; kills it if it does not.
pub fn end(child: &mut Child) {
    let asked = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    let until = Instant::now() + PATIENCE;
    while asked.is_ok() && Instant::now() < until {
        match child.try_wait() {
            Ok(None) => std::thread::yield_now(),
            _ => return,
        }
    }
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
}
