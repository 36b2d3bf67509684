//! The worked example in `zones/`, served by the real programs on free ports of loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use mapmaker::BuildOptions;
use route_token::KeyRing;
use service::shutdown::{self, Shutdown, Trigger};
use tempfile::TempDir;

/// The zone of the first level.
pub const ZONE: &str = "stream.example.";
/// The token zone, of the second level.
pub const TOKENS: &str = "edge.stream.example.";

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Both levels over a release that the mapmaker built.
pub struct Example {
    /// The first level.
    pub l1: SocketAddr,
    /// The second level.
    pub l2: SocketAddr,
    /// Keys of the tokens.
    pub ring: KeyRing,
    folder: TempDir,
    trigger: Trigger,
    programs: (nameserver_l1::Running, nameserver_l2::Running),
}

impl Example {
    /// Builds the map of the example and starts both levels.
    ///
    /// # Errors
    /// When one of the programs does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ring = KeyRing::generate([9; 32]);
        std::fs::write(folder.path().join("token-keys.toml"), &ring)?;
        let mut options = BuildOptions {
            out: folder.path().join("releases"),
            ..Default::default()
        };
        options.files.world = repository("zones/world.toml");
        options.files.services = repository("zones/services.toml");
        let built = tokio::task::spawn_blocking(move || mapmaker::build(&options)).await??;
        let (trigger, shutdown) = shutdown::channel();
        let config = l1_config(folder.path(), &built.public_key);
        let l1 = nameserver_l1::start(config, shutdown.clone()).await?;
        let l2 = start_l2(folder.path(), &built.public_key, shutdown).await?;
        Ok(Self {
            l1: *l1.dns.first().context("the first level listens nowhere")?,
            l2: *l2.dns.first().context("the second level listens nowhere")?,
            ring: KeyRing::from_toml(&ring)?,
            folder,
            trigger,
            programs: (l1, l2),
        })
    }

    /// The folder with releases and keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends both programs.
    ///
    /// # Errors
    /// When a task of theirs panicked.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.trigger.fire();
        self.programs.0.wait().await?;
        self.programs.1.wait().await
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn l1_config(folder: &Path, public_key: &Path) -> nameserver_l1::Config {
    nameserver_l1::Config {
        listen: vec![any_port()],
        admin: any_port(),
        workers: 1,
        zones: repository("zones"),
        services: repository("zones/services.toml"),
        releases: folder.join("releases"),
        trusted_key: public_key.to_owned(),
        state: folder.join("l1.state"),
        token_keys: folder.join("token-keys.toml"),
    }
}

async fn start_l2(
    folder: &Path,
    public_key: &Path,
    shutdown: Shutdown,
) -> anyhow::Result<nameserver_l2::Running> {
    let config = nameserver_l2::Config {
        listen: vec![any_port()],
        admin: any_port(),
        workers: 1,
        zones: vec![repository("zones/l2")],
        services: repository("zones/services.toml"),
        releases: folder.join("releases"),
        trusted_key: public_key.to_owned(),
        state: folder.join("l2.state"),
        token_keys: folder.join("token-keys.toml"),
        ..nameserver_l2::Config::default()
    };
    nameserver_l2::start(config, shutdown).await
}
