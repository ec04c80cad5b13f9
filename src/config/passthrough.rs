//! `[passthrough]`: what becomes of paths that we do not answer ourselves.

use serde::Deserialize;

/// Where calls of other `/v1/*` paths go (embeddings, files, audio, …), uncached and as they come.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PassthroughConfig {
    /// The name of a provider. Default none: such a path is a 404 that names this key.
    pub provider: Option<String>,
}
