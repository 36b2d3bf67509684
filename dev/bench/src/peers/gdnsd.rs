//! gdnsd: one UDP and one TCP thread. Its zones are files in its folder, named like the zone.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::Setup;
use crate::works::geo;

pub(super) fn prepare(setup: &Setup, command: &mut Command) -> io::Result<()> {
    let folder = &setup.folder;
    fs::create_dir_all(folder.join("zones"))?;
    fs::create_dir_all(folder.join("geoip"))?;
    for zone in &setup.zones {
        symlink(
            &zone.path,
            folder.join("zones").join(zone.origin.trim_end_matches('.')),
        )?;
    }
    let mut text = format!(
        "options => {{\n  listen => [ {} ]\n  udp_threads => 1\n  tcp_threads => 1\n  run_dir => {:?}\n  state_dir => {:?}\n}}\n",
        setup.dns,
        folder.join("run"),
        folder.join("state"),
    );
    if setup.by_client {
        text.push_str(&plugins());
        fs::write(folder.join("geoip/nets"), networks())?;
        let names: String = (0..geo::NAMES)
            .map(|name| format!("_rtsp._tcp.g{name} 30 DYNA geoip!r\n"))
            .collect();
        fs::write(folder.join("zones/geo.test"), geo::zone(&names))?;
    }
    fs::write(folder.join("config"), text)?;
    command.arg("-c").arg(folder).arg("start");
    Ok(())
}

/// One map of networks for all names.
fn plugins() -> String {
    let mut pools = String::new();
    let mut places = Vec::new();
    for pool in 0..geo::POOLS {
        let addresses: Vec<String> = geo::addresses(pool).map(|a| a.to_string()).collect();
        writeln!(pools, "          dc{pool} => [ {} ]", addresses.join(", "))
            .expect("a string takes all");
        places.push(format!("dc{pool}"));
    }
    format!(
        "plugins => {{ geoip => {{\n  maps => {{ m => {{ datacenters => [ {} ], nets => nets }} }}\n  \
         resources => {{ r => {{ map => m, service_types => up, dcmap => {{\n{pools}  }} }} }}\n}} }}\n",
        places.join(", ")
    )
}

fn networks() -> String {
    let mut text = String::new();
    for (network, pool) in geo::networks() {
        writeln!(text, "{network}/24 => [ dc{pool} ]").expect("a string takes all");
    }
    text
}
