//! Other name servers as primaries and secondaries of one of ours, with the same key.

use std::{fs, net::SocketAddr, path::Path};

use conformance::peer::{Kind, Peer};
use signpost_tests::port;
use tempfile::TempDir;

use crate::scene::{KEY, SECRET};

/// A server of another make.
pub(crate) struct Partner {
    pub(crate) peer: Peer,
    pub(crate) dns: SocketAddr,
    zones: TempDir,
}

/// What it does with a zone.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// It has the file, and tells the other server of changes.
    Primary,
    /// It follows the other server.
    Secondary,
}

impl Partner {
    /// Starts it with these zones (name, and text of a primary's); `None` where it is not installed.
    pub(crate) fn start(
        kind: Kind,
        role: Role,
        zones: &[(&str, &str)],
        other: SocketAddr,
    ) -> Option<Self> {
        Self::start_at(kind, role, zones, other, port::free().unwrap())
    }

    /// The same at an address that was promised.
    pub(crate) fn start_at(
        kind: Kind,
        role: Role,
        zones: &[(&str, &str)],
        other: SocketAddr,
        dns: SocketAddr,
    ) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        for (zone, text) in zones {
            fs::write(files.path().join(format!("{zone}zone")), text).unwrap();
        }
        let names: Vec<&str> = zones.iter().map(|(zone, _)| *zone).collect();
        let peer = Peer::configured(kind, dns, |folder| {
            let setting = Setting {
                folder,
                files: files.path(),
                dns,
                other,
                role,
            };
            match kind {
                Kind::Knot => setting.knot(&names),
                Kind::Nsd => setting.nsd(&names),
                Kind::Bind => setting.bind(&names),
            }
        })?;
        Some(Self {
            peer,
            dns,
            zones: files,
        })
    }

    /// Gives a primary another version of a zone.
    pub(crate) fn write_zone(&self, zone: &str, text: &str) {
        let aside = self.zones.path().join("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.zones.path().join(format!("{zone}zone"))).unwrap();
        self.peer.reload();
    }
}

struct Setting<'a> {
    folder: &'a Path,
    files: &'a Path,
    dns: SocketAddr,
    other: SocketAddr,
    role: Role,
}

impl Setting<'_> {
    fn knot(&self, zones: &[&str]) -> String {
        let (folder, files) = (self.folder, self.files);
        let (dns, other) = (self.dns, self.other);
        let mut text = format!(
            "server:\n  listen: {}@{}\n  rundir: {folder:?}\n  udp-workers: 1\n  tcp-workers: 2\n  background-workers: 1\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n  storage: {folder:?}\n\
             key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
             remote:\n  - id: other\n    address: {}@{}\n    key: {KEY}\n\
             acl:\n  - id: with-key\n    key: {KEY}\n    action: [transfer, notify]\n\
             template:\n  - id: default\n    storage: {files:?}\n    semantic-checks: off\n    acl: with-key\n",
            dns.ip(),
            dns.port(),
            other.ip(),
            other.port(),
        );
        text += match self.role {
            Role::Primary => {
                "    zonefile-sync: -1\n    zonefile-load: difference\n    journal-content: changes\n    notify: other\n"
            }
            Role::Secondary => {
                "    zonefile-load: none\n    journal-content: all\n    master: other\n"
            }
        };
        text += "zone:\n";
        for zone in zones {
            text += &format!("  - domain: {zone}\n    file: \"{zone}zone\"\n");
        }
        text
    }

    fn nsd(&self, zones: &[&str]) -> String {
        let (folder, files, at) = (self.folder, self.files, self.folder.display());
        let (dns, other) = (self.dns, self.other);
        let mut text = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: {files:?}\n  database: \"\"\n  \
             zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: {folder:?}\n  \
             pidfile: \"{at}/nsd.pid\"\n  server-count: 1\n  rrl-ratelimit: 0\n  do-ip6: no\n  xfrd-reload-timeout: 0\n  \
             verbosity: 2\nremote-control:\n  control-enable: no\n\
             key:\n  name: {KEY:?}\n  algorithm: hmac-sha256\n  secret: {SECRET:?}\n",
            dns.ip(),
            dns.port(),
        );
        let (ip, port) = (other.ip(), other.port());
        for zone in zones {
            text += &format!(
                "zone:\n  name: {zone:?}\n  zonefile: \"{zone}zone\"\n  provide-xfr: 127.0.0.1 {KEY}\n"
            );
            text += &match self.role {
                Role::Primary => {
                    format!("  notify: {ip}@{port} {KEY}\n  store-ixfr: yes\n  create-ixfr: yes\n")
                }
                Role::Secondary => {
                    format!("  request-xfr: {ip}@{port} {KEY}\n  allow-notify: {ip} {KEY}\n")
                }
            };
        }
        text
    }

    fn bind(&self, zones: &[&str]) -> String {
        let (folder, files) = (self.folder, self.files);
        let (dns, other) = (self.dns, self.other);
        let mut text = format!(
            "key {KEY:?} {{ algorithm hmac-sha256; secret {SECRET:?}; }};\n\
             options {{\n  directory {folder:?};\n  listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  \
             pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  empty-zones-enable no;\n  \
             notify explicit;\n  allow-transfer {{ key {KEY:?}; }};\n  check-integrity no;\n  min-refresh-time 1;\n  \
             notify-delay 0;\n  serial-query-rate 100;\n}};\ncontrols {{ }};\n",
            dns.port(),
            dns.ip(),
        );
        let (ip, port) = (other.ip(), other.port());
        for zone in zones {
            let file = files.join(format!("{zone}zone"));
            text += &match self.role {
                Role::Primary => format!(
                    "zone {zone:?} {{ type primary; file {file:?}; ixfr-from-differences yes; \
                     also-notify {{ {ip} port {port} key {KEY:?}; }}; }};\n"
                ),
                Role::Secondary => format!(
                    "zone {zone:?} {{ type secondary; file {file:?}; masterfile-format text; \
                     primaries {{ {ip} port {port} key {KEY:?}; }}; allow-notify {{ key {KEY:?}; }}; }};\n"
                ),
            };
        }
        text
    }
}
