//! Calls that are passed on as they came, uncached: embeddings, files, audio.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::attempt::{ERROR_BYTES_MAX, ERROR_TIME};
use super::failure::{ChainFailure, Failure};
use super::{Router, Times};
use crate::providers::{ProviderError, ProviderErrorKind, failed};
use crate::transport::{CallLimits, Incoming, Outgoing};

/// A call to be passed on.
#[derive(Clone, Debug)]
pub struct Passing {
    pub method: Method,
    /// What stands behind `/v1/`, with the query.
    pub path: String,
    /// The headers of the caller that the vendor is to see; those that prove who calls are added here.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The largest body that is passed on. None of it is held, so this only ends what never ends by itself.
const BYTES_MAX: usize = 16 << 30;

impl Router {
    /// Passes a call on, once, and returns the upstream's name and its response as soon as the headers of that are there,
    /// whatever its status.
    /// Only what is our own business with the vendor (its 401, 402 and 403), and a redirect, is a failure.
    ///
    /// Cancel safe: dropping the future, or the body later, ends the call.
    ///
    /// # Errors
    /// [`Failure`], when there is no response that the caller may see; `None` where no upstream is configured.
    pub async fn forward(
        &self,
        passing: Passing,
        times: Times,
    ) -> Option<Result<(String, Incoming), Failure>> {
        let upstream = self.passthrough.as_ref()?;
        let began = Instant::now();
        if let Some(until) = upstream.account.parked_until(began) {
            return Some(Err(Failure::Upstream(ChainFailure::of_nobody(until.duration_since(began)))));
        }
        let Passing { method, path, headers, body } = passing;
        let called = async {
            let (url, own) = upstream.provider.forward(&path)?;
            let mut headers = headers;
            // Ours win but for the version of the API, which is the caller's to choose.
            for (name, value) in &own {
                if !(name == "anthropic-version" && headers.contains_key(name)) {
                    headers.insert(name, value.clone());
                }
            }
            let limits = CallLimits {
                connect_timeout: Duration::from_millis(upstream.timeouts.connect_ms),
                deadline: times.whole,
                body_bytes_max: BYTES_MAX,
            };
            let sent = self.transport.send(Outgoing { method, url, headers, body }, limits);
            let sent = timeout_at(times.first_token, sent).await;
            let response = sent.map_err(|_| ProviderError::timeout("response"))??;
            if is_ours(response.status) {
                let body = response.body.at_most(ERROR_BYTES_MAX, ERROR_TIME).await;
                return Err(failed(response.status, &response.headers, &body));
            }
            Ok(response)
        };
        let result = called.await;
        match &result {
            Ok(response) if response.status.is_success() => self.account_answered(upstream),
            Ok(_) => {}
            Err(error) => self.account_failed(upstream, error),
        }
        let outcome = match &result {
            Ok(response) if response.status.is_success() => "ok",
            Ok(_) => "passed",
            Err(error) => error.kind.name(),
        };
        self.telemetry.upstream_called(&upstream.name, "other", outcome, began.elapsed().as_secs_f64());
        let named = result.map(|response| (upstream.name.to_string(), response));
        Some(named.map_err(|error| {
            if error.kind == ProviderErrorKind::Timeout && Instant::now() >= times.first_token {
                return Failure::TimedOut;
            }
            let (kind, status) = (error.kind.name(), error.status);
            tracing::warn!(
                upstream = &*upstream.name,
                kind,
                status,
                "an upstream failed a call that was passed on"
            );
            Failure::Upstream(ChainFailure::of_one(upstream.name.to_string(), error, false))
        }))
    }
}

/// Returns whether a status is about our account, or would send the key elsewhere.
fn is_ours(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401..=403) || status.is_redirection()
}
