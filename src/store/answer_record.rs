//! The stored form of an answer; see `record.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::{ToolCallRecord, VERSION, present, tool_call_record};
use crate::chat::{ChatResponse, Choice, FinishReason, Usage};

#[derive(Serialize, Deserialize)]
pub(super) struct AnswerRecord {
    pub(super) v: u32,
    id: String,
    created: i64,
    model: String,
    choices: Vec<ChoiceRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage: Option<UsageRecord>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
    /// The entry's tags, here for reading back; the table `tags` is for finding entries by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl AnswerRecord {
    /// Writes an answer and its entry's tags.
    pub(super) fn new(answer: &ChatResponse, tags: &[String]) -> Self {
        let ChatResponse { id, created, model, choices, usage, unknown } = answer.clone();
        Self {
            v: VERSION,
            id,
            created,
            model,
            choices: choices.into_iter().map(choice_record).collect(),
            usage: usage.map(usage_record),
            unknown,
            tags: tags.to_vec(),
        }
    }

    pub(super) fn into_answer(self) -> (ChatResponse, Vec<String>) {
        let answer = ChatResponse {
            id: self.id,
            created: self.created,
            model: self.model,
            choices: self.choices.into_iter().map(ChoiceRecord::into_choice).collect(),
            usage: self.usage.map(UsageRecord::into_usage),
            unknown: self.unknown,
        };
        (answer, self.tags)
    }
}

#[derive(Serialize, Deserialize)]
struct ChoiceRecord {
    index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finish: Option<FinishRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    logprobs: Option<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
}

fn choice_record(choice: Choice) -> ChoiceRecord {
    let Choice { index, text, refusal, tool_calls, finish, logprobs, unknown } = choice;
    ChoiceRecord {
        index,
        text,
        refusal,
        tool_calls: tool_calls.iter().map(tool_call_record).collect(),
        finish: finish.map(finish_record),
        logprobs,
        unknown,
    }
}

impl ChoiceRecord {
    fn into_choice(self) -> Choice {
        Choice {
            index: self.index,
            text: self.text,
            refusal: self.refusal,
            tool_calls: self.tool_calls.into_iter().map(ToolCallRecord::into_tool_call).collect(),
            finish: self.finish.map(FinishRecord::into_finish),
            logprobs: self.logprobs,
            unknown: self.unknown,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FinishRecord {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Other(String),
}

fn finish_record(reason: FinishReason) -> FinishRecord {
    match reason {
        FinishReason::Stop => FinishRecord::Stop,
        FinishReason::Length => FinishRecord::Length,
        FinishReason::ToolCalls => FinishRecord::ToolCalls,
        FinishReason::ContentFilter => FinishRecord::ContentFilter,
        FinishReason::Other(word) => FinishRecord::Other(word),
    }
}

impl FinishRecord {
    fn into_finish(self) -> FinishReason {
        match self {
            Self::Stop => FinishReason::Stop,
            Self::Length => FinishReason::Length,
            Self::ToolCalls => FinishReason::ToolCalls,
            Self::ContentFilter => FinishReason::ContentFilter,
            Self::Other(word) => FinishReason::Other(word),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct UsageRecord {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
}

fn usage_record(usage: Usage) -> UsageRecord {
    let Usage { prompt_tokens, completion_tokens, unknown } = usage;
    UsageRecord { prompt_tokens, completion_tokens, unknown }
}

impl UsageRecord {
    fn into_usage(self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            unknown: self.unknown,
        }
    }
}
