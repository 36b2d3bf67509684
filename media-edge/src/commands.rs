//! What the command line does besides serving.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Config;
use crate::identity;

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

/// Posts to a running edge's admin port and prints its answer.
pub async fn post(admin: SocketAddr, path: &str) -> anyhow::Result<()> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(admin).await?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer).await?;
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
    println!("{}", body.trim());
    Ok(())
}
