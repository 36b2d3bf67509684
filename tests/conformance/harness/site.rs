//! Both name servers, in this process, over the plain zones of `zones/`: no service, no token zone, no release.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    thread,
};

use service::shutdown::{self, Trigger};

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

/// A path in this folder.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Both levels over the zones of this folder; started by the first that asks, and ended with the process.
pub fn servers() -> &'static [Server; 2] {
    static SERVERS: LazyLock<([Server; 2], Trigger)> = LazyLock::new(|| {
        let (tell, told) = mpsc::channel();
        let (trigger, shutdown) = shutdown::channel();
        let zones = here("zones");
        // The servers live as long as their runtime, which is on a thread of its own.
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let l1 = start_l1(&zones, shutdown.clone()).await;
                let l2 = start_l2(&zones, shutdown).await;
                tell.send([l1.server(), l2.server()]).expect("a listener");
                l1.running.wait().await.expect("an orderly end");
                l2.running.wait().await.expect("an orderly end");
            });
        });
        (told.recv().expect("both servers start"), trigger)
    });
    &SERVERS.0
}

struct Started<R> {
    name: &'static str,
    dns: SocketAddr,
    admin: SocketAddr,
    running: R,
}

impl<R> Started<R> {
    fn server(&self) -> Server {
        Server {
            name: self.name,
            dns: self.dns,
            admin: self.admin,
        }
    }
}

/// Nothing of these is there: what a server of plain zones lacks, it does without.
const ABSENT: &str = "admin = \"127.0.0.1:0\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
                      services = \"/nonexistent/services.toml\"\nreleases = \"/nonexistent/releases\"\n\
                      trusted_key = \"/nonexistent/release.pub\"\nstate = \"/nonexistent/state\"\n\
                      token_keys = \"/nonexistent/token-keys.toml\"\n";

async fn start_l1(zones: &Path, shutdown: shutdown::Shutdown) -> Started<nameserver_l1::Running> {
    let text = format!("{ABSENT}zones = {zones:?}\n");
    let config = service::config::parse("l1.toml", &text).expect("a configuration");
    let running = nameserver_l1::start(config, shutdown)
        .await
        .expect("L1 starts");
    Started {
        name: "nameserver-l1",
        dns: running.dns[0],
        admin: running.admin,
        running,
    }
}

async fn start_l2(zones: &Path, shutdown: shutdown::Shutdown) -> Started<nameserver_l2::Running> {
    let text = format!("{ABSENT}zones = [{zones:?}]\n");
    let config = service::config::parse("l2.toml", &text).expect("a configuration");
    let running = nameserver_l2::start(config, shutdown)
        .await
        .expect("L2 starts");
    Started {
        name: "nameserver-l2",
        dns: running.dns[0],
        admin: running.admin,
        running,
    }
}
