//! How do bytes get to an upstream and back?
//!
//! The one HTTP client: connection reuse, TLS, timeouts and caps, so that they exist once. It knows neither vendors nor
//! event streams. It follows no redirect (that would hand the key to a stranger), asks no system proxy and keeps no
//! cookies. On Linux certificates are verified by webpki against the system's roots; where the system has none the
//! client still speaks plain HTTP, and every TLS handshake fails.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::{Instant, timeout_at};

pub use reqwest::Url;

/// The largest body that is read, decoded, unless a call says otherwise: enough for the longest stream.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// How long an idle connection is kept. Shorter than the usual minute of servers and proxies, which close first.
const POOL_IDLE: Duration = Duration::from_secs(50);
const IDLE_PER_HOST: usize = 64;
/// How long sent bytes may stay unacknowledged, and how often a silent connection is asked whether it still lives. A
/// peer that vanished without a word is thus noticed long before the deadline of a generation.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    /// Headers; those with keys are marked as sensitive.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How long a call may take, and how much it may bring.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// From the first packet to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// When all of it, the body too, must be over.
    pub deadline: Instant,
    /// The largest body, in bytes after decompression.
    pub body_bytes_max: usize,
}

impl CallLimits {
    /// Returns limits with the usual cap on the body.
    pub const fn until(deadline: Instant, connect_timeout: Duration) -> Self {
        Self { connect_timeout, deadline, body_bytes_max: BODY_BYTES_MAX }
    }
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Incoming {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

/// Why a call brought no response, or not all of it. Never shows the URL, a header or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error("the name of the upstream cannot be resolved")]
    Resolve,
    #[error("the upstream refuses or breaks the connection while it is made")]
    Connect,
    #[error(
        "the TLS handshake failed: the certificate is not for this name, not trusted or expired, or it is no TLS"
    )]
    Tls,
    #[error("no connection within the connect timeout")]
    ConnectTimeout,
    #[error("not over by the deadline")]
    Deadline,
    /// The connection broke after the request was sent, or the response broke off or was no HTTP.
    #[error("the connection broke before the end of the response")]
    Reset,
    #[error("the body is larger than its limit")]
    TooLarge,
    #[error("the body has an encoding that cannot be read, or is not in the encoding it claims")]
    Encoding,
    #[error("the HTTP client cannot be set up")]
    Client,
}

/// The HTTP client.
#[derive(Debug)]
pub struct Transport {
    /// One pool of connections for each connect timeout, which `reqwest` fixes per client; there are as many as
    /// different values in the configuration.
    clients: Mutex<HashMap<Duration, reqwest::Client>>,
}

impl Default for Transport {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport {
    /// Makes a client without connections.
    pub fn new() -> Self {
        // Fails only if another part of the process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { clients: Mutex::default() }
    }

    /// Sends a call and returns as soon as the headers of the response are there, whatever its status.
    ///
    /// Cancel safe: dropping the future, or the body later, ends the call (HTTP/1 by closing the connection).
    ///
    /// # Errors
    /// See [`TransportError`]. A connection from the pool that turns out to be closed is replaced and the call made
    /// again, if nothing of it was sent; beyond that nothing is retried here.
    pub async fn send(&self, outgoing: Outgoing, limits: CallLimits) -> Result<Incoming, TransportError> {
        let Outgoing { method, url, headers, body } = outgoing;
        let request = self.client(limits.connect_timeout)?.request(method, url).headers(headers).body(body);
        let response = timeout_at(limits.deadline, request.send())
            .await
            .map_err(|_| TransportError::Deadline)?
            .map_err(|error| fault(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        // `reqwest` takes the header away with the encodings that it undoes.
        let encoding = headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(TransportError::Encoding);
        }
        let body = Body { response, deadline: limits.deadline, bytes_left: limits.body_bytes_max };
        Ok(Incoming { status, headers, body })
    }

    fn client(&self, connect_timeout: Duration) -> Result<reqwest::Client, TransportError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&connect_timeout) {
            return Ok(client.clone());
        }
        let client = builder(connect_timeout).build().or_else(|error| {
            tracing::warn!(error = %error, "no system certificates: upstreams over https cannot be reached");
            builder(connect_timeout).tls_certs_only([]).build().map_err(|_| TransportError::Client)
        })?;
        clients.insert(connect_timeout, client.clone());
        Ok(client)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one client")]
fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("refrain/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(TCP_USER_TIMEOUT);
    builder
}

/// Reads the kind of failure off an error of `reqwest`, whose own text would show the URL.
fn fault(error: &reqwest::Error) -> TransportError {
    if error.is_dns() {
        TransportError::Resolve
    } else if error.is_connect() && has_cause::<rustls::Error>(error) {
        TransportError::Tls
    } else if error.is_connect() && error.is_timeout() {
        TransportError::ConnectTimeout
    } else if error.is_connect() {
        TransportError::Connect
    } else if error.is_decode() && !has_cause::<hyper::Error>(error) {
        TransportError::Encoding
    } else {
        TransportError::Reset
    }
}

/// Returns whether an error of this type is among the causes.
fn has_cause<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    if error.is::<T>() {
        return true;
    }
    // What an I/O error wraps is not its source: that is the source of what it wraps.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => has_cause::<T>(wrapped),
        None => error.source().is_some_and(has_cause::<T>),
    }
}

/// The body of a response, in pieces as they come, decompressed.
#[derive(Debug)]
pub struct Body {
    response: reqwest::Response,
    deadline: Instant,
    bytes_left: usize,
}

impl Body {
    /// Returns the next bytes, `None` at the end.
    ///
    /// Cancel safe: what was not returned comes with the next call.
    ///
    /// # Errors
    /// When the connection breaks, the deadline passes, or more comes than the limit of the call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let chunk = timeout_at(self.deadline, self.response.chunk())
            .await
            .map_err(|_| TransportError::Deadline)?
            .map_err(|error| fault(&error))?;
        let Some(chunk) = chunk else { return Ok(None) };
        self.bytes_left = self.bytes_left.checked_sub(chunk.len()).ok_or(TransportError::TooLarge)?;
        Ok(Some(chunk))
    }

    /// Returns the beginning of what is left, as far as it comes in time: enough to say what went wrong.
    pub async fn at_most(mut self, bytes_max: usize, time: Duration) -> Vec<u8> {
        let until = Instant::now() + time;
        let mut bytes = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout_at(until, self.chunk()).await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= bytes_max {
                bytes.truncate(bytes_max);
                break;
            }
        }
        bytes
    }

    /// Returns all that is left.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub async fn whole(mut self) -> Result<Bytes, TransportError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}
