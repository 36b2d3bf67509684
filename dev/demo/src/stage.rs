//! Everything that has to lie on disk before the programs start: keys, the worked example with the show's ports, a signed
//! release, a title, and one configuration file per program.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use mapmaker::{BuildOptions, Built};
use toml::{Table, Value};

use crate::ports::Ports;

/// The title that the show plays, and the service of that name.
pub(crate) const TITLE: &str = "live";
/// Size and rate of the test picture.
const PICTURE: &str = "640x360@30";
/// The file an edge writes measurement lines to, beside its configuration.
const REPORTS: &str = "measurements.csv";
/// Quality of the coded picture: about 1 Mbit/s for both descriptions together.
const QUANTIZER: u8 = 28;

/// A set stage.
pub(crate) struct Stage {
    /// Where all of it lies.
    pub(crate) dir: PathBuf,
    /// What the mapmaker says of its first release.
    pub(crate) built: Built,
    /// Seconds that building it took.
    pub(crate) build_seconds: f64,
    /// Frames of the title.
    pub(crate) frames: u32,
    /// The edges of the world, in the order of their names.
    pub(crate) edges: Vec<StagedEdge>,
}

/// An edge and its configuration file.
pub(crate) struct StagedEdge {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) config: PathBuf,
}

impl Stage {
    /// How the stage's map is built.
    pub(crate) fn build_options(&self) -> BuildOptions {
        build_options(&self.dir)
    }
}

impl StagedEdge {
    /// Where the edge writes what players report.
    pub(crate) fn reports(&self) -> PathBuf {
        self.config.with_file_name(REPORTS)
    }
}

/// Sets the stage in `dir`, which is emptied first.
pub(crate) fn build(dir: &Path, ports: &Ports, seconds: u32) -> anyhow::Result<Stage> {
    let dir = empty(dir)?;
    copy_example(&dir, ports)?;
    let world: Table = read_toml(&dir.join("zones/world.toml"))?;
    let edges = write_identities(&dir, &world)?;
    let keys = route_token::KeyRing::generate(rand::random());
    let mut ring = fs::OpenOptions::new();
    let mut ring = ring
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join("token-keys.toml"))?;
    ring.write_all(keys.as_bytes())?;

    let started = std::time::Instant::now();
    let built = mapmaker::build(&BuildOptions {
        progress: true,
        ..build_options(&dir)
    })?;
    let build_seconds = started.elapsed().as_secs_f64();
    let frames = make_title(&dir.join("titles"), seconds)?;
    write_configurations(&dir, ports, &world, &edges)?;
    Ok(Stage {
        dir,
        built,
        build_seconds,
        frames,
        edges,
    })
}

fn build_options(dir: &Path) -> BuildOptions {
    BuildOptions {
        files: mapmaker::inputs::Files {
            world: dir.join("zones/world.toml"),
            services: dir.join("zones/services.toml"),
            measurements: Vec::new(),
        },
        out: dir.join("releases"),
        key: None,
        override_reason: None,
        always_publish: false,
        progress: false,
    }
}

/// Makes the folder anew. Only a folder that an earlier show made is ever removed.
fn empty(dir: &Path) -> anyhow::Result<PathBuf> {
    const MARK: &str = ".signpost-demo";
    if dir.exists() {
        let ours = dir.join(MARK).exists() || fs::read_dir(dir)?.next().is_none();
        anyhow::ensure!(
            ours,
            "{} is not a demo's folder; name another with --dir",
            dir.display()
        );
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    fs::write(
        dir.join(MARK),
        "made by the demo, which removes it the next time\n",
    )?;
    dir.canonicalize()
        .with_context(|| dir.display().to_string())
}

/// Copies `zones/`, with the show's ports in the world and in the services.
fn copy_example(dir: &Path, ports: &Ports) -> anyhow::Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../zones");
    copy_folder(&example, &dir.join("zones"))?;
    edit_toml(&dir.join("zones/services.toml"), |services| {
        for service in tables(services, "service") {
            if let Some(Value::Table(srv)) = service.get_mut("srv") {
                srv.insert("port".into(), i64::from(ports.rtsp).into());
            }
        }
    })?;
    edit_toml(&dir.join("zones/world.toml"), |world| {
        for edge in tables(world, "edge") {
            let address = first_address(edge);
            edge.insert("rtsp".into(), i64::from(ports.rtsp).into());
            edge.insert(
                "handoff".into(),
                format!("{address}:{}", ports.handoff).into(),
            );
        }
        for map in tables(world, "map") {
            map.insert("identities".into(), "identities.toml".into());
        }
    })
}

/// One Ed25519 key per edge: the private one in the edge's folder, the public ones beside the world.
fn write_identities(dir: &Path, world: &Table) -> anyhow::Result<Vec<StagedEdge>> {
    let mut public = Table::new();
    let mut edges = Vec::new();
    for name in edge_names(world) {
        let home = dir.join("edges").join(&name);
        fs::create_dir_all(&home)?;
        let key = distribution::keys::generate();
        distribution::keys::write_signing_key(&home.join("identity.key"), &key)?;
        let text = distribution::keys::to_text(key.verifying_key().as_bytes());
        public.insert(name.clone(), text.into());
        let region = region_of(world, &name);
        edges.push(StagedEdge {
            config: home.join("media-edge.toml"),
            region,
            name,
        });
    }
    fs::write(dir.join("zones/identities.toml"), public.to_string())?;
    Ok(edges)
}

/// Encodes the test picture into two descriptions; its frame count.
fn make_title(titles: &Path, seconds: u32) -> anyhow::Result<u32> {
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("media-edge title create  {bar:30} {percent} %  {elapsed}")
            .context("the bar's template")?,
    );
    let settings = media_edge::title::Settings {
        name: Some(TITLE.into()),
        quantizer: Some(QUANTIZER),
        ..Default::default()
    };
    let input = format!("pattern:{PICTURE}:{seconds}s");
    let created = media_edge::title::create(&input, titles, &settings, |progress| {
        bar.set_length(progress.total.unwrap_or(progress.frames).into());
        bar.set_position(progress.frames.into());
    })?;
    bar.finish_and_clear();
    Ok(created.manifest.frames)
}

fn write_configurations(
    dir: &Path,
    ports: &Ports,
    world: &Table,
    edges: &[StagedEdge],
) -> anyhow::Result<()> {
    let admin = |offset: u16| match ports.admin {
        0 => 0,
        first => first + offset,
    };
    let nameserver = |name: &str, port: u16, admin: u16, zones: Value| {
        let mut config = Table::new();
        config.insert("listen".into(), vec![format!("127.0.0.1:{port}")].into());
        config.insert("admin".into(), format!("127.0.0.1:{admin}").into());
        config.insert("zones".into(), zones);
        config.insert("services".into(), "zones/services.toml".into());
        config.insert("releases".into(), "releases".into());
        config.insert("trusted_key".into(), "release.pub".into());
        config.insert("state".into(), format!("{name}.state").into());
        config.insert("token_keys".into(), "token-keys.toml".into());
        fs::write(dir.join(format!("{name}.toml")), config.to_string())
    };
    nameserver("nameserver-l1", ports.l1, admin(0), "zones".into())?;
    nameserver("nameserver-l2", ports.l2, admin(1), vec!["zones/l2"].into())?;

    let world_edges = world
        .get("edge")
        .and_then(Value::as_table)
        .context("no edges")?;
    for (number, edge) in (1..).zip(edges) {
        let mut place = world_edges[&edge.name]
            .as_table()
            .cloned()
            .unwrap_or_default();
        let address = first_address(&mut place);
        let mut config = Table::new();
        config.insert("name".into(), edge.name.clone().into());
        config.insert("listen".into(), listen(&place, ports.rtsp).into());
        config.insert(
            "handoff".into(),
            format!("{address}:{}", ports.handoff).into(),
        );
        config.insert(
            "admin".into(),
            format!("127.0.0.1:{}", admin(99 + number)).into(),
        );
        config.insert("titles".into(), home_of_titles(number).into());
        config.insert("identity".into(), "identity.key".into());
        config.insert("reports".into(), REPORTS.into());
        let origin = edges.first().filter(|origin| origin.name != edge.name);
        let sources: Vec<String> = origin
            .map(|origin| origin.name.clone())
            .into_iter()
            .collect();
        config.insert("sources".into(), sources.into());
        let mut releases = Table::new();
        releases.insert("folder".into(), "../../releases".into());
        releases.insert("trusted_key".into(), "../../release.pub".into());
        releases.insert("state".into(), "generation.state".into());
        config.insert("releases".into(), releases.into());
        fs::write(&edge.config, config.to_string())?;
    }
    Ok(())
}

/// The first edge has the title on its disk. The others start empty and pull it from there, or, in a handoff, from the
/// edge that hands over.
fn home_of_titles(number: u16) -> &'static str {
    if number == 1 {
        "../../titles"
    } else {
        "titles"
    }
}

fn listen(edge: &Table, port: u16) -> Vec<String> {
    let addresses = edge.get("addr").and_then(Value::as_array);
    let texts = addresses.into_iter().flatten().filter_map(Value::as_str);
    let sockets = texts.filter_map(|text| text.parse().ok());
    sockets
        .map(|address| std::net::SocketAddr::new(address, port).to_string())
        .collect()
}

fn first_address(edge: &mut Table) -> String {
    let first = edge
        .get("addr")
        .and_then(|addresses| addresses.get(0))
        .and_then(Value::as_str);
    first.unwrap_or_default().to_owned()
}

fn edge_names(world: &Table) -> Vec<String> {
    let edges = world.get("edge").and_then(Value::as_table);
    edges
        .map(|edges| edges.keys().cloned().collect())
        .unwrap_or_default()
}

/// The region that lists the edge.
fn region_of(world: &Table, edge: &str) -> String {
    let lists = |region: &Value| {
        let edges = region.get("edges").and_then(Value::as_array);
        edges.is_some_and(|edges| edges.iter().any(|listed| listed.as_str() == Some(edge)))
    };
    let regions = world.get("region").and_then(Value::as_table);
    let found = regions.and_then(|regions| regions.iter().find(|(_, region)| lists(region)));
    found.map(|(name, _)| name.clone()).unwrap_or_default()
}

/// The tables `[name.*]` of a file.
fn tables<'a>(file: &'a mut Table, name: &str) -> impl Iterator<Item = &'a mut Table> {
    let group = file.get_mut(name).and_then(Value::as_table_mut);
    group
        .into_iter()
        .flat_map(|group| group.iter_mut())
        .filter_map(|(_, v)| v.as_table_mut())
}

fn edit_toml(path: &Path, edit: impl FnOnce(&mut Table)) -> anyhow::Result<()> {
    let mut table = read_toml(path)?;
    edit(&mut table);
    fs::write(path, table.to_string()).with_context(|| path.display().to_string())
}

fn read_toml(path: &Path) -> anyhow::Result<Table> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
