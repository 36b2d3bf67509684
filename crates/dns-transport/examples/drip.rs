//! What dripping TCP connections do to everybody else: `cargo run --release -p dns-transport --example drip -- 5000`
//!
//! Each comes from an address of its own in 127/8 (`one-source` as second argument: all from one), sends an octet a
//! second of a message that never ends, and comes back whenever it is closed. Meanwhile a client asks over new TCP
//! connections and over UDP. Server and clients share this process: raise the limit of open files above twice the number
//! (`ulimit -n 20000`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use dns_transport::proxy::Trusted;
use dns_transport::{Answerer, Arrival, Reply, Server, Worker, pair, tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

/// Answers with the query.
#[derive(Clone)]
struct Echo;

impl Answerer for Echo {
    type Worker = Self;

    fn worker(&self) -> Self {
        Self
    }
}

impl Worker for Echo {
    fn begin_batch(&mut self) {}

    fn answer(&mut self, query: &[u8], _: &Arrival, out: &mut [u8]) -> Reply {
        out[..query.len()].copy_from_slice(query);
        Reply::Send(query.len())
    }
}

const ROUNDS: usize = 200;
/// Slower than this counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(worker_threads = 2)]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let drips: u32 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(500);
    let one_source = arguments.next().is_some();
    let (udp, listener) = pair::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        1,
        &Trusted::default(),
        &Echo,
    )?;
    let to = udp.local();
    let server = Server::new(Echo);
    let counters = server.counters.clone();
    tokio::spawn(tcp::serve(listener, server, std::future::pending()));

    println!("alone:           {}", measure(to).await?);
    let before = resident();
    for number in 0..drips {
        let number = if one_source { 0 } else { number };
        let [_, _, high, low] = number.to_be_bytes();
        tokio::spawn(drip(Ipv4Addr::new(127, 1, high, low), to));
    }
    println!("while they come: {}", measure(to).await?);
    sleep(Duration::from_secs(2)).await;
    println!("while they drip: {}", measure(to).await?);
    println!(
        "{} MiB more, with the clients' own memory; {:?}",
        resident() - before,
        counters.totals()
    );
    Ok(())
}

async fn drip(from: Ipv4Addr, to: SocketAddr) {
    loop {
        if let Ok(mut stream) = connect(from, to).await {
            while stream.write_all(&[0xFF]).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

async fn measure(to: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(to).await?;
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let ask = async {
            let mut stream = connect(Ipv4Addr::new(127, 0, 0, 9), to).await?;
            stream.write_all(b"\x00\x01x").await?;
            stream.read_exact(&mut [0; 3]).await
        };
        if matches!(timeout(PATIENCE, ask).await, Ok(Ok(_))) {
            tcp.push(start.elapsed());
        }
        let start = Instant::now();
        socket.send(b"x").await?;
        if timeout(PATIENCE, socket.recv(&mut [0; 8])).await.is_ok() {
            udp.push(start.elapsed());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(format!("new TCP {}, UDP {}", shown(tcp), shown(udp)))
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let late = times.iter().filter(|time| time.as_millis() >= 100).count();
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else {
        return "none answered".to_owned();
    };
    let answered = times.len();
    format!(
        "{answered}/{ROUNDS} answered, median {median:.1?}, worst {worst:.1?}, {late} of 100 ms or more"
    )
}

/// Memory of this process in MiB.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    (resident.unwrap_or(0) * 4096) >> 20
}
