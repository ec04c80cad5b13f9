//! Whoever asks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that a caller waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the server, or of an upstream itself.
#[derive(Clone)]
pub struct Caller(reqwest::Client);

/// What came of one request.
#[derive(Clone, Debug)]
pub struct Heard {
    /// 0 where the connection broke.
    pub status: u16,
    /// `x-cache-source`, empty for an error.
    pub source: String,
    pub provider: String,
    pub took: Duration,
}

impl Caller {
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self(reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap())
    }

    /// Asks for an answer by OpenAI's Chat Completions.
    pub async fn chat(&self, base_url: &str, model: &str, prompt: &str, ttl: Option<u32>) -> Heard {
        let body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        let url = format!("{base_url}/chat/completions");
        let mut request = self.0.post(url).header("content-type", "application/json").body(body.to_string());
        if let Some(ttl) = ttl {
            request = request.header("x-cache-ttl", ttl);
        }
        let began = Instant::now();
        let sent = request.send().await;
        let (status, source, provider) = match sent {
            Err(_) => (0, String::new(), String::new()),
            Ok(response) => {
                let header = |name: &str| {
                    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
                    value.unwrap_or("").to_owned()
                };
                let told = (response.status().as_u16(), header("x-cache-source"), header("x-provider"));
                match response.bytes().await {
                    Ok(_) => told,
                    Err(_) => (0, String::new(), String::new()),
                }
            }
        };
        Heard { status, source, provider, took: began.elapsed() }
    }

    /// Asks for an answer in the background, and returns the job's id once it was taken.
    pub async fn job(&self, base: &str, prompt: &str) -> Option<String> {
        let request = self.0.post(format!("{base}/v1/generate")).header("prefer", "respond-async");
        let body = json!({ "prompt": prompt }).to_string();
        let response = request.header("content-type", "application/json").body(body).send().await.ok()?;
        if response.status() != 202 {
            return None;
        }
        let body: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
        body["id"].as_str().map(str::to_owned)
    }

    /// Returns status and body; 0 where the connection broke.
    pub async fn get(&self, url: &str) -> (u16, String) {
        match self.0.get(url).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                response.text().await.map_or((0, String::new()), |text| (status, text))
            }
            Err(_) => (0, String::new()),
        }
    }
}
