//! `POST /admin/invalidate`: removes whatever fits, or says how much that would be.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::clock::unix_millis;
use super::error::HttpError;
use super::json;
use super::state::AppState;
use crate::chat::{EndUser, ModelAlias, Namespace, TenantId, UnixMillis};
use crate::store::Selection;

/// What is to go: everything that meets all the conditions given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    tenant: Option<String>,
    namespace: Option<String>,
    user: Option<String>,
    model: Option<String>,
    tag: Option<String>,
    prompt_prefix: Option<String>,
    /// The least age, in seconds.
    older_than_seconds: Option<u64>,
    /// Only count.
    #[serde(default = "yes")]
    dry_run: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Done {
    dry_run: bool,
    count: u64,
}

/// Invalidates, or counts what would be.
pub(super) async fn invalidate(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, HttpError> {
    let Wanted { tenant, namespace, user, model, tag, prompt_prefix, older_than_seconds, dry_run } =
        json::receive(&state, request).await?;
    let selection = Selection {
        key: None,
        tenant: tenant.map(TenantId::new),
        namespace: namespace.map(Namespace::new),
        user: user.map(EndUser::new),
        model: model.map(ModelAlias::new),
        tag,
        prompt_prefix,
        older_than: older_than_seconds.map(made_before),
        fresh_at: None,
    };
    if selection == Selection::default() {
        // Nobody empties a cache by leaving a condition out. Everything is `older_than_seconds = 0`.
        return Err(HttpError::bad_request(
            "expected at least one of `tenant`, `namespace`, `user`, `model`, `tag`, `prompt_prefix`, \
             `older_than_seconds` (0 takes everything)",
        ));
    }
    let gateway = state.gateway.load_full();
    let count = gateway.invalidate(&selection, dry_run).await?;
    Ok(json::respond(&Done { dry_run, count }))
}

fn made_before(age_seconds: u64) -> UnixMillis {
    let age = i64::try_from(Duration::from_secs(age_seconds).as_millis()).unwrap_or(i64::MAX);
    UnixMillis(unix_millis().saturating_sub(age))
}
