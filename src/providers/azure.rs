//! Azure OpenAI: OpenAI's models at addresses of one's own, under names of one's own.
//!
//! There are two forms. The newer one is OpenAI's own, with the deployment in the place of the model; the classic one
//! has the deployment in the path and the date of the API in the query. Which one is meant stands in the address.

use std::collections::HashMap;

use http::HeaderMap;
use http::header::HeaderName;

use super::base::{Base, InvalidUpstream};
use super::{Provider, ProviderError};
use crate::chat::{ChatRequest, LimitSpelling};
use crate::config::ProviderConfig;
use crate::transport::{Outgoing, Url};
use crate::wire::Format;
use crate::wire::openai::{Encoding, encode_request};

const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// What an address ends with where Azure speaks OpenAI's own form.
const V1: &str = "/openai/v1";

/// A resource of Azure OpenAI.
#[derive(Debug)]
pub struct Azure {
    base: Base,
    is_classic: bool,
    /// What Azure calls a model, where that is not its own name.
    deployments: HashMap<String, String>,
}

impl Azure {
    /// Builds an upstream from its configuration. An address with `?api-version=…` means the classic form, unless it
    /// ends in `/openai/v1`; any other means the newer one.
    ///
    /// # Errors
    /// When the address is missing, or it or the key cannot be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base = Base::new(config.base_url.as_deref().ok_or(InvalidUpstream::NoBaseUrl)?)?;
        let base = base.key(API_KEY, "", config.api_key.as_ref())?;
        let is_v1 = base.url().path().ends_with(V1);
        let is_classic = !is_v1 && base.url().query_pairs().any(|(field, _)| field == "api-version");
        let base = match (is_v1, is_classic) {
            (true, _) => base,
            (false, true) => base.versioned("openai"),
            (false, false) => base.versioned("openai").versioned("v1"),
        };
        let deployments = config.models.iter().flatten().filter_map(|model| {
            let deployment = model.deployment.clone()?;
            Some((model.name.clone(), deployment))
        });
        Ok(Self { base, is_classic, deployments: deployments.collect() })
    }
}

impl Provider for Azure {
    fn format(&self) -> Format {
        Format::OpenAi
    }

    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError> {
        let deployment = self.deployments.get(model).map_or(model, String::as_str);
        let encoding = Encoding {
            model: deployment,
            stream,
            // The models are OpenAI's, whose newer ones refuse `max_tokens`.
            limit: LimitSpelling::MaxCompletionTokens,
            is_extended: false,
        };
        let body = encode_request(request, encoding)?;
        let url = if self.is_classic {
            self.base.at(&["deployments", deployment, "chat", "completions"])
        } else {
            self.base.at(&["chat", "completions"])
        };
        Ok(self.base.post(url, stream, body))
    }

    fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError> {
        self.base.forward(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, ProviderKind, Secret};

    fn upstream(base_url: &str) -> Azure {
        let config = ProviderConfig {
            base_url: Some(base_url.to_owned()),
            api_key: Some(Secret::new("azure-secret".into())),
            models: Some(vec![
                ModelConfig { deployment: Some("my gpt/4".into()), ..ModelConfig::named("gpt-4o-mini") },
                ModelConfig::named("gpt-4o"),
            ]),
            ..ProviderConfig::named("azure", ProviderKind::AzureOpenAi)
        };
        Azure::new(&config).unwrap()
    }

    fn call(base_url: &str, model: &str) -> (String, serde_json::Value) {
        let call = upstream(base_url).prepare(&ChatRequest::from_prompt("q"), model, false).unwrap();
        assert_eq!(call.headers["api-key"], "azure-secret");
        assert!(!call.headers.contains_key("authorization"));
        assert!(!format!("{call:?} {:?}", upstream(base_url)).contains("azure-secret"));
        (call.url.to_string(), serde_json::from_slice(&call.body).unwrap())
    }

    #[test]
    fn an_address_without_a_version_means_the_newer_form() {
        for base_url in [
            "https://r.openai.azure.com",
            "https://r.openai.azure.com/",
            "https://r.openai.azure.com/openai",
            "https://r.openai.azure.com/openai/v1/",
        ] {
            let (url, body) = call(base_url, "gpt-4o-mini");
            assert_eq!(url, "https://r.openai.azure.com/openai/v1/chat/completions");
            assert_eq!(body["model"], "my gpt/4");
            assert_eq!(call(base_url, "gpt-4o").1["model"], "gpt-4o");
            let (url, _) = upstream(base_url).forward("embeddings").unwrap();
            assert_eq!(url.as_str(), "https://r.openai.azure.com/openai/v1/embeddings");
        }
        let (url, _) = call("https://r.openai.azure.com/openai/v1?api-version=preview", "gpt-4o");
        assert_eq!(url, "https://r.openai.azure.com/openai/v1/chat/completions?api-version=preview");
    }

    #[test]
    fn an_address_with_a_version_means_the_classic_form() {
        for base_url in [
            "https://r.openai.azure.com?api-version=2024-10-21",
            "https://r.openai.azure.com/openai/?api-version=2024-10-21",
        ] {
            let (url, body) = call(base_url, "gpt-4o-mini");
            let deployment = "https://r.openai.azure.com/openai/deployments/my%20gpt%2F4";
            assert_eq!(url, format!("{deployment}/chat/completions?api-version=2024-10-21"));
            assert_eq!(body["model"], "my gpt/4");
        }
    }

    #[test]
    fn the_limit_is_spelled_as_newer_models_want_it() {
        let mut request = ChatRequest::from_prompt("q");
        request.limit = Some(crate::chat::OutputLimit { tokens: 5, spelling: LimitSpelling::MaxTokens });
        let call = upstream("https://r.openai.azure.com").prepare(&request, "gpt-4o", true).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body["max_completion_tokens"], 5);
    }

    #[test]
    fn a_resource_has_no_usual_address() {
        let config = ProviderConfig::named("azure", ProviderKind::AzureOpenAi);
        assert_eq!(Azure::new(&config).unwrap_err(), InvalidUpstream::NoBaseUrl);
    }
}
