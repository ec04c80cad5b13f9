//! Who hears of it when upstreams are lost, or a route serves wrong answers?
//!
//! [`Alerts`] is a task of its own: it hears [`Incident`]s and reads the rates of routes, asks the watch what is worth
//! saying, logs it, and posts it where a webhook is configured. No request ever waits for any of this. What to say is
//! decided by `watch`, `window` and `message`, which read no clock and do no I/O.

mod kind;
mod message;
mod watch;
mod window;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch as cell};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{AlertsConfig, Secret};
use crate::telemetry::{Incident, Telemetry};
use crate::transport::Transport;
use crate::webhook;

use kind::Alert;
use watch::{Settings, Watch};

/// How often rates are read and waiting alerts looked after.
const PULSE: Duration = Duration::from_millis(500);
/// Alerts that wait while a message is under way, which is not for long; more are only logged.
const OUTBOX_MAX: usize = 1_024;

/// The task that alerts.
pub struct Alerts {
    watch: Watch,
    /// Logged and not posted yet.
    outbox: Vec<Alert>,
    heard: mpsc::Receiver<Incident>,
    settings: cell::Receiver<AlertsConfig>,
    telemetry: Arc<Telemetry>,
    transport: Arc<Transport>,
    stop: CancellationToken,
    began: Instant,
}

impl Alerts {
    /// Returns the task; what `settings` brings later counts from then on.
    pub fn new(
        heard: mpsc::Receiver<Incident>,
        mut settings: cell::Receiver<AlertsConfig>,
        telemetry: Arc<Telemetry>,
        stop: CancellationToken,
    ) -> Self {
        let watch = Watch::new(judged_by(&settings.borrow_and_update()));
        Self {
            watch,
            outbox: Vec::new(),
            heard,
            settings,
            telemetry,
            transport: Arc::new(Transport::new()),
            stop,
            began: Instant::now(),
        }
    }

    /// Works until it is stopped. What was not posted by then is in the log.
    pub async fn run(mut self) {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posting: Option<BoxFuture<'static, ()>> = None;
        loop {
            let posted = async {
                match &mut posting {
                    Some(posting) => posting.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = posted => posting = None,
                Ok(()) = self.settings.changed() => {
                    let settings = judged_by(&self.settings.borrow_and_update());
                    self.watch.set(settings);
                }
                _ = pulse.tick() => {
                    self.watch.measure(&self.telemetry.rates().read(), self.began.elapsed());
                    self.watch.pass(self.began.elapsed());
                }
                Some(incident) = self.heard.recv() => self.watch.hear(&incident, self.began.elapsed()),
            }
            self.speak();
            // One message at a time: what comes while one is under way goes with the next.
            if posting.is_none() && !self.outbox.is_empty() {
                posting = Some(self.post());
            }
        }
    }

    /// Logs what is to be said, and puts it where it is posted from.
    fn speak(&mut self) {
        let alerts = self.watch.take(self.began.elapsed());
        alerts.iter().for_each(log);
        self.outbox.extend(alerts);
        if self.settings.borrow().webhook_url.is_none() {
            self.outbox.drain(..).for_each(|alert| self.telemetry.alerted(alert.kind.name(), "logged"));
        }
        for alert in self.outbox.drain(OUTBOX_MAX.min(self.outbox.len())..) {
            self.telemetry.alerted(alert.kind.name(), "failed");
        }
    }

    /// Returns the work of posting what there is to post.
    fn post(&mut self) -> BoxFuture<'static, ()> {
        let alerts = std::mem::take(&mut self.outbox);
        let address = self.settings.borrow().webhook_url.clone();
        let (transport, telemetry) = (Arc::clone(&self.transport), Arc::clone(&self.telemetry));
        Box::pin(async move {
            if let Some(address) = address {
                post(&transport, &telemetry, &address, &alerts).await;
            }
        })
    }
}

async fn post(transport: &Transport, telemetry: &Telemetry, address: &Secret, alerts: &[Alert]) {
    let outcome = match webhook::post(transport, address, message::body(alerts)).await {
        Ok(()) => "delivered",
        Err(error) => {
            tracing::warn!(%error, alerts = alerts.len(), "alerts could not be posted to the webhook");
            "failed"
        }
    };
    alerts.iter().for_each(|alert| telemetry.alerted(alert.kind.name(), outcome));
}

/// Every alert stands in the log once, whether or not anybody is told.
fn log(alert: &Alert) {
    let (kind, subject) = (alert.kind.name(), &*alert.subject);
    if alert.kind.is_logged_already() {
        tracing::debug!(kind, subject, "told: {alert}");
    } else if alert.is_bad() {
        tracing::warn!(kind, subject, "alert: {alert}");
    } else {
        tracing::info!(kind, subject, "recovered: {alert}");
    }
}

fn judged_by(config: &AlertsConfig) -> Settings {
    Settings {
        window: Duration::from_secs(config.window_seconds),
        fallback_rate: config.fallback_rate,
        error_rate: config.error_rate,
    }
}
