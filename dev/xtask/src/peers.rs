//! The name servers and resolvers that tests run beside ours. Installing them would start daemons on the user's
//! machine, so their packages are fetched and unpacked into a folder, and nothing of them is ever configured there.

use std::path::{Path, PathBuf};
use std::{fs, process::Command};

use anyhow::Context;

use crate::packages::{apt_get, quietly};

/// Package and the file that shows it is there, relative to the root it is unpacked to; `*` is any folder: of a machine's
/// kind, of a version.
type Package = (&'static str, &'static str);

/// For tests.
pub(crate) const DAEMONS: &[Package] = &[
    ("knot", "usr/sbin/knotd"),
    ("nsd", "usr/sbin/nsd"),
    ("bind9", "usr/sbin/named"),
    ("unbound", "usr/sbin/unbound"),
    ("pdns-recursor", "usr/sbin/pdns_recursor"),
    ("valgrind", "usr/bin/valgrind"),
];

/// For the bench: the name servers it measures, their modules, and what counts instructions.
pub(crate) const MEASURED: &[Package] = &[
    ("gdnsd", "usr/sbin/gdnsd"),
    ("knot", "usr/sbin/knotd"),
    (
        "knot-module-geoip",
        "usr/lib/*/knot/*/geoip.so", // modules-3.2 with Debian 12
    ),
    ("nsd", "usr/sbin/nsd"),
    ("bind9", "usr/sbin/named"),
    ("pdns-server", "usr/sbin/pdns_server"),
    ("pdns-backend-bind", "usr/lib/*/pdns/libbindbackend.so"),
    ("valgrind", "usr/bin/valgrind"),
];

/// Fetches and unpacks what is neither installed nor unpacked yet, after saying so.
pub(crate) fn unpack_missing(packages: &[Package]) -> anyhow::Result<()> {
    let folder = repository()?.join("target/peers");
    let root = folder.join("root");
    let there = |file: &str| {
        let roots = [Path::new("/"), &root];
        roots.into_iter().any(|root| exists(root, file))
    };
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, file)| !there(file))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!(
        "xtask: fetching {} and unpacking them into {}: they are not installed, so no daemon starts",
        missing.join(" "),
        folder.display()
    );
    let archives = folder.join("debs");
    fs::create_dir_all(archives.join("partial")).context("a folder for packages")?;
    quietly(apt_get(&["update"]))?;
    quietly(download(&archives, &missing))?;
    for entry in fs::read_dir(&archives)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&file).arg(&root);
            quietly(unpack)?;
        }
    }
    fs::remove_dir_all(&archives).context("the fetched packages")
}

/// True if there is such a file below a folder.
fn exists(folder: &Path, file: &str) -> bool {
    match file.split_once("*/") {
        None => folder.join(file).exists(),
        Some((front, behind)) => {
            let entries = fs::read_dir(folder.join(front)).into_iter().flatten();
            let mut folders = entries.flatten().map(|entry| entry.path());
            folders.any(|folder| folder.is_dir() && exists(&folder, behind))
        }
    }
}

/// Fetches the packages and whatever they need that this machine lacks; changes nothing on it.
fn download(archives: &Path, packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args([
            "install",
            "--yes",
            "--no-install-recommends",
            "--download-only",
        ])
        .args(["-o", "Debug::NoLocking=true"])
        .arg("-o")
        .arg(format!("Dir::Cache::archives={}", archives.display()))
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn repository() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = here.ancestors().nth(2).context("xtask is in dev/xtask")?;
    Ok(top.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_folder() -> anyhow::Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let here = here.context("the repository")?;
        assert!(exists(here, "dev/xtask/src/peers.rs"));
        assert!(exists(here, "*/xtask/*/peers.rs"));
        assert!(!exists(here, "*/xtask/*/pears.rs") && !exists(here, "*/*/*/nothing"));
        Ok(())
    }
}
