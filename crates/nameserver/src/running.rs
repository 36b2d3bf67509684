//! The running server: its sockets and tasks, from the first bound address to the last answer.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use dns_transport::{Server, Transport, pair, tcp, udp};
use prometheus::Registry;
use service::shutdown::{self, Shutdown, Trigger};
use service::{admin, watch::POLL_INTERVAL};
use tokio::task::{JoinSet, spawn_blocking};

use crate::certificate::Keeper;
use crate::dnssec::{self, SignedZones};
use crate::encrypted::{self, Encrypted};
use crate::precedence::give_way;
use crate::ready::Ready;
use crate::transfer::{Inbox, Transfers, Waiting};
use crate::{Door, InForce, Reloads, Settings, Traffic, dnstap, unix_seconds, xdp};

/// A server that does not listen yet: snapshots can be put behind its door before the first query comes.
pub struct Shell {
    settings: Settings,
    registry: Registry,
    door: Door,
    traffic: Arc<Traffic>,
    reloads: Reloads,
    dnstap: Option<dnstap::Sender>,
    certificate: Option<Keeper>,
    transfers: Arc<Transfers>,
    waiting: Waiting,
}

/// A server that answers already, and has no admin port yet.
#[derive(Debug)]
pub struct Starting {
    registry: Registry,
    admin: SocketAddr,
    ready: Ready,
    dns: Vec<SocketAddr>,
    encrypted: Encrypted,
    udp: Vec<udp::UdpHandle>,
    xdp: Vec<xdp::Interface>,
    tasks: JoinSet<anyhow::Result<()>>,
    /// From outside.
    asked: Shutdown,
    /// Ends the server's own tasks: when asked from outside, or because one of them is gone.
    end: Trigger,
    ending: Shutdown,
}

/// The bound addresses of a server that answers, and its end.
#[derive(Debug)]
pub struct Running {
    /// UDP and TCP, in the order of the configuration.
    pub dns: Vec<SocketAddr>,
    /// TLS, HTTPS and QUIC.
    pub encrypted: Encrypted,
    /// Metrics, health, `explain`.
    pub admin: SocketAddr,
    server: Starting,
}

impl Shell {
    /// Registers what every name server counts. The registry is what the admin port will show.
    ///
    /// # Errors
    /// When there is no address to listen on or no certificate to listen with, or a name is taken in the registry.
    pub fn new(settings: Settings, registry: &Registry) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !settings.listen.is_empty(),
            "`listen` is empty: nobody could ask this server"
        );
        if let Some(key) = settings.tls.unprovided() {
            anyhow::bail!("`{key}` needs a `certificate` and its `key`");
        }
        if let Some(shortage) = settings.descriptor_shortage() {
            tracing::warn!("{shortage}: when they run out, idle connections are closed");
        }
        let traffic = Traffic::register(registry).context("metrics")?;
        let reloads = Reloads::register(registry).context("metrics")?;
        let dnstap = settings.dnstap.open(registry).context("metrics")?;
        let (tap, dnstap) = dnstap.unzip();
        let signed = SignedZones::new(&settings.dnssec).map(Arc::new);
        if let Some(signed) = &signed {
            dnssec::register(registry, signed).context("metrics")?;
            signed.poll(&reloads);
        }
        let pair = settings.tls.pair.clone();
        let certificate = pair.map(|pair| Keeper::register(pair, registry));
        let mut certificate = certificate.transpose().context("metrics")?;
        if let Some(keeper) = &mut certificate {
            keeper.follow(&reloads, unix_seconds());
        }
        let (transfers, waiting) =
            Transfers::start(&settings.transfer, registry).context("metrics")?;
        let shared = Arc::clone(&transfers);
        Ok(Self {
            door: Door::new(settings.clone(), signed, shared, Arc::clone(&traffic), tap),
            settings,
            registry: registry.clone(),
            traffic,
            reloads,
            dnstap,
            certificate,
            transfers,
            waiting,
        })
    }

    /// Where zones and tailored answers are put in force.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Where new versions of files are told.
    pub fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Where zones of other servers wait to be taken up, those kept from before this start at once.
    pub fn transferred(&self) -> Inbox {
        self.transfers.inbox()
    }

    /// Binds UDP and TCP on each address, the encrypted transports on theirs, and answers. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn listen(self, shutdown: Shutdown) -> anyhow::Result<Starting> {
        let (end, ending) = shutdown::channel();
        let mut server = Starting {
            registry: self.registry,
            admin: self.settings.admin,
            ready: Ready::new(self.door.clone()),
            dns: Vec::new(),
            encrypted: Encrypted::default(),
            udp: Vec::new(),
            xdp: Vec::new(),
            tasks: JoinSet::new(),
            asked: shutdown,
            end,
            ending,
        };
        if let Some(sender) = self.dnstap {
            server.task("dnstap", sender.run(server.ending()));
        }
        let follows = self.settings.cookies.enabled
            || !self.settings.dnssec.zones.is_empty()
            || !self.transfers.is_off();
        if follows {
            let (door, reloads) = (self.door.clone(), self.reloads.clone());
            door.poll(&reloads);
            server.poll("following secrets and keys", move || door.poll(&reloads));
        }
        let door = self.door.clone();
        server.poll("freeing old snapshots", move || door.free_retired());
        self.transfers.run(self.waiting, &mut server);
        let (workers, trusted) = (self.settings.worker_count(), self.settings.proxy.trusted());
        let listeners = self.traffic.listeners();
        let serving = |transport| {
            let serving = Server {
                limits: self.settings.tcp.limits(),
                trusted: trusted.clone(),
                ..Server::new(self.door.clone())
            };
            listeners.stream(transport, serving.counters.clone());
            serving
        };
        for address in &self.settings.listen {
            let (handle, listener) = pair::bind(*address, workers, &trusted, &self.door)?;
            let tcp = serving(Transport::Tcp);
            listeners.udp(handle.counters());
            server.dns.push(handle.local());
            server.udp.push(handle);
            let ending = server.ending();
            server.task("DNS over TCP", async move {
                let until = async move { ending.wait().await };
                Ok(tcp::serve(listener, tcp, until).await?)
            });
        }
        server.xdp = xdp::start(&self.settings.xdp, &server.dns, &trusted, &self.door);
        for interface in &server.xdp {
            listeners.xdp(interface);
        }
        if let Some(mut keeper) = self.certificate {
            let (tls, certificate) = (&self.settings.tls, keeper.certificate());
            server.encrypted = encrypted::listen(tls, &certificate, serving, &mut server)?;
            let reloads = self.reloads;
            server.poll("following the certificate", move || {
                keeper.follow(&reloads, unix_seconds());
            });
        }
        Ok(server)
    }
}

impl Starting {
    /// The end of this server, for its tasks to wait for.
    pub fn ending(&self) -> Shutdown {
        self.ending.clone()
    }

    /// Runs a task of the server until [`Starting::ending`]. One that ends before takes the server with it: a part of a
    /// server that is missing should be seen, and whoever supervises the program starts it again.
    pub fn task(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            task.await.context(name)?;
            anyhow::ensure!(ending.is_set(), "{name} ended by itself");
            Ok(())
        });
    }

    /// Calls `step` for ever, at the pace at which files are watched, on a thread that may block and comes behind those that
    /// answer. If it panics, it is called again: one bad file must not end a server that answers from the last good one, nor
    /// keep it from starting.
    pub fn poll(&mut self, name: &'static str, mut step: impl FnMut() + Send + 'static) {
        let ending = self.ending();
        self.task(name, async move {
            while !ending.is_set() {
                tokio::select! {
                    () = ending.wait() => break,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                step = spawn_blocking(move || {
                    give_way();
                    if catch_unwind(AssertUnwindSafe(&mut step)).is_err() {
                        tracing::error!("{name}: a panic; what is in force goes on");
                    }
                    step
                })
                .await?;
            }
            Ok(())
        });
    }

    /// Without a release in force the server is not ready, whatever its zones.
    pub fn await_release(&mut self, in_force: InForce) {
        self.ready.await_release(in_force);
    }

    /// Opens the admin port, with these routes beside metrics, health and readiness.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub fn admin(self, routes: Router) -> anyhow::Result<Running> {
        let registry = self.registry.clone();
        let routes = routes.merge(self.ready.clone().route());
        let admin = admin::serve(self.admin, registry, routes, self.ending())?;
        Ok(Running {
            dns: self.dns.clone(),
            encrypted: self.encrypted.clone(),
            admin,
            server: self,
        })
    }
}

impl Running {
    /// Tells standard output where it listens, and that it is ready.
    pub fn announce(&self) {
        for address in &self.dns {
            println!("listening udp {address}\nlistening tcp {address}");
        }
        let Encrypted { tls, https, quic } = &self.encrypted;
        for (transport, addresses) in [("tls", tls), ("https", https), ("quic", quic)] {
            for address in addresses {
                println!("listening {transport} {address}");
            }
        }
        println!("listening admin {}\nready", self.admin);
    }

    /// Returns when the shutdown has been fired and the last answers are sent.
    ///
    /// # Errors
    /// When a task of the server failed, panicked or ended; what still works is drained first.
    pub async fn wait(self) -> anyhow::Result<()> {
        let Starting {
            udp,
            mut xdp,
            mut tasks,
            asked,
            end,
            ..
        } = self.server;
        let mut outcome = tokio::select! {
            () = asked.wait() => Ok(()),
            Some(ended) = tasks.join_next() => ended.context("a task of the server").flatten(),
        };
        end.fire();
        // First, as what arrives from now on comes to the sockets.
        xdp.iter_mut().for_each(xdp::Interface::shutdown);
        udp.iter().for_each(udp::UdpHandle::shutdown);
        while let Some(ended) = tasks.join_next().await {
            outcome = outcome.and(ended.context("a task of the server").flatten());
        }
        let workers = move || {
            xdp.into_iter().for_each(xdp::Interface::stop);
            udp.into_iter().for_each(udp::UdpHandle::stop);
        };
        spawn_blocking(workers)
            .await
            .context("the UDP workers could not be joined")?;
        outcome
    }
}
