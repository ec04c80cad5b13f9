//! The stored form of an answer; see `record.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::part_record::{PartRecord, part_record};
use super::record::{DialectRecord, VERSION, dialect_record, present};
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
    dialect: DialectRecord,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
    /// The entry's tags, here for reading back; the table `tags` is for finding entries by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl AnswerRecord {
    /// Writes an answer and its entry's tags.
    pub(super) fn new(answer: &ChatResponse, tags: &[String]) -> Self {
        let ChatResponse { id, created, model, choices, usage, dialect, unknown } = answer.clone();
        Self {
            v: VERSION,
            id,
            created,
            model,
            choices: choices.into_iter().map(choice_record).collect(),
            usage: usage.map(usage_record),
            dialect: dialect_record(dialect),
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
            dialect: self.dialect.into_dialect(),
            unknown: self.unknown,
        };
        (answer, self.tags)
    }
}

#[derive(Serialize, Deserialize)]
struct ChoiceRecord {
    index: u32,
    content: Vec<PartRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finish: Option<FinishRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    logprobs: Option<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
}

fn choice_record(choice: Choice) -> ChoiceRecord {
    let Choice { index, content, finish, logprobs, unknown } = choice;
    ChoiceRecord {
        index,
        content: content.into_iter().map(part_record).collect(),
        finish: finish.map(finish_record),
        logprobs,
        unknown,
    }
}

impl ChoiceRecord {
    fn into_choice(self) -> Choice {
        Choice {
            index: self.index,
            content: self.content.into_iter().map(PartRecord::into_part).collect(),
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
    StopText(String),
    Length,
    ToolCalls,
    ContentFilter,
    Refusal,
    Other(String),
}

fn finish_record(reason: FinishReason) -> FinishRecord {
    match reason {
        FinishReason::Stop => FinishRecord::Stop,
        FinishReason::StopText(text) => FinishRecord::StopText(text),
        FinishReason::Length => FinishRecord::Length,
        FinishReason::ToolCalls => FinishRecord::ToolCalls,
        FinishReason::ContentFilter => FinishRecord::ContentFilter,
        FinishReason::Refusal => FinishRecord::Refusal,
        FinishReason::Other(word) => FinishRecord::Other(word),
    }
}

impl FinishRecord {
    fn into_finish(self) -> FinishReason {
        match self {
            Self::Stop => FinishReason::Stop,
            Self::StopText(text) => FinishReason::StopText(text),
            Self::Length => FinishReason::Length,
            Self::ToolCalls => FinishReason::ToolCalls,
            Self::ContentFilter => FinishReason::ContentFilter,
            Self::Refusal => FinishReason::Refusal,
            Self::Other(word) => FinishReason::Other(word),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct UsageRecord {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    is_estimated: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    unknown: Map<String, Value>,
}

fn usage_record(usage: Usage) -> UsageRecord {
    let Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        is_estimated,
        unknown,
    } = usage;
    UsageRecord {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        is_estimated,
        unknown,
    }
}

impl UsageRecord {
    fn into_usage(self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            cached_tokens: self.cached_tokens,
            cache_write_tokens: self.cache_write_tokens,
            reasoning_tokens: self.reasoning_tokens,
            is_estimated: self.is_estimated,
            unknown: self.unknown,
        }
    }
}
