//! How does the body of a request become bytes, and at whose cost?

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::error::HttpError;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    /// The time for the whole body: a caller who sends a byte a second holds nothing for long.
    pub time: Duration,
    /// Whether it must be marked as JSON. Without keys this keeps web pages out: a page cannot send that mark to a
    /// foreign address without asking first, and the question is not answered.
    pub is_json_only: bool,
}

/// The time for which what is too large is read and thrown away. A caller who is still sending when the connection
/// closes would lose the answer that says why.
const LINGER: Duration = Duration::from_secs(1);

/// Reads a body whole.
///
/// Memory grows with what has really come, never by the length that was declared.
///
/// # Errors
/// 415 for a wrong content type or any content encoding, 413 beyond the limit, 408 when it does not come in time,
/// 400 when it breaks off.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: BodyLimits,
) -> Result<Bytes, HttpError> {
    check_type(headers, limits.is_json_only)?;
    if declared_length(headers).is_some_and(|length| length > limits.bytes as u64) {
        // Who waits for a `100 Continue` sends nothing until it comes, and it does not.
        if !headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(limits.bytes));
    }
    match timeout(limits.time, collect(&mut body, limits.bytes)).await {
        Ok(Some(collected)) => collected,
        Ok(None) => {
            discard(&mut body).await;
            Err(too_large(limits.bytes))
        }
        Err(_) => {
            let message = format!("the body did not come within {} ms", limits.time.as_millis());
            Err(HttpError::refused(StatusCode::REQUEST_TIMEOUT, message).code("request_timeout").closing())
        }
    }
}

/// Returns the body, or `None` when it is larger than `bytes_max`.
async fn collect(body: &mut Body, bytes_max: usize) -> Option<Result<Bytes, HttpError>> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Some(Err(HttpError::bad_request("the body broke off").closing()));
        };
        // Trailers mean nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max - first.len() - joined.len() {
            return None;
        }
        if first.is_empty() && joined.is_empty() {
            // Nearly every body comes in one piece, which then is never copied.
            first = data;
        } else {
            if joined.is_empty() {
                joined = BytesMut::from(std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    Some(Ok(if joined.is_empty() { first } else { joined.freeze() }))
}

async fn discard(body: &mut Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whether it ended by itself makes no difference: the connection closes.
    let _ = timeout(LINGER, rest).await;
}

fn too_large(bytes_max: usize) -> HttpError {
    let message = format!("the body is larger than server.max_body_bytes, {bytes_max} bytes");
    HttpError::refused(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large").closing()
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_type(headers: &HeaderMap, is_json_only: bool) -> Result<(), HttpError> {
    let unsupported = |message| Err(HttpError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    // A small body that unpacks to a large one is the oldest trick there is.
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return unsupported("header `content-encoding`: bodies are taken unpacked only");
    }
    if is_json_only && !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return unsupported("header `content-type`: expected application/json");
    }
    Ok(())
}

fn is_json(content_type: &HeaderValue) -> bool {
    is_of_type(content_type, b"application/json")
}

/// Returns whether a body is JSON, or JSON on each of its lines.
pub(super) fn is_json_or_lines(content_type: &HeaderValue) -> bool {
    is_json(content_type) || is_of_type(content_type, b"application/x-ndjson")
}

/// Returns whether a body is JSON, or the form in which files are sent.
pub(super) fn is_json_or_form(content_type: &HeaderValue) -> bool {
    is_json(content_type) || is_of_type(content_type, b"multipart/form-data")
}

fn is_of_type(content_type: &HeaderValue, expected: &[u8]) -> bool {
    let mut parts = content_type.as_bytes().split(|byte| *byte == b';');
    parts.next().is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { bytes: 8, time: Duration::from_millis(200), is_json_only: true };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn chunked(chunks: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(chunks.iter().map(|chunk| Ok::<_, std::io::Error>(*chunk))))
    }

    async fn status(headers: &HeaderMap, body: Body) -> u16 {
        read(headers, body, LIMITS).await.map_or_else(|error| error.status().as_u16(), |_| 200)
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_up_to_the_limit() {
        let json = headers(&[JSON]);
        let whole = read(&json, chunked(&["abc", "", "def", "gh"]), LIMITS).await.expect("fits");
        assert_eq!(whole, "abcdefgh");
        assert_eq!(status(&json, chunked(&["abc", "def", "ghi"])).await, 413);
        assert_eq!(status(&json, chunked(&["abcdefghi"])).await, 413);
    }

    #[tokio::test]
    async fn a_declared_length_is_judged_before_anything_comes() {
        let declared = headers(&[JSON, ("content-length", "9"), ("expect", "100-continue")]);
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(status(&declared, never).await, 413);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_in_time_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(status(&headers(&[JSON]), never).await, 408);
    }

    #[tokio::test]
    async fn only_plain_json_is_taken_without_keys() {
        for wrong in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/jsonp")],
            &[JSON, ("content-encoding", "gzip")],
        ] {
            assert_eq!(status(&headers(wrong), Body::from("{}")).await, 415, "{wrong:?}");
        }
        assert_eq!(status(&headers(&[("content-type", "Application/JSON")]), Body::from("{}")).await, 200);
        let with_keys = BodyLimits { is_json_only: false, ..LIMITS };
        assert!(read(&HeaderMap::new(), Body::from("{}"), with_keys).await.is_ok());
    }
}
