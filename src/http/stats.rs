//! `GET /admin/stats`: what every tier holds, and what is wrong with one that fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::checks::ChecksJson;
use super::json;
use super::state::AppState;
use crate::checks::RouteReading;
use crate::gateway::Stats;
use crate::index::Status;
use crate::store::StoreStats;

#[derive(Serialize)]
struct StatsJson {
    memory: MemoryJson,
    store: Part<StoreJson>,
    /// `null` where the semantic tier is off.
    index: Option<Part<IndexJson>>,
    embedder: Option<String>,
    /// Different questions under way upstream.
    flights: usize,
    /// What checks of semantic hits have found, by route; only routes that were checked, or answer equal requests only.
    checks: BTreeMap<String, ChecksJson>,
}

/// A part that is well, or what is wrong with it.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<T> {
    Well(T),
    Unwell { error: String },
}

impl<T> From<Result<T, String>> for Part<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(|error| Self::Unwell { error }, Self::Well)
    }
}

#[derive(Serialize)]
struct MemoryJson {
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct StoreJson {
    entries: u64,
    bytes: u64,
    vectors: u64,
    /// Pairs of prompts that were said to be wrong, and right.
    blocked_pairs: u64,
    aliases: u64,
    /// When the oldest entry was made.
    oldest: Option<String>,
    /// Rows found damaged and removed since the start.
    damaged: u64,
    /// Requests that were not remembered for feedback since the start.
    requests_dropped: u64,
}

#[derive(Serialize)]
struct IndexJson {
    points: u64,
    disk_bytes: Option<u64>,
    /// Why it is about to be filled from the store.
    wants_fill: Option<&'static str>,
    /// Whether it is time for a Qdrant server.
    crowded: bool,
}

/// Says what the cache holds.
pub(super) async fn stats(State(state): State<Arc<AppState>>) -> Response {
    let gateway = state.gateway.load_full();
    let Stats { memory_entries, memory_bytes, store, index, embedder, flights, routes } =
        gateway.stats().await;
    let is_told = |reading: &&RouteReading| reading.counts.checked > 0 || reading.exact_only.is_some();
    json::respond(&StatsJson {
        memory: MemoryJson { entries: memory_entries, bytes: memory_bytes },
        store: store.map(store_json).into(),
        index: index.map(|index| index.map(index_json).into()),
        embedder,
        flights,
        checks: routes.iter().filter(is_told).map(|it| (it.route.to_string(), it.into())).collect(),
    })
}

fn store_json(stats: StoreStats) -> StoreJson {
    let StoreStats { entries, bytes, vectors, blocked_pairs, aliases, oldest, damaged, requests_dropped } =
        stats;
    let oldest = oldest.and_then(json::moment);
    StoreJson { entries, bytes, vectors, blocked_pairs, aliases, oldest, damaged, requests_dropped }
}

fn index_json(status: Status) -> IndexJson {
    let Status { points, disk_bytes, wants_fill, crowded } = status;
    IndexJson { points, disk_bytes, wants_fill: wants_fill.map(|reason| reason.kind()), crowded }
}
