//! Which streamed parts belong to one call?

use serde_json::{Map, Value};

use super::openai_call::{EXTRA, TOOL_CALLS, google_signature};
use super::openai_response::index_of;
use crate::chat::Delta;

/// The calls of a stream, each under our own number.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

/// A call under way.
#[derive(Debug)]
struct Call {
    choice: u32,
    /// The vendor's number for it, where it has one.
    number: Option<u32>,
    id: String,
    name: String,
    /// Our number for it: its place among the choice's calls.
    index: u32,
}

impl Calls {
    /// Reads a part of a call. What vendors add to a function's call is left out. A part of any other kind of call goes
    /// on as a field that we do not know, under our number.
    pub(super) fn read(&mut self, choice: u32, value: Value) -> Delta {
        let unknown = |value| Delta::Unknown { choice, field: TOOL_CALLS.to_owned(), value: [value].into() };
        let Value::Object(mut fields) = value else { return unknown(value) };
        let Some(CallPart { number, mut id, mut name, arguments, signature }) = CallPart::read(&fields)
        else {
            let id = fields.get("id").and_then(Value::as_str).unwrap_or("");
            let call = self.call(choice, index_of(&fields), id, "");
            if !id.is_empty() {
                id.clone_into(&mut call.id);
            }
            let index = call.index;
            fields.insert("index".to_owned(), index.into());
            return unknown(Value::Object(fields));
        };
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        let call = self.call(choice, number, &given(&id), &given(&name));
        // Some servers say both again with every part.
        let unless_said = |text: &mut Option<String>, said: &mut String| match text {
            Some(again) if !said.is_empty() && again == said => *text = None,
            Some(more) => said.push_str(more),
            None => {}
        };
        unless_said(&mut id, &mut call.id);
        unless_said(&mut name, &mut call.name);
        Delta::ToolCall { choice, index: call.index, id, name, arguments, signature }
    }

    /// Returns the call that a part belongs to, making it when it is new.
    ///
    /// Vendors number their calls from zero or from one, all alike, or not at all, so numbers alone do not tell calls
    /// apart: a part with another id than the one known under its number begins a new call, and so does one that has no
    /// number and names a function.
    fn call(&mut self, choice: u32, number: Option<u32>, id: &str, name: &str) -> &mut Call {
        let is_of = |call: &Call| call.choice == choice && call.number == number;
        let by_id = self.0.iter().rposition(|call| is_of(call) && !id.is_empty() && call.id == id);
        // A number that was used again means the latest call under it.
        let latest = self.0.iter().rposition(is_of).filter(|at| match number {
            Some(_) => id.is_empty() || self.0[*at].id.is_empty(),
            None => id.is_empty() && name.is_empty(),
        });
        let at = by_id.or(latest);
        let at = at.unwrap_or_else(|| {
            let index = self.0.iter().filter(|call| call.choice == choice).map(|call| call.index + 1).max();
            let index = index.unwrap_or(0);
            self.0.push(Call { choice, number, id: String::new(), name: String::new(), index });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

/// A part of a call, as the vendor sent it.
#[derive(Default)]
struct CallPart {
    number: Option<u32>,
    id: Option<String>,
    name: Option<String>,
    arguments: String,
    signature: Option<String>,
}

impl CallPart {
    /// Reads a part of a function's call; `None` where it belongs to another kind of call.
    fn read(fields: &Map<String, Value>) -> Option<Self> {
        let mut part = Self { number: index_of(fields), ..Self::default() };
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("id", Value::String(text)) => part.id = Some(text.clone()),
                ("type", Value::String(kind)) if kind != "function" && !kind.is_empty() => return None,
                // The first part of another kind says so; those that follow have its field instead of a type.
                ("custom", Value::Object(_)) => return None,
                ("function", Value::Object(function)) => {
                    let text = |field: &str| function.get(field)?.as_str().map(str::to_owned);
                    part.name = text("name");
                    part.arguments = text("arguments").unwrap_or_default();
                }
                (EXTRA, extra) => part.signature = google_signature(extra).map(str::to_owned),
                _ => {}
            }
        }
        Some(part)
    }
}
