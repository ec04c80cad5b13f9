//! Marks for the vendor's prompt cache in OpenAI's spelling, both directions.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{ChatRequest, MarkedPlace};

/// The mark by which some vendors are told what to keep in their prompt cache.
pub(super) const CACHE_MARK: &str = "cache_control";

/// OpenAI's own mark to the same end.
pub(super) const CACHE_BREAKPOINT: &str = "prompt_cache_breakpoint";

/// Takes the marks out of the fields of a part, a tool or a message.
pub(super) fn take_marks(fields: &mut Map<String, Value>) -> Vec<(&'static str, Value)> {
    let marks = [CACHE_MARK, CACHE_BREAKPOINT].map(|field| Some((field, fields.shift_remove(field)?)));
    marks.into_iter().flatten().filter(|(_, mark)| !mark.is_null()).collect()
}

/// The marks for the prompt cache, where the reader knows what they are.
#[derive(Clone, Copy)]
pub(super) struct Marks<'a> {
    /// The request, where it came in this dialect.
    pub(super) own: Option<&'a ChatRequest>,
    /// Whether the reader takes fields that OpenAI itself does not have, and refuses.
    pub(super) is_extended: bool,
}

/// The marks at one place.
#[derive(Clone, Copy, Serialize)]
pub(super) struct OutMarks<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_breakpoint: Option<&'a Value>,
}

impl<'a> Marks<'a> {
    /// Returns the marks at this place.
    pub(super) fn at(self, place: MarkedPlace) -> OutMarks<'a> {
        let mark = |field| self.own?.cache_mark(place, field);
        OutMarks {
            cache_control: mark(CACHE_MARK).filter(|_| self.is_extended),
            prompt_cache_breakpoint: mark(CACHE_BREAKPOINT),
        }
    }
}

impl OutMarks<'_> {
    pub(super) const fn is_empty(&self) -> bool {
        self.cache_control.is_none() && self.prompt_cache_breakpoint.is_none()
    }
}
