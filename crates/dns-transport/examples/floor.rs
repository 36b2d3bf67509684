//! Prints what the transports themselves cost: one worker that answers at once, asked as fast as it goes.
//! `cargo run --release -p dns-transport --example floor`

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_transport::proxy::Trusted;
use dns_transport::{Answerer, Arrival, Certificate, Reply, Server, Worker, tcp, tls, udp};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpListener;

/// Answers with the query and 111 octets more, as an SRV answer of three records would be long.
struct Null;

impl Answerer for Null {
    type Worker = Self;

    fn worker(&self) -> Self {
        Self
    }
}

impl Worker for Null {
    fn begin_batch(&mut self) {}

    fn answer(&mut self, query: &[u8], _: &Arrival, out: &mut [u8]) -> Reply {
        out[..query.len()].copy_from_slice(query);
        Reply::Send(query.len() + 111)
    }
}

const QUERY: [u8; 56] = [1; 56];
/// Sockets over UDP, connections over streams.
const SOCKETS: usize = 16;
const IN_FLIGHT: usize = 8;
/// Queries of a connection under way; it asks anew when half of them are answered.
const PIPELINED: usize = 16;
const RUN: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = udp::spawn(
            listen.parse().map_err(io::Error::other)?,
            1,
            &Trusted::default(),
            &Null,
        )?;
        let cpu = Cpu::of("udp-");
        ask_datagrams(server.local().port())?;
        let totals = server.counters().totals();
        print(&format!("UDP {listen}"), cpu.spent()?, totals.answered);
        server.stop();
    }
    tcp()?;
    tls()
}

/// A runtime whose only thread is easily found.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("streams")
        .enable_all()
        .build()
}

fn listen(runtime: &tokio::runtime::Runtime) -> io::Result<(TcpListener, SocketAddr)> {
    let _inside = runtime.enter();
    let listener = tcp::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

fn tcp() -> io::Result<()> {
    let runtime = runtime()?;
    let (listener, local) = listen(&runtime)?;
    let server = Server::new(Null);
    let counters = server.counters.clone();
    runtime.spawn(tcp::serve(listener, server, std::future::pending()));
    let cpu = Cpu::of("streams");
    ask_streams(|| TcpStream::connect(local))?;
    print(
        "TCP, 16 pipelined",
        cpu.spent()?,
        counters.totals().answered,
    );
    Ok(())
}

/// With the handshakes of its connections, which are few.
fn tls() -> io::Result<()> {
    let runtime = runtime()?;
    let (listener, local) = listen(&runtime)?;
    let made = rcgen::generate_simple_self_signed(["ns.test".to_owned()]);
    let made = made.map_err(io::Error::other)?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    let certificate = certificate.map_err(io::Error::other)?;
    let server = Server::new(Null);
    let counters = server.counters.clone();
    runtime.spawn(async move {
        tls::serve(listener, server, &certificate, std::future::pending()).await
    });
    let mut roots = RootCertStore::empty();
    roots
        .add(made.cert.der().clone())
        .map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    let cpu = Cpu::of("streams");
    ask_streams(|| {
        let name = "ns.test".try_into().map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&client), name);
        let connection = connection.map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, TcpStream::connect(local)?))
    })?;
    print(
        "TLS, 16 pipelined",
        cpu.spent()?,
        counters.totals().answered,
    );
    Ok(())
}

fn print(what: &str, cpu: Duration, answered: u64) {
    let answered = answered.max(1) as f64;
    println!(
        "{what:20} {:6.0} thousand a second, {:.3} us CPU a query",
        answered / RUN.as_secs_f64() / 1e3,
        cpu.as_secs_f64() * 1e6 / answered,
    );
}

fn ask_datagrams(port: u16) -> io::Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", port))?;
        socket.set_nonblocking(true)?;
        for _ in 0..IN_FLIGHT {
            socket.send(&QUERY)?;
        }
        sockets.push(socket);
    }
    let start = Instant::now();
    while start.elapsed() < RUN {
        for socket in &sockets {
            while socket.recv(&mut [0; 512]).is_ok() {
                socket.send(&QUERY)?;
            }
        }
    }
    Ok(())
}

/// Keeps every connection's pipeline half full or fuller.
fn ask_streams<S: Read + Write>(connect: impl Fn() -> io::Result<S>) -> io::Result<()> {
    let half: Vec<u8> = [&[0, QUERY.len() as u8], &QUERY[..]]
        .concat()
        .repeat(PIPELINED / 2);
    let mut answers = vec![0; PIPELINED / 2 * (2 + QUERY.len() + 111)];
    let mut connections = Vec::new();
    for _ in 0..SOCKETS {
        let mut connection = connect()?;
        connection.write_all(&half)?;
        connection.write_all(&half)?;
        connections.push(connection);
    }
    let start = Instant::now();
    while start.elapsed() < RUN {
        for connection in &mut connections {
            connection.read_exact(&mut answers)?;
            connection.write_all(&half)?;
        }
    }
    Ok(())
}

/// Run time of the threads whose names begin so, from the scheduler.
struct Cpu {
    threads: &'static str,
    before: Duration,
}

impl Cpu {
    fn of(threads: &'static str) -> Self {
        let before = cpu(threads).unwrap_or_default();
        Self { threads, before }
    }

    fn spent(&self) -> io::Result<Duration> {
        Ok(cpu(self.threads)?.saturating_sub(self.before))
    }
}

fn cpu(threads: &str) -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with(threads) {
            let times = fs::read_to_string(path.join("schedstat"))?;
            total += times
                .split(' ')
                .next()
                .and_then(|time| time.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(total))
}
