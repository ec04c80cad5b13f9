//! The server's life: open, listen, drain, close.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::App;
use crate::config::Config;
use crate::embed::Embedder;
use crate::http::{self, AppState, BodyLimits, Keys, Limits, Shutdown};

/// The time for the whole body of a request.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A server that listens.
pub struct Server {
    app: App,
    /// Where the public listener listens.
    pub public: SocketAddr,
    /// Where the admin listener listens.
    pub admin: SocketAddr,
    public_end: Shutdown,
    admin_end: Shutdown,
    public_task: JoinHandle<()>,
    admin_task: JoinHandle<()>,
    drain: Duration,
}

/// Serves until SIGTERM or SIGINT, then lets requests under way finish; the second signal ends them.
///
/// # Errors
/// What kept it from starting: names the key, the file or the address.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::start(&config).await?;
    // A server whose standard error nobody reads serves all the same.
    let _ = writeln!(std::io::stderr(), "listening public={} admin={}", server.public, server.admin);
    signals.next().await;
    tracing::info!("draining; a second signal ends it at once");
    let (public, admin) = (server.public_end.clone(), server.admin_end.clone());
    let mut stop = std::pin::pin!(server.stop());
    tokio::select! {
        () = &mut stop => return Ok(()),
        () = signals.next() => {
            public.cut();
            admin.cut();
        }
    }
    stop.await;
    Ok(())
}

impl Server {
    /// Opens every part and listens.
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_with(config, None).await
    }

    /// Opens every part around an embedder that is running already, in place of the configured one, and listens.
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn start_around(config: &Config, embedder: Arc<dyn Embedder>) -> anyhow::Result<Self> {
        Self::start_with(config, Some(embedder)).await
    }

    async fn start_with(config: &Config, embedder: Option<Arc<dyn Embedder>>) -> anyhow::Result<Self> {
        let public = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        let (public_address, admin_address) = (public.local_addr()?, admin.local_addr()?);
        let mut app = App::open_with(config, embedder).await?;
        app.lock.publish(admin_address, &app.token).context("the lock file cannot be written")?;

        let (public_end, admin_end) = (Shutdown::default(), Shutdown::default());
        let state = app.state(public_end.clone());
        let drain = Duration::from_millis(config.server.drain_timeout_ms);
        let limits = Limits { drain, ..Limits::default() };
        let keys = Keys::public(&config.auth);
        let listeners = TaskTracker::new();
        let public_task = listeners.spawn(http::serve(
            public,
            http::public(Arc::clone(&state), &keys),
            limits,
            public_end.clone(),
        ));
        let keys = Keys::admin(&config.auth, &app.token);
        let admin_task =
            listeners.spawn(http::serve(admin, http::admin(state, &keys), limits, admin_end.clone()));
        Ok(Self {
            app,
            public: public_address,
            admin: admin_address,
            public_end,
            admin_end,
            public_task,
            admin_task,
            drain,
        })
    }

    /// Returns everything behind the listeners.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Drains: the public listener first, then what goes on behind it, the admin listener last, so that health and
    /// metrics can be read all the while.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.drain;
        self.public_end.drain();
        // A task that panicked has nothing left to end.
        let _ = self.public_task.await;
        let deadline = if self.public_end.is_cut() { Instant::now() } else { deadline };
        self.admin_end.drain();
        let _ = self.admin_task.await;
        self.app.close(deadline).await;
    }
}

impl App {
    /// Returns what handlers share.
    pub(super) fn state(&self, public_end: Shutdown) -> Arc<AppState> {
        let server = &self.config.server;
        Arc::new(AppState {
            gateway: Arc::clone(&self.gateway),
            telemetry: Arc::clone(&self.telemetry),
            body: BodyLimits {
                bytes: server.max_body_bytes,
                time: BODY_TIME,
                is_json_only: self.config.auth.is_keyless(),
            },
            stream_max: Duration::from_secs(server.max_stream_seconds),
            shutdown: public_end,
        })
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
