//! How does somebody who is not asking learn of something?
//!
//! One message to one configured address, which is a secret: whoever knows it can post there. No caller can say one.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::config::Secret;
use crate::transport::{CallLimits, Outgoing, Transport, TransportError, Url};

/// How long one attempt may take, and the waits before the second and the third, which is the last.
const PATIENCE: Duration = Duration::from_secs(5);
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// The longest wait that the receiver may ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How much of the answer is read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Why a message was not taken. Never shows the address.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("the webhook's address is none")]
    Address,
    #[error("the webhook answered {0}")]
    Refused(StatusCode),
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Posts a JSON body, three times at most where that may help.
///
/// # Errors
/// Of the last attempt.
pub async fn post(transport: &Transport, address: &Secret, body: String) -> Result<(), PostError> {
    let outgoing = Outgoing {
        method: Method::POST,
        url: Url::parse(address.expose()).map_err(|_| PostError::Address)?,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        body: Bytes::from(body),
    };
    let mut waits = WAITS.into_iter();
    loop {
        let (error, asked_wait) = match send(transport, outgoing.clone()).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        let Some(wait) = waits.next().filter(|_| error.may_pass()) else { return Err(error) };
        sleep(asked_wait.unwrap_or(wait).min(WAIT_MAX)).await;
    }
}

/// Sends once. An error comes with the wait that the receiver asks for.
async fn send(transport: &Transport, outgoing: Outgoing) -> Result<(), (PostError, Option<Duration>)> {
    let limits = CallLimits {
        connect_timeout: PATIENCE,
        deadline: Instant::now() + PATIENCE,
        body_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = transport.send(outgoing, limits).await.map_err(|error| (error.into(), None))?;
    let (status, asked_wait) = (answer.status, asked_wait(&answer.headers));
    // Whatever it says, the status has said enough.
    let _ = answer.body.whole().await;
    if status.is_success() { Ok(()) } else { Err((PostError::Refused(status), asked_wait)) }
}

impl PostError {
    /// Returns whether another attempt may go better.
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Transport(_) => true,
            Self::Address => false,
        }
    }
}

fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    Some(Duration::from_secs(headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?))
}
