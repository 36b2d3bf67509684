//! Who may have an answer: no service that would answer back, no source over its limit; and what the
//! query's cookie proves about its source.

use std::net::IpAddr;

use crate::cookie::{COOKIE, CookieState};
use crate::meta::Meta;
use crate::rate::{Limiter, RateState};
use crate::rcode::Rcode;
use crate::reply::Reply;
use crate::request::Request;
use crate::snapshot::Snapshot;

/// How a query's source stands with us.
pub(crate) struct Standing {
    /// Its address; an IPv4-mapped one as IPv4.
    pub(crate) source: IpAddr,
    pub(crate) cookie: CookieState,
    /// The cookie option of the answer.
    pub(crate) cookie_of_answer: Option<[u8; COOKIE]>,
    pub(crate) rate: RateState,
}

/// True if nobody who wants an answer can have asked: our own socket, or a service that would answer our
/// answer for ever (echo, daytime, quotation, chargen, time). Port 0 cannot be answered.
#[inline(always)]
pub(crate) fn is_no_client(meta: &Meta) -> bool {
    const SERVICES: u64 = 1 | 1 << 7 | 1 << 13 | 1 << 17 | 1 << 19 | 1 << 37;
    let port = meta.source.port();
    let service = port < 64 && SERVICES >> port & 1 != 0;
    let ourselves = port == meta.local.port() && meta.source == meta.local;
    (service || ourselves) && meta.transport.is_datagram()
}

impl Standing {
    /// Looks at cookie and rate. An option of wrong length becomes the query's fault.
    #[inline(always)]
    pub(crate) fn of(
        snapshot: &Snapshot,
        request: &mut Request<'_>,
        meta: &Meta,
        limiter: &mut Limiter,
    ) -> Self {
        let source = meta.source.ip().to_canonical();
        let (cookie, cookie_of_answer) = read_cookie(snapshot, request, source, meta);
        let rate = match &snapshot.rate {
            Some(limit) if meta.transport.is_datagram() && cookie != CookieState::Valid => {
                limiter.judge(limit, source, meta.now_ms)
            }
            _ => RateState::Unlimited,
        };
        Self {
            source,
            cookie,
            cookie_of_answer,
            rate,
        }
    }

    /// Answers a query without a question: whoever asks nothing asks for a cookie (RFC 7873 §5.4).
    pub(crate) fn answer_nothing(&self, reply: &mut Reply<'_>) {
        reply.fail(match self.cookie {
            CookieState::None => Rcode::FORMERR,
            CookieState::Bad => Rcode::BADCOOKIE,
            CookieState::ClientOnly | CookieState::Valid => Rcode::NOERROR,
        });
    }

    /// False if an answer of `size` octets is too large for a source that has proved nothing.
    #[inline(always)]
    pub(crate) fn may_have(&self, snapshot: &Snapshot, meta: &Meta, size: usize) -> bool {
        let cookies = snapshot.cookies.as_ref();
        let allowed = cookies.and_then(|cookies| cookies.required_above);
        allowed.is_none_or(|allowed| {
            let proved = self.cookie == CookieState::Valid || !meta.transport.is_datagram();
            proved || size <= allowed.into()
        })
    }

    /// Takes back an answer of `size` octets if the source may not have it.
    pub(crate) fn require_cookie(
        &self,
        snapshot: &Snapshot,
        meta: &Meta,
        size: usize,
        reply: &mut Reply<'_>,
    ) {
        let has_answer = !matches!(
            reply.rcode,
            Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS | Rcode::NOTAUTH
        );
        if !has_answer || self.may_have(snapshot, meta, size) {
            return;
        }
        reply.truncate();
        if self.cookie != CookieState::None {
            reply.truncated = false;
            reply.fail(Rcode::BADCOOKIE);
        }
    }
}

/// What the query's cookie proves, and the one of the answer.
#[inline(always)]
fn read_cookie(
    snapshot: &Snapshot,
    request: &mut Request<'_>,
    source: IpAddr,
    meta: &Meta,
) -> (CookieState, Option<[u8; COOKIE]>) {
    let Some(edns) = &request.edns else {
        return (CookieState::None, None);
    };
    if edns.cookie.is_none() && !edns.unusual {
        return (CookieState::None, None);
    }
    let mut fault = edns.fault(meta.transport);
    let mut read = (CookieState::None, None);
    if let (Some(cookies), Some(option)) = (&snapshot.cookies, edns.cookie) {
        match cookies.check(option, source, meta.now) {
            Some(checked) => read = (checked.state, Some(checked.answer)),
            None => fault = Some(Rcode::FORMERR),
        }
    }
    request.fault = request.fault.or(fault);
    read
}
