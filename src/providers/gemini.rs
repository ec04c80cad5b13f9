//! Google's Gemini API.

use http::HeaderMap;
use http::header::HeaderName;

use super::base::{Base, InvalidUpstream};
use super::{Provider, ProviderError};
use crate::chat::ChatRequest;
use crate::config::ProviderConfig;
use crate::transport::{Outgoing, Url};
use crate::wire::Format;
use crate::wire::gemini::encode_request;

/// Where Google answers.
const BASE_URL: &str = "https://generativelanguage.googleapis.com";
/// The version that has every field that we send; `v1` lacks system texts and tools.
const VERSION: &str = "v1beta";

/// Never the query's `key`: addresses stand in logs and errors.
const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Collections of models, which Google's own names may begin with.
const COLLECTIONS: [&str; 2] = ["models", "tunedModels"];

/// An upstream that speaks `generateContent`.
#[derive(Debug)]
pub struct Gemini {
    base: Base,
}

impl Gemini {
    /// Builds an upstream from its configuration.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidUpstream> {
        let base = Base::new(config.base_url.as_deref().unwrap_or(BASE_URL))?.versioned(VERSION).key(
            API_KEY,
            "",
            config.api_key.as_ref(),
        )?;
        Ok(Self { base })
    }

    /// Returns where the model answers. Its name is one segment of the path, whatever stands in it.
    fn endpoint(&self, model: &str, stream: bool) -> Url {
        let known = model.split_once('/').filter(|(collection, _)| COLLECTIONS.contains(collection));
        let (collection, name) = known.unwrap_or((COLLECTIONS[0], model));
        let method = if stream { "streamGenerateContent" } else { "generateContent" };
        let mut url = self.base.at(&[collection, &format!("{name}:{method}")]);
        if stream {
            // Without it the stream is one long list, which can only be read at its end.
            url.query_pairs_mut().append_pair("alt", "sse");
        }
        url
    }
}

impl Provider for Gemini {
    fn format(&self) -> Format {
        Format::Gemini
    }

    fn prepare(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Outgoing, ProviderError> {
        let body = encode_request(request, model)?;
        Ok(self.base.post(self.endpoint(model, stream), stream, body))
    }

    fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError> {
        self.base.forward(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Assembly, Delta};
    use crate::config::{ProviderKind, Secret};
    use crate::providers::ProviderErrorKind;
    use crate::providers::stream::tests::{chunks, read_as};
    use proptest::prelude::*;

    fn upstream(base_url: Option<&str>) -> Gemini {
        let config = ProviderConfig {
            base_url: base_url.map(str::to_owned),
            api_key: Some(Secret::new("AIza-secret".into())),
            ..ProviderConfig::named("gemini", ProviderKind::Gemini)
        };
        Gemini::new(&config).unwrap()
    }

    #[test]
    fn a_call_goes_to_the_model_with_the_key_in_a_header() {
        let call = upstream(None).prepare(&ChatRequest::from_prompt("q"), "gemini-2.5-flash", false).unwrap();
        let google = "https://generativelanguage.googleapis.com/v1beta";
        assert_eq!(call.url.as_str(), format!("{google}/models/gemini-2.5-flash:generateContent"));
        assert_eq!(call.headers["x-goog-api-key"], "AIza-secret");
        assert!(!format!("{call:?} {:?}", upstream(None)).contains("AIza"));
        assert!(!call.url.as_str().contains("key"));
        let (url, _) = upstream(None).forward("models?pageSize=1").unwrap();
        assert_eq!(url.as_str(), format!("{google}/models?pageSize=1"));
    }

    #[test]
    fn any_name_of_a_model_is_one_segment() {
        for (model, path) in [
            ("gemini-2.5-flash", "models/gemini-2.5-flash"),
            ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
            ("tunedModels/mine", "tunedModels/mine"),
            ("google/gemini", "models/google%2Fgemini"),
            ("models/../../files", "models/..%2F..%2Ffiles"),
            ("a?key=b#c", "models/a%3Fkey=b%23c"),
            ("..", "models/.."),
        ] {
            let url = upstream(Some("http://127.0.0.1:1/x/v1beta/?a=b")).endpoint(model, true);
            let expected = format!("http://127.0.0.1:1/x/v1beta/{path}:streamGenerateContent?a=b&alt=sse");
            assert_eq!(url.as_str(), expected, "{model}");
        }
    }

    const STREAM: &str = concat!(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hm.\",\"thought\":true}],\"role\":\"model\"}}],",
        "\"responseId\":\"r1\",\"modelVersion\":\"m\"}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Grüße \"}]},\"index\":0}],\"responseId\":\"r1\",",
        "\"usageMetadata\":{\"promptTokenCount\":1,\"totalTokenCount\":1}}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"🦀\"},{\"functionCall\":{\"name\":\"f\"}}]},",
        "\"finishReason\":\"STOP\"}],\"responseId\":\"r1\",",
        "\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2}}\r\n\r\n",
    );

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Delta>, ProviderError> {
        read_as(Format::Gemini, chunks)
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_pieces(mut cuts in prop::collection::vec(0..=STREAM.len(), 0..9)) {
            prop_assert_eq!(read(chunks(STREAM, &mut cuts)), read([STREAM.as_bytes()]));
        }

        #[test]
        fn a_stream_cut_before_its_finish_reason_is_never_complete(cut in 0..STREAM.len()) {
            let read = read([&STREAM.as_bytes()[..cut]]);
            prop_assert!(cut > STREAM.find("STOP").unwrap() || read.is_err());
            if let Ok(deltas) = read {
                let mut assembly = Assembly::default();
                deltas.iter().for_each(|delta| assembly.push(delta));
                let answer = assembly.into_answer().unwrap();
                prop_assert_eq!(answer.text(), "Grüße 🦀");
            }
        }
    }

    #[test]
    fn an_error_in_a_stream_is_found_wherever_it_stands() {
        use ProviderErrorKind::*;
        let begun =
            &STREAM[..STREAM.find("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"🦀").unwrap()];
        let busy = r#"{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}"#;
        let spread =
            "[{\n  \"error\": {\n    \"code\": 429,\n    \"status\": \"RESOURCE_EXHAUSTED\"\n  }\n}\n]\n";
        for (bytes, kind) in [
            (format!("data: {busy}\n\n"), Overloaded),
            (format!("data: [{busy}]\n\n"), Overloaded),
            (format!("{busy}\n"), Overloaded),
            (spread.to_owned(), RateLimited),
            (r#"data: {"promptFeedback": {"blockReason": "SAFETY"}}"#.to_owned(), ContentPolicy),
            (r#"data: {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}"#.to_owned(), Malformed),
            (String::new(), Malformed),
        ] {
            for before in ["", begun] {
                let error = read([before.as_bytes(), bytes.as_bytes()]).unwrap_err();
                assert_eq!(error.kind, kind, "{before}{bytes}");
            }
        }
    }
}
