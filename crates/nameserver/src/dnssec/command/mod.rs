//! The commands that make zone keys and move them through their lives. They change files only; servers that watch the
//! folder take up the change by themselves, and act when its times come.

mod ring;
mod shown;
#[cfg(test)]
mod tests;

use anyhow::Context;
use dns_engine::dnssec::Role;
use dns_engine::dnssec::roll;

use super::{AlgorithmName, Dnssec, Moment, ZoneName};
use ring::Ring;

/// What to do with the keys of a zone.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Make the first keys of a zone.
    Generate {
        /// The zone, such as stream.example.
        #[arg(long)]
        zone: ZoneName,
        /// `pair`: one key for the keys and one for the data; `csk`: one for both.
        #[arg(long, default_value = "pair")]
        keys: Keys,
        /// ECDSAP256SHA256 or ED25519; as configured if it is left out.
        #[arg(long)]
        algorithm: Option<AlgorithmName>,
    },
    /// Show keys, their states and what they wait for.
    List {
        /// One zone; all if it is left out.
        #[arg(long)]
        zone: Option<ZoneName>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print the records that the parent of a zone should have, or takes by itself (DS, CDS, CDNSKEY).
    Ds {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
    },
    /// Make new keys that take over from those there are, as soon as every cache can follow.
    Roll {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// `ksk`, `zsk`, or both: `pair` or `csk`.
        #[arg(long)]
        keys: Keys,
        /// Another algorithm, for all keys at once.
        #[arg(long)]
        algorithm: Option<AlgorithmName>,
        /// Only if the keys are so many days old; for a timer that calls this every day.
        #[arg(long)]
        if_older: Option<u32>,
    },
    /// Say that every server of the parent shows the DS record of a key: the key before it may go.
    Seen {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// The key's tag.
        #[arg(long)]
        tag: u16,
    },
    /// Say that no server of the parent shows the DS record of a key any more.
    Gone {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
        /// The key's tag.
        #[arg(long)]
        tag: u16,
    },
    /// Delete the files of keys that are gone from the zone and its parent.
    Clean {
        /// The zone.
        #[arg(long)]
        zone: ZoneName,
    },
}

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// Key signing key.
    Ksk,
    /// Zone signing key.
    Zsk,
    /// One key for both.
    Csk,
    /// A key signing key and a zone signing key.
    Pair,
}

impl Keys {
    fn roles(self) -> &'static [Role] {
        match self {
            Self::Ksk => &[Role::Ksk],
            Self::Zsk => &[Role::Zsk],
            Self::Csk => &[Role::Csk],
            Self::Pair => &[Role::Ksk, Role::Zsk],
        }
    }
}

/// Does it at a time, and says what the keys are afterwards.
///
/// # Errors
/// When a key file cannot be read or written, or the step does not fit the keys.
pub fn run(settings: &Dnssec, action: &Action, now: Moment) -> anyhow::Result<String> {
    let mut ring = Ring::read(settings, now)?;
    match action {
        Action::Generate {
            zone,
            keys,
            algorithm,
        } => {
            anyhow::ensure!(
                ring.of(zone).next().is_none(),
                "{zone} has keys already: roll them"
            );
            ring.begin(zone, *keys, algorithm.unwrap_or(settings.algorithm).0)?;
            ring.list(Some(zone))
        }
        Action::List { zone, json: true } => Ok(ring.json(zone.as_ref()).to_string()),
        Action::List { zone, json: false } => ring.list(zone.as_ref()),
        Action::Ds { zone } => ring.ds(zone),
        Action::Roll {
            zone,
            keys,
            algorithm,
            if_older,
        } => {
            let newest = ring
                .newest(zone, *keys)
                .with_context(|| format!("{zone} has no such key"))?;
            let (age, used) = newest;
            if let Some(days) = if_older
                && age / 86_400 < u64::from(*days)
            {
                return Ok(format!("{zone}: the keys are {} days old", age / 86_400));
            }
            ring.begin(zone, *keys, algorithm.map_or(used, |algorithm| algorithm.0))?;
            ring.list(Some(zone))
        }
        Action::Seen { zone, tag } => {
            ring.step(zone, *tag, roll::ds_seen)?;
            ring.list(Some(zone))
        }
        Action::Gone { zone, tag } => {
            ring.step(zone, *tag, roll::ds_gone)?;
            ring.list(Some(zone))
        }
        Action::Clean { zone } => ring.clean(zone),
    }
}
