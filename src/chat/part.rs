//! What a message is made of, asked or answered.

use serde_json::{Map, Value};

/// A piece of a message. An answer has the same pieces as the turns before it, so that it can become one of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    /// Text that names its sources, in the form of the dialect it came in. Other dialects see the text alone.
    Cited {
        text: String,
        citations: Vec<Value>,
    },
    Image(Image),
    /// What the model thought before it spoke.
    Reasoning(Reasoning),
    /// The vendor's own words of refusal.
    Refusal(String),
    /// A call of a function, made by the assistant.
    ToolCall(ToolCall),
    /// A sound, a file or whatever comes next, kept as the dialect wrote it. Nobody else can be given it.
    Other(Map<String, Value>),
}

impl Part {
    /// Returns the words of a text, with sources or without.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Cited { text, .. } => Some(text),
            Self::Image(_) | Self::Reasoning(_) | Self::Refusal(_) | Self::ToolCall(_) | Self::Other(_) => {
                None
            }
        }
    }

    /// Returns the call, if it is one.
    pub const fn tool_call(&self) -> Option<&ToolCall> {
        match self {
            Self::ToolCall(call) => Some(call),
            _ => None,
        }
    }
}

/// A picture. Never fetched or decoded here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub source: ImageSource,
    /// How closely the model is to look, in OpenAI's words (`low`, `high`, `auto`); a hint that others have no field
    /// for.
    pub detail: Option<String>,
}

/// Where a picture is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// An address that the vendor is to fetch.
    Url(String),
    /// The picture itself, in base64 as it came.
    Data { media_type: String, base64: String },
}

/// A piece of what the model thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    pub text: String,
    /// The vendor's seal, without which it does not take its own thoughts back in a later turn.
    pub signature: Option<String>,
}

/// A call of a tool, as the model wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// The arguments' JSON text, byte for byte.
    pub arguments: String,
    /// The vendor's seal on the call: Gemini wants it back with the call in the next turn.
    pub signature: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any part, its texts often short, so that empty ones and equal ones come up.
    pub(crate) fn any_part() -> impl Strategy<Value = Part> {
        let text = || prop_oneof!["[ab]{0,2}", any::<String>()];
        let value = || text().prop_map(Value::from);
        let signature = || prop::option::of("[ab]{1,2}");
        prop_oneof![
            4 => text().prop_map(Part::Text),
            1 => (text(), prop::collection::vec(value(), 1..3))
                .prop_map(|(text, citations)| Part::Cited { text, citations }),
            1 => (image_source(), signature())
                .prop_map(|(source, detail)| Part::Image(Image { source, detail })),
            2 => (text(), signature()).prop_map(|(text, signature)| Part::Reasoning(Reasoning { text, signature })),
            1 => text().prop_map(Part::Refusal),
            2 => (text(), text(), text(), signature()).prop_map(|(id, name, arguments, signature)| {
                Part::ToolCall(ToolCall { id, name, arguments, signature })
            }),
            1 => value().prop_map(|value| Part::Other(Map::from_iter([("type".to_owned(), value)]))),
        ]
    }

    fn image_source() -> impl Strategy<Value = ImageSource> {
        prop_oneof![
            "https://[ab]{1,2}".prop_map(ImageSource::Url),
            ("image/(png|jpeg)", "[ab]{4}")
                .prop_map(|(media_type, base64)| ImageSource::Data { media_type, base64 }),
        ]
    }
}
