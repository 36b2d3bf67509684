//! One RTSP connection: requests out, answers matched by CSeq, everything else handed to the play loop.
//!
//! A reader task parses what comes; nothing here waits for the play loop except through one bounded
//! channel, so a server that sends faster than we play is slowed by TCP and memory stays bounded.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtsp::codec::{self, Codec};
use rtsp::headers::{CSEQ, USER_AGENT};
use rtsp::message::{self, PRODUCT};
use rtsp::{Method, Request, Response, StatusCode, Url};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// A connection that is not there after this is not worth having: an edge is a few milliseconds away.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The whole answer to a request; a server that drips octets runs into it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets read at once: about what a frame in a few packets needs.
const READ_OCTETS: usize = 64 * 1024;
/// Answers awaited at once on one connection; ours sends three or four at most.
const PENDING_MAX: usize = 32;

/// Why an exchange with a server failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RtspError {
    /// No connection came about.
    #[error("{address}: no connection: {reason}")]
    Connect {
        /// The server.
        address: SocketAddr,
        /// What the system said.
        reason: String,
        /// A reset or a closed port, as opposed to silence.
        refused: bool,
    },
    /// No answer in time.
    #[error("no answer to {request} within {seconds} s")]
    Timeout {
        /// The request's method.
        request: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection ended.
    #[error("the server closed the connection ({reason})")]
    Closed {
        /// Why, as far as known.
        reason: String,
    },
    /// An answer other than 2xx.
    #[error("{request} answered with {code} {phrase}")]
    Status {
        /// The request's method.
        request: String,
        /// Status code.
        code: u16,
        /// Reason phrase.
        phrase: String,
    },
    /// An answer that makes no sense or breaks a limit.
    #[error("{what}")]
    Answer {
        /// What is wrong.
        what: String,
    },
}

/// What came without being asked for.
#[derive(Debug)]
pub enum Incoming {
    /// A request of the server (PLAY_NOTIFY, OPTIONS, …).
    Request(Box<Request>),
    /// An RTP or RTCP packet and the interleaved channel (or the UDP flow) it came on.
    Packet(u8, Vec<u8>),
    /// The connection is gone.
    Closed(String),
}

/// Something that happened on a connection.
#[derive(Debug)]
pub struct Event {
    /// [`Connection::id`].
    pub connection: u64,
    /// When it was read.
    pub at: Instant,
    /// What it is.
    pub incoming: Incoming,
}

type Pending = Arc<Mutex<HashMap<u32, oneshot::Sender<Response>>>>;

/// An open connection; closed when dropped.
pub struct Connection {
    /// Distinguishes connections in the event channel; never reused.
    pub id: u64,
    /// The server's address.
    pub peer: SocketAddr,
    /// Our own address.
    pub local: SocketAddr,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    pending: Pending,
    cseq: AtomicU32,
    reader: AbortHandle,
}

impl Connection {
    /// Connects to `address`; whatever the server says unasked goes to `events`.
    pub async fn open(
        address: SocketAddr,
        events: mpsc::Sender<Event>,
    ) -> Result<Connection, RtspError> {
        let failed = |reason: String, refused| RtspError::Connect {
            address,
            reason,
            refused,
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Err(_) => return Err(failed("time-out".into(), false)),
            Ok(Err(error)) => {
                let silent = error.kind() == std::io::ErrorKind::TimedOut;
                return Err(failed(error.to_string(), !silent));
            }
            Ok(Ok(stream)) => stream,
        };
        let ends = stream.set_nodelay(true).and_then(|()| stream.local_addr());
        let local = ends.map_err(|error| failed(error.to_string(), true))?;
        let (reading, writing) = stream.into_split();
        let pending = Pending::default();
        let id = next_id();
        let reader = tokio::spawn(read(id, reading, pending.clone(), events)).abort_handle();
        let writer = tokio::sync::Mutex::new(writing);
        Ok(Connection {
            id,
            peer: address,
            local,
            writer,
            pending,
            cseq: AtomicU32::new(1),
            reader,
        })
    }

    /// Sends a request and waits for its answer, whatever the status. CSeq and User-Agent are added.
    pub async fn send(&self, mut request: Request) -> Result<Response, RtspError> {
        let cseq = self.cseq.fetch_add(1, Ordering::Relaxed);
        request.insert_header(CSEQ, cseq.to_string());
        request.insert_header(USER_AGENT, PRODUCT);
        let method = <&str>::from(request.method()).to_owned();
        let (sender, receiver) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.len() >= PENDING_MAX {
                return Err(RtspError::Answer {
                    what: format!("{PENDING_MAX} requests unanswered"),
                });
            }
            pending.insert(cseq, sender);
        }
        let forget = Forget {
            pending: &self.pending,
            cseq,
        };
        let mut bytes = Vec::new();
        request
            .write(&mut bytes)
            .map_err(|error| RtspError::Answer {
                what: error.to_string(),
            })?;
        let exchange = async {
            self.write(&bytes).await?;
            receiver.await.map_err(|_| RtspError::Closed {
                reason: "before it answered".into(),
            })
        };
        let answer = timeout(ANSWER_TIMEOUT, exchange).await;
        drop(forget);
        answer.unwrap_or_else(|_| {
            Err(RtspError::Timeout {
                request: method,
                seconds: ANSWER_TIMEOUT.as_secs(),
            })
        })
    }

    /// Like [`send`](Self::send), but any answer other than 2xx is an error.
    pub async fn request(&self, request: Request) -> Result<Response, RtspError> {
        let method = <&str>::from(request.method()).to_owned();
        let answer = self.send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(RtspError::Status {
            request: method,
            code: answer.status().into(),
            phrase: answer.reason_phrase().to_owned(),
        })
    }

    /// Answers a request of the server.
    pub async fn answer(&self, request: &Request, status: StatusCode) -> Result<(), RtspError> {
        let answer = message::respond(request, status, &[], b"");
        self.write(&codec::encode_response(&answer)).await
    }

    /// Sends one packet on an interleaved channel (RFC 2326 §10.12).
    pub async fn interleaved(&self, channel: u8, packet: &[u8]) -> Result<(), RtspError> {
        let Ok(length) = u16::try_from(packet.len()) else {
            return Err(RtspError::Answer {
                what: "a packet of more than 65535 octets".into(),
            });
        };
        let [high, low] = length.to_be_bytes();
        self.write(&[&[b'$', channel, high, low], packet].concat())
            .await
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), RtspError> {
        let written = async { self.writer.lock().await.write_all(bytes).await };
        match timeout(ANSWER_TIMEOUT, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(RtspError::Closed {
                reason: error.to_string(),
            }),
            Err(_) => Err(RtspError::Closed {
                reason: "it takes nothing any more".into(),
            }),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A request without a body; the connection fills in CSeq and User-Agent.
pub fn request(method: Method, url: &Url, headers: &[(&'static str, String)]) -> Request {
    message::request(method, url, 0, headers, b"")
}

/// A SET_PARAMETER with `text/parameters` as its body.
pub fn set_parameter(url: &Url, session: &str, body: &str) -> Request {
    let mut headers = vec![("Content-Type", rtsp::parameters::CONTENT_TYPE.to_owned())];
    if !session.is_empty() {
        headers.push(("Session", session.to_owned()));
    }
    message::request(Method::SetParameter, url, 0, &headers, body.as_bytes())
}

/// An id for a connection or a UDP flow.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Takes a CSeq out of the table however the waiting ends.
struct Forget<'a> {
    pending: &'a Pending,
    cseq: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.pending).remove(&self.cseq);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(id: u64, stream: OwnedReadHalf, pending: Pending, events: mpsc::Sender<Event>) {
    let reason = read_all(id, stream, &pending, &events).await;
    lock(&pending).clear();
    let closed = Event {
        connection: id,
        at: Instant::now(),
        incoming: Incoming::Closed(reason),
    };
    // The play loop may be gone already; then nobody needs to know.
    events.send(closed).await.ok();
}

/// Reads until the end; the reason of it.
async fn read_all(
    id: u64,
    mut stream: OwnedReadHalf,
    pending: &Pending,
    events: &mpsc::Sender<Event>,
) -> String {
    let mut codec = Codec::new();
    let mut buffer = vec![0; READ_OCTETS];
    loop {
        let length = match stream.read(&mut buffer).await {
            Ok(0) => return "end of stream".into(),
            Ok(length) => length,
            Err(error) => return error.to_string(),
        };
        let at = Instant::now();
        codec.push(buffer.get(..length).unwrap_or_default());
        loop {
            let incoming = match codec.next_event() {
                Err(error) => return format!("not RTSP: {error}"),
                Ok(None) => break,
                Ok(Some(rtsp::Event::Response(answer))) => {
                    deliver(pending, answer);
                    continue;
                }
                Ok(Some(rtsp::Event::Request(request))) => Incoming::Request(Box::new(request)),
                Ok(Some(rtsp::Event::Interleaved { channel, payload })) => {
                    Incoming::Packet(channel, payload)
                }
            };
            if events
                .send(Event {
                    connection: id,
                    at,
                    incoming,
                })
                .await
                .is_err()
            {
                return "nobody listens".into();
            }
        }
    }
}

/// Hands an answer to whoever waits for its CSeq; answers to nothing are dropped.
fn deliver(pending: &Pending, answer: Response) {
    let cseq = answer
        .header(&CSEQ)
        .and_then(|value| value.as_str().trim().parse::<u32>().ok());
    if let Some(waiting) = cseq.and_then(|cseq| lock(pending).remove(&cseq)) {
        // The requester may have given up in this very moment.
        waiting.send(answer).ok();
    }
}
