//! Calls of functions in OpenAI's spelling, both directions.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::WireError;
use super::fields::Path;
use crate::chat::ToolCall;

/// Where an assistant's calls stand.
pub(super) const TOOL_CALLS: &str = "tool_calls";

/// Reads calls that are a function's name and arguments; gives the list back whole where one is or has anything else
/// (a custom tool, a vendor's own field), since such a call must go on as it came.
pub(super) fn read_tool_calls(
    value: Value,
    at: &Path<'_>,
) -> Result<Result<Vec<ToolCall>, Value>, WireError> {
    let Value::Array(items) = &value else { return Err(at.error("must be a list")) };
    for (index, item) in items.iter().enumerate() {
        if !item.is_object() {
            return Err(at.item(index).error("must be an object"));
        }
    }
    let calls = items.iter().map(|item| function_call(item).filter(|_| is_plain(item))).collect();
    Ok(Option::<Vec<_>>::ok_or(calls, value))
}

/// Reads the calls of an answer where each is a function's. What vendors add to such a call is left out: callers of
/// every dialect shall see it.
pub(super) fn function_calls(items: &[Value]) -> Option<Vec<ToolCall>> {
    items.iter().map(function_call).collect()
}

fn function_call(item: &Value) -> Option<ToolCall> {
    let is_function = item.get("type").is_none_or(|kind| kind.is_null() || kind == "function" || kind == "");
    let function = item.get("function").filter(|_| is_function)?;
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => None,
    };
    Some(ToolCall {
        id: text(item.get("id"))?,
        name: function.get("name")?.as_str()?.to_owned(),
        arguments: text(function.get("arguments"))?,
        signature: item.get(EXTRA).and_then(google_signature).map(str::to_owned),
    })
}

/// Returns whether nothing is lost with what [`function_call`] leaves out. SDKs send back what they were given with
/// the call's place in the stream and the arguments once more.
fn is_plain(item: &Value) -> bool {
    let has_only = |value: &Value, known: &[&str]| {
        value.as_object().is_some_and(|fields| {
            fields.iter().all(|(field, value)| value.is_null() || known.contains(&field.as_str()))
        })
    };
    has_only(item, &["id", "type", "index", "function", EXTRA])
        && item.get("function").is_some_and(|call| has_only(call, &["name", "arguments", "parsed_arguments"]))
        && item.get(EXTRA).is_none_or(|extra| {
            extra.is_null()
                || has_only(extra, &["google"])
                    && extra.get("google").is_some_and(|google| has_only(google, &["thought_signature"]))
        })
}

/// Where Google's compatible endpoint puts its seal on a call.
pub(super) const EXTRA: &str = "extra_content";

/// Returns the seal, where there is one.
pub(super) fn google_signature(extra: &Value) -> Option<&str> {
    extra.get("google")?.get("thought_signature")?.as_str()
}

/// Calls of functions, in a request or an answer.
pub(super) struct OutCalls<I> {
    pub(super) calls: I,
    /// Whether Google's seals are written: OpenAI itself refuses what it does not know.
    pub(super) with_seals: bool,
}

impl<'a, I: Iterator<Item = &'a ToolCall> + Clone> Serialize for OutCalls<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Call<'a> {
            id: &'a str,
            r#type: &'static str,
            function: Function<'a>,
            #[serde(rename = "extra_content", skip_serializing_if = "Option::is_none")]
            extra: Option<Value>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        serializer.collect_seq(self.calls.clone().map(|ToolCall { id, name, arguments, signature }| Call {
            id,
            r#type: "function",
            function: Function { name, arguments },
            extra: signature.as_deref().filter(|_| self.with_seals).map(extra_content),
        }))
    }
}

/// Returns a call's seal as Google's compatible endpoint writes it.
pub(super) fn extra_content(signature: &str) -> Value {
    serde_json::json!({"google": {"thought_signature": signature}})
}
