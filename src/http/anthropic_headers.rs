//! What Anthropic's SDKs say in headers, and expect to find there.

use axum::http::header::{CONTENT_LENGTH, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::error::{HttpError, Told};
use crate::wire::anthropic;

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The first version of the API whose streams have the form that is written here. Later ones take less in requests
/// (2026-10-21 takes no temperature) and answer alike, so that they are welcome, those that do not exist yet too.
const OLDEST_VERSION: &str = "2023-06-01";
/// The most beta features that a request may switch on, and the longest name of one in bytes.
const BETAS_MAX: usize = 64;
const BETA_BYTES_MAX: usize = 128;

/// Returns the beta features that a request switches on, sorted, each once, without those that end here.
///
/// # Errors
/// 400 for a version of the API that is too old or none, or a name that is none.
pub(super) fn betas(headers: &HeaderMap) -> Result<Vec<String>, HttpError> {
    if headers.get(&ANTHROPIC_VERSION).is_some_and(|version| !is_spoken(version)) {
        let message = format!("header `anthropic-version`: expected a date from {OLDEST_VERSION} on");
        return Err(HttpError::bad_request(message).param("anthropic-version"));
    }
    let mut betas = Vec::new();
    for value in headers.get_all(&ANTHROPIC_BETA) {
        let value = value.to_str().map_err(|_| refused("expected plain ASCII text"))?;
        betas.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if betas.iter().any(|name| name.len() > BETA_BYTES_MAX || !name.bytes().all(is_plain)) {
        return Err(refused("expected names of features, separated by commas"));
    }
    // Threads are not kept, so that nobody else need hear of them.
    betas.retain(|name| !name.starts_with(anthropic::THREADS_BETA));
    betas.sort_unstable();
    betas.dedup();
    if betas.len() > BETAS_MAX {
        return Err(refused("names too many features"));
    }
    Ok(betas)
}

/// Versions are dates (ISO 8601), whose order is that of their text.
fn is_spoken(version: &HeaderValue) -> bool {
    version.to_str().is_ok_and(|version| {
        let is_of_date =
            |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        version.len() == OLDEST_VERSION.len()
            && version.bytes().enumerate().all(is_of_date)
            && version >= OLDEST_VERSION
    })
}

fn refused(reason: &str) -> HttpError {
    HttpError::bad_request(format!("header `anthropic-beta`: {reason}")).param("anthropic-beta")
}

/// Returns whether a path is one of Anthropic's, so that what is said there is said as Anthropic says it.
pub(super) fn is_anthropic(path: &str) -> bool {
    path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Puts an error into Anthropic's shape, wherever it arose, and names the request as Anthropic does.
pub(super) fn speak(response: &mut Response, id: &str) {
    if let Some(told) = response.extensions_mut().remove::<Told>() {
        *response.body_mut() = anthropic::encode_error(&told.shape(), id).into();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Vec<String>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        betas(&headers).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn features_are_the_same_in_any_order() {
        let one = read(&[
            ("anthropic-beta", "b, a"),
            ("anthropic-beta", "a,c,message-threads-2026-08-12"),
            ("anthropic-version", "2023-06-01"),
        ]);
        assert_eq!(one, Ok(["a", "b", "c"].map(str::to_owned).to_vec()));
        assert_eq!(read(&[]), Ok(Vec::new()));
    }

    #[test]
    fn versions_that_stream_otherwise_and_odd_names_are_refused() {
        for version in ["2023-01-01", "latest", "2026-10-2x", "9999"] {
            assert!(read(&[("anthropic-version", version)]).unwrap_err().contains("2023-06-01"), "{version}");
        }
        // What SDKs of 2023 to early 2026, and those since, send.
        for version in ["2023-06-01", "2026-10-21", "2031-01-01"] {
            assert!(read(&[("anthropic-version", version)]).is_ok(), "{version}");
        }
        assert!(read(&[("anthropic-beta", "a b")]).unwrap_err().contains("anthropic-beta"));
    }
}
