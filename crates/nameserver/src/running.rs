//! The running server: its sockets and tasks, from the first bound address to the last answer.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use dns_transport::{Server, pair, proxy::Trusted, tcp, udp};
use prometheus::Registry;
use service::shutdown::{self, Shutdown, Trigger};
use service::{admin, watch::POLL_INTERVAL};
use tokio::task::{JoinSet, spawn_blocking};

use crate::Door;

/// A server that answers already, and has no admin port yet.
#[derive(Debug)]
pub struct Starting {
    dns: Vec<SocketAddr>,
    udp: Vec<udp::UdpHandle>,
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
    /// Metrics, health, `explain`.
    pub admin: SocketAddr,
    server: Starting,
}

impl Starting {
    /// Binds UDP (with so many threads) and TCP on each address and answers. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When there is no address, or one cannot be bound.
    pub fn listen(
        addresses: &[SocketAddr],
        workers: usize,
        door: &Door,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !addresses.is_empty(),
            "`listen` is empty: nobody could ask this server"
        );
        let (end, ending) = shutdown::channel();
        let mut server = Self {
            dns: Vec::new(),
            udp: Vec::new(),
            tasks: JoinSet::new(),
            asked: shutdown,
            end,
            ending,
        };
        for address in addresses {
            let (handle, listener) = pair::bind(*address, workers, &Trusted::default(), door)?;
            let tcp = Server::new(door.clone());
            door.traffic.follow(handle.counters(), tcp.counters.clone());
            server.dns.push(handle.local());
            server.udp.push(handle);
            let ending = server.ending.clone();
            server.task("DNS over TCP", async move {
                let until = async move { ending.wait().await };
                Ok(tcp::serve(listener, tcp, until).await?)
            });
        }
        Ok(server)
    }

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

    /// Calls `step` for ever, at the pace at which files are watched, on a thread that may block.
    pub fn poll(&mut self, name: &'static str, mut step: impl FnMut() + Send + 'static) {
        let ending = self.ending();
        self.task(name, async move {
            while !ending.is_set() {
                tokio::select! {
                    () = ending.wait() => break,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                step = spawn_blocking(move || {
                    step();
                    step
                })
                .await?;
            }
            Ok(())
        });
    }

    /// Opens the admin port, with these routes beside metrics and health.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub fn admin(
        self,
        listen: SocketAddr,
        registry: Registry,
        routes: Router,
    ) -> anyhow::Result<Running> {
        let admin = admin::serve(listen, registry, routes, self.ending())?;
        Ok(Running {
            dns: self.dns.clone(),
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
        println!("listening admin {}\nready", self.admin);
    }

    /// Returns when the shutdown has been fired and the last answers are sent.
    ///
    /// # Errors
    /// When a task of the server failed, panicked or ended; what still works is drained first.
    pub async fn wait(self) -> anyhow::Result<()> {
        let Starting {
            udp,
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
        udp.iter().for_each(udp::UdpHandle::shutdown);
        while let Some(ended) = tasks.join_next().await {
            outcome = outcome.and(ended.context("a task of the server").flatten());
        }
        spawn_blocking(move || udp.into_iter().for_each(udp::UdpHandle::stop))
            .await
            .context("the UDP workers could not be joined")?;
        outcome
    }
}
