//! OpenAI, and every server that speaks its Chat Completions.

use http::{HeaderMap, header};

use super::base::{Base, InvalidUpstream};
use super::{Provider, ProviderError};
use crate::chat::{ChatRequest, LimitSpelling};
use crate::config::{ProviderConfig, Secret};
use crate::transport::{Outgoing, Url};
use crate::wire::Format;
use crate::wire::openai::{Encoding, encode_request};

/// Where OpenAI itself answers.
const BASE_URL: &str = "https://api.openai.com/v1";

/// An upstream that speaks Chat Completions.
#[derive(Debug)]
pub struct OpenAi {
    base: Base,
    limit: LimitSpelling,
    is_extended: bool,
}

impl OpenAi {
    /// Builds OpenAI itself, or a server that behaves exactly like it.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn official(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base_url = config.base_url.as_deref().unwrap_or(BASE_URL);
        // OpenAI's newer models refuse `max_tokens`.
        Self::new(base_url, config.api_key.as_ref(), LimitSpelling::MaxCompletionTokens, false)
    }

    /// Builds a server that speaks the format and has fields of its own besides.
    ///
    /// # Errors
    /// When the address is missing, or it or the key cannot be used.
    pub fn compatible(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base_url = config.base_url.as_deref().ok_or(InvalidUpstream::NoBaseUrl)?;
        Self::new(base_url, config.api_key.as_ref(), LimitSpelling::MaxTokens, true)
    }

    /// Builds an upstream at an address that ends before `/chat/completions`; without a key it sends none.
    fn new(
        base_url: &str,
        api_key: Option<&Secret>,
        limit: LimitSpelling,
        is_extended: bool,
    ) -> Result<Self, InvalidUpstream> {
        let base = Base::new(base_url)?.key(header::AUTHORIZATION, "Bearer ", api_key)?;
        Ok(Self { base, limit, is_extended })
    }
}

impl Provider for OpenAi {
    fn format(&self) -> Format {
        Format::OpenAi
    }

    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError> {
        let encoding = Encoding { model, stream, limit: self.limit, is_extended: self.is_extended };
        let body = encode_request(request, encoding)?;
        Ok(self.base.post(self.base.at(&["chat", "completions"]), stream, body))
    }

    fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError> {
        self.base.forward(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProviderKind;

    const KEY: &str = "sk-very-secret";

    fn upstream(base_url: &str, key: &str) -> Result<OpenAi, InvalidUpstream> {
        OpenAi::compatible(&ProviderConfig {
            base_url: Some(base_url.to_owned()),
            api_key: Some(Secret::new(key.to_owned())),
            ..ProviderConfig::named("x", ProviderKind::OpenAiCompatible)
        })
    }

    #[test]
    fn a_call_goes_to_the_endpoint_with_the_key_and_never_shows_it() {
        let upstream = upstream("http://127.0.0.1:1/base/v1/?a=b", KEY).unwrap();
        let call = upstream.prepare(&ChatRequest::from_prompt("q"), "m", true).unwrap();
        assert_eq!(call.url.as_str(), "http://127.0.0.1:1/base/v1/chat/completions?a=b");
        assert_eq!(call.headers["authorization"], "Bearer sk-very-secret");
        assert_eq!(call.headers["accept"], "text/event-stream");
        assert!(!format!("{call:?} {upstream:?}").contains("sk-very"));
        let (url, headers) = upstream.forward("embeddings").unwrap();
        assert_eq!(url.path(), "/base/v1/embeddings");
        assert_eq!(headers["authorization"], "Bearer sk-very-secret");
    }

    #[test]
    fn addresses_and_keys_that_cannot_work_are_refused() {
        let refused = |url, key| upstream(url, key).unwrap_err();
        assert_eq!(refused("localhost:1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(refused("ftp://host/v1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(refused("http://host/v1", "k\r\nx: y"), InvalidUpstream::ApiKey);
        let nameless = ProviderConfig::named("x", ProviderKind::OpenAiCompatible);
        assert_eq!(OpenAi::compatible(&nameless).unwrap_err(), InvalidUpstream::NoBaseUrl);
    }

    #[test]
    fn openai_is_spared_what_it_does_not_take_and_others_get_it() {
        let mut request = ChatRequest::from_prompt("q");
        request.sampling.top_k = Some(4);
        let official = OpenAi::official(&ProviderConfig::named("openai", ProviderKind::OpenAi)).unwrap();
        let refused = official.prepare(&request, "m", true).unwrap_err();
        assert_eq!(refused.kind, crate::providers::ProviderErrorKind::Capability);
        assert_eq!(refused.param.as_deref(), Some("top_k"));
        let call = upstream("http://host/v1", KEY).unwrap().prepare(&request, "m", true).unwrap();
        assert!(String::from_utf8_lossy(&call.body).contains("\"top_k\":4"));
    }
}
