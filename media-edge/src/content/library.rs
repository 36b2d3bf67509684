//! The titles this edge can serve: opened on first use, kept open, looked for on other edges if missing here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::pulled::{self, Cache, FetchError, Fetcher};
use super::{Title, folder};

/// Most titles kept open; beyond that the one not used longest is closed (sessions keep theirs).
const TITLES_MAX: usize = 256;
/// A request may pass this many edges on its way to one that has the title.
pub const HOPS_MAX: u32 = 2;

/// All titles, by name.
#[derive(Debug)]
pub struct Library {
    titles: PathBuf,
    sources: Vec<String>,
    cache: Arc<Cache>,
    fetcher: Arc<dyn Fetcher>,
    open: Mutex<HashMap<String, Entry>>,
    clock: std::sync::atomic::AtomicU64,
    /// One opening at a time: two sessions that want the same new title must not index it twice.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    title: Arc<Title>,
    /// When the manifest was last changed; another time means the title was made anew. `None` for pulled ones.
    changed: Option<SystemTime>,
    used: u64,
}

impl Library {
    /// Titles in a folder, and for missing ones these edges.
    pub fn new(
        titles: PathBuf,
        sources: Vec<String>,
        pulled_octets: usize,
        fetcher: Arc<dyn Fetcher>,
    ) -> Library {
        Library {
            titles,
            sources,
            cache: Arc::new(Cache::new(pulled_octets)),
            fetcher,
            open: Mutex::default(),
            clock: std::sync::atomic::AtomicU64::new(0),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    /// The title of that name; `None` if neither the folder nor any source has it.
    ///
    /// `first_source` is an edge known to have it, asked before the configured ones. `hops` is how many edges this
    /// request has passed already; beyond [`HOPS_MAX`] only the folder is looked at.
    pub async fn title(
        &self,
        name: &str,
        first_source: Option<&str>,
        hops: u32,
    ) -> Option<Arc<Title>> {
        if !rtsp::locator::is_title(name) {
            return None;
        }
        if let Some(title) = self.find(name) {
            if let Some(source) = first_source {
                title.prefer_source(source);
            }
            return Some(title);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(title) = self.find(name) {
            return Some(title);
        }
        let (title, changed) = match self.open_folder(name).await {
            Some((title, changed)) => (title, Some(changed)),
            None => (self.pull(name, first_source, hops).await?, None),
        };
        let title = Arc::new(title);
        self.keep(name, Arc::clone(&title), changed);
        Some(title)
    }

    /// How many titles lie in the folder.
    pub fn count_in_folder(&self) -> usize {
        let folders = std::fs::read_dir(&self.titles)
            .into_iter()
            .flatten()
            .flatten();
        folders
            .filter(|folder| folder.path().join("title.toml").is_file())
            .count()
    }

    async fn open_folder(&self, name: &str) -> Option<(Title, SystemTime)> {
        let changed = self.changed(name)?;
        let folder = self.titles.join(name);
        let opened = tokio::task::spawn_blocking(move || folder::open(&folder)).await;
        match opened {
            Ok(Ok(title)) => Some((title, changed)),
            Ok(Err(error)) => {
                tracing::warn!(
                    title = name,
                    error = format!("{error:#}"),
                    "a title is unusable"
                );
                None
            }
            Err(error) => {
                tracing::error!(title = name, %error, "indexing a title failed");
                None
            }
        }
    }

    async fn pull(&self, name: &str, first_source: Option<&str>, hops: u32) -> Option<Title> {
        if hops >= HOPS_MAX {
            return None;
        }
        let mut sources: Vec<String> = first_source.map(str::to_owned).into_iter().collect();
        sources.extend(
            self.sources
                .iter()
                .filter(|s| Some(s.as_str()) != first_source)
                .cloned(),
        );
        let (cache, fetcher) = (Arc::clone(&self.cache), Arc::clone(&self.fetcher));
        match pulled::open(name, sources, hops, cache, fetcher).await {
            Ok(title) => Some(title),
            Err(FetchError::Missing(_)) => None,
            Err(error) => {
                tracing::warn!(title = name, %error, "a title cannot be pulled");
                None
            }
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Title>> {
        let changed = self.changed(name);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = open.get_mut(name)?;
        if entry.changed != changed {
            open.remove(name);
            return None;
        }
        entry.used = self
            .clock
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(Arc::clone(&entry.title))
    }

    fn keep(&self, name: &str, title: Arc<Title>, changed: Option<SystemTime>) {
        let used = self
            .clock
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= TITLES_MAX {
            let oldest = open
                .iter()
                .min_by_key(|(_, e)| e.used)
                .map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        open.insert(
            name.to_owned(),
            Entry {
                title,
                changed,
                used,
            },
        );
    }

    fn changed(&self, name: &str) -> Option<SystemTime> {
        let manifest = self.titles.join(name).join("title.toml");
        std::fs::metadata(manifest)
            .and_then(|file| file.modified())
            .ok()
    }
}
