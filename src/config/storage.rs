//! `[embedding]`, `[index]` and `[store]`: the parts behind the cache.

use serde::Deserialize;

/// The embedding model and the threads it runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// A model of `models/models.toml`, else any model fastembed knows by name. Default `all-minilm-l6-v2`.
    pub model: String,
    /// Instances, one thread each. Default: as many as there are cores, at most 4.
    pub threads: Option<usize>,
    /// Prompts that may wait for an instance; beyond it the semantic tier is skipped. Default 256.
    pub queue: usize,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self { model: "all-minilm-l6-v2".to_owned(), threads: None, queue: 256 }
    }
}

/// Where vectors are searched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexConfig {
    /// Default `embedded`.
    pub kind: IndexKind,
    /// The Qdrant server's gRPC address. Default `http://127.0.0.1:6334`; used with `kind = "qdrant"` only.
    pub url: String,
    /// The environment variable that holds the server's API key. Default none.
    pub api_key_env: Option<String>,
    /// The key itself, read from the variable when the configuration is loaded.
    #[serde(skip)]
    pub api_key: Option<super::Secret>,
    /// The beginning of the collection's name; the embedding model's fingerprint follows. Default `refrain`.
    pub collection: String,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            kind: IndexKind::Embedded,
            url: "http://127.0.0.1:6334".to_owned(),
            api_key_env: None,
            api_key: None,
            collection: "refrain".to_owned(),
        }
    }
}

/// Which Qdrant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// In this process, filled from the store at every start.
    Embedded,
    /// A server or a cluster.
    Qdrant,
}

/// Where the truth lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`. Default `sqlite://{data_dir}/refrain.db`.
    pub url: Option<super::Secret>,
}
