//! Every request has a name that the caller, the log and feedback share.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::{Builder, Uuid};

use super::anthropic_headers;
use super::clock::unix_millis;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller's own that is kept.
const LENGTH_MAX: usize = 128;

/// The name of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub Arc<str>);

/// Names the request, and says the name in the response, whatever it turns out to be.
pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let id = sane(request.headers()).map_or_else(generated, Arc::from);
    let value = HeaderValue::from_str(&id);
    let is_anthropic = anthropic_headers::is_anthropic(request.uri().path());
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let mut response = next.run(request).await;
    if is_anthropic {
        anthropic_headers::speak(&mut response, &id);
    }
    if let Ok(value) = value {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Returns the caller's own id if it may stand in logs and headers; anything else is replaced, not refused.
fn sane(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ((1..=LENGTH_MAX).contains(&id.len()) && id.bytes().all(is_plain)).then_some(id)
}

/// Returns a UUID of version 7. Put together by hand because the crate's own takes a lock and asks the kernel for
/// random bytes each time; unguessable it need not be, since feedback is bound to the tenant.
fn generated() -> Arc<str> {
    let millis = unix_millis().unsigned_abs();
    let id = Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id).expect("a header value"));
        sane(&headers).is_some()
    }

    #[test]
    fn only_sane_ids_are_kept() {
        assert!(kept(b"req_1.a-B"));
        assert!(kept(&[b'a'; 128]));
        assert!(!kept(&[b'a'; 129]));
        for odd in [&b""[..], b"a b", b"a\"b", b"a\tb", b"a/b", "ü".as_bytes(), b"\xff"] {
            assert!(!kept(odd), "{odd:?}");
        }
    }

    #[test]
    fn ours_are_sane_and_differ() {
        let (one, other) = (generated(), generated());
        assert_ne!(one, other);
        assert!(kept(one.as_bytes()));
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'7');
    }
}
