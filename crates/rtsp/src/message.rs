//! Requests and responses: the `rtsp-types` messages with owned bodies, and short ways to build and read them.

use rtsp_types::{
    Headers, Method, StatusCode, Url, Version,
    headers::{self, HeaderName},
};

/// An RTSP request with its body (empty if it has none).
pub type Request = rtsp_types::Request<Vec<u8>>;
/// An RTSP response with its body (empty if it has none).
pub type Response = rtsp_types::Response<Vec<u8>>;

/// What goes into the `Server` and `User-Agent` headers of ours.
pub const PRODUCT: &str = concat!("Signpost/", env!("CARGO_PKG_VERSION"));

/// A header name of ours; only for the ASCII constants of this crate and of its users.
pub fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static_str(text).expect("header names in the source are ASCII")
}

/// The value of a header, names compared without regard to case.
pub fn header<'a>(message: &'a impl AsRef<Headers>, name: &'static str) -> Option<&'a str> {
    let name = HeaderName::from_static_str(name).ok()?;
    message.as_ref().get(&name).map(|value| value.as_str())
}

/// `CSeq` as a number; `None` if absent or not one (RFC 2326 §12.17).
pub fn cseq(message: &impl AsRef<Headers>) -> Option<u32> {
    header(message, "CSeq")?.trim().parse().ok()
}

/// The session id without its `;timeout=` parameter (RFC 2326 §12.37).
pub fn session_id(message: &impl AsRef<Headers>) -> Option<&str> {
    let value = header(message, "Session")?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// The `timeout` parameter of a `Session` header, seconds; 60 where it is missing (RFC 2326 §12.37).
pub fn session_timeout_seconds(message: &impl AsRef<Headers>) -> u32 {
    header(message, "Session")
        .into_iter()
        .flat_map(|value| value.split(';').skip(1))
        .filter_map(|parameter| parameter.trim().strip_prefix("timeout="))
        .find_map(|seconds| seconds.trim().parse().ok())
        .unwrap_or(60)
}

/// A request with `CSeq` and the extra headers given; `Content-Length` follows from the body.
pub fn request(
    method: Method,
    url: &Url,
    cseq: u32,
    extra: &[(&'static str, String)],
    body: &[u8],
) -> Request {
    let mut builder = rtsp_types::Request::builder(method, Version::V1_0)
        .request_uri(url.clone())
        .header(headers::CSEQ, cseq.to_string());
    for (header, value) in extra {
        builder = builder.header(name(header), value.as_str());
    }
    builder.build(body.to_vec())
}

/// The answer to `request`: its `CSeq` and version repeated, our `Server` header, the extra headers, the body.
pub fn respond(
    request: &Request,
    status: StatusCode,
    extra: &[(&'static str, String)],
    body: &[u8],
) -> Response {
    let mut builder =
        rtsp_types::Response::builder(request.version(), status).header(headers::SERVER, PRODUCT);
    if let Some(number) = cseq(request) {
        builder = builder.header(headers::CSEQ, number.to_string());
    }
    for (header, value) in extra {
        builder = builder.header(name(header), value.as_str());
    }
    builder.build(body.to_vec())
}

/// The answer to what could not be read as a request: there is no `CSeq` to repeat.
pub fn respond_to_garbage(status: StatusCode) -> Response {
    rtsp_types::Response::builder(Version::V1_0, status)
        .header(headers::SERVER, PRODUCT)
        .build(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_session_header_with_and_without_a_timeout() {
        let url = Url::parse("rtsp://edge/t").unwrap();
        for (value, id, timeout) in [
            ("abc", "abc", 60),
            ("abc;timeout=30", "abc", 30),
            ("abc ; timeout=x", "abc", 60),
        ] {
            let message = request(Method::Play, &url, 1, &[("Session", value.to_owned())], b"");
            assert_eq!(session_id(&message), Some(id));
            assert_eq!(session_timeout_seconds(&message), timeout, "{value}");
        }
    }

    #[test]
    fn an_answer_repeats_the_sequence_number() {
        let url = Url::parse("rtsp://edge/t").unwrap();
        let asked = request(Method::Options, &url, 77, &[], b"");
        let answer = respond(&asked, StatusCode::Ok, &[("Public", "PLAY".into())], b"");
        assert_eq!(cseq(&answer), Some(77));
        assert_eq!(header(&answer, "public"), Some("PLAY"));
    }
}
