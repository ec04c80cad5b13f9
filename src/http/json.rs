//! JSON of the endpoints that are not in any dialect: bodies read strictly, answers written.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::HttpError;
use super::state::AppState;
use super::{body, headers};
use crate::chat::{Fingerprint, UnixMillis};

/// Reads the body of a request.
pub(super) async fn receive<T: DeserializeOwned>(state: &AppState, request: Request) -> Result<T, HttpError> {
    let (parts, body) = request.into_parts();
    read(&body::read(&parts.headers, body, state.edge().body).await?)
}

/// Reads a body. A field that is not known is refused: a misspelt condition must not widen what is removed.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // `.` is the body itself.
        if path == "." {
            HttpError::bad_request(format!("the body: {reason}"))
        } else {
            HttpError::bad_request(format!("`{path}`: {reason}")).param(path)
        }
    })?;
    json.end().map_err(|error| HttpError::bad_request(format!("the body: {error}")))?;
    Ok(value)
}

/// Answers 200 with a value.
pub(super) fn respond(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            headers::write_json_type(response.headers_mut());
            response
        }
        Err(error) => HttpError::unwritable(&error).into_response(),
    }
}

/// Reads a key as the headers show it.
pub(super) fn fingerprint(field: &str, text: &str) -> Result<Fingerprint, HttpError> {
    let refuse = || HttpError::bad_request(format!("`{field}`: expected 64 hex digits")).param(field);
    Fingerprint::from_hex(text).ok_or_else(refuse)
}

/// Writes a moment as people read it, such as `2027-01-31T12:00:00Z`; `None` beyond the calendar.
pub(super) fn moment(at: UnixMillis) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| at.to_string())
}
