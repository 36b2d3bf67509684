//! A title from other edges: groups of frames are fetched when a session comes near them and kept while there is room.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mdc::title::Description;
use rtsp::peer::{Fetch, Part};
use tokio::sync::watch;

use super::{Availability, FrameData, Store, Title, group};

/// After a failed fetch the group is not asked for again before this.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Most edges asked for one part.
const SOURCES_MAX: usize = 4;

/// Why a part cannot be had from an edge.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The edge does not have it.
    #[error("{0} does not have it")]
    Missing(String),
    /// The edge cannot be reached, or what it sent is not what was asked for.
    #[error("{edge}: {problem}")]
    Failed {
        /// The edge asked.
        edge: String,
        /// What went wrong.
        problem: String,
    },
}

/// A fetch under way.
pub type Fetching<T> = Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send>>;

/// Whoever can ask another edge for parts of a title.
pub trait Fetcher: Send + Sync + std::fmt::Debug {
    /// The whole outline.
    fn outline(&self, edge: &str, fetch: Fetch) -> Fetching<Vec<u8>>;
    /// Frames of these sizes, handed over one by one as they arrive.
    fn frames(
        &self,
        edge: &str,
        fetch: Fetch,
        sizes: Vec<u32>,
        each: Box<dyn FnMut(FrameData) + Send>,
    ) -> Fetching<()>;
}

/// Everything pulled by this edge, with one limit for all of it.
#[derive(Debug)]
pub(super) struct Cache {
    octets_max: usize,
    groups: Mutex<HashMap<Key, Arc<Group>>>,
    clock: AtomicU64,
}

/// Title (each time it is opened anew counts as another), description, position of the group's first frame.
type Key = (u64, u8, usize);

#[derive(Debug)]
struct Group {
    progress: watch::Sender<Progress>,
    octets: usize,
    used: AtomicU64,
}

#[derive(Debug, Default)]
struct Progress {
    frames: Vec<FrameData>,
    failed: bool,
}

impl Cache {
    pub(super) fn new(octets_max: usize) -> Cache {
        Cache {
            octets_max,
            groups: Mutex::default(),
            clock: AtomicU64::new(0),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn find(&self, key: &Key) -> Option<Arc<Group>> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.get(key)?;
        group.used.store(self.tick(), Ordering::Relaxed);
        Some(Arc::clone(group))
    }

    /// The group of that key, or a new one made room for; true for a new one.
    fn find_or_insert(&self, key: Key, octets: usize) -> (Arc<Group>, bool) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&key) {
            return (Arc::clone(group), false);
        }
        let mut held: usize = groups.values().map(|group| group.octets).sum();
        while held + octets > self.octets_max {
            let oldest = groups
                .iter()
                .min_by_key(|(_, group)| group.used.load(Ordering::Relaxed))
                .map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            held -= groups.remove(&oldest).map_or(0, |group| group.octets);
        }
        let group = Arc::new(Group {
            progress: watch::Sender::default(),
            octets,
            used: AtomicU64::new(self.tick()),
        });
        groups.insert(key, Arc::clone(&group));
        (group, true)
    }

    fn remove(&self, key: &Key) {
        self.groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// Where one pulled title's frames come from.
#[derive(Debug)]
pub(super) struct Pulled {
    id: u64,
    name: String,
    hops: u32,
    sources: Mutex<Vec<String>>,
    cache: Arc<Cache>,
    fetcher: Arc<dyn Fetcher>,
}

/// Gives each opened title its place in the cache.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Asks the sources in order for a title's outline.
pub(super) async fn open(
    name: &str,
    sources: Vec<String>,
    hops: u32,
    cache: Arc<Cache>,
    fetcher: Arc<dyn Fetcher>,
) -> Result<Title, FetchError> {
    let mut last = FetchError::Missing("no other edge".to_owned());
    for source in sources.iter().take(SOURCES_MAX) {
        let fetch = Fetch {
            title: name.to_owned(),
            part: Part::Outline,
            hops: hops + 1,
        };
        match fetcher
            .outline(source, fetch)
            .await
            .map(|bytes| super::decode_outline(&bytes))
        {
            Ok(Some((manifest, descriptions))) if manifest.name == name => {
                let pulled = Pulled {
                    id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                    name: name.to_owned(),
                    hops,
                    sources: Mutex::new(sources.clone()),
                    cache,
                    fetcher,
                };
                pulled.prefer_source(source);
                return Ok(Title::new(manifest, descriptions, Store::Pulled(pulled)));
            }
            Ok(_) => {
                let problem = "its outline is damaged".to_owned();
                last = FetchError::Failed {
                    edge: source.clone(),
                    problem,
                };
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Pulled {
    pub(super) fn prefer_source(&self, edge: &str) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source != edge);
        sources.insert(0, edge.to_owned());
    }

    pub(super) fn data(&self, index: &Description, description: u8, at: usize) -> Availability {
        let (first, count) = group(index, at);
        let group = self.group(index, description, first, count);
        // The next group comes while this one is being sent.
        let next = first + count;
        if next < index.frames.len() {
            let (next, count) = super::group(index, next);
            self.group(index, description, next, count);
        }
        let progress = group.progress.borrow();
        match progress.frames.get(at - first) {
            Some(data) => Availability::Ready(Arc::clone(data)),
            None if progress.failed => Availability::Failed,
            None => Availability::Coming,
        }
    }

    pub(super) async fn wait(&self, index: &Description, description: u8, at: usize) {
        let (first, count) = group(index, at);
        let group = self.group(index, description, first, count);
        let mut progress = group.progress.subscribe();
        // The sender lives as long as `group`, so this ends by progress only.
        let _ = progress
            .wait_for(|p| p.failed || p.frames.len() > at - first)
            .await;
    }

    /// The group, its fetch started if it is new.
    fn group(
        &self,
        index: &Description,
        description: u8,
        first: usize,
        count: usize,
    ) -> Arc<Group> {
        let key = (self.id, description, first);
        if let Some(group) = self.cache.find(&key) {
            return group;
        }
        let frames = index.frames.get(first..first + count).unwrap_or_default();
        let sizes: Vec<u32> = frames.iter().map(|frame| frame.size).collect();
        let octets = sizes.iter().map(|size| *size as usize).sum();
        let (group, new) = self.cache.find_or_insert(key, octets);
        if new {
            tokio::spawn(self.fetch(key, Arc::clone(&group), sizes));
        }
        group
    }

    /// Asks source after source, each time for the frames still missing.
    fn fetch(
        &self,
        key: Key,
        group: Arc<Group>,
        sizes: Vec<u32>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let sources = self
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (fetcher, cache) = (Arc::clone(&self.fetcher), Arc::clone(&self.cache));
        let (title, hops) = (self.name.clone(), self.hops + 1);
        let (_, description, first) = key;
        async move {
            for source in sources.iter().take(SOURCES_MAX) {
                let done = group.progress.borrow().frames.len();
                let missing = sizes.get(done..).unwrap_or_default().to_vec();
                if missing.is_empty() {
                    return;
                }
                let part = Part::Frames {
                    description,
                    first: u32::try_from(first + done).unwrap_or(u32::MAX),
                    count: u32::try_from(missing.len()).unwrap_or(u32::MAX),
                };
                let target = Arc::clone(&group);
                let each = Box::new(move |data| {
                    target
                        .progress
                        .send_modify(|progress| progress.frames.push(data));
                });
                let fetch = Fetch {
                    title: title.clone(),
                    part,
                    hops,
                };
                match fetcher.frames(source, fetch, missing, each).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, title, "a part could not be fetched"),
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            // Sessions waiting see the failure; those that ask later start anew.
            cache.remove(&key);
            group
                .progress
                .send_modify(|progress| progress.failed = true);
        }
    }
}
