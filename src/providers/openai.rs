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
    use crate::chat::{Assembly, Delta};
    use proptest::prelude::*;

    fn upstream() -> OpenAi {
        let key = Secret::new("sk-very-secret".into());
        OpenAi::new("http://127.0.0.1:1/base/v1/?a=b", Some(&key), LimitSpelling::MaxTokens).unwrap()
    }

    #[test]
    fn a_call_goes_to_the_endpoint_with_the_key_and_never_shows_it() {
        let call = upstream().prepare(&ChatRequest::from_prompt("q"), "m", true).unwrap();
        assert_eq!(call.url.as_str(), "http://127.0.0.1:1/base/v1/chat/completions?a=b");
        assert_eq!(call.headers["authorization"], "Bearer sk-very-secret");
        assert_eq!(call.headers["accept"], "text/event-stream");
        assert!(!format!("{call:?} {:?}", upstream()).contains("sk-very"));
    }

    #[test]
    fn addresses_and_keys_that_cannot_work_are_refused() {
        let new = |url, key: &str| {
            OpenAi::new(url, Some(&Secret::new(key.into())), LimitSpelling::MaxTokens).unwrap_err()
        };
        assert_eq!(new("localhost:1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(new("ftp://host/v1", "k"), InvalidUpstream::BaseUrl);
        assert_eq!(new("http://host/v1", "k\r\nx: y"), InvalidUpstream::ApiKey);
        let nameless = ProviderConfig::named("x", ProviderKind::OpenAiCompatible);
        assert_eq!(OpenAi::from_config(&nameless).unwrap_err(), InvalidUpstream::NoBaseUrl);
    }

    fn classified(status: u16, body: &str) -> ProviderError {
        upstream().classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_failure_is_classed_by_status_and_body() {
        use ProviderErrorKind::*;
        for (status, code, message, kind) in [
            (204, "", "", Malformed),
            (301, "", "", Malformed),
            (400, "", "", BadRequest),
            (400, "context_length_exceeded", "", ContextTooLong),
            (400, "400", "This model's maximum context length is 4096 tokens", ContextTooLong),
            (400, "content_filter", "", ContentPolicy),
            (400, "unsupported_parameter", "", Capability),
            (400, "", "API key not valid. Please pass a valid API key.", BadKey),
            (401, "", "", BadKey),
            (402, "", "", QuotaGone),
            (403, "", "", BadKey),
            (403, "403", "Your input was flagged", ContentPolicy),
            (404, "model_not_found", "", ModelMissing),
            (405, "", "", BadRequest),
            (408, "", "", ServerError),
            (413, "", "", ContextTooLong),
            (422, "", "", BadRequest),
            (429, "", "", RateLimited),
            (429, "rate_limit_exceeded", "", RateLimited),
            (429, "slow_down", "", Overloaded),
            (429, "insufficient_quota", "", QuotaGone),
            (429, "project_spend_limit_exceeded", "", QuotaGone),
            (500, "", "", ServerError),
            (500, "", "the request exceeds the available context size", ContextTooLong),
            (502, "", "", ServerError),
            (503, "", "", Overloaded),
            (524, "", "", ServerError),
            (529, "", "", Overloaded),
        ] {
            let body = serde_json::json!({"error": {"message": message, "code": code}}).to_string();
            let error = classified(status, &body);
            assert_eq!(error.kind, kind, "{status} {code} {message}");
            let is_told = !message.is_empty() && kind.is_callers_fault();
            assert_eq!(error.message == message, is_told, "{status} {code} {message}");
        }
        assert_eq!(classified(502, "<html>Bad gateway</html>").kind, ServerError);
    }

    #[test]
    fn an_error_inside_a_good_response_is_classed_by_its_words() {
        use ProviderErrorKind::*;
        for (error, kind, label) in [
            (r#"{"message": "x", "code": 502}"#, ServerError, "502"),
            (r#"{"message": "x", "code": 429}"#, RateLimited, "429"),
            (r#"{"message": "x", "type": "BadRequestError", "code": 400}"#, BadRequest, "400"),
            (r#"{"message": "x", "type": "server_error"}"#, ServerError, "500"),
            (r#"{"message": "x", "type": "insufficient_quota"}"#, QuotaGone, "429"),
            (r#"{"message": "x", "type": "surprise"}"#, Malformed, "malformed"),
            (r#""x""#, Malformed, "malformed"),
        ] {
            let body = format!(r#"{{"error": {error}}}"#);
            let refused = upstream().decode(body.as_bytes()).unwrap_err();
            assert_eq!((refused.kind, refused.attempt_label().as_str()), (kind, label), "{error}");
            let event = format!("data: {body}\n\n");
            assert_eq!(upstream().decode_stream(1).feed(event.as_bytes()).unwrap_err(), refused);
        }
    }

    #[test]
    fn a_wait_is_read_where_it_is_a_number_and_never_panics() {
        for (name, value, wait) in [
            ("retry-after", "2", Some(Duration::from_secs(2))),
            ("retry-after", "0.5", Some(Duration::from_millis(500))),
            ("retry-after-ms", "20", Some(Duration::from_millis(20))),
            ("retry-after", "1e309", None),
            ("retry-after", "1e300", Some(Duration::from_secs(86_400))),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            let headers: HeaderMap = headers;
            let error = upstream().classify(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
            assert_eq!(error.retry_after, wait, "{value}");
        }
    }

    const STREAM: &str = concat!(
        ": ping\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße 🦀\"}}]}\r\n\r\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        "data: [DONE]",
    );

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Delta>, ProviderError> {
        let mut stream = upstream().decode_stream(1);
        let mut deltas = Vec::new();
        for chunk in chunks {
            deltas.extend(stream.feed(chunk)?);
        }
        deltas.extend(stream.finish()?);
        Ok(deltas)
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_pieces(mut cuts in prop::collection::vec(0..=STREAM.len(), 0..9)) {
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]);
            prop_assert_eq!(read(chunks), read([STREAM.as_bytes()]));
        }

        #[test]
        fn a_stream_cut_before_its_finish_reason_is_never_complete(cut in 0..STREAM.len()) {
            let finish = STREAM.find("stop").unwrap();
            let read = read([&STREAM.as_bytes()[..cut]]);
            if cut <= finish {
                prop_assert!(read.is_err());
            }
            if let Ok(deltas) = read {
                let mut assembly = Assembly::default();
                deltas.iter().for_each(|delta| assembly.push(delta));
                prop_assert!(assembly.is_finished(1));
                let answer = assembly.into_answer().unwrap();
                prop_assert_eq!(answer.text(), "Grüße 🦀");
            }
        }
    }

    #[test]
    fn an_answer_is_complete_before_the_stream_is_over_and_nothing_after_that_spoils_it() {
        let mut stream = upstream().decode_stream(1);
        let (head, tail) = STREAM.split_at(STREAM.find("data: {\"id\":\"1\",\"choices\":[],").unwrap());
        assert!(!stream.is_complete());
        stream.feed(head.as_bytes()).unwrap();
        assert!(stream.is_complete() && !stream.is_done());
        stream.feed(tail.as_bytes()).unwrap();
        stream.finish().unwrap();
        assert!(stream.is_done());

        let mut stream = upstream().decode_stream(1);
        stream.feed(head.as_bytes()).unwrap();
        assert_eq!(stream.feed(b"data: {\"error\": {\"message\": \"late\"}}\n\n"), Ok(Vec::new()));
        assert!(stream.is_done());
    }
}
