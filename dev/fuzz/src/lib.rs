//! Hostile bytes for every parser. A target takes any bytes, and panics if what must hold does not.

pub mod dns;
pub mod media;
pub mod routing;

/// One parser under attack.
pub struct Target {
    /// As cargo-fuzz calls it.
    pub name: &'static str,
    /// What is done with bytes.
    pub run: fn(&[u8]),
    /// Good examples, to be spoilt.
    pub examples: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "zone_file",
        run: dns::zone_file,
        examples: dns::zone_files,
    },
    Target {
        name: "dns_query",
        run: dns::dns_query,
        examples: dns::queries,
    },
    Target {
        name: "dns_transfer",
        run: dns::dns_transfer,
        examples: dns::transfers,
    },
    Target {
        name: "proxy_header",
        run: dns::proxy_header,
        examples: dns::proxy_headers,
    },
    Target {
        name: "map_blob",
        run: routing::map_blob,
        examples: routing::maps,
    },
    Target {
        name: "token_label",
        run: routing::token_label,
        examples: routing::tokens,
    },
    Target {
        name: "rtsp_messages",
        run: media::rtsp_messages,
        examples: media::conversations,
    },
    Target {
        name: "sdp",
        run: media::sdp,
        examples: media::descriptions,
    },
    Target {
        name: "mp4",
        run: media::mp4,
        examples: media::files,
    },
];
