//! What a generation took: as its vendor counted, else as we count it.
//!
//! An estimate leaves out what it cannot see: sounds, files and other parts kept as their dialect wrote them, thoughts
//! that a vendor does not show, and whatever a vendor adds to a prompt by itself.

use std::borrow::Cow;

use serde_json::Value;

use super::tokens::{count, estimate};
use super::{Counts, Tariff, cost_usd};
use crate::chat::{ChatRequest, ChatResponse, Message, OutputFormat, Part, Tool, ToolCall, Usage};

/// Returns what an answer of a model cost in USD; `None` where the price is not known.
pub fn cost_of(tariff: &Tariff, model: &str, usage: &Usage) -> Option<f64> {
    let counts = Counts {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens.unwrap_or(0),
        completion: usage.completion_tokens,
    };
    tariff.prices(model).map(|prices| cost_usd(&prices, counts))
}

/// Estimates the tokens of a request and its answer. Takes time in proportion to their length; see
/// [`tokens`](super::tokens).
pub fn estimated(request: &ChatRequest, answer: &ChatResponse) -> Usage {
    let parts = || answer.choices.iter().flat_map(|choice| &choice.content);
    let thoughts = parts().filter_map(|part| match part {
        Part::Reasoning(thought) => Some(count(&thought.text)),
        _ => None,
    });
    Usage {
        prompt_tokens: prompt_tokens(request),
        completion_tokens: parts().flat_map(texts_of).map(count).sum(),
        reasoning_tokens: thoughts.reduce(|sum, tokens| sum + tokens),
        is_estimated: true,
        ..Usage::default()
    }
}

/// Estimates the tokens of a request: messages, tools and schemas; images by a flat rate.
pub fn prompt_tokens(request: &ChatRequest) -> u64 {
    let messages = &request.messages;
    let is_image = |part: &&Part| matches!(part, Part::Image(_));
    let images = messages.iter().flat_map(|message| &message.content).filter(is_image).count();
    let mut texts: Vec<Cow<'_, str>> = Vec::new();
    for Message { role: _, content, name, tool_call_id: _, is_error: _, unknown: _ } in messages {
        texts.extend(content.iter().flat_map(texts_of).map(Cow::Borrowed));
        texts.extend(name.as_deref().map(Cow::Borrowed));
    }
    for tool in &request.tools {
        push_tool(tool, &mut texts);
    }
    push_format(&request.output_format, &mut texts);
    estimate(texts.iter().map(|text| &**text), messages.len(), images)
}

/// Returns what a part says that can be counted as text.
fn texts_of(part: &Part) -> impl Iterator<Item = &str> {
    let texts = match part {
        Part::Text(text) | Part::Cited { text, citations: _ } | Part::Refusal(text) => [Some(text), None],
        Part::Reasoning(thought) => [Some(&thought.text), None],
        Part::ToolCall(ToolCall { id: _, name, arguments, signature: _ }) => [Some(name), Some(arguments)],
        Part::Image(_) | Part::Other(_) => [None, None],
    };
    texts.into_iter().flatten().map(String::as_str)
}

fn push_tool<'a>(tool: &'a Tool, texts: &mut Vec<Cow<'a, str>>) {
    match tool {
        Tool::Function { name, description, parameters, strict: _ } => {
            texts.push(Cow::Borrowed(name));
            texts.extend(description.as_deref().map(Cow::Borrowed));
            texts.extend(parameters.as_ref().map(json));
        }
        Tool::Other(tool) => texts.push(json(tool)),
    }
}

fn push_format<'a>(format: &'a OutputFormat, texts: &mut Vec<Cow<'a, str>>) {
    match format {
        OutputFormat::Text | OutputFormat::JsonObject => {}
        OutputFormat::JsonSchema(schema) => {
            texts.extend([&schema.name, &schema.description].into_iter().flatten().map(Cow::from));
            texts.extend(schema.schema.as_ref().map(json));
        }
        OutputFormat::Other(format) => texts.push(json(format)),
    }
}

fn json(value: &Value) -> Cow<'static, str> {
    Cow::Owned(value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::{Choice, Image, ImageSource, JsonSchema, Reasoning, Role};
    use crate::config::{ModelConfig, Prices, ProviderConfig, ProviderKind};

    /// Two tokens.
    const HELLO: &str = "hello world";

    fn hello() -> Part {
        Part::Text(HELLO.into())
    }

    #[test]
    fn everything_that_a_request_says_is_counted() {
        let plain = ChatRequest::from_prompt(HELLO);
        assert_eq!(prompt_tokens(&plain), 2 + 4 + 3);
        let more = |change: &dyn Fn(&mut ChatRequest)| {
            let mut request = plain.clone();
            change(&mut request);
            prompt_tokens(&request) - prompt_tokens(&plain)
        };
        let with_part = |part: Part| more(&move |request| request.messages[0].content.push(part.clone()));
        let source = ImageSource::Url("https://example.com/a.png".into());
        let call = ToolCall { name: HELLO.into(), arguments: HELLO.into(), ..ToolCall::default() };
        let thought = Reasoning { text: HELLO.into(), signature: Some("c".repeat(500)) };
        for (what, more, tokens) in [
            ("a part", with_part(hello()), 2),
            ("sources", with_part(Part::Cited { text: HELLO.into(), citations: vec![json!("x")] }), 2),
            ("a refusal", with_part(Part::Refusal(HELLO.into())), 2),
            ("a thought without its seal", with_part(Part::Reasoning(thought)), 2),
            ("a call", with_part(Part::ToolCall(call)), 4),
            ("an image", with_part(Part::Image(Image { source, detail: None })), 765),
            ("a turn", more(&|request| request.messages.push(Message::text(Role::User, HELLO))), 6),
            ("a name", more(&|request| request.messages[0].name = Some(HELLO.into())), 2),
            ("a vendor's tool", more(&|request| request.tools.push(Tool::Other(json!(HELLO)))), 4),
            (
                "a tool",
                more(&|request| {
                    request.tools.push(Tool::Function {
                        name: HELLO.into(),
                        description: Some(HELLO.into()),
                        parameters: Some(json!(HELLO)),
                        strict: None,
                    });
                }),
                // The quotation marks of the JSON text are two more.
                2 + 2 + 4,
            ),
            (
                "a schema",
                more(&|request| {
                    request.output_format = OutputFormat::JsonSchema(JsonSchema {
                        name: Some(HELLO.into()),
                        description: None,
                        schema: Some(json!(HELLO)),
                        strict: Some(true),
                    });
                }),
                2 + 4,
            ),
        ] {
            assert_eq!(more, tokens, "{what}");
        }
    }

    #[test]
    fn every_choice_of_an_answer_is_counted_and_the_whole_is_marked() {
        let thought = Part::Reasoning(Reasoning { text: HELLO.into(), signature: None });
        let call = ToolCall { name: HELLO.into(), arguments: HELLO.into(), ..ToolCall::default() };
        let choice = |content| Choice { content, ..Choice::default() };
        let answer = ChatResponse {
            choices: vec![choice(vec![thought, hello()]), choice(vec![hello(), Part::ToolCall(call)])],
            ..ChatResponse::default()
        };
        let expected = Usage {
            prompt_tokens: 9,
            completion_tokens: 2 + 2 + 2 + 4,
            reasoning_tokens: Some(2),
            is_estimated: true,
            ..Usage::default()
        };
        let request = ChatRequest::from_prompt(HELLO);
        assert_eq!(estimated(&request, &answer), expected);
        let nothing = Usage { prompt_tokens: 9, is_estimated: true, ..Usage::default() };
        assert_eq!(estimated(&request, &ChatResponse::default()), nothing);
    }

    #[test]
    fn an_answer_costs_what_its_tokens_cost_and_nothing_is_made_up() {
        let prices = Prices { input: 2.0, output: 8.0, cached_input: Some(0.5) };
        let models = vec![ModelConfig { prices: Some(prices), ..ModelConfig::named("m") }];
        let local = ProviderConfig::named("any", ProviderKind::OpenAiCompatible);
        let tariff = Tariff::of(&ProviderConfig { models: Some(models), ..local });
        let usage = Usage {
            prompt_tokens: 1_000_000,
            completion_tokens: 500_000,
            cached_tokens: Some(600_000),
            ..Usage::default()
        };
        assert_eq!(cost_of(&tariff, "m", &usage), Some(0.8 + 0.3 + 4.0));
        assert_eq!(cost_of(&tariff, "unpriced", &usage), None);
    }
}
