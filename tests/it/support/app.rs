//! A whole server on free ports, with a folder of its own and a fake upstream, and the verbs of whoever uses it.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use refrain::app::{LocalModels, Server};
use refrain::config::{Config, Flags, load};
use refrain::embed::{Catalog, Embedder, Pool, PoolOptions};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::eventually;
#[cfg(target_os = "linux")]
use super::mishaps::Mishaps;
use super::process::{Process, refrain};
use super::response::{Response, Streamed};
use super::upstream::{KEY, Upstream};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
/// The model that a request without one means.
pub const MODEL: &str = "fake/parrot";

/// Where the server runs.
enum Life {
    Here(Box<Server>),
    Apart(Process),
    Nowhere,
}

/// A running server.
pub struct TestApp {
    pub upstream: Upstream,
    folder: TempDir,
    life: Life,
    client: reqwest::Client,
    /// Sent with every request.
    key: Option<String>,
    /// In its environment, beside what every server has there.
    variables: Vec<(String, String)>,
}

impl TestApp {
    /// Starts a server in its usual configuration.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts a server that serves equal requests only, which spares the model's loading.
    pub async fn exact() -> Self {
        Self::with("cache.mode = \"exact\"").await
    }

    /// Starts a server that knows nobody to ask.
    pub async fn without_provider() -> Self {
        let mut app = Self::prepared("cache.mode = \"exact\"").await;
        app.forget_providers();
        app.start_around(embedder().await).await;
        app
    }

    /// Restarts the server on the same folder, knowing nobody to ask.
    pub async fn restart_without_provider(&mut self) {
        self.forget_providers();
        self.restart().await;
    }

    fn forget_providers(&self) {
        let path = self.folder.path().join("refrain.toml");
        let mut table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        table.remove("providers");
        std::fs::write(path, table.to_string()).unwrap();
    }

    /// Starts a server with these settings put over the usual ones.
    pub async fn with(settings: &str) -> Self {
        Self::around(embedder().await, settings).await
    }

    /// Starts a server with these settings and, beside the usual ones, these variables in its environment.
    pub async fn with_variables(settings: &str, variables: &[(&str, &str)]) -> Self {
        let mut app = Self::prepared(settings).await;
        app.variables = owned(variables);
        app.start_around(embedder().await).await;
        app
    }

    /// The same with the real binary.
    pub async fn binary_with_variables(settings: &str, variables: &[(&str, &str)]) -> Self {
        let mut app = Self::prepared(settings).await;
        app.variables = owned(variables);
        app.start_binary().await;
        app
    }

    /// Starts the real binary, with these settings put over the usual ones.
    pub async fn binary(settings: &str) -> Self {
        let mut app = Self::prepared(settings).await;
        app.start_binary().await;
        app
    }

    /// Starts the real binary, trusting whom this certificate vouches for.
    pub async fn binary_trusting(certificate: &str, settings: &str) -> Self {
        let mut app = Self::prepared(settings).await;
        let roots = app.folder.path().join("roots.pem");
        std::fs::write(&roots, certificate).unwrap();
        app.life = Life::Apart(Process::start_trusting(app.folder.path(), &roots).await);
        app
    }

    /// Prepares the real binary, with these settings put over the usual ones, to which mishaps may happen.
    #[cfg(target_os = "linux")]
    pub async fn fragile(settings: &str, mishaps: &Mishaps) -> Self {
        let mut app = Self::prepared(settings).await;
        app.variables = mishaps.variables().into();
        app
    }

    /// Starts the real binary in place of whatever ran before.
    pub async fn start_binary(&mut self) {
        self.life = Life::Nowhere;
        self.life = Life::Apart(Process::run(self.command()).await);
    }

    /// Starts the real binary in place of whatever ran before, and returns whether it lived to listen.
    pub async fn try_start_binary(&mut self) -> bool {
        self.life = Life::Nowhere;
        self.life = Process::try_spawn(self.command()).await.map_or(Life::Nowhere, Life::Apart);
        matches!(self.life, Life::Apart(_))
    }

    /// Returns the command that starts the real binary.
    fn command(&self) -> Command {
        let mut command = refrain(self.folder.path(), "serve");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a server around an embedder of the test's own.
    pub async fn around(embedder: Arc<dyn Embedder>, settings: &str) -> Self {
        let mut app = Self::prepared(settings).await;
        app.start_around(embedder).await;
        app
    }

    /// Starts a server that loads its own model, or fails to.
    pub async fn with_own_embedder(settings: &str) -> Self {
        let mut app = Self::prepared(settings).await;
        app.life = Life::Here(Box::new(Server::start(&app.config()).await.unwrap()));
        app
    }

    async fn start_around(&mut self, embedder: Arc<dyn Embedder>) {
        let models = LocalModels { embedder, verifier: pool().await };
        let server = Server::start_around(&self.config(), models).await;
        self.life = Life::Here(Box::new(server.unwrap()));
    }

    /// Writes the configuration of a server that does not run yet.
    async fn prepared(settings: &str) -> Self {
        let upstream = Upstream::start().await;
        let mut table = usual(upstream.base_url());
        merge(&mut table, toml::from_str(settings).unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("refrain.toml"), table.to_string()).unwrap();
        Self { upstream, folder, life: Life::Nowhere, client: client(), key: None, variables: Vec::new() }
    }

    /// Stops the server as SIGTERM would, and starts it again on the same folder.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_around(embedder().await).await;
    }

    /// Stops the server as SIGTERM would.
    pub async fn stop(&mut self) {
        // Connections that lie idle in the pool would only be cut.
        self.client = client();
        if let Life::Here(server) = std::mem::replace(&mut self.life, Life::Nowhere) {
            server.stop().await;
        }
    }

    /// Returns the process, where it runs apart.
    pub fn process(&self) -> &Process {
        match &self.life {
            Life::Apart(process) => process,
            Life::Here(_) | Life::Nowhere => panic!("no process runs"),
        }
    }

    /// Returns the configuration as the command line would read it.
    pub fn config(&self) -> Config {
        let flags = Flags { config: Some(self.folder.path().join("refrain.toml")), ..Flags::default() };
        let usual = [("FAKE_KEY", KEY), ("REFRAIN_MODEL", MODEL)];
        let own = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        load(&flags, &usual.into_iter().chain(own).collect()).unwrap()
    }

    /// Writes another configuration, with these settings put over the usual ones. A running server hears of it when it
    /// loads it again.
    pub fn configure(&self, settings: &str) {
        let mut table = usual(self.upstream.base_url());
        merge(&mut table, toml::from_str(settings).unwrap());
        self.configure_by(&table.to_string());
    }

    /// Writes this text for a configuration.
    pub fn configure_by(&self, text: &str) {
        std::fs::write(self.folder.path().join("refrain.toml"), text).unwrap();
    }

    /// Returns the folder of its configuration; its data lies in `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Presents this key from now on.
    pub fn use_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Presents no key from now on.
    pub fn use_no_key(&mut self) {
        self.key = None;
    }

    pub fn public(&self) -> String {
        match &self.life {
            Life::Here(server) => format!("http://{}", server.public),
            Life::Apart(process) => process.public.clone(),
            Life::Nowhere => panic!("no server runs"),
        }
    }

    pub fn admin(&self) -> String {
        match &self.life {
            Life::Here(server) => format!("http://{}", server.admin),
            Life::Apart(process) => process.admin.clone(),
            Life::Nowhere => panic!("no server runs"),
        }
    }

    /// Asks `/v1/generate` for an answer to a prompt.
    pub async fn generate(&self, prompt: &str) -> Response {
        self.generate_with(prompt, &[]).await
    }

    /// Asks `/v1/generate` with these headers.
    pub async fn generate_with(&self, prompt: &str, headers: &[(&str, &str)]) -> Response {
        self.post("/v1/generate", headers, json!({ "prompt": prompt })).await
    }

    /// Asks `/v1/chat/completions`; a body without messages is filled up by [`chat`].
    pub async fn chat(&self, body: Value) -> Response {
        self.chat_with(body, &[]).await
    }

    pub async fn chat_with(&self, body: Value, headers: &[(&str, &str)]) -> Response {
        self.post("/v1/chat/completions", headers, body).await
    }

    /// Returns whether a chat was answered before the server went.
    pub async fn try_chat(&self, body: Value) -> bool {
        self.try_post("/v1/chat/completions", &[], body).await.is_some_and(|response| response.status == 200)
    }

    /// Asks the public listener, and returns what was answered before the server went.
    pub async fn try_post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Option<Response> {
        let sent = self.request(Method::POST, &self.public(), path, headers, Some(body.to_string())).await;
        Response::try_read(sent.ok()?).await.ok()
    }

    /// Asks the admin listener, and returns what was answered before the server went.
    pub async fn try_admin_get(&self, path: &str) -> Option<Response> {
        let sent = self.request(Method::GET, &self.admin(), path, &[], None).await;
        Response::try_read(sent.ok()?).await.ok()
    }

    /// Asks for a stream and returns when its head has come.
    pub async fn stream(&self, path: &str, body: Value) -> Streamed {
        self.stream_with(path, body, &[]).await
    }

    pub async fn stream_with(&self, path: &str, mut body: Value, headers: &[(&str, &str)]) -> Streamed {
        body["stream"] = json!(true);
        let body = Some(body.to_string());
        Streamed::new(self.request(Method::POST, &self.public(), path, headers, body).await.unwrap())
    }

    /// Asks the public listener.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Response {
        self.post_text(path, headers, &body.to_string()).await
    }

    /// Sends a body as it is written here.
    pub async fn post_text(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let sent = self.request(Method::POST, &self.public(), path, headers, Some(body.to_owned())).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Response {
        let sent = self.request(Method::GET, &self.public(), path, &[], None).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        let sent = self.request(Method::DELETE, &self.public(), path, &[], None).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn admin_get(&self, path: &str) -> Response {
        let sent = self.request(Method::GET, &self.admin(), path, &[], None).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn admin_post(&self, path: &str, body: Value) -> Response {
        let sent = self.request(Method::POST, &self.admin(), path, &[], Some(body.to_string())).await;
        Response::read(sent.unwrap()).await
    }

    /// Sends a body as it is written here.
    pub async fn admin_post_text(&self, path: &str, body: &str) -> Response {
        let sent = self.request(Method::POST, &self.admin(), path, &[], Some(body.to_owned())).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn admin_put(&self, path: &str, body: Value) -> Response {
        let sent = self.request(Method::PUT, &self.admin(), path, &[], Some(body.to_string())).await;
        Response::read(sent.unwrap()).await
    }

    pub async fn admin_delete(&self, path: &str) -> Response {
        let sent = self.request(Method::DELETE, &self.admin(), path, &[], None).await;
        Response::read(sent.unwrap()).await
    }

    async fn request(
        &self,
        method: Method,
        listener: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> reqwest::Result<reqwest::Response> {
        let mut request = self.client.request(method, format!("{listener}{path}"));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        request.send().await
    }

    /// Returns the value of a metric: its name, and labels as Prometheus writes them. What was never counted is zero.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.admin_get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has reached a value.
    pub async fn counted(&self, series: &str, value: f64) {
        eventually(series, async || (self.metric(series).await >= value).then_some(())).await;
    }

    /// Waits until tokens can be counted here, for as long as it takes to read the vocabulary for the first time.
    pub async fn counts(&self, model: &str) {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "How many?"}]});
        eventually("a count of tokens", async || {
            let counted = self.post("/v1/messages/count_tokens", &[], body.clone()).await;
            counted.json()["input_tokens"].is_u64().then_some(())
        })
        .await;
    }

    /// Waits until so many entries can be found by similarity.
    pub async fn indexed(&self, points: u64) {
        eventually("the index", async || {
            let stats = self.admin_get("/admin/stats").await.json();
            (stats["index"]["points"].as_u64() >= Some(points)).then_some(())
        })
        .await;
    }

    /// Waits until so many entries lie in the store.
    pub async fn stored(&self, entries: u64) {
        eventually("the store", async || {
            let stats = self.admin_get("/admin/stats").await.json();
            (stats["store"]["entries"].as_u64() >= Some(entries)).then_some(())
        })
        .await;
    }
}

/// Returns the real embedder, loaded once for all tests.
pub async fn embedder() -> Arc<dyn Embedder> {
    pool().await
}

async fn pool() -> Arc<Pool> {
    static EMBEDDER: OnceCell<Arc<Pool>> = OnceCell::const_new();
    let start = || async {
        let options = PoolOptions {
            model: Catalog::built_in().model("all-minilm-l6-v2").unwrap(),
            models_dir: MODELS.into(),
            threads: NonZeroUsize::MIN,
            queue: NonZeroUsize::new(1_024).unwrap(),
        };
        tokio::task::spawn_blocking(|| Arc::new(Pool::start(options).unwrap())).await.unwrap()
    };
    EMBEDDER.get_or_init(start).await.clone()
}

/// Returns the body of a chat with one question.
pub fn chat(prompt: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}]})
}

/// Returns a body with one field more, or another value of it.
pub fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Settings that differ from the defaults only where a test must.
fn usual(base_url: &str) -> toml::Table {
    let text = format!(
        r#"
        data_dir = "data"
        models_dir = "{MODELS}"
        [server]
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        [embedding]
        threads = 1
        # On a busy machine a prompt waits longer than anybody should.
        [cache.semantic]
        budget_ms = 20000
        [[providers]]
        name = "fake"
        kind = "openai"
        base_url = "{base_url}"
        api_key_env = "FAKE_KEY"
        "#
    );
    toml::from_str(&text).unwrap()
}

/// Puts tables into tables, and the tables of a list into those at the same place; anything else is replaced.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match into.get_mut(&key) {
            Some(into) => merge_value(into, value),
            None => {
                into.insert(key, value);
            }
        }
    }
}

fn merge_value(into: &mut toml::Value, from: toml::Value) {
    match (into, from) {
        (toml::Value::Table(into), toml::Value::Table(from)) => merge(into, from),
        (toml::Value::Array(into), toml::Value::Array(from)) => {
            for (at, value) in from.into_iter().enumerate() {
                match into.get_mut(at) {
                    Some(into) => merge_value(into, value),
                    None => into.push(value),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// Returns a client that says nothing by itself.
fn client() -> reqwest::Client {
    // A second installation is refused, and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().no_gzip().build().unwrap()
}
