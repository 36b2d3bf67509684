//! Knot DNS: one worker each for UDP, TCP and the background. Answers by client come from its module `geoip`, which Debian
//! packs separately.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use signpost_tests::daemon;

use super::Setup;
use crate::works::geo;

pub(super) fn prepare(setup: &Setup, command: &mut Command) -> io::Result<()> {
    let (folder, dns) = (&setup.folder, setup.dns);
    let mut text = format!(
        "server:\n  listen: {}@{}\n  rundir: {folder:?}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n  \
         edns-client-subnet: on\nlog:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: {folder:?}\n",
        dns.ip(),
        dns.port(),
    );
    let module = geoip().filter(|_| setup.by_client);
    if let Some(module) = &module {
        let file = folder.join("geo.yaml");
        fs::write(&file, networks())?;
        write!(
            text,
            "module:\n  - id: mod-geoip\n    file: {module:?}\nmod-geoip:\n  - id: clients\n    config-file: {file:?}\n    \
             ttl: 30\n    mode: subnet\n"
        )
        .expect("a string takes all");
    }
    write!(
        text,
        "template:\n  - id: default\n    storage: {folder:?}\n    semantic-checks: off\n    zonefile-sync: -1\n    \
         zonefile-load: whole\n    journal-content: none\nzone:\n"
    )
    .expect("a string takes all");
    for zone in &setup.zones {
        writeln!(
            text,
            "  - domain: {}\n    file: {:?}",
            zone.origin, zone.path
        )
        .expect("a string takes all");
    }
    if module.is_some() {
        let file = folder.join("geo.zone");
        fs::write(&file, geo::zone(""))?;
        writeln!(
            text,
            "  - domain: {}\n    file: {file:?}\n    module: mod-geoip/clients",
            geo::ZONE
        )
        .expect("a string takes all");
    }
    text += &setup.more;
    let file = folder.join("knot.conf");
    fs::write(&file, text)?;
    command.arg("-c").arg(file);
    Ok(())
}

/// Where the module is, if it is there.
pub(super) fn geoip() -> Option<PathBuf> {
    daemon::library("knot", "geoip.so")
}

/// One entry for each name and network.
fn networks() -> String {
    let networks = geo::networks();
    let mut text = String::new();
    for name in 0..geo::NAMES {
        writeln!(text, "{}:", geo::owner(name)).expect("a string takes all");
        for (network, pool) in &networks {
            let records: Vec<String> = geo::services(*pool).map(|r| format!("{r:?}")).collect();
            writeln!(
                text,
                "  - net: {network}/24\n    SRV: [ {} ]",
                records.join(", ")
            )
            .expect("a string takes all");
        }
    }
    text
}
