//! Two hosts on this machine: network namespaces with one wire (a veth pair) between them. It takes root, and a kernel that
//! lets it have them; both go away with the value, also when a test panics.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "tests that take this file in use their part"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The server's interface.
pub const INTERFACE: &str = "dns0";
/// The client's.
const CLIENT: &str = "client0";
/// The server's addresses (RFC 5737, RFC 3849).
pub const SERVER_V4: &str = "192.0.2.1";
/// See above.
pub const SERVER_V6: &str = "2001:db8::1";
/// The client's.
const CLIENT_V4: &str = "192.0.2.2";
const CLIENT_V6: &str = "2001:db8::2";

/// Tells the namespaces of one process apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A host.
pub struct Namespace(String);

/// Two hosts and the wire between them.
pub struct Wire {
    /// Where the server is to run.
    pub server: Namespace,
    /// Where the clients are.
    pub client: Namespace,
}

impl Wire {
    /// Makes them, with packets of so many octets.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unsupported` when this machine does not allow it; anything else is a fault.
    pub fn new(mtu: u32) -> io::Result<Self> {
        let wire = Self {
            server: Namespace::new("server")?,
            client: Namespace::new("client")?,
        };
        let (server, client) = (&wire.server.0, &wire.client.0);
        ip(&format!(
            "link add {INTERFACE} netns {server} mtu {mtu} type veth peer name {CLIENT} mtu {mtu} netns {client}"
        ))?;
        for (namespace, interface, v4, v6) in [
            (server, INTERFACE, SERVER_V4, SERVER_V6),
            (client, CLIENT, CLIENT_V4, CLIENT_V6),
        ] {
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set {interface} up"))?;
            ip(&format!(
                "-n {namespace} address add {v4}/24 dev {interface}"
            ))?;
            // IPv6 needs packets of 1,280 octets.
            if mtu >= 1280 {
                ip(&format!(
                    "-n {namespace} address add {v6}/64 dev {interface} nodad"
                ))?;
            }
        }
        Ok(wire)
    }

    /// Takes a program off the server's interface that somebody has left there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn clear_link(&self) -> io::Result<()> {
        ip(&format!(
            "-n {} link set {INTERFACE} xdp off",
            self.server.0
        ))
    }

    /// What `ip link` shows of the server's interface: `xdp` or `xdpgeneric` if it has a program.
    pub fn link(&self) -> String {
        let shown = self
            .server
            .command("ip")
            .args(["link", "show", INTERFACE])
            .output();
        String::from_utf8_lossy(&shown.expect("ip runs").stdout).into_owned()
    }
}

impl Namespace {
    fn new(kind: &str) -> io::Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("signpost-{kind}-{}-{number}", process::id());
        ip(&format!("netns add {name}"))?;
        Ok(Self(name))
    }

    /// A command that will run on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// The same command, to run on this host.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", &self.0]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// Puts this thread, and what it starts from now on, on this host.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn enter(&self) -> io::Result<()> {
        let file = File::open(format!("/run/netns/{}", self.0))?;
        Ok(move_into_link_name_space(
            file.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Calls a function on this host, on a thread of its own.
    ///
    /// # Panics
    /// When the function does, or the host is gone.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter().expect("a namespace that exists");
                function()
            });
            inside.join().expect("the function's own panic")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What still runs inside keeps it alive; its name goes at once.
        let _ = ip(&format!("netns delete {}", self.0));
    }
}

/// What ip(8) says where there are no namespaces to be had: of an old kernel, one without veth, and of a changed root, which
/// is no mount.
const UNSUPPORTED: &[&str] = &[
    "not implemented",
    "not supported",
    "Unknown device type",
    "Read-only file system",
    "mount --",
];

fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let kind = if says(&["not permitted", "Permission denied"]) {
        io::ErrorKind::PermissionDenied
    } else if says(UNSUPPORTED) {
        io::ErrorKind::Unsupported
    } else {
        io::ErrorKind::Other
    };
    Err(io::Error::new(kind, format!("ip {arguments}: {text}")))
}
