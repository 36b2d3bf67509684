//! Prints what the transport itself costs: one worker that answers at once, asked as fast as it goes.
//! `cargo run --release -p dns-transport --example floor`

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use dns_transport::{Answerer, Arrival, Reply, Worker, udp};

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

const SOCKETS: usize = 16;
const IN_FLIGHT: usize = 8;
const RUN: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = udp::spawn(listen.parse().map_err(io::Error::other)?, 1, &Null)?;
        let port = server.local().port();
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(("127.0.0.1", port))?;
            socket.set_nonblocking(true)?;
            for _ in 0..IN_FLIGHT {
                socket.send(&[1; 56])?;
            }
            sockets.push(socket);
        }
        let (start, cpu) = (Instant::now(), worker_cpu()?);
        while start.elapsed() < RUN {
            for socket in &sockets {
                while socket.recv(&mut [0; 512]).is_ok() {
                    socket.send(&[1; 56])?;
                }
            }
        }
        let cpu = worker_cpu()?.saturating_sub(cpu);
        let totals = server.counters().totals();
        let answered = totals.answered.max(1) as f64;
        println!(
            "{listen:12} {:6.0} thousand a second, {:.2} us CPU a query, {:.1} a batch",
            answered / RUN.as_secs_f64() / 1e3,
            cpu.as_secs_f64() * 1e6 / answered,
            totals.received as f64 / totals.batches.max(1) as f64,
        );
        server.stop();
    }
    Ok(())
}

/// Run time of the worker threads, from the scheduler.
fn worker_cpu() -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with("udp-") {
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
