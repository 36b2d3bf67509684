//! Rolls of keys, planned: given the keys of a zone and how long caches remember, which times let every resolver
//! find a valid chain at every moment, whatever mixture it holds (RFC 6781 §4.1, RFC 7583).
//!
//! A ZSK is published before it signs. A KSK is published and signs, then the parent gets its DS beside the
//! old one, and only what has been *seen* at the parent lets the old one go: a parent that is slow, or never
//! moves, delays a roll and breaks nothing.

use super::algorithm::Algorithm;
use super::key::Role;
use super::schedule::{DsTiming, Timing};

/// What a roll has to wait for, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollPolicy {
    /// TTL of the zone's DNSKEY RRset.
    pub dnskey_ttl: u32,
    /// The largest TTL in the zone.
    pub ttl_max: u32,
    /// Until every server of the zone has what the first one has: copying keys, clocks that differ.
    pub propagation: u32,
    /// TTL of the DS RRset at the parent.
    pub parent_ttl: u32,
    /// Until every server of the parent has what the first one has.
    pub parent_propagation: u32,
}

impl Default for RollPolicy {
    /// What fits most zones; a day at the parent.
    fn default() -> Self {
        const HOUR: u32 = 3600;
        Self {
            dnskey_ttl: HOUR,
            ttl_max: 24 * HOUR,
            propagation: HOUR,
            parent_ttl: 24 * HOUR,
            parent_propagation: HOUR,
        }
    }
}

impl RollPolicy {
    /// From a change of the keys until no cache has the ones before.
    fn keys_known(&self) -> u64 {
        u64::from(self.propagation) + u64::from(self.dnskey_ttl)
    }

    /// From a change of what signs until no cache has data signed as before.
    fn data_gone(&self) -> u64 {
        u64::from(self.propagation) + u64::from(self.ttl_max)
    }

    /// From a change at the parent until no cache has the DS records before.
    fn ds_gone(&self) -> u64 {
        u64::from(self.parent_propagation) + u64::from(self.parent_ttl)
    }
}

/// A key as far as planning goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What it is for.
    pub role: Role,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Its times.
    pub timing: Timing,
}

/// Why a step of a roll cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    /// One at a time.
    #[error("a roll of this key is under way: wait until it is over")]
    UnderWay,
    /// A DS record points to a key that signs keys.
    #[error("it is a ZSK: no DS record points to it")]
    NoDs,
    /// The parent should not have it yet.
    #[error("the parent should not have its DS record before {0} (Unix time)")]
    TooEarly(u64),
    /// The last DS record cannot go.
    #[error("it is the only key with a DS record: without it the zone is not secure")]
    LastDs,
    /// Nobody has asked the parent for it.
    #[error("the parent was not asked for that")]
    NotAsked,
    /// Another algorithm, or a key that does both works, needs all keys anew.
    #[error("to change the algorithm, or to replace a CSK, roll all keys at once")]
    AllAtOnce,
}

/// The times of new keys with these roles and this algorithm that take over from those there are, whose times
/// are changed to make room. For a zone without keys, they are its first ones.
///
/// # Errors
/// When a roll of the same keys is under way.
pub fn begin(
    keys: &mut [Planned],
    roles: &[Role],
    algorithm: Algorithm,
    policy: &RollPolicy,
    now: u64,
) -> Result<Vec<Timing>, RollError> {
    let there = |key: &Planned| key.timing.is_published(now) || key.timing.is_active(now);
    let new_algorithm = keys
        .iter()
        .any(|key| there(key) && key.algorithm != algorithm);
    let is_replaced = |key: &Planned| {
        let same_work = |role: &Role| {
            role.signs_keys() && key.role.signs_keys() || role.signs_data() && key.role.signs_data()
        };
        roles.iter().any(same_work)
    };
    let does_both = keys
        .iter()
        .any(|key| there(key) && key.role == Role::Csk && is_replaced(key));
    let all = signs(roles, Role::signs_keys) && signs(roles, Role::signs_data);
    if (new_algorithm || does_both) && !all {
        return Err(RollError::AllAtOnce);
    }
    if keys.iter().any(|key| is_replaced(key) && moves(key, now)) {
        return Err(RollError::UnderWay);
    }
    let first = !keys.iter().any(|key| there(key) && is_replaced(key));
    let times = if first {
        (now, now, now + policy.data_gone().max(policy.keys_known()))
    } else if new_algorithm {
        // Signatures first, then the key that can check them (RFC 6781 §4.1.4).
        let publish = now + policy.data_gone();
        (publish, now, publish + policy.keys_known())
    } else {
        let known = now + policy.keys_known();
        (now, known, known)
    };
    let (publish, activate, submit) = times;
    for key in keys.iter_mut().filter(|key| there(key) && is_replaced(key)) {
        if key.role.signs_data() && !new_algorithm {
            key.timing.retire = Some(activate);
            if key.role == Role::Zsk {
                key.timing.remove = Some(activate + policy.data_gone());
            }
        }
    }
    let timing = |role: &Role| Timing {
        publish,
        activate,
        retire: None,
        remove: None,
        ds: DsTiming {
            submit: role.signs_keys().then_some(submit),
            ..DsTiming::default()
        },
    };
    Ok(roles.iter().map(timing).collect())
}

/// The DS record of the key at `place` was seen at every server of the parent: those it takes over from may go.
///
/// # Errors
/// When the parent should not have it yet, or the key has none.
pub fn ds_seen(
    keys: &mut [Planned],
    place: usize,
    policy: &RollPolicy,
    now: u64,
) -> Result<(), RollError> {
    let seen = keys[place];
    let submit = submitted(&seen)?;
    if submit > now {
        return Err(RollError::TooEarly(submit));
    }
    keys[place].timing.ds.seen = seen.timing.ds.seen.or(Some(now));
    for (other, key) in keys.iter_mut().enumerate() {
        let older = key.role.signs_keys()
            && key.timing.is_published(now)
            && (key.timing.publish, other) < (seen.timing.publish, place);
        if !older || key.timing.ds.withdraw.is_some() {
            continue;
        }
        key.timing.ds.withdraw = Some(now);
        if key.algorithm == seen.algorithm {
            let data = key.timing.retire.map(|retire| retire + policy.data_gone());
            key.timing.remove = Some((now + policy.ds_gone()).max(data.unwrap_or(0)));
        }
    }
    Ok(())
}

/// The DS record of the key at `place` was seen to be gone from every server of the parent. If its algorithm
/// goes with it, this lets the keys of that algorithm go.
///
/// # Errors
/// When the parent was not asked to drop it.
pub fn ds_gone(
    keys: &mut [Planned],
    place: usize,
    policy: &RollPolicy,
    now: u64,
) -> Result<(), RollError> {
    let gone = keys[place];
    submitted(&gone)?;
    let withdraw = gone.timing.ds.withdraw.ok_or(RollError::NotAsked)?;
    if withdraw > now {
        return Err(RollError::TooEarly(withdraw));
    }
    keys[place].timing.ds.gone = gone.timing.ds.gone.or(Some(now));
    let stays = |key: &Planned| {
        key.algorithm == gone.algorithm && key.role.signs_keys() && key.timing.ds.gone.is_none()
    };
    if gone.timing.remove.is_some() || keys.iter().any(stays) {
        return Ok(());
    }
    // The key first, then the signatures that only it can check (RFC 6781 §4.1.4).
    let remove = now + policy.ds_gone();
    for key in keys
        .iter_mut()
        .filter(|key| key.algorithm == gone.algorithm)
    {
        key.timing.remove = key.timing.remove.or(Some(remove));
        if key.role.signs_data() {
            key.timing.retire = key.timing.retire.or(Some(remove + policy.keys_known()));
        }
    }
    Ok(())
}

fn submitted(key: &Planned) -> Result<u64, RollError> {
    if key.role.signs_keys() {
        key.timing.ds.submit.ok_or(RollError::NotAsked)
    } else {
        Err(RollError::NoDs)
    }
}

fn signs(roles: &[Role], what: fn(Role) -> bool) -> bool {
    roles.iter().any(|role| what(*role))
}

/// True while a key comes or goes, so that the next one has to wait.
fn moves(key: &Planned, now: u64) -> bool {
    let timing = &key.timing;
    if timing.remove.is_some_and(|remove| remove <= now) {
        return false;
    }
    let comes = timing.publish > now || key.role.signs_data() && timing.activate > now;
    let waits = key.role.signs_keys() && timing.ds.seen.is_none_or(|seen| seen > now);
    let goes = timing.retire.is_some() || timing.remove.is_some() || timing.ds.withdraw.is_some();
    comes || waits || goes
}
