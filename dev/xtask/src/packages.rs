//! Which Debian packages the tests use, and their installation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Package and the file that shows it is installed. Tests use each as a user would: as an outside client.
const NEEDED: &[(&str, &str)] = &[
    ("bind9-dnsutils", "/usr/bin/dig"),
    ("curl", "/usr/bin/curl"),
    ("fstrm-bin", "/usr/bin/fstrm_capture"),
    ("iproute2", "/usr/bin/ip"),
    ("knot-dnsutils", "/usr/bin/kdig"),
    ("ffmpeg", "/usr/bin/ffmpeg"),
    ("gstreamer1.0-tools", "/usr/bin/gst-launch-1.0"),
    ("gstreamer1.0-plugins-base", "gstreamer-1.0/libgstapp.so"),
    ("gstreamer1.0-plugins-good", "gstreamer-1.0/libgstrtsp.so"),
    (
        "gstreamer1.0-plugins-bad",
        "gstreamer-1.0/libgstvideoparsersbad.so",
    ),
    ("gstreamer1.0-libav", "gstreamer-1.0/libgstlibav.so"),
];

/// Installs what is missing with apt-get, after saying so. Does nothing when all is there.
pub(crate) fn install_missing() -> anyhow::Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, file)| !installed(file))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("the tests use tools of these Debian packages, install their like: {missing:?}");
    }
    eprintln!(
        "xtask: installing the Debian packages that tests use: {}",
        missing.join(" ")
    );
    quietly(apt_get(&["update"]))?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    quietly(apt_get(&install))
}

/// Runs a command whose pages of output matter only when it fails.
pub(crate) fn quietly(mut command: Command) -> anyhow::Result<()> {
    eprintln!("xtask: {command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(())
}

/// Absolute paths are looked up as they are, others in the library folders of this machine's kind.
fn installed(file: &str) -> bool {
    let folders = [
        "",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ];
    folders.iter().any(|folder| match file.starts_with('/') {
        true => Path::new(file).exists(),
        false => Path::new(folder).join(file).exists(),
    })
}

pub(crate) fn apt_get(arguments: &[&str]) -> Command {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        sudo
    };
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
