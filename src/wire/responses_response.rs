//! A whole Responses answer, written to a client.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::openai_response::WRITES;
use super::openai_usage::ESTIMATED;
use super::responses_item::{Item, ItemStatus, OutItem, items_of};
use crate::chat::{ChatResponse, FinishReason, Part, Usage};

/// Writes an answer for a client, with the fields of its request that answers repeat. This dialect has one choice, the
/// first.
pub fn encode_response(answer: &ChatResponse, echo: &Map<String, Value>) -> Vec<u8> {
    let ChatResponse { id, created, model, choices, usage, dialect: _, unknown: _ } = answer;
    let choice = choices.first();
    let items = choice.map(items_of).unwrap_or_default();
    let response = OutResponse {
        head: &Head::new(id, *created, model),
        status: Status::of(choice.and_then(|choice| choice.finish.as_ref())),
        items: &items,
        logprobs: choice.and_then(|choice| choice.logprobs.as_ref()).map_or(&[], of_tokens),
        usage: usage.as_ref(),
        echo,
    };
    let texts = choices.iter().flat_map(|choice| &choice.content).filter_map(Part::text);
    let mut out = Vec::with_capacity(2048 + texts.map(str::len).sum::<usize>());
    serde_json::to_writer(&mut out, &response).expect(WRITES);
    out
}

/// Returns the log probabilities of the answer's tokens, which Chat Completions has in a list of this name.
pub(super) fn of_tokens(logprobs: &Value) -> &[Value] {
    logprobs.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What an answer begins with.
#[derive(Debug, Default)]
pub(super) struct Head {
    id: String,
    created: i64,
    model: String,
}

/// What the id of every answer begins with, in this dialect.
const ID_PREFIX: &str = "resp_";

impl Head {
    pub(super) fn new(id: &str, created: i64, model: &str) -> Self {
        let id = id.strip_prefix(ID_PREFIX).unwrap_or(id).to_owned();
        Self { id, created, model: model.to_owned() }
    }

    /// Returns the id of the item at this place.
    pub(super) fn id_of(&self, item: &Item<'_>, at: usize) -> String {
        item.id(&self.id, at)
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// It was cut, for a reason in OpenAI's word.
    Incomplete(&'static str),
}

impl Status {
    /// Returns the status of an answer that ended for this reason.
    pub(super) const fn of(finish: Option<&FinishReason>) -> Self {
        match finish {
            // A vendor's own word is told as [`FinishReason::abroad`] has it.
            Some(FinishReason::Length | FinishReason::Other(_)) => Self::Incomplete("max_output_tokens"),
            Some(FinishReason::ContentFilter | FinishReason::Refusal) => Self::Incomplete("content_filter"),
            None | Some(FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls) => {
                Self::Completed
            }
        }
    }

    /// Returns the status of the answer's last item, in which it was cut if it was.
    pub(super) const fn of_last_item(self) -> ItemStatus {
        match self {
            Self::InProgress => ItemStatus::InProgress,
            Self::Completed => ItemStatus::Completed,
            Self::Incomplete(_) => ItemStatus::Incomplete,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// An answer on its way to a client, finished or not.
pub(super) struct OutResponse<'a> {
    pub(super) head: &'a Head,
    pub(super) status: Status,
    pub(super) items: &'a [Item<'a>],
    /// Of the tokens of its texts. They stand with the first text, and nearly every answer has only that.
    pub(super) logprobs: &'a [Value],
    pub(super) usage: Option<&'a Usage>,
    pub(super) echo: &'a Map<String, Value>,
}

impl Serialize for OutResponse<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { head, status, items: _, logprobs: _, usage, echo } = self;
        let Head { id, created, model } = head;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &format_args!("{ID_PREFIX}{id}"))?;
        map.serialize_entry("object", "response")?;
        map.serialize_entry("created_at", created)?;
        map.serialize_entry("status", status.name())?;
        map.serialize_entry("error", &())?;
        let details = match status {
            Status::Incomplete(reason) => json!({"reason": reason}),
            Status::InProgress | Status::Completed => Value::Null,
        };
        map.serialize_entry("incomplete_details", &details)?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("output", &Output(self))?;
        map.serialize_entry("usage", &usage.map(usage_json))?;
        for (field, value) in *echo {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// The items of an answer.
struct Output<'a>(&'a OutResponse<'a>);

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OutResponse { head, status, items, logprobs, usage: _, echo: _ } = self.0;
        let first_text = items.iter().position(Item::has_text);
        let mut list = serializer.serialize_seq(Some(items.len()))?;
        for (at, item) in items.iter().enumerate() {
            let is_last = at + 1 == items.len();
            list.serialize_element(&OutItem {
                item,
                id: &head.id_of(item, at),
                status: if is_last { status.of_last_item() } else { ItemStatus::Completed },
                logprobs: if first_text == Some(at) { logprobs } else { &[] },
            })?;
        }
        list.end()
    }
}

/// Returns token counts in this dialect's spelling. It has no word for a count that the vendor did not give.
fn usage_json(usage: &Usage) -> Value {
    let Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        is_estimated,
        unknown: _, // Details of another dialect.
    } = usage;
    let mut counts = json!({
        "input_tokens": prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": cached_tokens.unwrap_or(0),
            "cache_write_tokens": cache_write_tokens.unwrap_or(0),
        },
        "output_tokens": completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens.unwrap_or(0)},
        "total_tokens": prompt_tokens.saturating_add(*completion_tokens),
    });
    if *is_estimated {
        counts[ESTIMATED] = true.into();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Choice, Reasoning, ToolCall};

    fn written(content: Vec<Part>, finish: FinishReason) -> Value {
        let answer = ChatResponse {
            id: "chatcmpl-1".into(),
            choices: vec![Choice { content, finish: Some(finish), ..Choice::default() }],
            ..ChatResponse::default()
        };
        serde_json::from_slice(&encode_response(&answer, &Map::new())).unwrap()
    }

    #[test]
    fn an_answer_that_was_cut_says_so_and_in_which_item() {
        for (finish, status, reason) in [
            (FinishReason::Stop, "completed", None),
            (FinishReason::ToolCalls, "completed", None),
            (FinishReason::Length, "incomplete", Some("max_output_tokens")),
            (FinishReason::ContentFilter, "incomplete", Some("content_filter")),
            (FinishReason::Refusal, "incomplete", Some("content_filter")),
            (FinishReason::Other("pause_turn".into()), "incomplete", Some("max_output_tokens")),
        ] {
            let thought = Part::Reasoning(Reasoning { text: "t".into(), signature: Some("s".into()) });
            let answer = written(vec![thought, Part::Text("x".into()), Part::Text(String::new())], finish);
            assert_eq!(answer["status"], status);
            assert_eq!(
                answer["incomplete_details"],
                reason.map_or(Value::Null, |reason| json!({"reason": reason}))
            );
            assert_eq!(answer["output"][0]["status"], "completed");
            assert_eq!(answer["output"][1]["status"], status);
            assert_eq!(answer["output"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_call_without_an_id_gets_one_that_stays() {
        let call = || Part::ToolCall(ToolCall { name: "f".into(), ..ToolCall::default() });
        let answer = written(vec![call(), call()], FinishReason::ToolCalls);
        assert_eq!(answer["output"][0]["call_id"], "fc_chatcmpl-1_0");
        assert_eq!(answer["output"][1]["call_id"], "fc_chatcmpl-1_1");
    }

    #[test]
    fn ids_have_one_prefix_and_no_two() {
        for id in ["a", "resp_a"] {
            let head = Head::new(id, 0, "m");
            assert_eq!(
                (head.id.as_str(), head.id_of(&Item::Message(Vec::new()), 2).as_str()),
                ("a", "msg_a_2")
            );
        }
    }

    #[test]
    fn counts_that_we_made_are_marked() {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() };
        let counts = usage_json(&usage);
        assert_eq!((&counts["total_tokens"], counts.get(ESTIMATED)), (&json!(7), None));
        assert_eq!(usage_json(&Usage { is_estimated: true, ..usage })[ESTIMATED], true);
    }
}
