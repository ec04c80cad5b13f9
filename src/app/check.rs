//! Is every part well, and what mends it?

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::Instant;

use super::build::{models_dir, open_embedder, open_index, vendor};
use super::calibrate::Calibration;
use crate::chat::ChatRequest;
use crate::config::{Config, HOW_TO_GET_A_PROVIDER, IndexKind, ProviderConfig, ProviderKind};
use crate::embed::{Catalog, Embedder, Model, Pool};
use crate::index::EdgeIndex;
use crate::providers::{Provider, ProviderError, ProviderErrorKind, failed};
use crate::store::{DataLock, Opened, Running, Store};
use crate::transport::{CallLimits, Outgoing, Transport};

/// What was found of one part.
#[derive(Clone, Debug)]
pub struct Finding {
    pub part: &'static str,
    pub ok: bool,
    pub detail: String,
    /// What mends it.
    pub remedy: Option<String>,
}

/// How long an upstream is waited for.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(5);

/// Checks every part of a configuration that was loaded. Costs nothing: no provider is asked for a generation.
pub async fn check(config: &Config) -> Vec<Finding> {
    let running = DataLock::read(&config.data_dir);
    let mut findings = vec![model(config), verifier(config)];
    let (runtime, pool) = runtime(config).await;
    findings.push(runtime);
    findings.push(store(config, running.as_ref()).await);
    findings.push(index(config, pool.as_ref(), running.as_ref()).await);
    if config.providers.is_empty() {
        findings.push(unwell("providers", "none is configured".to_owned(), HOW_TO_GET_A_PROVIDER));
    }
    for provider in &config.providers {
        findings.push(upstream(provider).await);
    }
    findings
}

fn well(part: &'static str, detail: String) -> Finding {
    Finding { part, ok: true, detail, remedy: None }
}

fn unwell(part: &'static str, detail: String, remedy: &str) -> Finding {
    Finding { part, ok: false, detail, remedy: Some(remedy.to_owned()) }
}

fn model(config: &Config) -> Finding {
    const PART: &str = "model";
    let folder = models_dir(config);
    match Catalog::built_in().model(&config.embedding.model) {
        Err(error) => unwell(PART, error.to_string(), "name another in [embedding] model"),
        Ok(Model::Shipped(model)) => match model.verify(&folder) {
            Ok(()) => well(PART, format!("{}, every checksum right", model.name())),
            // The error itself says what mends it.
            Err(error) => Finding { part: PART, ok: false, detail: error.to_string(), remedy: None },
        },
        Ok(hub) => well(PART, format!("{}, fetched by fastembed when it is first needed", hub.name())),
    }
}

/// Says whether the second look can be made, and whether anybody has measured what decides it.
fn verifier(config: &Config) -> Finding {
    const PART: &str = "verifier";
    let verifier = Catalog::built_in().verifier();
    if let Err(error) = verifier.verify(&models_dir(config)) {
        return Finding { part: PART, ok: false, detail: error.to_string(), remedy: None };
    }
    let (name, embedder) = (verifier.name(), &config.embedding.model);
    let of_routes = config.routes.iter().map(|route| route.cache.semantic.verifier_threshold);
    let is_ours = of_routes.chain([config.cache.semantic.verifier_threshold]).all(|set| set.is_none());
    let is_measured = (is_ours && verifier.measured(embedder).is_some())
        || Calibration::read(&config.data_dir).is_some_and(|made| made.is_of(embedder, name));
    if is_measured {
        return well(PART, format!("{name}, every checksum right, its threshold measured beside {embedder}"));
    }
    let remedy = Some("run `refrain calibrate PAIRS` on pairs of your own".to_owned());
    let detail = format!("{name}: its threshold was never calibrated beside {embedder}");
    Finding { part: PART, ok: true, detail, remedy }
}

async fn runtime(config: &Config) -> (Finding, Option<Pool>) {
    const PART: &str = "runtime";
    let mut alone = config.clone();
    alone.embedding.threads = Some(1);
    let opened = async {
        let pool = open_embedder(&alone).await?;
        let began = Instant::now();
        pool.embed("Is everything well?").await?;
        anyhow::Ok((pool, began.elapsed()))
    };
    match opened.await {
        Ok((pool, took)) => {
            let detail = format!("embeds a prompt in {:.1} ms", took.as_secs_f64() * 1e3);
            (well(PART, detail), Some(pool))
        }
        Err(error) => (Finding { part: PART, ok: false, detail: format!("{error:#}"), remedy: None }, None),
    }
}

async fn store(config: &Config, running: Option<&Running>) -> Finding {
    const PART: &str = "store";
    if let Some(running) = running {
        return well(PART, format!("held by process {}; see `refrain stats`", running.pid));
    }
    let url = config.store.url.as_ref().map_or("", |url| url.expose());
    let _lock = match DataLock::acquire(&config.data_dir) {
        Ok(lock) => lock,
        Err(error) => return unwell(PART, error.to_string(), "mend the folder or name another data_dir"),
    };
    match Store::open(url).await {
        Ok((store, opened)) => {
            let stats = store.stats().await;
            store.close().await;
            match (stats, opened) {
                (Ok(_), Opened::SetAside(path)) => unwell(
                    PART,
                    format!("it was damaged; it now lies at {}, and a new one was begun", path.display()),
                    "restore a backup if there is one, else nothing",
                ),
                (Ok(stats), _) => well(PART, format!("{} entries, {} bytes", stats.entries, stats.bytes)),
                (Err(error), _) => unwell(PART, error.to_string(), "see store.url"),
            }
        }
        Err(error) => unwell(PART, error.to_string(), "see store.url"),
    }
}

async fn index(config: &Config, pool: Option<&Pool>, running: Option<&Running>) -> Finding {
    const PART: &str = "index";
    let Some(pool) = pool else {
        return unwell(
            PART,
            "not tried, since no prompt can be embedded".to_owned(),
            "mend the runtime first",
        );
    };
    if config.index.kind == IndexKind::Embedded && running.is_some() {
        return well(PART, "embedded in the running server; see `refrain stats`".to_owned());
    }
    let opened = async {
        let index = open_index(config, pool)?;
        anyhow::Ok(index.status().await?)
    };
    match (opened.await, config.index.kind) {
        (Ok(_), IndexKind::Embedded) => {
            let comfortable = EdgeIndex::POINTS_COMFORTABLE;
            well(PART, format!("embedded, filled from the store at start; good for {comfortable} points"))
        }
        (Ok(status), IndexKind::Qdrant) => well(PART, format!("Qdrant server, {} points", status.points)),
        (Err(error), IndexKind::Embedded) => unwell(PART, format!("{error:#}"), "see data_dir"),
        (Err(error), IndexKind::Qdrant) => {
            unwell(PART, format!("{error:#}"), "start the server, or see [index] url and api_key_env")
        }
    }
}

/// Returns a call that tells a good key from a bad one and charges neither: an empty request, which a good key is told
/// that it is empty; or a look at the list of models, where a model that is not there would be missed first.
fn probe(kind: ProviderKind, vendor: &dyn Provider) -> Result<Outgoing, ProviderError> {
    match kind {
        ProviderKind::OpenAi
        | ProviderKind::OpenAiCompatible
        | ProviderKind::Anthropic
        | ProviderKind::Sandbox => {
            let call = vendor.prepare(&ChatRequest::from_prompt("?"), "none", false)?;
            Ok(Outgoing { body: Bytes::from_static(b"{}"), ..call })
        }
        ProviderKind::Gemini | ProviderKind::AzureOpenAi => {
            let (url, headers) = vendor.forward("models")?;
            Ok(Outgoing { method: Method::GET, url, headers, body: Bytes::new() })
        }
    }
}

async fn upstream(config: &ProviderConfig) -> Finding {
    const PART: &str = "providers";
    let name = &config.name;
    if config.kind == ProviderKind::Sandbox {
        return well(PART, format!("{name}: answers in this process"));
    }
    let called = async {
        let vendor = vendor(config)?;
        let call = probe(config.kind, &*vendor)?;
        let is_list = call.method == Method::GET;
        let limits = CallLimits::until(
            Instant::now() + UPSTREAM_PATIENCE,
            Duration::from_millis(config.timeouts.connect_ms).min(UPSTREAM_PATIENCE),
        );
        let response = Transport::new().send(call, limits).await?;
        let (status, headers) = (response.status, response.headers);
        let body = response.body.whole().await.unwrap_or_default();
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        // A lenient server may even answer an empty request.
        if status.is_success() && if is_list { is_json() } else { vendor.format().decode(&body).is_ok() } {
            return anyhow::Ok(None);
        }
        anyhow::Ok(Some((status, failed(status, &headers, &body))))
    };
    match called.await {
        Ok(None) => well(PART, format!("{name}: answers")),
        Ok(Some((status, error))) => match error.kind {
            ProviderErrorKind::BadKey => {
                unwell(PART, format!("{name}: the key is refused ({status})"), "see api_key_env")
            }
            ProviderErrorKind::QuotaGone => unwell(
                PART,
                format!("{name}: nothing is left to spend ({status})"),
                "see the vendor's billing page",
            ),
            ProviderErrorKind::ModelMissing | ProviderErrorKind::Malformed => unwell(
                PART,
                format!("{name}: answers {status}, as no endpoint of its kind would"),
                "see kind and base_url, which for OpenAI's format usually ends in /v1",
            ),
            ProviderErrorKind::ServerError | ProviderErrorKind::Overloaded => {
                unwell(PART, format!("{name}: fails ({status})"), "see the provider's status page")
            }
            _ => well(PART, format!("{name}: answers")),
        },
        Err(error) => {
            unwell(PART, format!("{name}: {error:#}"), "see base_url, and whether it can be reached")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_asks_for_nothing_that_is_charged() {
        for (kind, method, path) in [
            (ProviderKind::OpenAi, Method::POST, "/chat/completions"),
            (ProviderKind::OpenAiCompatible, Method::POST, "/chat/completions"),
            (ProviderKind::Anthropic, Method::POST, "/v1/messages"),
            (ProviderKind::Gemini, Method::GET, "/v1beta/models"),
            (ProviderKind::AzureOpenAi, Method::GET, "/openai/v1/models"),
        ] {
            let base_url = Some("http://127.0.0.1:1".to_owned());
            let config = ProviderConfig { base_url, ..ProviderConfig::named("x", kind) };
            let call = probe(kind, &*vendor(&config).unwrap()).unwrap();
            assert_eq!((&call.method, call.url.path()), (&method, path), "{kind:?}");
            let body = if method == Method::POST { "{}" } else { "" };
            assert_eq!(call.body, body);
        }
    }
}
