//! The name servers and resolvers that tests run beside ours. Installing them would start daemons on the user's
//! machine, so their packages are fetched and unpacked into a folder, and nothing of them is ever configured there.

use std::path::{Path, PathBuf};
use std::{fs, process::Command};

use anyhow::Context;

use crate::packages::{apt_get, quietly};

/// Package and its program, relative to the root it is unpacked to.
const DAEMONS: &[(&str, &str)] = &[
    ("knot", "usr/sbin/knotd"),
    ("nsd", "usr/sbin/nsd"),
    ("bind9", "usr/sbin/named"),
    ("unbound", "usr/sbin/unbound"),
    ("pdns-recursor", "usr/sbin/pdns_recursor"),
];

/// Fetches and unpacks what is neither installed nor unpacked yet, after saying so.
pub(crate) fn unpack_missing() -> anyhow::Result<()> {
    let folder = repository()?.join("target/peers");
    let root = folder.join("root");
    let there =
        |program: &str| Path::new("/").join(program).exists() || root.join(program).exists();
    let missing: Vec<&str> = DAEMONS
        .iter()
        .filter(|(_, program)| !there(program))
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
