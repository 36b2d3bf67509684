//! TCP (RFC 7766): framed messages as they are.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::accept::{self, Server};
use crate::{Answerer, Transport, framed};

/// Connections that wait to be accepted during a burst; the kernel caps it at `net.core.somaxconn`. A full queue makes
/// clients wait a second for their next try.
const BACKLOG: i32 = 4096;

/// Serves a bound listener until `shutdown` resolves; then open connections finish what they have read.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<A: Answerer>(
    listener: TcpListener,
    server: Server<A>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    accept::serve(
        listener,
        server,
        Transport::Tcp,
        shutdown,
        |stream, mut guest| async move {
            let end = framed::converse(stream, &mut guest).await;
            guest.tally.end(end);
        },
    )
    .await
}

/// Binds a listener for any stream transport (port 0 allowed), reusing an address that is only lingering.
///
/// # Errors
/// When the address cannot be bound, or outside of a tokio runtime.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
