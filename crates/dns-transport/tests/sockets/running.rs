//! A running listener for connections, and how a client frames messages.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use dns_transport::counters::{StreamCounters, StreamTotals};
use dns_transport::{Server, StreamLimits, tcp};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::echo::Echo;

/// Longer than anything takes on a loaded machine; whoever waits so long waits for what does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Running {
    pub(crate) local: SocketAddr,
    pub(crate) counters: StreamCounters,
    /// Messages of streams made.
    pub(crate) streamed: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Starts what `serve` makes of a bound listener.
    pub(crate) fn start<F>(
        limits: StreamLimits,
        serve: impl FnOnce(TcpListener, Server<Echo>, Shutdown) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let local = listener.local_addr().unwrap();
        Self::start_at(local, limits, |server, shutdown| {
            serve(listener, server, shutdown)
        })
    }

    /// The same for what is bound otherwise.
    pub(crate) fn start_at<F>(
        local: SocketAddr,
        limits: StreamLimits,
        serve: impl FnOnce(Server<Echo>, Shutdown) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let answerer = Echo::default();
        let streamed = Arc::clone(&answerer.streamed);
        let mut server = Server::new(answerer);
        server.limits = limits;
        let counters = server.counters.clone();
        let shutdown = Box::pin(async {
            let _ = stopped.await;
        });
        Self {
            local,
            counters,
            streamed,
            stop,
            task: tokio::spawn(serve(server, shutdown)),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        connect("127.0.0.1", self.local).await.unwrap()
    }

    pub(crate) async fn stop(self) -> StreamTotals {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.counters.totals()
    }

    /// Waits until the counters say so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&StreamTotals) -> bool) {
        let wait = async {
            while !holds(&self.counters.totals()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.counters.totals());
    }
}

/// Connects from a loopback address.
pub(crate) async fn connect(from: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
    socket.set_nodelay(true)?;
    socket.connect(to).await
}

pub(crate) fn frame(query: &[u8]) -> Vec<u8> {
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    framed
}

pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let read = async {
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        Ok(message)
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

/// The next answer as text.
pub(crate) async fn read_text(stream: &mut (impl AsyncRead + Unpin)) -> String {
    String::from_utf8(read_frame(stream).await.unwrap()).unwrap()
}

pub(crate) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await;
    matches!(read.expect("closed in time"), Ok(0) | Err(_))
}

/// The same listener with another answerer.
pub(crate) fn answered_by<A>(server: Server<Echo>, answerer: A) -> Server<A> {
    Server {
        answerer,
        limits: server.limits,
        trusted: server.trusted,
        counters: server.counters,
    }
}
