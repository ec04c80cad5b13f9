//! Stub.

use crate::chat::{EndUser, Fingerprint, ModelAlias, Namespace, TenantId, UnixMillis};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("closed")]
    Closed,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    pub key: Option<Fingerprint>,
    pub tenant: Option<TenantId>,
    pub namespace: Option<Namespace>,
    pub user: Option<EndUser>,
    pub model: Option<ModelAlias>,
    pub tag: Option<String>,
    pub prompt_prefix: Option<String>,
    pub older_than: Option<UnixMillis>,
    pub fresh_at: Option<UnixMillis>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EntrySummary {
    pub key: Fingerprint,
    pub tenant: TenantId,
    pub namespace: Namespace,
    pub user: Option<EndUser>,
    pub model: ModelAlias,
    pub provider: String,
    pub answer_model: String,
    pub prompt: Option<String>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
    pub completion_tokens: Option<u64>,
    pub cost_usd: Option<f64>,
    pub is_semantic: bool,
    pub hits: u64,
    pub last_hit: Option<UnixMillis>,
    pub size_bytes: u64,
}
