//! What the command line does besides serving.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Config;
use crate::{identity, title};

/// Most of an answer that is read; metrics are some kilobytes.
const ANSWER_OCTETS_MAX: u64 = 1 << 20;
/// Longest wait for the admin port.
const DEADLINE: Duration = Duration::from_secs(5);

/// Loads the configuration, opens every title, prints the public key for the world file.
pub fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let mut problems = config.problems();
    let folders = std::fs::read_dir(&config.titles)
        .into_iter()
        .flatten()
        .flatten();
    let mut titles = 0;
    for folder in folders.filter(|folder| folder.path().join("title.toml").exists()) {
        match crate::content::check_folder(&folder.path()) {
            Ok(()) => titles += 1,
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if !problems.is_empty() {
        bail!(problems.join("; "));
    }
    println!("{}: good, {titles} titles", path.display());
    if config.identity.exists() {
        let key = identity::load_or_create(&config.identity)?;
        println!("public_key = \"{}\"", identity::public_text(&key));
    }
    Ok(())
}

/// How a title is made, from the command line.
#[derive(Debug, clap::Args)]
pub struct TitleOptions {
    /// The folder that gets the title's folder.
    #[arg(long)]
    pub out: PathBuf,
    /// The title's name; by default the input's without its ending.
    #[arg(long)]
    pub name: Option<String>,
    /// Bits per second of all descriptions together.
    #[arg(long)]
    pub bitrate: Option<u32>,
    /// A constant quantizer, 12 (finest; smaller ones count as it) to 51, instead of a bit rate.
    #[arg(long, conflicts_with = "bitrate")]
    pub quantizer: Option<u8>,
    /// Milliseconds between a description's key frames.
    #[arg(long, default_value_t = title::Settings::default().gop_ms)]
    pub gop_ms: u32,
    /// Draw the frame number into the pictures.
    #[arg(long)]
    pub stamp: bool,
    /// Leave the sound out.
    #[arg(long)]
    pub no_audio: bool,
    /// Replace a title of the same name.
    #[arg(long)]
    pub replace: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Makes a title; progress goes to stderr.
pub fn create_title(input: &str, options: &TitleOptions) -> anyhow::Result<()> {
    let settings = title::Settings {
        name: options.name.clone(),
        bitrate: options.bitrate,
        quantizer: options.quantizer,
        gop_ms: options.gop_ms,
        stamp: options.stamp,
        audio: !options.no_audio,
        replace: options.replace,
        ..title::Settings::default()
    };
    let created = title::create(input, &options.out, &settings, |progress| {
        let total = progress
            .total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default();
        eprint!("\r{} frames{total} ", progress.frames);
    });
    eprintln!();
    let created = created?;
    let manifest = &created.manifest;
    let (folder, frames) = (created.folder.display(), manifest.frames);
    if options.json {
        let descriptions = manifest.descriptions.len();
        let result = serde_json::json!({
            "title": manifest.name,
            "folder": created.folder,
            "frames": frames,
            "descriptions": descriptions,
        });
        println!("{result}");
    } else {
        println!(
            "{folder}: {frames} frames in {} descriptions",
            manifest.descriptions.len()
        );
    }
    Ok(())
}

/// Asks a running program's admin port, by `GET` or `POST`; the body of its answer.
///
/// # Errors
/// When it cannot be reached, does not answer in time, or answers with another status than 200.
pub async fn ask(admin: SocketAddr, method: &str, path: &str) -> anyhow::Result<String> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(admin).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream
            .take(ANSWER_OCTETS_MAX)
            .read_to_string(&mut answer)
            .await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("the admin port {admin} does not answer"))?
        .with_context(|| format!("the admin port {admin} cannot be reached"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200") {
        bail!(
            "the admin port {admin} answered {}",
            head.lines().next().unwrap_or_default()
        );
    }
    Ok(body.trim().to_owned())
}
