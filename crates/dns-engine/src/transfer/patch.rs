//! A version of a zone with differences laid over it (RFC 1995 §4): only the owners they touch are copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TransferError;
use crate::hash::NameMap;
use crate::name;
use crate::rdata::canonical_form;
use crate::rrset::{Record, RrSet};
use crate::rtype;
use crate::zone::{Node, Zone};

pub(super) struct Patch {
    base: Arc<Zone>,
    /// The owners that were touched, as they are now.
    drafts: NameMap<Draft>,
}

/// The records of one owner.
struct Draft {
    owner: Vec<u8>,
    sets: Vec<DraftSet>,
}

struct DraftSet {
    rtype: u16,
    ttl: u32,
    /// By their canonical form: compression may change the case of names. Large sets cost no more than
    /// small ones.
    datas: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Patch {
    pub(super) fn new(base: &Arc<Zone>) -> Self {
        Self {
            base: Arc::clone(base),
            drafts: NameMap::default(),
        }
    }

    /// Takes a record away, whatever its TTL.
    pub(super) fn remove(&mut self, record: &Record) -> Result<(), TransferError> {
        let draft = self.draft(&record.owner);
        let mut sets = draft.sets.iter_mut();
        let set = sets.find(|set| set.rtype == record.rtype);
        let set = set.ok_or(TransferError::Misfit)?;
        let gone = set
            .datas
            .remove(&canonical_form(record.rtype, &record.data));
        gone.ok_or(TransferError::Misfit)?;
        draft.sets.retain(|set| !set.datas.is_empty());
        Ok(())
    }

    /// Adds a record; the set takes its TTL.
    pub(super) fn add(&mut self, record: Record) -> Result<(), TransferError> {
        let draft = self.draft(&record.owner);
        if draft.sets.is_empty() {
            draft.owner.clone_from(&record.owner);
        }
        let known = draft.sets.iter_mut().find(|set| set.rtype == record.rtype);
        let Some(set) = known else {
            draft.sets.push(DraftSet {
                rtype: record.rtype,
                ttl: record.ttl,
                datas: BTreeMap::from([(canonical_form(record.rtype, &record.data), record.data)]),
            });
            return Ok(());
        };
        set.ttl = record.ttl;
        let key = canonical_form(record.rtype, &record.data);
        match set.datas.insert(key, record.data) {
            None => Ok(()),
            Some(_) => Err(TransferError::Misfit),
        }
    }

    /// Every record but the zone's SOA record.
    pub(super) fn into_records(self) -> Vec<Record> {
        let Self { base, mut drafts } = self;
        let mut records = Vec::new();
        for (owner, node) in base.ordered() {
            let draft = drafts.remove(owner).unwrap_or_else(|| Draft::of(node));
            records.extend(draft.into_records());
        }
        let new = drafts.into_values();
        records.extend(new.flat_map(Draft::into_records));
        records
    }

    fn draft(&mut self, owner: &[u8]) -> &mut Draft {
        let base = &self.base;
        let key = name::lowered(owner).into_boxed_slice();
        self.drafts.entry(key).or_insert_with_key(|key| {
            base.exact(key).map_or_else(
                || Draft {
                    owner: owner.to_vec(),
                    sets: Vec::new(),
                },
                Draft::of,
            )
        })
    }
}

impl Draft {
    fn of(node: &Node) -> Self {
        let sets = node.rrsets().iter().filter(|set| set.rtype != rtype::SOA);
        let copy = |set: &RrSet| DraftSet {
            rtype: set.rtype,
            ttl: set.ttl,
            datas: set
                .rdatas()
                .map(|data| (canonical_form(set.rtype, data), data.to_vec()))
                .collect(),
        };
        Self {
            owner: node.owner().to_vec(),
            sets: sets.map(copy).collect(),
        }
    }

    fn into_records(self) -> impl Iterator<Item = Record> {
        let Self { owner, sets } = self;
        sets.into_iter().flat_map(move |set| {
            let owner = owner.clone();
            set.datas.into_values().map(move |data| Record {
                owner: owner.clone(),
                rtype: set.rtype,
                ttl: set.ttl,
                data,
            })
        })
    }
}
