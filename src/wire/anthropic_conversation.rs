//! A conversation as Anthropic wants it: instructions apart, and turns of user and assistant.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Inexpressible;
use super::anthropic_message::{OutBlock, OutContent, input_of};
use super::openai_marks::CACHE_MARK;
use crate::chat::{ChatRequest, Dialect, MarkedPlace, Message, Part, Reasoning, Role, ToolCall};

/// A turn on its way to an upstream.
#[derive(Debug, Serialize)]
pub(super) struct OutTurn<'a> {
    role: &'static str,
    content: OutContent<'a>,
    #[serde(flatten)]
    unknown: Option<&'a Map<String, Value>>,
    /// How many of the blocks are tool results.
    #[serde(skip)]
    results: usize,
}

/// A conversation on its way to an upstream.
#[derive(Debug, Default)]
pub(super) struct OutConversation<'a> {
    pub(super) system: OutContent<'a>,
    pub(super) turns: Vec<OutTurn<'a>>,
    /// Whether the request came in this dialect.
    is_own: bool,
}

impl<'a> OutConversation<'a> {
    /// Puts a request's messages as Anthropic wants them: instructions first and apart, and what follows in turns of
    /// user and assistant, the results of tools before all else in theirs.
    ///
    /// Instructions between the turns go to the front as well, unless the caller spoke this dialect: only its newer
    /// models take them there. Thoughts go back to nobody but the vendor that sealed them, and a caller of another
    /// dialect has none of Anthropic's.
    ///
    /// # Errors
    /// Names the first place that cannot be told.
    pub(super) fn of(request: &'a ChatRequest) -> Result<Self, Inexpressible> {
        let mut conversation = Self { is_own: request.dialect == Dialect::Anthropic, ..Self::default() };
        for (at, message) in request.messages.iter().enumerate() {
            conversation.push(request, at, message)?;
        }
        if conversation.turns.is_empty() {
            let reason =
                "has nothing but instructions, which Anthropic does not answer; add a user's message";
            return Err(Inexpressible::new("messages", reason));
        }
        Ok(conversation)
    }

    fn push(
        &mut self,
        request: &'a ChatRequest,
        at: usize,
        message: &'a Message,
    ) -> Result<(), Inexpressible> {
        let mark =
            |place| request.cache_mark(place, CACHE_MARK).filter(|_| request.dialect == Dialect::Anthropic);
        let Message { role, content, name, tool_call_id, is_error, unknown } = message;
        // The call says which tool it was.
        if name.is_some() && *role != Role::Tool {
            let reason = "cannot be told to Anthropic; write who speaks into the text";
            return Err(Inexpressible::new(format!("messages[{at}].name"), reason));
        }
        let unknown = Some(unknown).filter(|unknown| self.is_own && !unknown.is_empty());
        let mut blocks = Vec::with_capacity(content.len());
        for (part_at, part) in content.iter().enumerate() {
            let block = self.block(*role, part).map_err(|reason| {
                let field = match part {
                    Part::ToolCall(_) => format!("messages[{at}].tool_calls"),
                    _ => format!("messages[{at}].content[{part_at}]"),
                };
                Inexpressible::new(field, reason)
            })?;
            let place = MarkedPlace::Part { message: at, part: part_at };
            blocks.extend(block.map(|block| block.marked(mark(place))));
        }
        match role {
            Role::System | Role::Developer if self.goes_first(unknown) => self.system.0.extend(blocks),
            Role::System | Role::Developer => self.say("system", blocks, unknown),
            Role::User => self.say("user", blocks, unknown),
            Role::Assistant => self.say("assistant", blocks, unknown),
            Role::Tool => {
                let id = tool_call_id.as_deref().unwrap_or_default();
                self.answer(OutBlock::ToolResult {
                    tool_use_id: id,
                    content: OutContent(blocks),
                    is_error: *is_error,
                    cache_control: mark(MarkedPlace::Message(at)),
                    unknown,
                });
            }
        }
        Ok(())
    }

    /// Returns whether instructions go before everything else. Those that come before the first turn must: Anthropic
    /// takes none there ("use the top-level 'system' parameter for the initial system prompt").
    fn goes_first(&self, unknown: Option<&Map<String, Value>>) -> bool {
        !self.is_own || (self.turns.is_empty() && unknown.is_none())
    }

    /// Appends what somebody says, to the turn under way where it is theirs.
    fn say(
        &mut self,
        role: &'static str,
        blocks: Vec<OutBlock<'a>>,
        unknown: Option<&'a Map<String, Value>>,
    ) {
        match self.turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some(turn) if turn.role == role && turn.unknown.is_none() && unknown.is_none() => {
                turn.content.0.extend(blocks);
            }
            _ => self.turns.push(OutTurn { role, content: OutContent(blocks), unknown, results: 0 }),
        }
    }

    /// Puts a tool's result behind the others in the user's turn, before what the user says.
    fn answer(&mut self, result: OutBlock<'a>) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == "user" => {
                turn.content.0.insert(turn.results, result);
                turn.results += 1;
            }
            _ => {
                let content = OutContent(vec![result]);
                self.turns.push(OutTurn { role: "user", content, unknown: None, results: 1 });
            }
        }
    }

    /// Returns whether a text says nothing. Anthropic refuses texts of white space too, which other vendors' models put
    /// before their calls.
    fn is_blank(&self, text: &str) -> bool {
        if self.is_own { text.is_empty() } else { text.trim().is_empty() }
    }

    /// Returns a part as a block; `None` where there is nothing to say, `Err` with the reason where it cannot be said.
    fn block(&self, role: Role, part: &'a Part) -> Result<Option<OutBlock<'a>>, &'static str> {
        Ok(match part {
            Part::Text(text) | Part::Cited { text, .. } | Part::Refusal(text) if self.is_blank(text) => None,
            Part::Cited { text, citations } if self.is_own => {
                Some(OutBlock::Text { text, citations, cache_control: None })
            }
            Part::Text(text) | Part::Cited { text, .. } | Part::Refusal(text) => Some(OutBlock::text(text)),
            Part::Image(image) => match role {
                Role::User | Role::Tool => Some(OutBlock::image(&image.source)),
                Role::Assistant if self.is_own => Some(OutBlock::image(&image.source)),
                Role::System | Role::Developer | Role::Assistant => {
                    return Err("is a picture, which Anthropic takes from users and tools alone");
                }
            },
            Part::Reasoning(Reasoning { text, signature }) if self.is_own => {
                signature.as_deref().map(|signature| OutBlock::Thinking { thinking: text, signature })
            }
            Part::Reasoning(_) => None,
            Part::ToolCall(ToolCall { id, name, arguments, signature: _ }) => {
                let input = input_of(arguments)
                    .ok_or("has arguments that are no JSON object, which is all that Anthropic takes")?;
                Some(OutBlock::ToolUse { id, name, input, cache_control: None })
            }
            // Foreign ones are refused beforehand, but for another vendor's sealed thoughts.
            Part::Other(fields) => self.is_own.then_some(OutBlock::Other { fields, cache_control: None }),
        })
    }
}
