//! The admin interface without a socket: what a subcommand asks when no server holds the data folder.

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::config::Secret;

/// Answers one request as the listener would, for the holder of the token.
pub async fn ask(admin: Router, mut request: Request<Bytes>, token: &Secret) -> Response<Bytes> {
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
    if let Ok(bearer) = HeaderValue::try_from(format!("Bearer {}", token.expose())) {
        headers.insert(AUTHORIZATION, bearer);
    }
    let Ok(response) = admin.oneshot(request.map(Body::from)).await;
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(parts, body.to_bytes()),
        Err(error) => {
            tracing::warn!(%error, "an answer broke off inside the process");
            let mut broken = Response::new(Bytes::new());
            *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            broken
        }
    }
}
