//! `/admin/precompute`: lists that are bought ahead of time: begun, watched, stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::body::is_json_or_lines;
use super::error::HttpError;
use super::explain::header_map;
use super::state::AppState;
use super::{anthropic_headers, directives, generation, json};
use crate::chat::{Dialect, TenantId};
use crate::precompute::{Forecast, Lists, Options, PrecomputeError, Report, Wanted, Window};
use crate::store::WarmedStats;
use crate::templates::ITEMS_MAX;
use crate::wire::Asked;

/// The longest list, in bytes: it is held in memory until it is bought.
const LIST_BYTES_MAX: usize = 1 << 30;
/// The time for a whole list to come.
const LIST_TIME: Duration = Duration::from_secs(300);
/// Runs that are listed.
const RUNS_LISTED: u32 = 20;

/// A line of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    template: Option<Arc<str>>,
    #[serde(default)]
    priority: i32,
    tenant: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    endpoint: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Box<RawValue>,
}

/// Reads a line of a list.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_line(line: &[u8]) -> Result<Wanted, String> {
    let Line { template, priority, tenant, tags, endpoint, headers, body } =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let dialect = generation::dialect_of(&endpoint).ok_or("`endpoint`: no path of a generation")?;
    let Asked { mut request, delivery: _, cache, task } =
        generation::parse_now(dialect, body.get().as_bytes()).map_err(|error| error.to_string())?;
    let headers = header_map(&headers).map_err(|error| error.message().to_owned())?;
    if dialect == Dialect::Anthropic {
        request.betas = anthropic_headers::betas(&headers).map_err(|error| error.message().to_owned())?;
    }
    let tenant = TenantId::new(tenant.unwrap_or_else(|| "default".to_owned()));
    let mut directives =
        directives::read(&headers, cache, task, tenant).map_err(|error| error.message().to_owned())?;
    directives.tags.extend(tags);
    Ok(Wanted { template: template.unwrap_or_else(|| "list".into()), priority, request, directives })
}

/// What a run is told beside its list; what is not said is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    #[serde(default)]
    dry_run: bool,
    /// The tenant whose own traffic is looked at besides.
    from_traffic: Option<String>,
    traffic_days: Option<u32>,
    max_cost_usd: Option<f64>,
    max_items: Option<usize>,
    refresh_within_seconds: Option<u64>,
    window: Option<String>,
    time_zone: Option<String>,
    concurrency: Option<usize>,
    share_of_limit: Option<f64>,
}

#[derive(Serialize)]
struct ForecastJson {
    new: usize,
    refresh: usize,
    fresh: usize,
    duplicates: usize,
    left_out: usize,
    refused: BTreeMap<&'static str, usize>,
    tokens: u64,
    cost_usd: Option<f64>,
    seconds: f64,
    /// Seconds that the window has, where there is one.
    window_seconds: Option<f64>,
    exceeds_budget: bool,
}

#[derive(Serialize)]
struct Begun<'a> {
    /// `null` for a dry run.
    run: Option<&'a str>,
    plan: ForecastJson,
}

/// Plans a list, and begins to buy it.
pub(super) async fn start(
    State(state): State<Arc<AppState>>,
    uri: Uri,
    request: Request,
) -> Result<Response, HttpError> {
    let wishes: Wishes =
        Query::try_from_uri(&uri).map_err(|error| HttpError::bad_request(error.body_text()))?.0;
    // A web page cannot send this mark to a foreign address without asking first.
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_json_or_lines) {
        let message = "header `content-type`: expected application/x-ndjson";
        return Err(HttpError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).closing());
    }
    let lines = lines(request.into_body(), state.edge().body.bytes).await?;
    let is_dry = wishes.dry_run;
    let days = wishes.traffic_days.unwrap_or(state.precompute_config.traffic_days);
    let lists = Lists {
        lines,
        traffic: wishes.from_traffic.as_deref().map(TenantId::new).into_iter().collect(),
        traffic_for: Duration::from_secs(u64::from(days) * 86_400),
    };
    let options = options(&state, wishes)?;
    let window = options.window.clone();
    let precompute = &state.precompute;
    if is_dry {
        let forecast = precompute.forecast(lists, &options).await?;
        return Ok(json::respond(&Begun { run: None, plan: forecast_json(forecast, window.as_ref()) }));
    }
    let (run, forecast) = precompute.start(lists, options).await?;
    let begun = Begun { run: Some(&run), plan: forecast_json(forecast, window.as_ref()) };
    Ok((StatusCode::ACCEPTED, json::respond(&begun)).into_response())
}

fn options(state: &AppState, wishes: Wishes) -> Result<Options, HttpError> {
    let Wishes { dry_run: _, max_cost_usd, max_items, refresh_within_seconds, window, time_zone, .. } =
        wishes;
    let configured = &state.precompute_config;
    let mut config = (**configured).clone();
    config.max_cost_usd = max_cost_usd.or(config.max_cost_usd);
    config.max_items = max_items.or(config.max_items);
    config.refresh_within_seconds = refresh_within_seconds.unwrap_or(config.refresh_within_seconds);
    config.window = window.or(config.window);
    config.time_zone = time_zone.unwrap_or(config.time_zone);
    config.concurrency = wishes.concurrency.unwrap_or(config.concurrency);
    config.share_of_limit = wishes.share_of_limit.unwrap_or(config.share_of_limit);
    let wrong = |what: &str| Err(HttpError::bad_request(what));
    if !(1..=256).contains(&config.concurrency) {
        return wrong("`concurrency`: expected a number from 1 to 256");
    }
    if !(config.share_of_limit > 0.0 && config.share_of_limit <= 1.0) {
        return wrong("`share_of_limit`: expected a share above 0 and up to 1");
    }
    if config.max_cost_usd.is_some_and(|most| !(most.is_finite() && most >= 0.0)) {
        return wrong("`max_cost_usd`: expected a sum of at least 0");
    }
    Options::of(&config).map_err(|error| HttpError::bad_request(error.to_string()))
}

/// Reads a list. The limit of bodies holds for each of its lines.
async fn lines(mut body: Body, line_bytes_max: usize) -> Result<Vec<Bytes>, HttpError> {
    let mut all = BytesMut::new();
    let collect = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| HttpError::bad_request("the list broke off").closing())?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.len() > LIST_BYTES_MAX {
                return Err(HttpError::bad_request("the list is longer than 1 GiB; split it").closing());
            }
            all.extend_from_slice(&data);
        }
        Ok(())
    };
    timeout(LIST_TIME, collect).await.unwrap_or_else(|_| {
        Err(HttpError::bad_request(format!("the list did not come within {} s", LIST_TIME.as_secs()))
            .closing())
    })?;
    let all = all.freeze();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(all.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if line.len() > line_bytes_max {
            let message =
                format!("line {number}: is longer than server.max_body_bytes, {line_bytes_max} bytes");
            return Err(HttpError::bad_request(message));
        }
        lines.push(all.slice_ref(line));
        if lines.len() > ITEMS_MAX {
            return Err(HttpError::bad_request(format!("a list may have {ITEMS_MAX} lines; split it")));
        }
    }
    Ok(lines)
}

fn forecast_json(forecast: Forecast, window: Option<&Window>) -> ForecastJson {
    let Forecast {
        new,
        refresh,
        fresh,
        duplicates,
        left_out,
        refused,
        tokens,
        cost_usd,
        seconds,
        exceeds_budget,
    } = forecast;
    let window_seconds = window.map(|window| window.length(jiff::Timestamp::now()).as_secs_f64());
    ForecastJson {
        new,
        refresh,
        fresh,
        duplicates,
        left_out,
        refused,
        tokens,
        cost_usd,
        seconds,
        window_seconds,
        exceeds_budget,
    }
}

#[derive(Serialize)]
struct Listed {
    runs: Vec<ListedRun>,
    templates: Vec<WarmedJson>,
}

#[derive(Serialize)]
struct ListedRun {
    run: String,
    began_at: Option<String>,
    report: Option<Report>,
}

#[derive(Serialize)]
struct WarmedJson {
    template: String,
    bought: u64,
    used: u64,
    hits: u64,
    spent_usd: f64,
    saved_usd: f64,
}

/// Lists the last runs, and what became of what was bought.
pub(super) async fn list(State(state): State<Arc<AppState>>) -> Result<Response, HttpError> {
    let precompute = &state.precompute;
    let mut runs = Vec::new();
    for run in precompute.last_runs(RUNS_LISTED).await? {
        let report = precompute.report(&run.id).await?;
        runs.push(ListedRun { began_at: json::moment(run.began_at), run: run.id, report });
    }
    let templates = precompute.warmed().await?.into_iter().map(warmed_json).collect();
    Ok(json::respond(&Listed { runs, templates }))
}

fn warmed_json(stats: WarmedStats) -> WarmedJson {
    let WarmedStats { template, bought, used, hits, spent_usd, saved_usd } = stats;
    WarmedJson { template, bought, used, hits, spent_usd, saved_usd }
}

/// Says how a run stands.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    Path(run): Path<String>,
) -> Result<Response, HttpError> {
    let report = state.precompute.report(&run).await?;
    report.map_or_else(|| Err(unknown()), |report| Ok(json::respond(&report)))
}

/// Stops a run. What it has begun to buy is still stored.
pub(super) async fn stop(
    State(state): State<Arc<AppState>>,
    Path(run): Path<String>,
) -> Result<Response, HttpError> {
    if !state.precompute.cancel(&run) {
        return Err(unknown());
    }
    show(State(state), Path(run)).await
}

fn unknown() -> HttpError {
    HttpError::not_found("no run of this name is known; the last hundred are remembered")
}

impl From<PrecomputeError> for HttpError {
    fn from(error: PrecomputeError) -> Self {
        match error {
            PrecomputeError::Gateway(error) => error.into(),
            PrecomputeError::Store(error) => error.into(),
            PrecomputeError::Busy => {
                HttpError::refused(StatusCode::CONFLICT, error.to_string()).code("precompute_busy")
            }
            error @ (PrecomputeError::Line { .. }
            | PrecomputeError::Empty
            | PrecomputeError::Unpriced
            | PrecomputeError::NoSpace { .. }
            | PrecomputeError::Interrupted) => HttpError::bad_request(error.to_string()),
        }
    }
}
