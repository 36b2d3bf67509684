//! PowerDNS: one receiver thread, one distributor, its caches as by default, its `bind` backend.

use std::fs;
use std::io;
use std::process::Command;

use signpost_tests::daemon;

use super::{Setup, bind};

pub(super) fn prepare(setup: &Setup, command: &mut Command) -> io::Result<()> {
    let (folder, dns) = (&setup.folder, setup.dns);
    let zones = folder.join("zones.conf");
    fs::write(&zones, bind::zones(setup))?;
    let mut text = format!(
        "launch=bind\nbind-config={}\nlocal-address={}\nlocal-port={}\nsocket-dir={}\nreceiver-threads=1\n\
         distributor-threads=1\ndaemon=no\nguardian=no\nzone-cache-refresh-interval=0\nloglevel=3\n",
        zones.display(),
        dns.ip(),
        dns.port(),
        folder.display(),
    );
    if let Some(backend) = daemon::library("pdns", "libbindbackend.so") {
        let modules = backend.parent().unwrap_or(folder).display();
        text.push_str(&format!("module-dir={modules}\n"));
    }
    fs::write(folder.join("pdns.conf"), text)?;
    command.arg(format!("--config-dir={}", folder.display()));
    Ok(())
}
