//! The keys of one zone over time. Which of them stand in the DNSKEY RRset, which sign, and which the parent is
//! asked to point to is a function of the keys' times and the clock alone, so a roll needs nobody to start it.
//!
//! ```text
//!        publish          activate              retire           remove
//! ─────────┼─────────────────┼────────────────────┼────────────────┼─────► time
//!          ├─ in the DNSKEY RRset; a KSK signs it ─────────────────┤
//!                            ├─ a ZSK signs data ─┤
//! ```
//! A CSK does both. The windows are independent: for a roll of the algorithm, signatures come before the key and
//! leave after it (RFC 6781 §4.1.4).

use std::sync::Arc;

use super::key::Key;
use super::rrsig::Validity;
use crate::rrset::RrSet;
use crate::{name, rtype};

/// When a key does what, in Unix seconds (the times of RFC 7583 §3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From here on it stands in the DNSKEY RRset.
    pub publish: u64,
    /// From here on it signs the zone's data, if that is its role.
    pub activate: u64,
    /// From here on it signs data no longer.
    pub retire: Option<u64>,
    /// From here on it is gone from the DNSKEY RRset.
    pub remove: Option<u64>,
    /// What the parent was asked for, for keys that sign keys.
    pub ds: DsTiming,
}

/// The DS record of a key at the parent, as far as we know (RFC 7344, RFC 8078).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DsTiming {
    /// From here on the parent is asked to have it.
    pub submit: Option<u64>,
    /// It was seen at the parent.
    pub seen: Option<u64>,
    /// From here on the parent is asked to drop it.
    pub withdraw: Option<u64>,
    /// It was seen to be gone.
    pub gone: Option<u64>,
}

/// What a key does at a moment (the states of RFC 7583 §3.1 that we can know).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It does nothing yet.
    Generated,
    /// It stands in the DNSKEY RRset and does not sign data; for a KSK: its DS was not seen yet.
    Published,
    /// It signs; for a KSK: its DS is at the parent.
    Active,
    /// It is on its way out.
    Retired,
    /// It is gone.
    Removed,
}

impl State {
    /// As `list` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }
}

impl Timing {
    /// True while the key stands in the DNSKEY RRset.
    pub fn is_published(&self, now: u64) -> bool {
        self.publish <= now && !passed(self.remove, now)
    }

    /// True while a key with that role signs data.
    pub fn is_active(&self, now: u64) -> bool {
        self.activate <= now && !passed(self.retire, now)
    }

    /// True while the parent is asked to have the DS record.
    pub fn wants_ds(&self, now: u64) -> bool {
        passed(self.ds.submit, now) && !passed(self.ds.withdraw, now)
    }

    /// True while the parent has not done what it was asked for.
    fn waits_for_parent(&self, now: u64) -> bool {
        let asked = |ask, done| passed(ask, now) && !passed(done, now);
        asked(self.ds.submit, self.ds.seen) && !passed(self.ds.withdraw, now)
            || asked(self.ds.withdraw, self.ds.gone) && passed(self.ds.seen, now)
    }

    /// What a key with these times does.
    pub fn state(&self, signs_data: bool, now: u64) -> State {
        let active = if signs_data {
            self.is_active(now)
        } else {
            self.is_published(now) && passed(self.ds.seen, now) && !passed(self.ds.withdraw, now)
        };
        let leaving = passed(self.retire, now) || passed(self.ds.withdraw, now);
        match (self.is_published(now), active) {
            _ if passed(self.remove, now) && !active => State::Removed,
            (_, true) => State::Active,
            (true, false) if leaving => State::Retired,
            (true, false) => State::Published,
            (false, false) => State::Generated,
        }
    }

    /// Every time at which something changes.
    fn events(&self) -> impl Iterator<Item = u64> {
        let ds = [self.ds.submit, self.ds.seen, self.ds.withdraw, self.ds.gone];
        [
            Some(self.publish),
            Some(self.activate),
            self.retire,
            self.remove,
        ]
        .into_iter()
        .chain(ds)
        .flatten()
    }
}

fn passed(time: Option<u64>, now: u64) -> bool {
    time.is_some_and(|time| time <= now)
}

/// A key and its times.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The key.
    pub key: Arc<Key>,
    /// Its times.
    pub timing: Timing,
}

/// Why keys cannot serve one zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Two keys could be taken for each other.
    #[error("two keys of the zone have the tag {0}: make another in the place of one")]
    SameTag(u16),
}

/// The keys of a zone, with what follows from them worked out for all times.
#[derive(Debug)]
pub struct ZoneKeys {
    origin: Box<[u8]>,
    keys: Vec<Scheduled>,
    validity: Validity,
    /// In order of time; the first one begins at 0.
    phases: Vec<Phase>,
}

/// A time in which nothing changes.
#[derive(Debug)]
pub(crate) struct Phase {
    from: u64,
    dnskey: Option<RrSet>,
    cds: Option<RrSet>,
    cdnskey: Option<RrSet>,
    /// Places of the keys that sign data, and of those that sign keys.
    data_signers: Vec<usize>,
    key_signers: Vec<usize>,
}

impl ZoneKeys {
    /// Schedules the keys of the zone `origin` (wire form); `ttl` is that of the DNSKEY, CDS and CDNSKEY RRsets.
    ///
    /// # Errors
    /// When two keys have the same tag: a validator would have to try both (RFC 4034, appendix B).
    pub fn new(
        origin: &[u8],
        keys: Vec<Scheduled>,
        ttl: u32,
        validity: Validity,
    ) -> Result<Self, ScheduleError> {
        for (place, scheduled) in keys.iter().enumerate() {
            let tag = scheduled.key.tag();
            if keys[..place].iter().any(|other| other.key.tag() == tag) {
                return Err(ScheduleError::SameTag(tag));
            }
        }
        let origin = name::lowered(origin);
        let mut times: Vec<u64> = keys.iter().flat_map(|key| key.timing.events()).collect();
        times.push(0);
        times.sort_unstable();
        times.dedup();
        let phase = |from| Phase::new(&origin, &keys, ttl, from);
        let phases = times.into_iter().map(phase).collect();
        Ok(Self {
            origin: origin.into(),
            keys,
            validity,
            phases,
        })
    }

    /// Lower-cased wire name of the zone.
    pub fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// The keys in the order they were given.
    pub fn keys(&self) -> &[Scheduled] {
        &self.keys
    }

    /// How long signatures hold.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// The RRset of the zone's keys at a time, and of what the parent is asked for: type DNSKEY, CDS or CDNSKEY.
    pub fn rrset(&self, rtype: u16, now: u64) -> Option<&RrSet> {
        self.phase(now).rrset(rtype)
    }

    /// True if some key signs the data of the zone at that time.
    pub fn signs(&self, now: u64) -> bool {
        self.phase(now).signs_data()
    }

    /// When something changes after a time.
    pub fn next_change(&self, now: u64) -> Option<u64> {
        let later = self.phases.partition_point(|phase| phase.from <= now);
        self.phases.get(later).map(|phase| phase.from)
    }

    pub(crate) fn phase(&self, now: u64) -> &Phase {
        let later = self.phases.partition_point(|phase| phase.from <= now);
        // The first one begins at 0, so there is one.
        &self.phases[later.saturating_sub(1)]
    }

    /// The keys that sign an RRset: its own type decides (RFC 4035 §2.2, RFC 7344 §4.1).
    pub(crate) fn signers<'k>(
        &'k self,
        phase: &'k Phase,
        owner: &[u8],
        rtype: u16,
    ) -> impl Iterator<Item = &'k Key> {
        let keys = is_of_keys(rtype) && *owner == *self.origin;
        let places = if keys {
            &phase.key_signers
        } else {
            &phase.data_signers
        };
        places
            .iter()
            .filter_map(|&place| Some(&*self.keys.get(place)?.key))
    }
}

/// True for the types that come from the keys and not from the zone.
pub(crate) fn is_of_keys(rtype: u16) -> bool {
    matches!(rtype, rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY)
}

impl Phase {
    fn new(origin: &[u8], keys: &[Scheduled], ttl: u32, from: u64) -> Self {
        let places = |wanted: &dyn Fn(&Scheduled) -> bool| -> Vec<usize> {
            let chosen = keys.iter().enumerate().filter(|(_, key)| wanted(key));
            chosen.map(|(place, _)| place).collect()
        };
        let published = |key: &Scheduled| key.timing.is_published(from);
        let records = |rtype, chosen: Vec<usize>, data: &dyn Fn(&Key) -> Vec<u8>| {
            RrSet::new(
                rtype,
                ttl,
                chosen.into_iter().map(|place| data(&keys[place].key)),
            )
        };
        let dnskey_data = |key: &Key| key.dnskey().to_vec();
        // Silence says "as it is"; the parent is told what it should have while that is not what it has.
        let waits = keys.iter().any(|key| key.timing.waits_for_parent(from));
        let wanted =
            places(&|key| waits && key.timing.wants_ds(from) && key.key.role().signs_keys());
        Self {
            from,
            dnskey: records(rtype::DNSKEY, places(&published), &dnskey_data),
            cds: records(rtype::CDS, wanted.clone(), &|key| key.ds(origin)),
            cdnskey: records(rtype::CDNSKEY, wanted, &dnskey_data),
            data_signers: places(&|key| key.key.role().signs_data() && key.timing.is_active(from)),
            key_signers: places(&|key| key.key.role().signs_keys() && published(key)),
        }
    }

    /// The RRset of one of the types that come from the keys.
    pub(crate) fn rrset(&self, rtype: u16) -> Option<&RrSet> {
        match rtype {
            rtype::DNSKEY => self.dnskey.as_ref(),
            rtype::CDS => self.cds.as_ref(),
            rtype::CDNSKEY => self.cdnskey.as_ref(),
            _ => None,
        }
    }

    /// True if some key signs data.
    pub(crate) fn signs_data(&self) -> bool {
        !self.data_signers.is_empty()
    }

    /// The types of the zone's own name that come from the keys.
    pub(crate) fn types(&self) -> impl Iterator<Item = u16> {
        [&self.dnskey, &self.cds, &self.cdnskey]
            .into_iter()
            .flatten()
            .map(|set| set.rtype)
    }
}
