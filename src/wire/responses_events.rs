//! The items of a streamed Responses answer, and the events by which they grow.
//!
//! They come one after another, each closed before the next one opens, as OpenAI has them.

use serde::Serialize;
use serde_json::Value;

use super::openai_response::WRITES;
use super::responses_item::{Item, ItemStatus, NONE, OutItem, OutPart, Words};
use super::responses_response::Head;
use super::sse;

/// The items of an answer under way.
#[derive(Debug, Default)]
pub(super) struct Items {
    head: Head,
    all: Vec<Item<'static>>,
    /// Whether the last of them may still grow.
    is_open: bool,
    /// The id of the last of them.
    last_id: String,
    /// Whether the next words or thoughts are apart from those before.
    is_broken: bool,
}

impl Items {
    /// Begins an answer.
    pub(super) fn begin(head: Head) -> Self {
        Self { head, ..Self::default() }
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn all(&self) -> &[Item<'static>] {
        &self.all
    }

    /// Returns the item that may still grow.
    pub(super) fn open(&self) -> Option<&Item<'static>> {
        self.all.last().filter(|_| self.is_open)
    }

    /// Returns the part of a message that may still grow.
    pub(super) fn open_words(&self) -> Option<&Words<'static>> {
        match self.open()? {
            Item::Message(words) => words.last(),
            Item::Reasoning(_) | Item::Call { .. } => None,
        }
    }

    /// Sets the next words or thoughts apart from those before.
    pub(super) const fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// Goes on with words, which are not empty.
    pub(super) fn say(&mut self, new: &Words<'_>, events: &mut Events<'_>) {
        let goes_on = !self.is_broken && self.open_words().is_some_and(|words| words.is_like(new));
        if !goes_on {
            match self.open() {
                Some(Item::Message(_)) => self.close_words(events),
                _ => self.begin_item(Item::Message(Vec::new()), events),
            }
            self.begin_words(new, events);
        }
        let Some(Item::Message(message)) = self.all.last_mut() else { return };
        if let Some(words) = message.last_mut() {
            words.push_str(new.as_str());
        }
        let at = Place { delta: Some(new.as_str()), ..self.words_place() };
        match new {
            Words::Text(_) => {
                events.write("response.output_text.delta", &Place { logprobs: Some(NONE), ..at })
            }
            Words::Refusal(_) => events.write("response.refusal.delta", &at),
        }
    }

    /// Goes on with a thought, which is not empty.
    pub(super) fn think(&mut self, text: &str, events: &mut Events<'_>) {
        let goes_on = !self.is_broken && matches!(self.open(), Some(Item::Reasoning(_)));
        if !goes_on {
            self.begin_item(Item::Reasoning("".into()), events);
            let part = Some(OutPart::ReasoningText { text: "" });
            events.write(
                "response.content_part.added",
                &Place { content_index: Some(0), part, ..self.place() },
            );
        }
        if let Some(Item::Reasoning(so_far)) = self.all.last_mut() {
            so_far.to_mut().push_str(text);
        }
        let at = Place { content_index: Some(0), delta: Some(text), ..self.place() };
        events.write("response.reasoning_text.delta", &at);
    }

    /// Begins a call.
    pub(super) fn begin_call(&mut self, id: &str, name: &str, events: &mut Events<'_>) {
        let (id, name) = (id.to_owned().into(), name.to_owned().into());
        self.begin_item(Item::Call { id, name, arguments: "".into() }, events);
    }

    /// Goes on with the arguments of the call that is open.
    pub(super) fn call(&mut self, more: &str, events: &mut Events<'_>) {
        if let Some(Item::Call { arguments, .. }) = self.all.last_mut().filter(|_| !more.is_empty()) {
            arguments.to_mut().push_str(more);
            let at = Place { delta: Some(more), ..self.place() };
            events.write("response.function_call_arguments.delta", &at);
        }
    }

    /// Closes the open item, if one is.
    pub(super) fn close(&mut self, status: ItemStatus, events: &mut Events<'_>) {
        match self.open() {
            None => return,
            Some(Item::Message(_)) => self.close_words(events),
            Some(Item::Reasoning(text)) => {
                let at = Place { content_index: Some(0), ..self.place() };
                events.write("response.reasoning_text.done", &Place { text: Some(text), ..at });
                let part = Some(OutPart::ReasoningText { text });
                events.write("response.content_part.done", &Place { part, ..at });
            }
            Some(Item::Call { arguments, .. }) => {
                let at = Place { arguments: Some(arguments), ..self.place() };
                events.write("response.function_call_arguments.done", &at);
            }
        }
        self.write_item("response.output_item.done", status, events);
        self.is_open = false;
    }

    fn begin_item(&mut self, item: Item<'static>, events: &mut Events<'_>) {
        self.close(ItemStatus::Completed, events);
        self.last_id = self.head.id_of(&item, self.all.len());
        self.all.push(item);
        self.is_open = true;
        self.is_broken = false;
        self.write_item("response.output_item.added", ItemStatus::InProgress, events);
    }

    fn begin_words(&mut self, like: &Words<'_>, events: &mut Events<'_>) {
        if let Some(Item::Message(message)) = self.all.last_mut() {
            message.push(like.emptied());
        }
        self.is_broken = false;
        let part = self.open_words().map(|words| words.out(NONE));
        events.write("response.content_part.added", &Place { part, ..self.words_place() });
    }

    fn close_words(&self, events: &mut Events<'_>) {
        let Some(words) = self.open_words() else { return };
        let at = self.words_place();
        match words {
            Words::Text(text) => {
                let at = Place { text: Some(text), logprobs: Some(NONE), ..at };
                events.write("response.output_text.done", &at);
            }
            Words::Refusal(refusal) => {
                events.write("response.refusal.done", &Place { refusal: Some(refusal), ..at });
            }
        }
        events.write("response.content_part.done", &Place { part: Some(words.out(NONE)), ..at });
    }

    fn write_item(&self, kind: &'static str, status: ItemStatus, events: &mut Events<'_>) {
        #[derive(Serialize)]
        struct At<'a> {
            output_index: usize,
            item: OutItem<'a>,
        }
        if let Some(item) = self.all.last() {
            let item = OutItem { item, id: &self.last_id, status, logprobs: NONE };
            events.write(kind, &At { output_index: self.all.len() - 1, item });
        }
    }

    /// Returns the place of the last item.
    fn place(&self) -> Place<'_> {
        Place { item_id: &self.last_id, output_index: self.all.len().saturating_sub(1), ..Place::default() }
    }

    /// Returns the place of its last part.
    fn words_place(&self) -> Place<'_> {
        let parts = match self.all.last() {
            Some(Item::Message(words)) => words.len(),
            _ => 0,
        };
        Place { content_index: Some(parts.saturating_sub(1)), ..self.place() }
    }
}

/// Where something happens and what.
#[derive(Clone, Copy, Default, Serialize)]
struct Place<'a> {
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<OutPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Value]>,
}

/// Where events are written, each with its number.
pub(super) struct Events<'a> {
    /// How many have been written.
    pub(super) count: &'a mut u64,
    pub(super) out: &'a mut Vec<u8>,
}

impl Events<'_> {
    /// Appends an event of this kind with these fields.
    pub(super) fn write(&mut self, kind: &'static str, fields: &impl Serialize) {
        #[derive(Serialize)]
        struct Event<'a, F> {
            r#type: &'static str,
            sequence_number: u64,
            #[serde(flatten)]
            fields: &'a F,
        }
        let event = Event { r#type: kind, sequence_number: *self.count, fields };
        sse::named_event(self.out, kind, |out| serde_json::to_writer(out, &event).expect(WRITES));
        *self.count += 1;
    }
}
