//! NSD: one server process, beside the two that manage it.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use super::Setup;

pub(super) fn prepare(setup: &Setup, command: &mut Command) -> io::Result<()> {
    let (folder, dns) = (&setup.folder, setup.dns);
    let mut text = format!(
        "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: {folder:?}\n  database: \"\"\n  \
         zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: {folder:?}\n  \
         pidfile: \"{at}/nsd.pid\"\n  server-count: 1\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  do-ip6: no\n\
         remote-control:\n  control-enable: no\n",
        dns.ip(),
        dns.port(),
        at = folder.display(),
    );
    for zone in &setup.zones {
        writeln!(
            text,
            "zone:\n  name: {:?}\n  zonefile: {:?}",
            zone.origin, zone.path
        )
        .expect("a string takes all");
    }
    let file = folder.join("nsd.conf");
    fs::write(&file, text)?;
    command.args(["-d", "-c"]).arg(file);
    Ok(())
}
