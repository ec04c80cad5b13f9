//! `[server]`: the two listeners and their limits.

use std::net::SocketAddr;

use serde::Deserialize;

/// The listeners and what a request may cost them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The public listener: generation endpoints and health. Default `127.0.0.1:8080`; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The admin listener: metrics, admin endpoints and health. Default `127.0.0.1:9464`.
    pub admin_listen: SocketAddr,
    /// The largest request body in bytes; larger ones get 413. Default 8 MiB.
    pub max_body_bytes: usize,
    /// Milliseconds until a request is given up, to the first byte of a stream, to the last byte of anything else.
    /// A caller may ask for less with `x-deadline-ms`. Default 600,000.
    pub request_timeout_ms: u64,
    /// Seconds a whole stream may take. Default 1,800.
    pub max_stream_seconds: u64,
    /// Milliseconds that requests under way are given to finish after SIGTERM. Default 30,000.
    pub drain_timeout_ms: u64,
    /// What becomes of a generation that nobody waits for any more. Default `finish`.
    pub on_disconnect: OnDisconnect,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            max_body_bytes: 8 << 20,
            request_timeout_ms: 600_000,
            max_stream_seconds: 1_800,
            drain_timeout_ms: 30_000,
            on_disconnect: OnDisconnect::Finish,
        }
    }
}

/// What becomes of a generation that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is finished and stored if it can be stored, since most of it is paid already.
    Finish,
    /// It is cancelled.
    Cancel,
}
