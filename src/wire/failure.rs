//! What an upstream says instead of an answer, and what we cannot say to it.

use serde_json::{Map, Value, json};

/// What an upstream's body can be instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is no answer; the text says what is wrong with it and quotes none of it.
    #[error("{0}")]
    Malformed(String),
    /// The vendor would not look at the request, and says so under a good status.
    #[error("{0}")]
    Blocked(String),
    /// It is an error, though the status said otherwise.
    #[error("the upstream answered with an error")]
    Error(Box<ErrorBody>),
}

impl AnswerError {
    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    /// Reads what stands in the field `error` of a body that should have been an answer.
    pub(super) fn said(error: &Value) -> Self {
        Self::Error(Box::new(ErrorBody::read(error).unwrap_or_default()))
    }
}

/// An upstream's error, in as much of OpenAI's shape as it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    pub message: String,
    pub kind: Option<String>,
    pub param: Option<String>,
    /// The code as text. vLLM, OpenRouter, Gemini and others send the status here, as a number.
    pub code: Option<String>,
    /// A finer reason than the code, where the vendor has one: Azure's inner error, Google's `ErrorInfo`.
    pub detail: Option<String>,
    /// All of it as a body with one field `error`, for what only one vendor says.
    pub raw: Value,
}

impl ErrorBody {
    /// Returns the status that stands in the code, where one does.
    pub fn status(&self) -> Option<u16> {
        self.code.as_ref()?.parse().ok().filter(|status| (400..600).contains(status))
    }

    /// Reads the body of a response with an error status; `None` where it is not JSON or says nothing.
    pub fn decode(body: &[u8]) -> Option<Self> {
        Self::read(&serde_json::from_slice(body).ok()?)
    }

    /// Reads what stands in the field `error`, or in the whole body where there is none: an object, or only a text.
    /// Google wraps its error object in a list of one.
    pub fn read(value: &Value) -> Option<Self> {
        let value = value.get(0).unwrap_or(value);
        let text = |value: Option<&Value>| match value? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match value.get("error").unwrap_or(value) {
            Value::String(message) => {
                Some(Self { message: message.clone(), raw: json!({"error": message}), ..Self::default() })
            }
            Value::Object(fields) => {
                let body = Self {
                    message: text(fields.get("message")).unwrap_or_default(),
                    // Google's word for the class is its `status`.
                    kind: text(fields.get("type")).or_else(|| text(fields.get("status"))),
                    param: text(fields.get("param")),
                    code: text(fields.get("code")),
                    detail: detail(fields),
                    raw: Value::Null,
                };
                (body != Self::default()).then(|| Self { raw: json!({"error": fields}), ..body })
            }
            _ => None,
        }
    }
}

/// Returns the finer reason inside an error.
fn detail(fields: &Map<String, Value>) -> Option<String> {
    let of_azure = || fields.get("innererror")?.get("code")?.as_str();
    let of_google =
        || fields.get("details")?.as_array()?.iter().find_map(|detail| detail.get("reason")?.as_str());
    of_azure().or_else(of_google).map(str::to_owned)
}

/// Parses an upstream's JSON, without quoting it in the error.
pub(super) fn parse(body: &[u8]) -> Result<Value, AnswerError> {
    serde_json::from_slice(body).map_err(|error| {
        AnswerError::malformed(format!("no valid JSON at line {} column {}", error.line(), error.column()))
    })
}

/// Part of a request that an upstream's wire format has no words for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct Inexpressible {
    /// The field's path in OpenAI's spelling, such as `messages[1].content[0]`.
    pub field: String,
    /// Says which vendors cannot be told, and what would work instead.
    pub reason: String,
}

impl Inexpressible {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_are_read_in_every_shape() {
        for (body, message, kind, code, detail) in [
            (
                r#"{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}"#,
                "m",
                Some("t"),
                Some("c"),
                None,
            ),
            (r#"{"error": {"message": "m", "code": 400}}"#, "m", None, Some("400"), None),
            (r#"{"error": "m"}"#, "m", None, None, None),
            (r#"[{"error": {"message": "m"}}]"#, "m", None, None, None),
            (r#"{"object": "error", "message": "m", "code": 404}"#, "m", None, Some("404"), None),
            (
                r#"{"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "r"}"#,
                "m",
                Some("t"),
                None,
                None,
            ),
            (
                r#"{"error": {"code": 400, "message": "m", "status": "S", "details": [{"a": 1}, {"reason": "R"}]}}"#,
                "m",
                Some("S"),
                Some("400"),
                Some("R"),
            ),
            (
                r#"{"error": {"code": "content_filter", "message": "m", "innererror": {"code": "P"}}}"#,
                "m",
                None,
                Some("content_filter"),
                Some("P"),
            ),
        ] {
            let read = ErrorBody::decode(body.as_bytes()).unwrap();
            assert_eq!(read.message, message, "{body}");
            assert_eq!(
                (read.kind.as_deref(), read.code.as_deref(), read.detail.as_deref()),
                (kind, code, detail),
                "{body}"
            );
        }
        assert_eq!(ErrorBody::decode(b"<html>"), None);
        assert_eq!(ErrorBody::decode(b"{}"), None);
    }

    proptest! {
        #[test]
        fn any_json_is_an_error_or_none(body in any_json()) {
            let _ = ErrorBody::read(&body);
            let _ = ErrorBody::read(&serde_json::json!({"error": body}));
        }
    }
}
