//! The stored form of what messages are made of; see `record.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{Image, ImageSource, Part, Reasoning, ToolCall};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartRecord {
    Text(String),
    Cited {
        text: String,
        citations: Vec<Value>,
    },
    Image {
        source: ImageSourceRecord,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    Reasoning {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    Refusal(String),
    ToolCall {
        id: String,
        name: String,
        arguments: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    Other(Map<String, Value>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImageSourceRecord {
    Url(String),
    Data { media_type: String, base64: String },
}

pub(super) fn part_record(part: Part) -> PartRecord {
    match part {
        Part::Text(text) => PartRecord::Text(text),
        Part::Cited { text, citations } => PartRecord::Cited { text, citations },
        Part::Image(Image { source, detail }) => {
            let source = match source {
                ImageSource::Url(url) => ImageSourceRecord::Url(url),
                ImageSource::Data { media_type, base64 } => ImageSourceRecord::Data { media_type, base64 },
            };
            PartRecord::Image { source, detail }
        }
        Part::Reasoning(Reasoning { text, signature }) => PartRecord::Reasoning { text, signature },
        Part::Refusal(words) => PartRecord::Refusal(words),
        Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
            PartRecord::ToolCall { id, name, arguments, signature }
        }
        Part::Other(fields) => PartRecord::Other(fields),
    }
}

impl PartRecord {
    pub(super) fn into_part(self) -> Part {
        match self {
            Self::Text(text) => Part::Text(text),
            Self::Cited { text, citations } => Part::Cited { text, citations },
            Self::Image { source, detail } => {
                let source = match source {
                    ImageSourceRecord::Url(url) => ImageSource::Url(url),
                    ImageSourceRecord::Data { media_type, base64 } => {
                        ImageSource::Data { media_type, base64 }
                    }
                };
                Part::Image(Image { source, detail })
            }
            Self::Reasoning { text, signature } => Part::Reasoning(Reasoning { text, signature }),
            Self::Refusal(words) => Part::Refusal(words),
            Self::ToolCall { id, name, arguments, signature } => {
                Part::ToolCall(ToolCall { id, name, arguments, signature })
            }
            Self::Other(fields) => Part::Other(fields),
        }
    }
}
