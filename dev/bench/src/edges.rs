//! Edges for the second level to probe: they answer OPTIONS and nothing else.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::thread;

/// Answers probes on these addresses until the program ends; the port, the same on all.
pub(crate) fn start(addresses: impl Iterator<Item = IpAddr>) -> io::Result<u16> {
    let mut port = 0;
    for address in addresses {
        let listener = TcpListener::bind((address, port))?;
        port = listener.local_addr()?.port();
        thread::spawn(move || answer_probes(&listener));
    }
    Ok(port)
}

fn answer_probes(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap_or(0);
        if request[..length].starts_with(b"OPTIONS ") {
            // A prober that has gone away will come again.
            let _ = stream.write_all(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n");
        }
    }
}
