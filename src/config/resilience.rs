//! `[breaker]`, `[retry]`, `[ai]` and `[alerts]`: what happens when upstreams fail, and who hears of it.

use serde::Deserialize;

use super::Secret;

/// `[ai]`: whether anybody is asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AiConfig {
    /// Whether upstreams are asked; `false` leaves the cache and the ladder. Default `true`. `PUT /admin/ai` changes it
    /// while the server runs.
    pub enabled: bool,
}

impl Default for AiConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[breaker]`: when an upstream's model is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures within the window, without a success between them, that open it. Default 3.
    pub failures: u32,
    /// Seconds that failures and calls are remembered. Default 60.
    pub window_seconds: u64,
    /// The share of failed calls in the window that opens it, in (0, 1]. Default 0.5.
    pub failure_ratio: f64,
    /// Calls in the window below which the share says nothing. Default 10.
    pub min_calls: u32,
    /// Seconds it stays open, the first three times in a row; then twice as long each time. Default 30.
    pub open_seconds: u64,
    /// The longest it stays open, in seconds. Default 300.
    pub max_open_seconds: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 3,
            window_seconds: 60,
            failure_ratio: 0.5,
            min_calls: 10,
            open_seconds: 30,
            max_open_seconds: 300,
        }
    }
}

/// `[retry]`: how often an upstream is asked again, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Calls of one upstream for one request, the first included. Default 2.
    pub attempts_per_upstream: u32,
    /// Calls of all upstreams for one request. Default 6.
    pub attempts_per_request: u32,
    /// Milliseconds that the longest wait before the first retry has; it doubles each time, and each wait is drawn between
    /// nothing and it (full jitter). Default 250.
    pub base_ms: u64,
    /// Milliseconds that no such wait exceeds. Default 4,000.
    pub cap_ms: u64,
    /// The longest wait that an upstream asks for and that is waited for, in milliseconds; a longer one lets the next
    /// upstream answer. Default 3,000.
    pub max_wait_ms: u64,
    /// Retries of an upstream as a share of the requests it had in the last 10 s; three at a time are always allowed.
    /// Default 0.2.
    pub budget_ratio: f64,
    /// The longest that an upstream's word is taken to be left alone, in seconds. Default 3,600.
    pub max_cooldown_seconds: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts_per_upstream: 2,
            attempts_per_request: 6,
            base_ms: 250,
            cap_ms: 4_000,
            max_wait_ms: 3_000,
            budget_ratio: 0.2,
            max_cooldown_seconds: 3_600,
        }
    }
}

/// `[routes.retry]`: what one route does differently. Budgets and cooldowns belong to the upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryOverrides {
    pub attempts_per_upstream: Option<u32>,
    pub attempts_per_request: Option<u32>,
    pub base_ms: Option<u64>,
    pub cap_ms: Option<u64>,
    pub max_wait_ms: Option<u64>,
}

impl RetryConfig {
    /// Returns these settings with a route's own put over them.
    pub fn overridden(&self, by: &RetryOverrides) -> Self {
        let RetryOverrides { attempts_per_upstream, attempts_per_request, base_ms, cap_ms, max_wait_ms } =
            *by;
        Self {
            attempts_per_upstream: attempts_per_upstream.unwrap_or(self.attempts_per_upstream),
            attempts_per_request: attempts_per_request.unwrap_or(self.attempts_per_request),
            base_ms: base_ms.unwrap_or(self.base_ms),
            cap_ms: cap_ms.unwrap_or(self.cap_ms),
            max_wait_ms: max_wait_ms.unwrap_or(self.max_wait_ms),
            budget_ratio: self.budget_ratio,
            max_cooldown_seconds: self.max_cooldown_seconds,
        }
    }
}

/// `[alerts]`: who hears of it when upstreams are lost.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// The environment variable with the address that alerts are posted to, as JSON that Slack takes. Default: none, and
    /// alerts are only logged and counted.
    pub webhook_url_env: Option<String>,
    /// The address itself, read from the variable when the configuration is loaded.
    #[serde(skip)]
    pub webhook_url: Option<Secret>,
    /// Seconds over which rates are taken, and in which the same alert is said once. Default 300.
    pub window_seconds: u64,
    /// The share of a route's generations that a fallback answered, from which on it is an alert, in (0, 1]. Default 0.2.
    pub fallback_rate: f64,
    /// The share of a route's requests that were answered with an error, from which on it is an alert, in (0, 1]. Default
    /// 0.1.
    pub error_rate: f64,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            webhook_url_env: None,
            webhook_url: None,
            window_seconds: 300,
            fallback_rate: 0.2,
            error_rate: 0.1,
        }
    }
}
