//! Reads a program's admin port: metrics and explanations.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long a state may take to come about before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page with its head.
///
/// # Panics
/// When nobody answers.
pub fn page(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).expect("the admin port");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page of text");
    text
}

/// Every metric whose name and labels begin with this, and its value.
///
/// # Panics
/// When nobody answers.
pub fn metrics(admin: SocketAddr, beginning: &str) -> Vec<(String, f64)> {
    let page = page(admin, "/metrics");
    let wanted = page.lines().filter(|line| line.starts_with(beginning));
    wanted
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Reads metrics until they are as wanted.
///
/// # Panics
/// When they are not so within ten seconds.
pub fn until_metrics(
    admin: SocketAddr,
    beginning: &str,
    wanted: impl Fn(&[(String, f64)]) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = metrics(admin, beginning);
        if wanted(&seen) {
            return;
        }
        assert!(Instant::now() < until, "still {seen:?}");
        std::thread::yield_now();
    }
}
