//! The accept loop and the life of a connection.
//!
//! HTTP/1.1 only, by decision: TLS ends in front of us, and whoever ends TLS speaks HTTP/1.1 to what is behind it.
//! `axum::serve` is not used because it leaves a connection with half a request open for ever, takes any number of
//! them, and cannot cut what does not finish.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::patience::{HeadTimer, Patient, Reads};

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time a caller has to send the head of a request, from its first byte; on a new connection from the start.
    pub head: Duration,
    /// The time a connection may lie idle between two requests.
    pub idle: Duration,
    /// The time a caller may leave a full socket unread before it is cut.
    pub unread: Duration,
    /// The time that requests under way are given once draining has begun.
    pub drain: Duration,
    /// The most connections at a time; the next one waits in the kernel's queue.
    pub connections: usize,
    /// The largest head of a request in bytes, beyond which the answer is 431. At most 100 header fields are taken.
    pub head_bytes: usize,
}

impl Default for Limits {
    /// Returns the values of the contract. Idle connections get the 75 s that nginx gives them.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            connections: 4_096,
            head_bytes: 32 << 10,
        }
    }
}

/// The two ways to end a listener.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Shutdown {
    /// Stops accepting, closes what is idle, and lets requests and streams under way finish within
    /// [`Limits::drain`].
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Stops accepting and cuts every connection now.
    pub fn cut(&self) {
        self.cut.cancel();
        self.drain.cancel();
    }

    /// Returns whether every connection was cut.
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Returns whether it is ending.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }
}

tokio::task_local! {
    /// Who is at the other end of the connection. Not an extension of each request, which would be another piece of memory
    /// for every hit, to be read only where a request is refused.
    static PEER: IpAddr;
}

/// Returns the address at the other end of the connection that this request came by; `None` for a request that came by
/// none.
pub(super) fn peer() -> Option<IpAddr> {
    PEER.try_get().ok()
}

/// Pause after the process has run out of file descriptors or memory for one more connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `router` to everybody who connects, until `shutdown` says otherwise; returns when the last connection has
/// ended.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let accepting = async {
        loop {
            // The slot comes first: a connection that cannot be attended to is not accepted.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let (stream, peer) = accept(&listener).await;
            let attended = attend(stream, router.clone(), limits, shutdown.clone());
            let attended = PEER.scope(peer.ip(), attended);
            connections.spawn(async move {
                attended.await;
                drop(slot);
            });
        }
    };
    shutdown.drain.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = tokio::time::sleep(limits.drain) => {
            tracing::warn!(connections = connections.len(), "the drain time is over, cutting what is left");
            shutdown.cut();
        }
        () = shutdown.cut.cancelled() => {}
    }
    connections.wait().await;
}

/// Returns the next connection, whatever it takes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut is_exhausted = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The caller left while waiting in the queue.
            Err(error) if is_of_the_caller(&error) => {}
            Err(error) => {
                // Said once per exhaustion: it comes back at every attempt until a descriptor is free.
                if !is_exhausted {
                    tracing::warn!(%error, "cannot accept a connection, trying again every 100 ms");
                }
                is_exhausted = true;
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn is_of_the_caller(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves one connection to its end.
async fn attend(stream: TcpStream, router: Router, limits: Limits, shutdown: Shutdown) {
    // Answers leave in one write, pieces of a stream at once: waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let reads = Reads::default();
    let stream = Patient::new(stream, reads.clone(), limits.unread);
    let mut builder = http1::Builder::new();
    builder
        .timer(HeadTimer::new(reads, limits.head, limits.idle))
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let finished = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    let ended: Option<hyper::Result<()>> = shutdown.cut.run_until_cancelled(finished).await;
    if let Some(Err(error)) = ended {
        // Callers leave, dawdle and send nonsense: nothing that an operator could mend.
        tracing::debug!(%error, "connection ended early");
    }
}
