//! File descriptors: whether the process may have as many as the connections of the configuration need.
//!
//! With fewer a server goes on: it closes connections to take others. But then a few hundred clients have the effect
//! of a full house, and the configured caps say nothing.

use crate::Settings;

/// What is open besides: files that are followed, the admin port and who reads it, the runtime's own, releases.
const OTHERS: usize = 64;

impl Settings {
    /// What to say if not all connections can be open that may be.
    pub(crate) fn descriptor_shortage(&self) -> Option<String> {
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let (needed, limit) = (self.descriptors(), limit(&limits)?);
        let shortage = format!(
            "all connections together need {needed} file descriptors, and the process may have {limit}"
        );
        (needed > limit).then_some(shortage)
    }

    /// With every list of connections full.
    fn descriptors(&self) -> usize {
        let tls = &self.tls;
        let streams = self.listen.len() + tls.listen_tls.len() + tls.listen_https.len();
        let datagrams = self.listen.len() * self.worker_count() + tls.listen_quic.len();
        // A listener, and what it has accepted before it closes another.
        let connections = self.tcp.connections.get().saturating_add(2);
        streams
            .saturating_mul(connections)
            .saturating_add(datagrams + OTHERS)
    }
}

/// The limit in force, from the text of `/proc/self/limits`; `None` if there is none.
fn limit(limits: &str) -> Option<usize> {
    let rest = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             31327                31327                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(limit(limits), Some(1024));
        assert_eq!(limit(&limits.replace("1024 ", "unlimited ")), None);
        assert_eq!(limit("something else"), None);
    }

    #[test]
    fn every_stream_listener_needs_its_connections_and_quic_one_socket() {
        let address = service::admin::LOOPBACK;
        let mut settings = Settings {
            listen: vec![address; 2],
            workers: 3,
            ..Settings::default()
        };
        settings.tcp.connections = 100.try_into().unwrap();
        assert_eq!(settings.descriptors(), 2 * 102 + 2 * 3 + OTHERS);
        settings.tls.listen_tls = vec![address];
        settings.tls.listen_https = vec![address; 2];
        settings.tls.listen_quic = vec![address];
        assert_eq!(settings.descriptors(), 5 * 102 + 2 * 3 + 1 + OTHERS);
    }

    #[test]
    fn more_connections_than_any_limit_are_warned_of() {
        let mut settings = Settings::default();
        settings.tcp.connections = 1.try_into().unwrap();
        assert_eq!(settings.descriptor_shortage(), None);
        settings.tcp.connections = usize::MAX.try_into().unwrap();
        let is_limited =
            std::fs::read_to_string("/proc/self/limits").is_ok_and(|text| limit(&text).is_some());
        assert_eq!(settings.descriptor_shortage().is_some(), is_limited);
    }
}
