//! BIND: one worker thread.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use super::Setup;

pub(super) fn prepare(setup: &Setup, command: &mut Command) -> io::Result<()> {
    let (folder, dns) = (&setup.folder, setup.dns);
    let mut text = format!(
        "options {{\n  directory {folder:?};\n  listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  empty-zones-enable no;\n  \
         notify no;\n  allow-transfer {{ none; }};\n  answer-cookie no;\n}};\ncontrols {{ }};\n",
        dns.port(),
        dns.ip(),
    );
    text.push_str(&zones(setup));
    let file = folder.join("named.conf");
    fs::write(&file, text)?;
    command.args(["-g", "-n", "1", "-c"]).arg(file);
    Ok(())
}

/// The zones as BIND lists them, and PowerDNS as well.
pub(super) fn zones(setup: &Setup) -> String {
    let mut text = String::new();
    for zone in &setup.zones {
        let origin = zone.origin.trim_end_matches('.');
        writeln!(
            text,
            "zone {origin:?} {{ type master; file {:?}; }};",
            zone.path
        )
        .expect("a string takes all");
    }
    text
}
