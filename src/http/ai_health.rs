//! `GET /health/ai`, on both listeners and without a key: how everything is that the core can do without.
//!
//! The public listener shows upstreams as wholes: models may be named by callers, and what is wrong with the index may
//! name hosts, so both are for the admin listener alone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json;
use super::state::AppState;
use crate::gateway::{AiHealth, EmbedderHealth};
use crate::index::Status;
use crate::router::{BreakerState, Condition, Parked, Percentiles, UpstreamHealth};

/// Models of one upstream that are shown, those that are not well first: callers may have named any number.
const MODELS_MAX: usize = 50;

#[derive(Serialize)]
struct HealthJson {
    /// `well`, `degraded`, `down` or `off`.
    status: &'static str,
    enabled: bool,
    upstreams: Vec<UpstreamJson>,
    embedder: EmbedderJson,
    verifier: VerifierJson,
    index: IndexJson,
}

#[derive(Serialize)]
struct UpstreamJson {
    name: String,
    parked: Option<&'static str>,
    #[serde(flatten)]
    condition: ConditionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<ModelJson>>,
    /// How many models more there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_left_out: Option<usize>,
}

#[derive(Serialize)]
struct ModelJson {
    name: String,
    #[serde(flatten)]
    condition: ConditionJson,
}

#[derive(Serialize)]
struct ConditionJson {
    healthy: bool,
    breaker: &'static str,
    consecutive_failures: u32,
    last_success: Option<String>,
    rate_limited_until: Option<String>,
    open_until: Option<String>,
    in_flight: usize,
    latency_ms: Option<PercentilesJson>,
    first_token_ms: Option<PercentilesJson>,
}

#[derive(Serialize)]
struct PercentilesJson {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum EmbedderJson {
    Well {
        version: String,
        queue_depth: usize,
    },
    /// The semantic tier is off.
    Off,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum VerifierJson {
    Well,
    /// The semantic tier is off, for want of it or of anything else.
    Absent,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum IndexJson {
    Well {
        points: u64,
    },
    Unwell {
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Off,
}

/// Says how upstreams, embedder and index are, to anybody.
pub(super) async fn public(State(state): State<Arc<AppState>>) -> Response {
    respond(&state, false).await
}

/// Says so with every model.
pub(super) async fn admin(State(state): State<Arc<AppState>>) -> Response {
    respond(&state, true).await
}

async fn respond(state: &AppState, is_detailed: bool) -> Response {
    let gateway = state.gateway.load_full();
    let health = gateway.ai_health().await;
    let status = status(&health);
    let AiHealth { is_enabled, upstreams, embedder, index } = health;
    let verifier = if embedder.is_some() { VerifierJson::Well } else { VerifierJson::Absent };
    let body = json::respond(&HealthJson {
        status,
        enabled: is_enabled,
        upstreams: upstreams.into_iter().map(|upstream| upstream_json(upstream, is_detailed)).collect(),
        embedder: embedder.map_or(EmbedderJson::Off, |EmbedderHealth { version, queue_depth }| {
            EmbedderJson::Well { version, queue_depth }
        }),
        verifier,
        index: match index {
            Some(Ok(Status { points, .. })) => IndexJson::Well { points },
            Some(Err(error)) => IndexJson::Unwell { error: Some(error).filter(|_| is_detailed) },
            None => IndexJson::Off,
        },
    });
    match status {
        "well" | "degraded" => body,
        _ => (StatusCode::SERVICE_UNAVAILABLE, body).into_response(),
    }
}

/// Returns the one word for all of it. `off` is not well: whoever watches this asks whether a new question would be
/// answered, and it would not.
fn status(health: &AiHealth) -> &'static str {
    let AiHealth { is_enabled, upstreams, embedder: _, index } = health;
    if !is_enabled {
        "off"
    } else if !upstreams.iter().any(can_be_tried) {
        "down"
    } else if upstreams.iter().all(UpstreamHealth::is_healthy) && !matches!(index, Some(Err(_))) {
        "well"
    } else {
        "degraded"
    }
}

fn can_be_tried(upstream: &UpstreamHealth) -> bool {
    let would_pass = |condition: &Condition| {
        condition.is_healthy
            || (condition.breaker != BreakerState::Open && condition.rate_limited_until.is_none())
    };
    let UpstreamHealth { name: _, parked, overall, models } = upstream;
    parked.is_none() && (would_pass(overall) || models.iter().any(|(_, condition)| would_pass(condition)))
}

fn upstream_json(upstream: UpstreamHealth, is_detailed: bool) -> UpstreamJson {
    let is_healthy = upstream.is_healthy();
    let UpstreamHealth { name, parked, overall, mut models } = upstream;
    models.sort_by(|(one, of_one), (other, of_other)| {
        (of_one.is_healthy, one).cmp(&(of_other.is_healthy, other))
    });
    let left_out = models.len().saturating_sub(MODELS_MAX);
    let shown = models.into_iter().take(MODELS_MAX);
    UpstreamJson {
        name,
        parked: parked.map(Parked::name),
        condition: ConditionJson { healthy: is_healthy, ..condition_json(&overall) },
        models: is_detailed.then(|| {
            shown.map(|(name, condition)| ModelJson { name, condition: condition_json(&condition) }).collect()
        }),
        models_left_out: Some(left_out).filter(|left_out| is_detailed && *left_out > 0),
    }
}

fn condition_json(condition: &Condition) -> ConditionJson {
    let Condition {
        is_healthy,
        breaker,
        open_until,
        rate_limited_until,
        consecutive_failures,
        last_success,
        in_flight,
        latency_ms,
        first_token_ms,
    } = condition;
    let percentiles = |of: &Percentiles| PercentilesJson { p50: of.p50, p95: of.p95, p99: of.p99 };
    ConditionJson {
        healthy: *is_healthy,
        breaker: breaker.name(),
        consecutive_failures: *consecutive_failures,
        last_success: last_success.and_then(json::moment),
        rate_limited_until: rate_limited_until.and_then(json::moment),
        open_until: open_until.and_then(json::moment),
        in_flight: *in_flight,
        latency_ms: latency_ms.as_ref().map(percentiles),
        first_token_ms: first_token_ms.as_ref().map(percentiles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::UnixMillis;

    fn well() -> Condition {
        Condition { is_healthy: true, ..Condition::default() }
    }

    fn open() -> Condition {
        Condition {
            breaker: BreakerState::Open,
            open_until: Some(UnixMillis(60_000)),
            ..Condition::default()
        }
    }

    fn upstream(overall: Condition, models: Vec<(String, Condition)>) -> UpstreamHealth {
        UpstreamHealth { name: "u".into(), parked: None, overall, models }
    }

    fn of(upstreams: Vec<UpstreamHealth>) -> &'static str {
        status(&AiHealth { is_enabled: true, upstreams, embedder: None, index: None })
    }

    #[test]
    fn one_word_says_it_all() {
        assert_eq!(of(vec![upstream(well(), Vec::new())]), "well");
        assert_eq!(of(Vec::new()), "down");
        assert_eq!(of(vec![upstream(open(), Vec::new())]), "down");
        let half = Condition { breaker: BreakerState::HalfOpen, ..Condition::default() };
        assert_eq!(of(vec![upstream(half, Vec::new())]), "degraded", "a probe may pass");
        let limited = Condition { rate_limited_until: Some(UnixMillis(1)), ..Condition::default() };
        assert_eq!(of(vec![upstream(limited, Vec::new())]), "down");
        let one_of_two = vec![("a".to_owned(), open()), ("b".to_owned(), well())];
        assert_eq!(of(vec![upstream(open(), one_of_two)]), "degraded", "another model answers");
        assert_eq!(of(vec![upstream(open(), Vec::new()), upstream(well(), Vec::new())]), "degraded");
        let parked = UpstreamHealth { parked: Some(Parked::BadKey), ..upstream(well(), Vec::new()) };
        assert_eq!(of(vec![parked]), "down");
        let off = AiHealth { is_enabled: false, upstreams: Vec::new(), embedder: None, index: None };
        assert_eq!(status(&off), "off");
        let index = Some(Err("away".to_owned()));
        let lame = AiHealth {
            is_enabled: true,
            index,
            upstreams: vec![upstream(well(), Vec::new())],
            embedder: None,
        };
        assert_eq!(status(&lame), "degraded");
    }

    #[test]
    fn the_public_listener_shows_no_model_and_the_other_so_many_of_them() {
        let many = (0..MODELS_MAX + 3).map(|at| (format!("m{at:03}"), well()));
        let models: Vec<_> = many.chain([("z".to_owned(), open())]).collect();
        let shown = |is_detailed| {
            serde_json::to_value(upstream_json(upstream(open(), models.clone()), is_detailed)).unwrap()
        };
        let public = shown(false);
        assert!(public.get("models").is_none() && public.get("models_left_out").is_none(), "{public}");
        assert_eq!((&public["healthy"], &public["breaker"]), (&false.into(), &"open".into()));
        assert_eq!(public["open_until"], "1970-01-01T00:01:00Z");
        let admin = shown(true);
        assert_eq!(admin["models"].as_array().unwrap().len(), MODELS_MAX);
        assert_eq!((&admin["models"][0]["name"], &admin["models_left_out"]), (&"z".into(), &4.into()));
    }
}
