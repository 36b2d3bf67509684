//! DNS over HTTPS (RFC 8484): GET and POST on one path, over HTTP/2 or HTTP/1.1.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use crate::accept::{self, Closing, End, Guest, Server};
use crate::certificate::Certificate;
use crate::exchange::{Answer, Exchange, LONG_QUERY, STREAM_WINDOW};
use crate::framed::MESSAGE_MAX;
use crate::{Answerer, Transport, Worker, message, tls};

/// The path clients use unless they are told another (RFC 8484 §4.1).
pub const PATH: &str = "/dns-query";

/// The media type of queries and answers (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// Header fields of a request, of which a query takes four thirds of its size.
const HEADERS_MAX: usize = 16 * 1024;
/// Streams a client may reset before they were accepted, until it is sent away: the rapid reset attack.
const RESETS_MAX: usize = 20;
/// Streams we may reset for a client's errors, until it is sent away.
const ERRORS_MAX: usize = 100;

/// Time for an idle client to take note of the end: HTTP/2 waits for a sign of it.
const FAREWELL: Duration = Duration::from_secs(1);

type Reply = Response<Full<Bytes>>;

/// Serves a listener of [`crate::tcp::bind`] until `shutdown` resolves; then requests that have begun are finished.
///
/// # Errors
/// When the listener has no address, or TLS cannot be set up.
pub async fn serve<A: Answerer>(
    listener: TcpListener,
    server: Server<A>,
    certificate: &Certificate,
    path: &str,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = tls::acceptor(certificate, &[HTTP_2, HTTP_1])?;
    let path = Arc::<str>::from(path);
    let converse = move |stream, mut guest| {
        let (acceptor, path) = (acceptor.clone(), Arc::clone(&path));
        async move {
            match tls::shake_hands(&acceptor, stream, &mut guest).await {
                Ok(stream) => converse(stream, guest, path).await,
                Err(end) => guest.tally.end(end),
            }
        }
    };
    accept::serve(listener, server, Transport::Https, shutdown, converse).await
}

async fn converse<W: Worker>(stream: TlsStream<TcpStream>, guest: Guest<W>, path: Arc<str>) {
    let is_http_2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
    let closing = guest.closing.clone();
    let exchange = Arc::new(Exchange::new(guest));
    let requests = Arc::clone(&exchange);
    let service = service_fn(move |request| {
        let (exchange, path) = (Arc::clone(&requests), Arc::clone(&path));
        async move { Ok::<_, Infallible>(respond(&exchange, &path, request).await) }
    });
    let stream = TokioIo::new(stream);
    let end = if is_http_2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(exchange.limits.requests_max)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(ERRORS_MAX)
            .max_header_list_size(HEADERS_MAX as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * (exchange.limits.requests_max + 1))
            .serve_connection(stream, service);
        let finish = http2::Connection::graceful_shutdown;
        drive(connection, finish, &exchange, closing).await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_header_size(HEADERS_MAX)
            .serve_connection(stream, service);
        let finish = http1::Connection::graceful_shutdown;
        drive(connection, finish, &exchange, closing).await
    };
    exchange.tally.end(end);
}

/// Runs a connection until it ends, idles too long, or the server stops and its last requests are answered.
async fn drive<C: Future<Output = hyper::Result<()>>, W: Worker>(
    connection: C,
    finish: impl Fn(Pin<&mut C>),
    exchange: &Exchange<W>,
    mut closing: Closing,
) -> End {
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut connection => return match ended {
                Err(error) if error.is_parse() => End::Malformed,
                _ => End::Closed,
            },
            () = closing.wait(), if !stopping => {
                stopping = true;
                finish(connection.as_mut());
            }
            () = sleep_until(exchange.idle_deadline()) => {
                if exchange.idle_deadline() <= Instant::now() {
                    finish(connection.as_mut());
                    let _ = timeout(FAREWELL.min(exchange.limits.write), connection).await;
                    return End::TimedOut;
                }
            }
        }
    }
}

/// One request, from its head to the whole answer.
async fn respond<W: Worker>(
    exchange: &Exchange<W>,
    path: &str,
    request: Request<Incoming>,
) -> Reply {
    let (head, mut body) = request.into_parts();
    let answered = match query(exchange, path, &head, &mut body).await {
        Ok(query) => answer(exchange, &query),
        Err(status) => {
            // Whoever still sends when the stream is closed may not look at the status: curl 7.88 does not.
            if status != StatusCode::REQUEST_TIMEOUT {
                let _ = timeout(exchange.limits.message, discard(body)).await;
            }
            Err(status)
        }
    };
    answered.unwrap_or_else(|status| {
        exchange.tally.end(End::Malformed);
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = HeaderValue::from_static("GET, POST");
            reply.headers_mut().insert(ALLOW, allowed);
        }
        reply
    })
}

/// The query that a request carries (RFC 8484 §4.1), or what it is told instead.
async fn query<W: Worker>(
    exchange: &Exchange<W>,
    path: &str,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Vec<u8>, StatusCode> {
    if head.uri.path() != path {
        return Err(StatusCode::NOT_FOUND);
    }
    match head.method {
        Method::GET => {
            let fields = head.uri.query().unwrap_or_default().split('&');
            let encoded = fields.filter_map(|field| field.strip_prefix("dns=")).next();
            let query = URL_SAFE_NO_PAD.decode(encoded.ok_or(StatusCode::BAD_REQUEST)?);
            query.map_err(|_| StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            let kind = head.headers.get(CONTENT_TYPE);
            if !kind.is_some_and(is_media_type) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let read = timeout(exchange.limits.message, whole(exchange, body));
            read.await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// True for the media type of DNS messages, whatever its parameters.
fn is_media_type(value: &HeaderValue) -> bool {
    let kind = value.to_str().ok().and_then(|text| text.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

/// All of a body, as long as a message may be.
async fn whole<W: Worker>(
    exchange: &Exchange<W>,
    body: &mut Incoming,
) -> Result<Vec<u8>, StatusCode> {
    let (mut query, mut long) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else {
            continue;
        };
        let length = query.len() + data.len();
        if length > MESSAGE_MAX {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if length > LONG_QUERY && long.is_none() {
            long = Some(exchange.long().await);
        }
        query.extend_from_slice(&data);
    }
    Ok(query)
}

/// Takes the rest of a body that nobody wants, if it is not longer than a message.
async fn discard(mut body: Incoming) {
    let mut length = 0;
    while length <= MESSAGE_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn answer<W: Worker>(exchange: &Exchange<W>, query: &[u8]) -> Result<Reply, StatusCode> {
    let octets = match exchange.answer(query) {
        Answer::One(octets) => octets,
        // What gets no answer elsewhere was no query.
        Answer::Silence => return Err(StatusCode::BAD_REQUEST),
        // A response is one message (RFC 8484 §4.2.1).
        Answer::Several(_) => return Err(StatusCode::NOT_IMPLEMENTED),
    };
    // Private, as the answer may depend on the address that asks: a shared cache must not give it to others.
    let kept = format!("private, max-age={}", message::freshness(&octets));
    let kept = HeaderValue::try_from(kept).expect("letters and digits are a header's value");
    let mut reply = Response::new(Full::new(octets));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, kept);
    exchange.answered(1);
    Ok(reply)
}
