//! One line of log per request, and its metrics. Neither holds a prompt, an answer or a key.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::error::HttpError;
use super::request_id::RequestId;
use crate::chat::{Degraded, Dialect, Source};
use crate::telemetry::Telemetry;

/// The status that is logged when a caller left before there was one; nginx's word for it.
const CALLER_LEFT: u16 = 499;

/// The source of what is no answer.
const NONE: &str = "none";
/// The source of what is promised.
const JOB: &str = "job";

/// The account of one generation, closed when it is dropped: with its response, at the end of its stream, or when the
/// caller hangs up, whichever it is.
pub(super) struct Record {
    telemetry: Arc<Telemetry>,
    request_id: Arc<str>,
    dialect: Dialect,
    /// The route's label in metrics.
    route: Arc<str>,
    status: u16,
    source: &'static str,
    /// Whether it failed by no fault of the caller's.
    is_error: bool,
    degraded: Option<Degraded>,
    began: Instant,
}

impl Record {
    pub(super) fn begin(telemetry: Arc<Telemetry>, request_id: Arc<str>, dialect: Dialect) -> Self {
        Self {
            telemetry,
            request_id,
            dialect,
            route: Arc::from("other"),
            status: CALLER_LEFT,
            source: NONE,
            is_error: false,
            degraded: None,
            began: Instant::now(),
        }
    }

    pub(super) fn routed(&mut self, route: Arc<str>) {
        self.route = route;
    }

    pub(super) fn answered(&mut self, source: Source, degraded: Option<Degraded>) {
        self.status = StatusCode::OK.as_u16();
        self.source = source.name();
        self.degraded = degraded;
    }

    pub(super) fn failed(&mut self, error: &HttpError) {
        self.status = error.status().as_u16();
        self.source = NONE;
        self.is_error = error.is_ours();
    }

    /// Says that there will be an answer, and that nobody waits for it here.
    pub(super) fn queued(&mut self) {
        self.status = StatusCode::ACCEPTED.as_u16();
        self.source = JOB;
    }

    /// Returns the milliseconds since the request came.
    pub(super) fn millis(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1e3
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let Self { telemetry, request_id, dialect, route, status, source, is_error, degraded, .. } = self;
        telemetry.request_done(route, dialect.name(), source, seconds);
        telemetry.rates().answered(route, *is_error);
        // Whoever switched AI off need not hear that the ladder answers.
        if degraded.is_some_and(|reason| reason != Degraded::AiDisabled) {
            telemetry.rates().generated(route, true);
        }
        let ms = (seconds * 1e5).round() / 1e2;
        let dialect = dialect.name();
        // A hit takes some microseconds, and writing a line about it as long again.
        if let Some(reason) = degraded {
            let reason = reason.name();
            tracing::info!(%request_id, dialect, status, source, reason, ms, "degraded");
        } else if *source == Source::Upstream.name() || *source == NONE || *source == JOB {
            tracing::info!(%request_id, dialect, status, source, ms, "generation");
        } else {
            tracing::debug!(%request_id, dialect, status, source, ms, "hit");
        }
    }
}

/// Logs every other request. The path is the route's, so that no key of an entry gets in.
pub(super) async fn log(
    Extension(RequestId(request_id)): Extension<RequestId>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    tracing::info!(
        %request_id,
        %method,
        path = path.as_ref().map_or("", MatchedPath::as_str),
        status = response.status().as_u16(),
        ms = (began.elapsed().as_secs_f64() * 1e5).round() / 1e2,
        "request"
    );
    response
}

/// Logs a request that was turned away before any route saw it. Of what it presented nothing is written down.
pub(super) fn refused(extensions: &Extensions, error: &HttpError) {
    let request_id = extensions.get::<RequestId>().map_or("", |RequestId(id)| id);
    tracing::info!(request_id, status = error.status().as_u16(), reason = error.message(), "refused");
}
