//! `[xdp]` put in force: what can be taken below the sockets is, and where it cannot be, the sockets serve.

use std::net::SocketAddr;

use dns_transport::counters::{Serving, UdpReader};
use dns_transport::proxy::Trusted;

use crate::Door;
use crate::settings::Xdp;

#[cfg(not(feature = "xdp"))]
use left_out as kernel;

/// One interface of the configuration.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// Where the kernel's part runs; `none`: the sockets serve.
    pub(crate) mode: &'static str,
    pub(crate) serving: Serving,
    /// Of the datagrams that came this way.
    pub(crate) counters: Option<UdpReader>,
    handle: Option<kernel::Handle>,
}

impl Interface {
    /// Asks its workers to end after what has already arrived; does not wait.
    pub(crate) fn shutdown(&mut self) {
        if let Some(handle) = &mut self.handle {
            handle.shutdown();
        }
    }

    /// Ends them and waits.
    pub(crate) fn stop(self) {
        if let Some(handle) = self.handle {
            handle.stop();
        }
    }
}

/// Takes the queries to these addresses, which the sockets have bound, on all interfaces of the configuration. Says for each
/// what has become of it.
pub(crate) fn start(
    settings: &Xdp,
    listen: &[SocketAddr],
    trusted: &Trusted,
    door: &Door,
) -> Vec<Interface> {
    let start = |name: &String| match kernel::start(settings, name, listen, trusted, door) {
        Ok(interface) => interface,
        Err(reason) => {
            tracing::warn!("XDP on {name} is not to be had: {reason}; the sockets serve");
            Interface {
                name: name.clone(),
                mode: "none",
                serving: Serving::default(),
                counters: None,
                handle: None,
            }
        }
    };
    settings.interfaces.iter().map(start).collect()
}

/// What keeps this process from serving an interface so, as far as can be told without doing it.
pub(crate) fn obstacle(name: &str) -> Option<String> {
    kernel::obstacle(name)
}

#[cfg(feature = "xdp")]
mod kernel {
    use dns_transport::xdp::{self, Mode, Options};

    use super::*;
    use crate::settings::XdpMode;

    pub(super) type Handle = xdp::XdpHandle;

    pub(super) fn start(
        settings: &Xdp,
        name: &str,
        listen: &[SocketAddr],
        trusted: &Trusted,
        door: &Door,
    ) -> Result<Interface, String> {
        let options = Options {
            interface: name.to_owned(),
            queues: settings.queues,
            mode: match settings.mode {
                XdpMode::Auto => None,
                XdpMode::Native => Some(Mode::Native),
                XdpMode::Generic => Some(Mode::Generic),
            },
        };
        let handle = xdp::spawn(&options, listen, trusted, door);
        let handle = handle.map_err(|error| error.to_string())?;
        let (queues, mode) = (handle.serving().queues(), handle.mode());
        let copies = match handle.is_zero_copy() {
            true => "zero copy",
            false => "copying",
        };
        tracing::info!("XDP on {name}: {queues} receive queues, {mode} mode, {copies}");
        Ok(Interface {
            name: name.to_owned(),
            mode: match mode {
                Mode::Native => "native",
                Mode::Generic => "generic",
            },
            serving: handle.serving(),
            counters: Some(handle.counters()),
            handle: Some(handle),
        })
    }

    pub(super) fn obstacle(name: &str) -> Option<String> {
        let found = xdp::exists(name).and_then(|()| xdp::permitted());
        found.err().map(|error| error.to_string())
    }
}

/// Of a program that was built without it.
#[cfg(not(feature = "xdp"))]
mod left_out {
    use super::*;

    const REASON: &str = "this program was built without the feature `xdp`";

    #[derive(Debug)]
    pub(super) enum Handle {}

    impl Handle {
        pub(super) fn shutdown(&mut self) {
            match *self {}
        }

        pub(super) fn stop(self) {
            match self {}
        }
    }

    pub(super) fn start(
        _: &Xdp,
        _: &str,
        _: &[SocketAddr],
        _: &Trusted,
        _: &Door,
    ) -> Result<Interface, String> {
        Err(REASON.to_owned())
    }

    pub(super) fn obstacle(_: &str) -> Option<String> {
        Some(REASON.to_owned())
    }
}
