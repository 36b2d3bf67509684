//! Where zones of other servers wait to be taken up, on the same way as new versions of zone files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dns_engine::Zone;
use service::diagnostic::Report;

use crate::zone_files::{Arrival, Version};

/// New versions of transferred zones, by the file that each is kept in. Copies are the same inbox.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<Vec<Arrival>>>);

impl Inbox {
    /// A new version, or the first one.
    pub(super) fn arrived(&self, path: PathBuf, zone: Arc<Zone>) {
        self.put((path, Ok(Version::Zone(zone))));
    }

    /// The zone is not to be served any more.
    pub(super) fn gone(&self, path: PathBuf) {
        self.put((path, Ok(Version::Gone)));
    }

    /// The zone should be there and is not, for these reasons.
    pub(super) fn missing(&self, path: PathBuf, why: Report) {
        self.put((path, Err(why)));
    }

    fn put(&self, arrival: Arrival) {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(arrival);
    }

    /// Empties it.
    pub(crate) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
