//! The program in a network namespace, with an interface to be served by XDP.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::namespaces::{INTERFACE, Wire};
use crate::support::{self, Site, random_map};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nameserver-l1");
const ADMIN: &str = "127.0.0.1:9301";
/// What deploy/README.md says that the program needs: port 53, and XDP.
const CAPABILITIES: &str = "-all,+net_bind_service,+net_admin,+net_raw,+bpf,+ipc_lock";

/// A running server and its wire.
pub(crate) struct Scene {
    pub(crate) wire: Wire,
    child: Child,
    _site: Site,
}

/// Starts a server with these lines in `[xdp]`; `None`, after saying so, where the kernel does not allow it.
pub(crate) fn scene(mtu: u32, lines: &str) -> Option<Scene> {
    let wire = match Wire::new(mtu) {
        Ok(wire) => wire,
        Err(error) if is_forbidden(&error) => return not_run(&error.to_string()),
        Err(error) => panic!("{error}"),
    };
    let site = Site::new();
    site.publish(&random_map(1, 10, 10));
    let big: String = (0..4)
        .map(|_| format!(" \"{}\"", "x".repeat(200)))
        .collect();
    site.write(
        "zones/stream.test.zone",
        &format!("{}big IN TXT{big}\n", support::ZONE),
    );
    let config = std::fs::read_to_string(site.config_file()).unwrap();
    let config = config
        .replace(
            "listen = [\"127.0.0.1:0\"]",
            "listen = [\"0.0.0.0:53\", \"[::]:53\"]",
        )
        .replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{ADMIN}\""));
    // The burst is more than one source is allowed.
    let config = format!(
        "{config}[rate_limit]\nenabled = false\n[xdp]\ninterfaces = [\"{INTERFACE}\"]\n{lines}"
    );
    site.write("l1.toml", &config);
    let mut command = wire.server.command("setpriv");
    command.args(["--bounding-set", CAPABILITIES, "--inh-caps", CAPABILITIES]);
    command
        .args([PROGRAM, "run", "--config"])
        .arg(site.config_file());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut scene = Scene {
        wire,
        child: command.spawn().unwrap(),
        _site: site,
    };
    let output = BufReader::new(scene.child.stdout.take().unwrap());
    let is_ready = output.lines().any(|line| line.unwrap() == "ready");
    if scene.by_xdp_mode() != "none" && is_ready {
        return Some(scene);
    }
    let mut log = String::new();
    scene.end("TERM");
    scene
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    // What bpf(2), or the socket, said; or who takes capabilities away before.
    let forbidden = ["os error 1)", "os error 38)", "not permitted"]
        .iter()
        .any(|said| log.contains(said));
    assert!(forbidden, "{log}");
    not_run(&log)
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

fn not_run(reason: &str) -> Option<Scene> {
    eprintln!("NOT RUN: this kernel does not let this process have it: {reason}");
    None
}

impl Scene {
    /// Datagrams that came by XDP so far.
    pub(crate) fn by_xdp(&self) -> u64 {
        self.metric("signpost_dns_xdp_datagrams_total{interface=\"dns0\"}")
    }

    /// A number of the server's metrics.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let page = self.metrics();
        let value = page.lines().find_map(|found| found.strip_prefix(line));
        value
            .unwrap_or_else(|| panic!("no {line} in {page}"))
            .trim()
            .parse()
            .unwrap()
    }

    /// Ends the program by this signal, and waits.
    pub(crate) fn end(&mut self, signal: &str) {
        let process = self.child.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &process]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap();
    }

    fn metrics(&self) -> String {
        let admin: SocketAddr = ADMIN.parse().unwrap();
        self.wire.server.run(|| support::page(admin, "/metrics"))
    }

    fn by_xdp_mode(&self) -> String {
        let page = self.metrics();
        let found = page.split("interface=\"dns0\",mode=\"").nth(1);
        let mode = found.and_then(|rest| rest.split('"').next());
        mode.unwrap_or("none").to_owned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
