//! Anthropic, and every server that speaks its Messages.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::base::{Base, InvalidUpstream};
use super::{Provider, ProviderError, ProviderErrorKind};
use crate::chat::{ChatRequest, Dialect};
use crate::config::ProviderConfig;
use crate::transport::{Outgoing, Url};
use crate::wire::Format;
use crate::wire::anthropic::{encode_count, encode_request};

/// Where Anthropic itself answers.
const BASE_URL: &str = "https://api.anthropic.com";
/// What follows it; Anthropic's own SDKs are given addresses without it.
const VERSION: &str = "v1";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETAS: HeaderName = HeaderName::from_static("anthropic-beta");

/// An upstream that speaks Messages.
#[derive(Debug)]
pub struct Anthropic {
    base: Base,
}

impl Anthropic {
    /// Builds an upstream from its configuration.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base = Base::new(config.base_url.as_deref().unwrap_or(BASE_URL))?
            .versioned(VERSION)
            .key(API_KEY, "", config.api_key.as_ref())?
            // The version that takes everything: since 2026-10-21 there is one that takes no temperature.
            .header(API_VERSION, HeaderValue::from_static("2023-06-01"));
        Ok(Self { base })
    }
}

impl Provider for Anthropic {
    fn format(&self) -> Format {
        Format::Anthropic
    }

    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError> {
        let body = encode_request(request, model, stream)?;
        with_betas(self.base.post(self.base.at(&["messages"]), stream, body), request)
    }

    fn prepare_count(&self, request: &ChatRequest, model: &str) -> Result<Option<Outgoing>, ProviderError> {
        let body = encode_count(request, model)?;
        let url = self.base.at(&["messages", "count_tokens"]);
        with_betas(self.base.post(url, false, body), request).map(Some)
    }

    fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError> {
        self.base.forward(path)
    }
}

/// Switches on the beta features that the caller did.
fn with_betas(mut call: Outgoing, request: &ChatRequest) -> Result<Outgoing, ProviderError> {
    if request.dialect == Dialect::Anthropic && !request.betas.is_empty() {
        let betas = HeaderValue::try_from(request.betas.join(",")).map_err(|_| {
            let words = "`anthropic-beta` has characters that no header can carry";
            ProviderError::new(ProviderErrorKind::BadRequest, words)
        })?;
        call.headers.insert(BETAS, betas);
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProviderKind, Secret};

    fn upstream(base_url: Option<&str>) -> Anthropic {
        let config = ProviderConfig {
            base_url: base_url.map(str::to_owned),
            api_key: Some(Secret::new("sk-ant-secret".into())),
            ..ProviderConfig::named("anthropic", ProviderKind::Anthropic)
        };
        Anthropic::new(&config).unwrap()
    }

    #[test]
    fn a_call_goes_to_the_endpoint_with_key_and_version() {
        let call = upstream(None).prepare(&ChatRequest::from_prompt("q"), "m", true).unwrap();
        assert_eq!(call.url.as_str(), "https://api.anthropic.com/v1/messages");
        assert_eq!(call.headers["x-api-key"], "sk-ant-secret");
        assert_eq!(call.headers["anthropic-version"], "2023-06-01");
        assert!(!call.headers.contains_key("anthropic-beta"));
        assert!(!format!("{call:?} {:?}", upstream(None)).contains("sk-ant"));
        for base_url in ["http://127.0.0.1:1/proxy", "http://127.0.0.1:1/proxy/v1/"] {
            let (url, headers) = upstream(Some(base_url)).forward("messages/count_tokens?a=b").unwrap();
            assert_eq!(url.as_str(), "http://127.0.0.1:1/proxy/v1/messages/count_tokens?a=b");
            assert_eq!(headers["x-api-key"], "sk-ant-secret");
        }
    }

    #[test]
    fn betas_go_on_where_they_came_in_this_dialect() {
        let mut request = ChatRequest {
            dialect: Dialect::Anthropic,
            betas: vec!["a-2025-01-01".into(), "b-2025-02-02".into()],
            ..ChatRequest::from_prompt("q")
        };
        let call = upstream(None).prepare(&request, "m", false).unwrap();
        assert_eq!(call.headers["anthropic-beta"], "a-2025-01-01,b-2025-02-02");
        request.betas.push("c\r\nx: y".into());
        let error = upstream(None).prepare(&request, "m", false).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::BadRequest);
        request.dialect = Dialect::OpenAi;
        let call = upstream(None).prepare(&request, "m", false).unwrap();
        assert!(!call.headers.contains_key("anthropic-beta"));
    }
}
