//! Maps, and tokens in names.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use route_token::{KeyRing, Payload, ZoneKeys};
use traffic_map::{Choice, Edge, Map, MapParts, Region, UnitId};

/// A map that is read can be written and read again.
pub fn map_blob(bytes: &[u8]) {
    if let Ok(map) = Map::decode(bytes) {
        let written = map.encode();
        let again = Map::decode(&written).expect("a map of our own");
        assert_eq!(again.encode(), written);
    }
}

/// Maps.
pub fn maps() -> Vec<Vec<u8>> {
    let parts = MapParts {
        ecs: (24, 56),
        v4: vec![
            (0, None),
            (1 << 24, Some(UnitId(0))),
            (2 << 24, Some(UnitId(1))),
        ],
        v6: vec![(0, None), (1 << 40, Some(UnitId(1)))],
        demand: vec![3, 4],
        placements: vec![vec![
            vec![Choice {
                region: 1,
                share: 1000,
            }],
            vec![],
        ]],
        regions: vec![Region {
            id: 1,
            name: "eu".to_owned(),
            at: Some((48.0, 2.0)),
            capacity: 1_000_000,
            edges: vec![],
        }],
        edges: vec![Edge {
            name: "e1".to_owned(),
            region: 1,
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            rtsp_port: 8554,
            handoff: Some((Ipv4Addr::LOCALHOST, 8600).into()),
            capacity_sessions: 9,
            public_key: Some([7; 32]),
            profiles: vec!["mdc-h264".to_owned()],
        }],
    };
    vec![Map::new(parts).expect("a map").encode()]
}

fn keys() -> &'static ZoneKeys {
    static KEYS: LazyLock<ZoneKeys> = LazyLock::new(|| {
        let ring = KeyRing::from_toml(&KeyRing::generate([7; 32])).expect("a ring");
        ring.zone("edge.stream.example.")
    });
    &KEYS
}

/// What opens was sealed, whatever the case of its letters.
pub fn token_label(bytes: &[u8]) {
    if let Ok(payload) = keys().open(bytes) {
        let sealed = keys().seal(&payload);
        assert!(sealed.as_bytes().eq_ignore_ascii_case(bytes));
    }
}

/// Labels.
pub fn tokens() -> Vec<Vec<u8>> {
    let token = keys().seal(&Payload {
        service: 1,
        region: 2,
        placement: 3,
        assumed: true,
    });
    vec![
        token.as_bytes().to_vec(),
        token.as_str().to_uppercase().into(),
    ]
}
