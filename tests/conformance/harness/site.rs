//! Both name servers, in this process, over plain zones: no service, no token zone, no release.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    thread::{self, JoinHandle},
};

use service::shutdown::{self, Trigger};

use crate::{certificate::shown, encrypted::Addresses, signed::Signed};

/// A running name server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Which of the two, for failing tests.
    pub name: &'static str,
    /// UDP and TCP.
    pub dns: SocketAddr,
    /// TLS, HTTPS and QUIC, where it listens for them.
    pub encrypted: Option<Addresses>,
    /// Metrics and health.
    pub admin: SocketAddr,
}

/// Both name servers; they end with it.
#[derive(Debug)]
pub struct Site {
    /// First and second level.
    pub servers: [Server; 2],
    trigger: Option<Trigger>,
    running: Option<JoinHandle<()>>,
}

/// A path in this folder.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Both levels over the zones of this folder, plain and signed; started by the first that asks, and ended with the
/// process.
pub fn servers() -> &'static [Server; 2] {
    static SITE: LazyLock<Site> = LazyLock::new(|| {
        let signed = signed();
        Site::with(
            &[&here("zones"), &signed.zones()],
            &format!("{FEATURES}{}{}", signed.table(), shown().table()),
        )
    });
    &SITE.servers
}

/// The signed zones of [`servers`]. Their files are beside the test program and stay until its next run: nobody is told
/// when a process ends.
pub fn signed() -> &'static Signed {
    static SIGNED: LazyLock<Signed> = LazyLock::new(|| Signed::make(files()));
    &SIGNED
}

/// A folder for what lives as long as the process.
pub(crate) fn files() -> &'static Path {
    static FILES: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = env::current_exe().expect("a program has a path");
        let folder = program.with_extension("files");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what the last run left can be removed");
        }
        fs::create_dir(&folder).expect("a folder");
        folder
    });
    &FILES
}

impl Site {
    /// Starts both over all zone files of a folder.
    ///
    /// # Panics
    /// When one does not start, or a zone is refused.
    pub fn start(zones: &Path) -> Self {
        Self::with(&[zones], FEATURES)
    }

    /// Starts both over the zones of this folder, with other tables in their configuration.
    ///
    /// # Panics
    /// When one does not start.
    pub fn set_up(tables: &str) -> Self {
        Self::with(&[&here("zones")], tables)
    }

    /// Starts both over all zone files of some folders, with these tables in their configuration.
    ///
    /// # Panics
    /// When one does not start, or a zone is refused.
    pub fn with(zones: &[&Path], tables: &str) -> Self {
        let faults = refused(zones);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let text = format!("{ABSENT}zones = {zones:?}\n{tables}");
        let first = service::config::parse("l1.toml", &text).expect("a configuration");
        let second = service::config::parse("l2.toml", &text).expect("a configuration");
        Self::of(first, second)
    }

    /// Starts both by their configuration files.
    ///
    /// # Panics
    /// When one does not start.
    pub fn over(l1: &Path, l2: &Path) -> Self {
        let first = nameserver_l1::Config::load(l1).expect("a configuration");
        let second = nameserver_l2::Config::load(l2).expect("a configuration");
        Self::of(first, second)
    }

    fn of(l1: nameserver_l1::Config, l2: nameserver_l2::Config) -> Self {
        let (tell, told) = mpsc::channel();
        let (trigger, shutdown) = shutdown::channel();
        // The servers live as long as their runtime, which is on a thread of its own.
        let running = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let l1 = nameserver_l1::start(l1, shutdown.clone())
                    .await
                    .expect("L1 starts");
                let l2 = nameserver_l2::start(l2, shutdown).await.expect("L2 starts");
                let first = server("nameserver-l1", &l1);
                let second = server("nameserver-l2", &l2);
                tell.send([first, second]).expect("a listener");
                l1.wait().await.expect("an orderly end");
                l2.wait().await.expect("an orderly end");
            });
        });
        Self {
            servers: told.recv().expect("both servers start"),
            trigger: Some(trigger),
            running: Some(running),
        }
    }
}

fn server(name: &'static str, running: &nameserver::Running) -> Server {
    let encrypted = &running.encrypted;
    let addresses = || {
        Some(Addresses {
            tls: *encrypted.tls.first()?,
            https: *encrypted.https.first()?,
            quic: *encrypted.quic.first()?,
        })
    };
    Server {
        name,
        dns: running.dns[0],
        encrypted: addresses(),
        admin: running.admin,
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(trigger) = self.trigger.take() {
            trigger.fire();
        }
        let ended = self.running.take().map(JoinHandle::join);
        assert!(
            !matches!(ended, Some(Err(_))) || thread::panicking(),
            "a server panicked"
        );
    }
}

/// What `check` finds wrong with the zones of some folders.
fn refused(zones: &[&Path]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("l1.toml");
    std::fs::write(&file, format!("{ABSENT}zones = {zones:?}\n")).expect("a file");
    let report = nameserver_l1::commands::check(&file);
    let is_about_a_zone = |line: &String| line.contains(".zone:") && line.contains(": error:");
    let lines = report.findings.iter().map(ToString::to_string);
    lines.filter(is_about_a_zone).collect()
}

/// What both servers call themselves.
pub const NSID: &str = "here";

/// Nothing of these is there: what a server of plain zones lacks, it does without.
pub const ABSENT: &str = "admin = \"127.0.0.1:0\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
                      services = \"/nonexistent/services.toml\"\nreleases = \"/nonexistent/releases\"\n\
                      trusted_key = \"/nonexistent/release.pub\"\nstate = \"/nonexistent/state\"\n\
                      token_keys = \"/nonexistent/token-keys.toml\"\n";
/// What is off by default.
const FEATURES: &str = "[identity]\nnsid = \"here\"\n";
