//! Golden pairs of OpenAI Responses.

use serde_json::json;

use super::{check, pretty};
use crate::chat::{ChatResponse, Choice, FinishReason, LimitSpelling, Part, Reasoning, ToolCall, Usage};
use crate::wire::openai::{Encoding, encode_request};
use crate::wire::responses::{EventEncoder, encode_response, parse_request};
use crate::wire::{Delivery, ErrorShape};

#[test]
fn a_request_with_everything_is_understood_and_put_to_openai() {
    let asked = parse_request(include_bytes!("request_responses.json")).unwrap();
    check("request_responses.parsed", &format!("{asked:#?}"));
    let encoding = Encoding {
        model: "gpt-4o-mini",
        stream: true,
        limit: LimitSpelling::MaxCompletionTokens,
        is_extended: false,
    };
    check("request_responses.openai", &pretty(&encode_request(&asked.request, encoding).unwrap()));
}

/// Returns what answers repeat of a plain request.
fn delivery() -> Delivery {
    parse_request(br#"{"input": "q"}"#).unwrap().delivery
}

fn answer(content: Vec<Part>, finish: FinishReason) -> ChatResponse {
    ChatResponse {
        id: "chatcmpl-1".into(),
        created: 1_700_000_000,
        model: "gpt-4o-mini-2024-07-18".into(),
        choices: vec![Choice { content, finish: Some(finish), ..Choice::default() }],
        usage: Some(Usage {
            prompt_tokens: 11,
            completion_tokens: 84,
            cached_tokens: Some(4),
            reasoning_tokens: Some(64),
            ..Usage::default()
        }),
        ..ChatResponse::default()
    }
}

fn call(at: u32, name: &str, arguments: &str) -> Part {
    let (id, name, arguments) = (format!("call_{at}"), name.to_owned(), arguments.to_owned());
    Part::ToolCall(ToolCall { id, name, arguments, signature: None })
}

fn check_answer(name: &str, answer: &ChatResponse) {
    let Delivery { echo, .. } = delivery();
    check(&format!("{name}.whole"), &pretty(&encode_response(answer, &echo)));
    let mut stream = Vec::new();
    let mut encoder = EventEncoder::new(echo);
    answer.deltas().iter().for_each(|delta| encoder.push(delta, &mut stream));
    encoder.finish(&mut stream);
    check(&format!("{name}.streamed"), std::str::from_utf8(&stream).unwrap());
}

#[test]
fn an_answer_with_thoughts_words_and_calls_is_written_whole_and_streamed() {
    let thought =
        Reasoning { text: "The caller wants to know where it is.".into(), signature: Some("s".into()) };
    let content = vec![
        Part::Reasoning(thought),
        Part::Text("Let me look, twice.".into()),
        call(1, "look", r#"{"x":  1}"#),
        call(2, "look", "{}"),
    ];
    let mut answer = answer(content, FinishReason::ToolCalls);
    answer.choices[0].logprobs = Some(json!({"content": [
        {"token": "Let", "logprob": -0.25, "bytes": [76, 101, 116], "top_logprobs": []}
    ]}));
    check_answer("responses_tools", &answer);
}

#[test]
fn an_answer_that_was_cut_is_incomplete() {
    let content = vec![Part::Text("I would say".into()), Part::Refusal("I cannot go on with this.".into())];
    let mut answer = answer(content, FinishReason::ContentFilter);
    answer.usage = answer.usage.map(|usage| Usage { is_estimated: true, ..usage });
    check_answer("responses_refusal", &answer);
}

#[test]
fn a_stream_that_breaks_off_ends_with_an_error() {
    let mut stream = Vec::new();
    let mut encoder = EventEncoder::new(delivery().echo);
    let deltas = answer(vec![Part::Text("Par".into())], FinishReason::Stop).deltas();
    deltas[..3].iter().for_each(|delta| encoder.push(delta, &mut stream));
    let error = ErrorShape {
        status: 502,
        message: "cut",
        kind: "server_error",
        param: None,
        code: Some("upstream_interrupted"),
    };
    encoder.error(&error, &mut stream);
    check("responses.error", std::str::from_utf8(&stream).unwrap());
}
