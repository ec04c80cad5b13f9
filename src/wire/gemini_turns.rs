//! The turns of a `generateContent` request, written for an upstream.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Inexpressible;
use crate::chat::{Image, ImageSource, Message, Part, Role, ToolCall};

/// The messages of a request.
///
/// System texts are hoisted, in order, to where Gemini has its one place for them. Turns of one role that follow each
/// other become one turn. What the model thought in earlier turns is left out: thoughts mean something only to the
/// vendor that thought them, and all that Gemini wants back of its own is the seal on its calls. How closely to look at
/// a picture is a hint that it has no field for, and a text without a character is nothing to it.
pub(super) struct Conversation<'a> {
    pub(super) system: Option<Turn<'a>>,
    /// By turns the user's and the model's; at least one, and each says something.
    pub(super) turns: Vec<Turn<'a>>,
}

impl<'a> Conversation<'a> {
    /// Writes all messages. `seals`: calls must carry a seal.
    ///
    /// # Errors
    /// Names what Gemini cannot be told, and messages that leave it nothing to answer.
    pub(super) fn of(messages: &'a [Message], seals: bool) -> Result<Self, Inexpressible> {
        let mut conversation = Self { system: None, turns: Vec::new() };
        for at in 0..messages.len() {
            conversation.add(messages, at, seals)?;
        }
        if conversation.turns.is_empty() {
            let reason = "has no turn that says anything, and Gemini does not begin by itself";
            return Err(Inexpressible::new("messages", reason));
        }
        Ok(conversation)
    }

    fn add(&mut self, messages: &'a [Message], at: usize, seals: bool) -> Result<(), Inexpressible> {
        // Fields that we do not know are another dialect's.
        let Message { role, content, name, tool_call_id, is_error, unknown: _ } = &messages[at];
        // The call says which tool it was.
        if name.is_some() && *role != Role::Tool {
            let reason = "cannot be told to Gemini; name the speaker in the text";
            return Err(Inexpressible::new(format!("messages[{at}].name"), reason));
        }
        let mut calls = 0;
        let mut parts = Vec::with_capacity(content.len() + 1);
        if *role == Role::Tool {
            let id = tool_call_id.as_deref().unwrap_or("");
            let name = name_of_call(&messages[..at], id).ok_or_else(|| {
                let reason =
                    "answers no call of an earlier message, so Gemini cannot be told which function it was";
                Inexpressible::new(format!("messages[{at}].tool_call_id"), reason)
            })?;
            let response = tool_result(content, *is_error);
            parts.push(Said::FunctionResponse(FunctionResponse { id, name, response }).into());
        }
        for (part_at, part) in content.iter().enumerate() {
            let refuse =
                |reason: &str| Err(Inexpressible::new(format!("messages[{at}].content[{part_at}]"), reason));
            match part {
                // Stands in the function's response.
                Part::Text(_) | Part::Cited { .. } | Part::Refusal(_) if *role == Role::Tool => {}
                Part::Text(text) | Part::Cited { text, .. } | Part::Refusal(text) => {
                    parts.extend((!text.is_empty()).then_some(Said::Text(text).into()));
                }
                Part::Image(_) if role.is_instruction() => {
                    return refuse("is a picture, which Gemini does not take in a system text");
                }
                Part::Image(Image { source: ImageSource::Data { media_type, base64 }, detail: _ }) => {
                    parts.push(Said::InlineData(InlineData { mime_type: media_type, data: base64 }).into());
                }
                Part::Image(Image { source: ImageSource::Url(_), detail: _ }) => {
                    return refuse(
                        "is the address of a picture, and Gemini wants the picture itself: send it as a `data:` URL",
                    );
                }
                Part::ToolCall(call) if *role == Role::Assistant => {
                    parts.push(out_call(call, &format!("messages[{at}].tool_calls[{calls}]"))?);
                    calls += 1;
                }
                Part::ToolCall(_) => return refuse("is a call, which only the assistant makes"),
                // Other vendors' sealed thoughts: anything else of that kind was refused before.
                Part::Reasoning(_) | Part::Other(_) => {}
            }
        }
        match role {
            Role::System | Role::Developer if parts.is_empty() => {}
            Role::System | Role::Developer => {
                let system = self.system.get_or_insert(Turn { role: None, parts: Vec::new() });
                system.parts.append(&mut parts);
            }
            Role::User | Role::Tool => self.turn("user", parts),
            Role::Assistant => {
                self.turn("model", parts);
                if seals {
                    self.turns.last_mut().map(seal);
                }
            }
        }
        Ok(())
    }

    /// Adds to the turn under way, or begins one.
    fn turn(&mut self, role: &'static str, mut parts: Vec<OutPart<'a>>) {
        match self.turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(turn) if turn.role == Some(role) => turn.parts.append(&mut parts),
            _ => self.turns.push(Turn { role: Some(role), parts }),
        }
    }
}

/// What one side says.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<OutPart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutPart<'a> {
    #[serde(flatten)]
    said: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

impl<'a> From<Said<'a>> for OutPart<'a> {
    fn from(said: Said<'a>) -> Self {
        Self { said, thought_signature: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Said<'a> {
    Text(&'a str),
    InlineData(InlineData<'a>),
    FunctionCall(FunctionCall<'a>),
    FunctionResponse(FunctionResponse<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: &'a str,
    args: &'a RawValue,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: &'a str,
    response: ToolResult<'a>,
}

/// What a function gave. An object goes as it is; the two names for anything else are Google's (`FunctionResponse`).
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ToolResult<'a> {
    Output(Cow<'a, str>),
    Error(Cow<'a, str>),
    #[serde(untagged)]
    Object(Box<RawValue>),
}

/// What stands for the seal of a call that no Gemini made, as Google's page on thought signatures has it: from Gemini 3
/// on a turn whose first call has no seal is refused.
const UNSEALED: &str = "skip_thought_signature_validator";

/// The arguments of a call that has none.
const NO_ARGUMENTS: &str = "{}";

/// Gives the first call of a turn a seal; those made beside it need none.
fn seal(turn: &mut Turn<'_>) {
    let first = turn.parts.iter_mut().find(|part| matches!(part.said, Said::FunctionCall(_)));
    if let Some(OutPart { thought_signature, .. }) = first {
        thought_signature.get_or_insert(UNSEALED);
    }
}

/// Returns the function that the latest call with this id called.
fn name_of_call<'a>(earlier: &'a [Message], id: &str) -> Option<&'a str> {
    let mut calls = earlier.iter().rev().flat_map(Message::tool_calls);
    calls.find(|call| call.id == id).map(|call| call.name.as_str())
}

fn tool_result(content: &[Part], is_error: bool) -> ToolResult<'_> {
    let mut texts = content.iter().filter_map(|part| match part {
        Part::Refusal(text) => Some(text.as_str()),
        other => other.text(),
    });
    let first = Cow::Borrowed(texts.next().unwrap_or(""));
    let text = texts.fold(first, |text, more| text + more);
    if is_error {
        return ToolResult::Error(text);
    }
    let object =
        serde_json::from_str::<Box<RawValue>>(&text).ok().filter(|value| value.get().starts_with('{'));
    object.map_or(ToolResult::Output(text), ToolResult::Object)
}

fn out_call<'a>(call: &'a ToolCall, path: &str) -> Result<OutPart<'a>, Inexpressible> {
    let ToolCall { id, name, arguments, signature } = call;
    let text = if arguments.is_empty() { NO_ARGUMENTS } else { arguments };
    let args = serde_json::from_str::<&RawValue>(text).ok().filter(|value| value.get().starts_with('{'));
    let args = args.ok_or_else(|| {
        let reason = "is no JSON object, and Gemini takes nothing else";
        Inexpressible::new(format!("{path}.function.arguments"), reason)
    })?;
    Ok(OutPart {
        said: Said::FunctionCall(FunctionCall { id, name, args }),
        thought_signature: signature.as_deref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Reasoning;
    use serde_json::{Value, json};

    fn refused(message: Message) -> String {
        let messages = [Message::text(Role::User, "q"), message];
        Conversation::of(&messages, false).map(|_| ()).unwrap_err().field
    }

    fn written(messages: &[Message], seals: bool) -> String {
        serde_json::to_string(&Conversation::of(messages, seals).unwrap().turns).unwrap()
    }

    fn call(id: &str, arguments: &str, signature: Option<&str>) -> Part {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: format!("f_{id}"),
            arguments: arguments.into(),
            signature: signature.map(str::to_owned),
        })
    }

    fn message(role: Role, content: Vec<Part>) -> Message {
        Message { content, ..Message::text(role, "") }
    }

    fn tool(id: &str, text: &str) -> Message {
        Message { tool_call_id: Some(id.into()), ..Message::text(Role::Tool, text) }
    }

    #[test]
    fn the_first_call_of_a_turn_has_a_seal() {
        let messages = [
            message(
                Role::Assistant,
                vec![Part::Text("t".into()), call("1", "{}", None), call("2", "{}", None)],
            ),
            tool("1", "x"),
            tool("2", "y"),
            message(Role::Assistant, vec![call("3", "{}", Some("own")), call("4", "{}", None)]),
        ];
        let seals = |seals| {
            let turns: Value = serde_json::from_str(&written(&messages, seals)).unwrap();
            let parts =
                [0, 2].into_iter().flat_map(|at: usize| turns[at]["parts"].as_array().unwrap().clone());
            parts.map(|part| part["thoughtSignature"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let own = Some("own".to_owned());
        assert_eq!(seals(false), [None, None, None, own.clone(), None]);
        assert_eq!(seals(true), [None, Some(UNSEALED.into()), None, own, None]);
    }

    #[test]
    fn a_tools_answer_names_the_function_that_was_called_last_under_its_id() {
        let mut failed = tool("1", "{\"late\": true}");
        failed.is_error = true;
        let mut several = tool("1", "{\"a\":");
        several.content.extend([Part::Reasoning(Reasoning::default()), Part::Text("1}".into())]);
        let mut earlier = call("1", "", None);
        if let Part::ToolCall(call) = &mut earlier {
            call.name = "other".into();
        }
        let called = call("1", "{\"n\": 12345678901234567890123}", None);
        let messages = [
            message(Role::Assistant, vec![earlier]),
            tool("1", "x"),
            message(Role::Assistant, vec![called]),
            tool("1", "[1]"),
            several,
            failed,
            Message::text(Role::User, "q"),
        ];
        let written = written(&messages, false);
        // Numbers of any size go as they came.
        assert!(written.contains("12345678901234567890123"), "{written}");
        let turns: Value = serde_json::from_str(&written).unwrap();
        let response = |turn: usize, at: usize| &turns[turn]["parts"][at]["functionResponse"];
        assert_eq!(response(1, 0)["name"], "other");
        assert_eq!(*response(3, 0), json!({"id": "1", "name": "f_1", "response": {"output": "[1]"}}));
        assert_eq!(response(3, 1)["response"], json!({"a": 1}));
        assert_eq!(response(3, 2)["response"], json!({"error": "{\"late\": true}"}));
        assert_eq!(turns[3]["parts"][3], json!({"text": "q"}));
        assert_eq!((&turns[3]["role"], turns.as_array().unwrap().len()), (&json!("user"), 4));
    }

    #[test]
    fn what_cannot_be_told_is_named() {
        let picture = |source| Part::Image(Image { source, detail: None });
        let url = picture(ImageSource::Url("https://a.example/b.png".into()));
        let data = picture(ImageSource::Data { media_type: "image/png".into(), base64: "aGk=".into() });
        for (message, field) in [
            (message(Role::User, vec![url]), "messages[1].content[0]"),
            (message(Role::User, vec![call("1", "{}", None)]), "messages[1].content[0]"),
            (message(Role::System, vec![data.clone()]), "messages[1].content[0]"),
            (Message { name: Some("Ann".into()), ..Message::text(Role::User, "q") }, "messages[1].name"),
            (tool("1", "x"), "messages[1].tool_call_id"),
            (
                message(Role::Assistant, vec![call("1", "[1]", None)]),
                "messages[1].tool_calls[0].function.arguments",
            ),
            (
                message(
                    Role::Assistant,
                    vec![Part::Text("t".into()), call("1", "", None), call("2", "{", None)],
                ),
                "messages[1].tool_calls[1].function.arguments",
            ),
        ] {
            assert_eq!(refused(message), field);
        }
        let silent = [Message::text(Role::System, "s"), Message::text(Role::User, "")];
        assert_eq!(Conversation::of(&silent, false).map(|_| ()).unwrap_err().field, "messages");
        // A picture that comes along is one; nothing is fetched.
        let seen = written(&[message(Role::User, vec![data])], false);
        assert!(seen.contains(r#"{"inlineData":{"mimeType":"image/png","data":"aGk="}}"#), "{seen}");
    }
}
