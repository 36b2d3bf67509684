//! The titles this edge can serve: opened on first use, kept open, looked for on other edges if missing here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use super::opening::{Missing, Turns};
use super::pulled::{self, Cache, FetchError, Fetcher};
use super::{Title, folder};

/// Most titles kept open; beyond that the one not used longest is closed (sessions keep theirs).
const TITLES_MAX: usize = 256;
/// A request may pass this many edges on its way to one that has the title.
pub const HOPS_MAX: u32 = 2;
/// Most titles pulled at a time, for the requests of one number of hops; requests of another must not have to wait for
/// them, or two edges that pull from each other would wait in a circle.
const PULLS_MAX: usize = 16;
/// Longest wait for one's turn to pull: whoever asks waits no longer for the whole.
const PULL_WAIT_MAX: Duration = Duration::from_secs(2);
/// Most titles indexed at a time: each takes its files' size in memory and a core.
const INDEXING_MAX: usize = 2;

/// All titles, by name.
#[derive(Debug)]
pub struct Library {
    titles: PathBuf,
    sources: Vec<String>,
    cache: Arc<Cache>,
    fetcher: Arc<dyn Fetcher>,
    open: Mutex<HashMap<String, Entry>>,
    clock: std::sync::atomic::AtomicU64,
    turns: Turns,
    missing: Missing,
    /// By hops.
    pulls: [Semaphore; HOPS_MAX as usize],
    indexing: Semaphore,
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
            turns: Turns::default(),
            missing: Missing::default(),
            pulls: std::array::from_fn(|_| Semaphore::new(PULLS_MAX)),
            indexing: Semaphore::new(INDEXING_MAX),
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
        let changed = self.changed(name);
        if changed.is_none() && hops >= HOPS_MAX {
            return None; // not here, and nobody else may be asked
        }
        let key = (name.to_owned(), hops);
        // A source that is known to have it is worth asking even so.
        let is_missing =
            || first_source.is_none() && self.missing.contains(&key, changed, Instant::now());
        if is_missing() {
            return None;
        }
        let turn = self.turns.queue(key.clone());
        let _one_at_a_time = turn.come().await;
        if let Some(title) = self.find(name) {
            return Some(title);
        }
        if is_missing() {
            return None;
        }
        let opened = match self.open_folder(name).await {
            Some((title, changed)) => Some((title, Some(changed))),
            None => {
                let pulled = self.pull(name, first_source, hops).await;
                pulled.map(|title| (title, None))
            }
        };
        let Some((title, changed)) = opened else {
            self.missing.insert(key, changed, Instant::now());
            return None;
        };
        let title = Arc::new(title);
        self.keep(name, Arc::clone(&title), changed);
        Some(title)
    }

    async fn open_folder(&self, name: &str) -> Option<(Title, SystemTime)> {
        let changed = self.changed(name)?;
        let folder = self.titles.join(name);
        let _place = self.indexing.acquire().await.ok()?;
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
        let places = self.pulls.get(usize::try_from(hops).ok()?)?;
        let mut sources: Vec<String> = first_source.map(str::to_owned).into_iter().collect();
        sources.extend(
            self.sources
                .iter()
                .filter(|s| Some(s.as_str()) != first_source)
                .cloned(),
        );
        if sources.is_empty() {
            return None;
        }
        let place = tokio::time::timeout(PULL_WAIT_MAX, places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            tracing::warn!(title = name, "too many titles are being pulled");
            return None;
        };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rtsp::peer::Fetch;
    use tokio::sync::Notify;

    use super::super::{Fetching, FrameData};
    use super::*;

    /// An edge that has nothing. It answers for `slow` only when told to.
    #[derive(Debug, Default)]
    struct Nothing {
        asked: AtomicUsize,
        begun: Arc<Notify>,
        go_on: Arc<Notify>,
    }

    impl Fetcher for Nothing {
        fn outline(&self, edge: &str, fetch: Fetch) -> Fetching<Vec<u8>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let (begun, go_on) = (Arc::clone(&self.begun), Arc::clone(&self.go_on));
            let edge = edge.to_owned();
            Box::pin(async move {
                if fetch.title == "slow" && fetch.hops == 1 {
                    begun.notify_one();
                    go_on.notified().await;
                }
                Err(FetchError::Missing(edge))
            })
        }

        fn frames(
            &self,
            edge: &str,
            _fetch: Fetch,
            _sizes: Vec<u32>,
            _each: Box<dyn FnMut(FrameData) + Send>,
        ) -> Fetching<()> {
            let edge = edge.to_owned();
            Box::pin(async move { Err(FetchError::Missing(edge)) })
        }
    }

    fn library(folder: &std::path::Path) -> (Arc<Nothing>, Library) {
        let nothing = Arc::new(Nothing::default());
        let fetcher = Arc::clone(&nothing) as Arc<dyn Fetcher>;
        let library = Library::new(folder.to_owned(), vec!["b".to_owned()], 1 << 20, fetcher);
        (nothing, library)
    }

    #[tokio::test]
    async fn a_slow_pull_keeps_nobody_from_other_titles() {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::title::Settings {
            name: Some("here".to_owned()),
            ..crate::title::Settings::default()
        };
        crate::title::create("pattern:64x48@10:1s", folder.path(), &settings, |_| {}).unwrap();
        let (nothing, library) = library(folder.path());
        let others = async {
            nothing.begun.notified().await;
            assert!(library.title("here", None, 0).await.is_some());
            assert!(library.title("absent", None, 0).await.is_none());
            // Another edge's request for the same title, which may be what the pull is waiting for.
            assert!(library.title("slow", None, 1).await.is_none());
            assert!(library.title("slow", None, HOPS_MAX).await.is_none());
            nothing.go_on.notify_one();
        };
        let (slow, ()) = tokio::join!(library.title("slow", None, 0), others);
        assert!(slow.is_none());
    }

    #[tokio::test]
    async fn a_missing_title_is_asked_for_once_by_all_who_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let (nothing, library) = library(folder.path());
        let (a, b, c) = tokio::join!(
            library.title("t", None, 0),
            library.title("t", None, 0),
            library.title("t", None, 0)
        );
        assert!(a.is_none() && b.is_none() && c.is_none());
        assert_eq!(nothing.asked.load(Ordering::Relaxed), 1);
        // Whoever names an edge that has it is not turned away.
        assert!(library.title("t", Some("b"), 0).await.is_none());
        assert_eq!(nothing.asked.load(Ordering::Relaxed), 2);
    }
}
