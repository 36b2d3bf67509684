//! Both name servers, in this process, over plain zones: no service, no token zone, no release.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    thread::{self, JoinHandle},
};

use service::shutdown::{self, Shutdown, Trigger};

/// A running name server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Which of the two, for failing tests.
    pub name: &'static str,
    /// UDP and TCP.
    pub dns: SocketAddr,
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

/// Both levels over the zones of this folder; started by the first that asks, and ended with the process.
pub fn servers() -> &'static [Server; 2] {
    static SITE: LazyLock<Site> = LazyLock::new(|| Site::start(&here("zones")));
    &SITE.servers
}

impl Site {
    /// Starts both over all zone files of a folder.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start(zones: &Path) -> Self {
        let (tell, told) = mpsc::channel();
        let (trigger, shutdown) = shutdown::channel();
        let zones = zones.to_owned();
        // The servers live as long as their runtime, which is on a thread of its own.
        let running = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let (l1, first) = start_l1(&zones, shutdown.clone()).await;
                let (l2, second) = start_l2(&zones, shutdown).await;
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

/// Nothing of these is there: what a server of plain zones lacks, it does without.
const ABSENT: &str = "admin = \"127.0.0.1:0\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
                      services = \"/nonexistent/services.toml\"\nreleases = \"/nonexistent/releases\"\n\
                      trusted_key = \"/nonexistent/release.pub\"\nstate = \"/nonexistent/state\"\n\
                      token_keys = \"/nonexistent/token-keys.toml\"\n";

async fn start_l1(zones: &Path, shutdown: Shutdown) -> (nameserver_l1::Running, Server) {
    let text = format!("{ABSENT}zones = {zones:?}\n");
    let config = service::config::parse("l1.toml", &text).expect("a configuration");
    let running = nameserver_l1::start(config, shutdown)
        .await
        .expect("L1 starts");
    let server = Server {
        name: "nameserver-l1",
        dns: running.dns[0],
        admin: running.admin,
    };
    (running, server)
}

async fn start_l2(zones: &Path, shutdown: Shutdown) -> (nameserver_l2::Running, Server) {
    let text = format!("{ABSENT}zones = [{zones:?}]\n");
    let config = service::config::parse("l2.toml", &text).expect("a configuration");
    let running = nameserver_l2::start(config, shutdown)
        .await
        .expect("L2 starts");
    let server = Server {
        name: "nameserver-l2",
        dns: running.dns[0],
        admin: running.admin,
    };
    (running, server)
}
