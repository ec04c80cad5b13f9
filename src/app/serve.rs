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

use super::scheduled::Scheduled;
use super::{App, LocalModels};
use crate::config::Config;
use crate::http::{self, AppState, Limits, Reload, Shutdown};
use crate::jobs::Runner;

/// A server that listens.
pub struct Server {
    app: App,
    runner: Runner,
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

/// Serves until SIGTERM or SIGINT, then lets requests under way finish; the second signal ends them. SIGHUP has the
/// configuration loaded again.
///
/// # Errors
/// What kept it from starting: names the key, the file or the address.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::start(&config).await?;
    // A server whose standard error nobody reads serves all the same.
    let _ = writeln!(std::io::stderr(), "listening public={} admin={}", server.public, server.admin);
    let reload = server.app.reload();
    while signals.next().await == Wish::Reload {
        // It goes on by itself, and logs how it went.
        drop(reload());
    }
    tracing::info!("draining; a second signal ends it at once");
    let (public, admin) = (server.public_end.clone(), server.admin_end.clone());
    let mut stop = std::pin::pin!(server.stop());
    tokio::select! {
        () = &mut stop => return Ok(()),
        () = signals.stop() => {
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

    /// Opens every part around models that are running already, in place of the configured ones, and listens.
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn start_around(config: &Config, models: LocalModels) -> anyhow::Result<Self> {
        Self::start_with(config, Some(models)).await
    }

    async fn start_with(config: &Config, models: Option<LocalModels>) -> anyhow::Result<Self> {
        let public = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        let (public_address, admin_address) = (public.local_addr()?, admin.local_addr()?);
        let mut app = App::open_with(config, models).await?;
        let scheduled = Scheduled::of(&config.precompute, &app.precompute)?;
        app.lock.publish(admin_address, &app.token).context("the lock file cannot be written")?;
        app.in_force.parts().shared.checks.remind();

        let (public_end, admin_end) = (Shutdown::default(), Shutdown::default());
        let state = app.state(public_end.clone());
        let drain = Duration::from_millis(config.server.drain_timeout_ms);
        let limits = Limits { drain, ..Limits::default() };
        let listeners = TaskTracker::new();
        let public_task = listeners.spawn(http::serve(
            public,
            http::public(Arc::clone(&state), &app.in_force.public_keys),
            limits,
            public_end.clone(),
        ));
        let administration = http::admin(state, &app.in_force.admin_keys);
        let admin_task = listeners.spawn(http::serve(admin, administration, limits, admin_end.clone()));
        let runner = Runner::start(Arc::clone(&app.jobs));
        if let Some(scheduled) = scheduled {
            app.background.spawn(scheduled.run(app.stop.clone()));
        }
        Ok(Self {
            app,
            runner,
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
        self.runner.drain();
        self.app.precompute.drain();
        self.public_end.drain();
        // A task that panicked has nothing left to end.
        let _ = self.public_task.await;
        let deadline = if self.public_end.is_cut() { Instant::now() } else { deadline };
        self.admin_end.drain();
        let _ = self.admin_task.await;
        self.runner.close(deadline).await;
        self.app.close(deadline).await;
    }
}

impl App {
    /// Returns what handlers share.
    pub(super) fn state(&self, public_end: Shutdown) -> Arc<AppState> {
        let in_force = &self.in_force;
        let parts = in_force.parts();
        Arc::new(AppState {
            gateway: Arc::clone(&in_force.gateway),
            edge: Arc::clone(&in_force.edge),
            ai: Arc::clone(&parts.shared.ai),
            jobs: Arc::clone(&self.jobs),
            precompute: Arc::clone(&self.precompute),
            precompute_config: in_force.precompute(),
            telemetry: Arc::clone(&parts.shared.telemetry),
            shutdown: public_end,
            reload: self.reload(),
        })
    }

    /// Returns what loads the configuration again, in a task of its own: whoever stops waiting for it stops nothing.
    fn reload(&self) -> Reload {
        let (in_force, tasks) = (Arc::downgrade(&self.in_force), self.background.clone());
        Arc::new(move || {
            let in_force = in_force.upgrade();
            let task = in_force.map(|in_force| tasks.spawn(async move { in_force.reload().await }));
            Box::pin(async move {
                let gone = || "the server is ending".to_owned();
                match task {
                    Some(task) => task.await.unwrap_or_else(|_| Err(gone())),
                    None => Err(gone()),
                }
            })
        })
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Stop,
    Reload,
}

/// SIGTERM and SIGINT, and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}
