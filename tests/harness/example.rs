//! The worked example in `zones/`, served by the real programs on free ports of loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use distribution::{keys, release};
use mapmaker::BuildOptions;
use nameserver::Encrypted;
use route_token::KeyRing;
use service::shutdown::{self, Trigger};
use tempfile::TempDir;
use traffic_map::{
    Map,
    services::{self, Services},
};

/// The zone of the first level.
pub const ZONE: &str = "stream.example.";
/// The token zone, of the second level.
pub const TOKENS: &str = "edge.stream.example.";
/// Where these tests say the edges listen. Nobody does, so that edges which happen to run on this machine,
/// such as those of the demo, have no say in the answers.
const NOBODY: &str = "rtsp = 1";

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What the programs are configured with.
pub struct Setup {
    /// Folder of the first level's zones.
    pub l1_zones: PathBuf,
    /// Folder of the second level's zones.
    pub l2_zones: PathBuf,
    /// Tables at the end of the first level's configuration.
    pub l1_tables: String,
    /// Tables at the end of the second level's configuration.
    pub l2_tables: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            l1_zones: repository("zones"),
            l2_zones: repository("zones/l2"),
            l1_tables: String::new(),
            l2_tables: String::new(),
        }
    }
}

/// Both levels over a release that the mapmaker built.
pub struct Example {
    /// The first level.
    pub l1: SocketAddr,
    /// The second level.
    pub l2: SocketAddr,
    /// The first level's encrypted transports, if its tables have any.
    pub l1_encrypted: Encrypted,
    /// The second level's.
    pub l2_encrypted: Encrypted,
    /// Metrics and explanations of the first level.
    pub l1_admin: SocketAddr,
    /// Metrics and explanations of the second level.
    pub l2_admin: SocketAddr,
    /// Keys of the tokens.
    pub ring: KeyRing,
    /// Whom both levels take releases from.
    pub public_key: PathBuf,
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
        Self::start_with(Setup::default()).await
    }

    /// The same with other zones, or more in the configurations.
    ///
    /// # Errors
    /// When one of the programs does not start.
    pub async fn start_with(setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ring = KeyRing::generate([9; 32]);
        std::fs::write(folder.path().join("token-keys.toml"), &ring)?;
        let mut options = BuildOptions {
            out: folder.path().join("releases"),
            ..Default::default()
        };
        options.files.world = world(folder.path())?;
        options.files.services = repository("zones/services.toml");
        let built = tokio::task::spawn_blocking(move || mapmaker::build(&options)).await??;
        let (trigger, shutdown) = shutdown::channel();
        let l1_file = folder.path().join(L1_FILE);
        std::fs::write(&l1_file, l1_config(&setup, &built.public_key))?;
        let l1_config = nameserver_l1::Config::load(&l1_file)?;
        let l1 = nameserver_l1::start(l1_config, shutdown.clone()).await?;
        let l2_file = folder.path().join("nameserver-l2.toml");
        std::fs::write(&l2_file, l2_config(&setup, &built.public_key))?;
        let l2_config = nameserver_l2::Config::load(&l2_file)?;
        let l2 = nameserver_l2::start(l2_config, shutdown).await?;
        Ok(Self {
            l1: *l1.dns.first().context("the first level listens nowhere")?,
            l2: *l2.dns.first().context("the second level listens nowhere")?,
            l1_encrypted: l1.encrypted.clone(),
            l2_encrypted: l2.encrypted.clone(),
            l1_admin: l1.admin,
            l2_admin: l2.admin,
            ring: KeyRing::from_toml(&ring)?,
            public_key: built.public_key,
            folder,
            trigger,
            programs: (l1, l2),
        })
    }

    /// The folder with releases and keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file that the first level was configured by.
    pub fn l1_file(&self) -> PathBuf {
        self.folder().join(L1_FILE)
    }

    /// The release in force, verified, with its number.
    ///
    /// # Errors
    /// When it is not as it was signed, or holds no map.
    pub fn map(&self) -> anyhow::Result<(u64, Map)> {
        let trusted = keys::read_public_keys(&self.public_key)?;
        let release = release::load(&self.folder().join("releases"), &trusted)?;
        let bytes = release.blob("map").context("the release has no map")?;
        Ok((release.generation, Map::decode(bytes)?))
    }

    /// The services of the example.
    ///
    /// # Errors
    /// When the file cannot be read or is refused.
    pub fn services(&self) -> anyhow::Result<Services> {
        let path = repository("zones/services.toml");
        let text = std::fs::read_to_string(&path)?;
        services::parse("services.toml", &text).map_err(|findings| anyhow::anyhow!("{findings:?}"))
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

/// The example's `world.toml` with its edges where nobody listens; the rest is untouched.
fn world(folder: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(repository("zones/world.toml"))?;
    let data = format!("\"{}/", repository("zones/data").display());
    let moved = text
        .replace("\"data/", &data)
        .replace("rtsp = 8554", NOBODY);
    anyhow::ensure!(!moved.contains("8554"), "an edge stays where it was");
    let path = folder.join("world.toml");
    std::fs::write(&path, moved)?;
    Ok(path)
}

const L1_FILE: &str = "nameserver-l1.toml";

/// Paths without a folder are beside the file.
fn l1_config(setup: &Setup, public_key: &Path) -> String {
    let (zones, tables) = (&setup.l1_zones, &setup.l1_tables);
    format!(
        "zones = {zones:?}\nstate = \"l1.state\"\n{}{tables}",
        common_config(public_key)
    )
}

fn l2_config(setup: &Setup, public_key: &Path) -> String {
    let (zones, tables) = (&setup.l2_zones, &setup.l2_tables);
    // The edges are all down: that is known soon.
    format!(
        "zones = [{zones:?}]\nstate = \"l2.state\"\n{}[probe]\ninterval_ms = 100\n{tables}",
        common_config(public_key)
    )
}

fn common_config(public_key: &Path) -> String {
    let services = repository("zones/services.toml");
    format!(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nworkers = 1\nservices = {services:?}\n\
         releases = \"releases\"\ntrusted_key = {public_key:?}\ntoken_keys = \"token-keys.toml\"\n"
    )
}
