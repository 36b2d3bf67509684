//! What grows, how far, and the site and questions of each size.

use std::path::Path;

use clap::ValueEnum;

use crate::questions::Questions;
use crate::site::{Level, Site};
use crate::works::{statics, tokens};
use crate::world::{self, Scale};

/// What grows, while the rest stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dimension {
    /// Ranges of the map.
    Map,
    /// Services with tokens.
    Services,
    /// Records of a static zone.
    Zone,
    /// Edges at the second level.
    Edges,
    /// Threads that answer.
    Workers,
}

/// What stays, while something else grows.
const BASE: Scale = Scale {
    v4: 75_000,
    v6: 25_000,
    units: 2000,
    placements: 64,
    services: 1000,
    regions: world::REGIONS,
    edges: world::EDGES,
};
/// Records of a name of the static zone.
const RECORDS: usize = 3;

impl Dimension {
    /// Those given, else all.
    pub(super) fn all(given: Option<&[Self]>) -> Vec<Self> {
        given.unwrap_or(Self::value_variants()).to_vec()
    }

    /// In JSON, and the plot's file.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Services => "services",
            Self::Zone => "zone",
            Self::Edges => "edges",
            Self::Workers => "workers",
        }
    }

    /// On the axis.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Map => "ranges of the map",
            Self::Services => "services",
            Self::Zone => "records of the zone",
            Self::Edges => "edges",
            Self::Workers => "workers",
        }
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Edges => Level::L2,
            _ => Level::L1,
        }
    }

    /// Which sizes. A token has 16 bits for its service, so that services end there.
    pub(super) fn sizes(self, quick: bool) -> &'static [usize] {
        match (self, quick) {
            (Self::Map, true) => &[1000, 4000],
            (Self::Map, false) => &[10_000, 50_000, 200_000, 1_000_000, 2_500_000],
            (Self::Services, true) => &[10, 50],
            (Self::Services, false) => &[10, 100, 1000, 10_000, 65_000],
            (Self::Zone, true) => &[300, 900],
            (Self::Zone, false) => &[1000, 10_000, 100_000, 1_000_000],
            (Self::Edges, true) => &[12, 100],
            (Self::Edges, false) => &[12, 100, 1000, 10_000],
            (Self::Workers, _) => &[1, 2],
        }
    }

    /// The site, with a release in it, and what is asked.
    pub(super) fn prepare(self, folder: &Path, size: usize) -> anyhow::Result<(Site, Questions)> {
        let scale = match self {
            Self::Map => Scale {
                v4: size - size / 4,
                v6: size / 4,
                units: (size / 48).clamp(200, 50_000),
                ..BASE
            },
            Self::Services => Scale {
                services: size,
                ..BASE
            },
            Self::Zone | Self::Workers => world::SMALL,
            Self::Edges => {
                let (regions, edges) = match size {
                    ..100 => (4, 3),
                    100..1000 => (10, 10),
                    1000..10_000 => (20, 50),
                    _ => (200, 50),
                };
                Scale {
                    regions,
                    edges,
                    ..BASE
                }
            }
        };
        // Nobody answers probes: all addresses of a region are given, as if all were live.
        let site = Site::new(folder, &scale, 1)?;
        site.publish(&site.map(1)?.encode())?;
        let questions = match self {
            Self::Map | Self::Services => tokens::clients(&site.known()?, None),
            Self::Edges => tokens::addresses(&site.known()?, tokens::OPENED),
            Self::Zone | Self::Workers => {
                let names = size.div_ceil(RECORDS);
                site.write("zones/media.test.zone", &statics::zone(names, 1))?;
                statics::names(names, &[1], &[])
            }
        };
        Ok((site, questions))
    }
}
