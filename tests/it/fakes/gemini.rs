//! `generateContent` as Gemini speaks it.

use serde_json::{Value, json};

use super::{Answer, Headers, changed, post};
use crate::support::gemini::{Reply, Upstream};
use crate::support::upstream::KEY;

const WHOLE: &str = "/v1beta/models/gemini:generateContent";
const STREAM: &str = "/v1beta/models/gemini:streamGenerateContent?alt=sse";
const HEADERS: [(&str, &str); 1] = [("x-goog-api-key", KEY)];

/// Returns a body with one of everything.
fn body() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "And this?"}, {"inlineData": {"mimeType": "image/png", "data": ""}},
            ]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "s"},
            ]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"it": "A bird."}}}]},
            {"role": "user", "parts": [{"text": "Well?"}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "look", "parameters": {
            "type": "object", "properties": {"at": {"type": "array", "items": {"type": "string"}}},
        }}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        "generationConfig": {
            "maxOutputTokens": 5, "responseMimeType": "application/json", "responseSchema": {"type": "object"},
            "thinkingConfig": {"includeThoughts": true}, "stopSequences": ["END"],
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    })
}

/// Asks for an answer by this path, and returns it.
async fn asked(upstream: &Upstream, path: &str, reply: Reply) -> Answer {
    upstream.always(reply);
    post(upstream, path, &HEADERS, &body()).await
}

#[tokio::test]
async fn what_gemini_knows_is_taken() {
    let upstream = Upstream::start().await;
    for (path, streams) in [(WHOLE, false), (STREAM, true)] {
        let answer = post(&upstream, path, &HEADERS, &body()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let heard = upstream.heard().pop().unwrap();
        assert_eq!((heard.model(), heard.prompt(), heard.streams()), ("gemini", "Well?", streams));
    }
}

#[tokio::test]
async fn what_gemini_does_not_know_is_refused_with_its_place() {
    let cases = [
        ("/system_instruction", json!({}), "Unknown name \"system_instruction\": Cannot find field."),
        ("/generationConfig/max_output_tokens", json!(1), "\"max_output_tokens\" at 'generationConfig'"),
        ("/contents/0/parts/0/type", json!("text"), "\"type\" at 'contents[0].parts[0]'"),
        (
            "/tools/0/functionDeclarations/0/parameters/additionalProperties",
            json!(false),
            "\"additionalProperties\" at 'tools[0].functionDeclarations[0].parameters'",
        ),
        (
            "/tools/0/functionDeclarations/0/parameters/properties/at/items/$ref",
            json!("x"),
            "\"$ref\" at 'tools[0].functionDeclarations[0].parameters.properties[at].items'",
        ),
        ("/contents", Value::Null, "contents is not specified"),
        ("/contents/0/parts", json!([]), "must not be empty"),
        ("/contents/0/role", json!("assistant"), "please use a valid role: user, model"),
        ("/contents/0/parts/0", json!({}), "required oneof field 'data'"),
        ("/contents/1/parts/0/functionCall/args", json!("{}"), "args must be an object"),
        ("/contents/2/parts/0/functionResponse/response", json!("A bird."), "response must be an object"),
        ("/contents/2/parts/0", json!({"text": "No."}), "number of function response parts"),
        ("/toolConfig/functionCallingConfig/mode", json!("any"), "is no mode"),
        ("/generationConfig/responseMimeType", Value::Null, "needs the mime type application/json"),
        ("/generationConfig/stopSequences", json!(["1", "2", "3", "4", "5", "6"]), "more than 5"),
    ];
    let upstream = Upstream::start().await;
    for (place, value, said) in cases {
        let answer = post(&upstream, WHOLE, &HEADERS, &changed(&body(), place, value)).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{place}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(said), "{place}: {message}");
        assert_eq!(upstream.forgive().len(), 1, "{place}");
    }
}

#[tokio::test]
async fn the_key_comes_in_its_header_and_a_stream_asks_for_events() {
    let upstream = Upstream::start().await;
    let wrong: [(&str, Headers<'_>, u16); 6] = [
        ("/v1beta/models/gemini:countTokens", &HEADERS, 404),
        ("/v1beta/models/gemini:streamGenerateContent", &HEADERS, 404),
        ("/v1beta/models/gemini:generateContent?key=leaked", &HEADERS, 404),
        (WHOLE, &[], 403),
        (WHOLE, &[("x-goog-api-key", "other")], 400),
        (WHOLE, &[HEADERS[0], ("content-type", "text/plain")], 400),
    ];
    for (path, headers, status) in wrong {
        let answer = post(&upstream, path, headers, &body()).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(status)), "{path}");
    }
    assert_eq!(upstream.forgive().len(), 6);
    let answer = post(&upstream, WHOLE, &[("x-goog-api-key", "other")], &body()).await;
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "API_KEY_INVALID");
    upstream.forgive();
}

#[tokio::test]
async fn a_whole_answer_has_the_vendors_shape() {
    let upstream = Upstream::start().await;
    let thought = asked(&upstream, WHOLE, Reply::thinking("Hm.", "s", "Yes.")).await.json();
    let parts = &thought["candidates"][0]["content"]["parts"];
    assert_eq!(parts[0], json!({"text": "Hm.", "thought": true}));
    assert_eq!(parts[1], json!({"text": "Yes.", "thoughtSignature": "s"}));
    let usage = json!({
        "promptTokenCount": 9, "candidatesTokenCount": 12, "thoughtsTokenCount": 5, "totalTokenCount": 26,
    });
    assert_eq!(thought["usageMetadata"], usage);
    let called = asked(&upstream, WHOLE, Reply::function_call("look", json!({"at": 1}))).await.json();
    let candidate = &called["candidates"][0];
    assert_eq!(candidate["content"]["parts"][0]["functionCall"], json!({"name": "look", "args": {"at": 1}}));
    assert_eq!(candidate["finishReason"], "STOP");
    let blocked = asked(&upstream, WHOLE, Reply::blocked("SAFETY")).await;
    assert_eq!((blocked.status, &blocked.json()["candidates"]), (200, &Value::Null));
    assert_eq!(blocked.json()["promptFeedback"]["blockReason"], "SAFETY");
    let unsafe_end = asked(&upstream, WHOLE, Reply::ending("So", Some("SAFETY"))).await.json();
    assert_eq!(unsafe_end["candidates"][0]["finishReason"], "SAFETY");
    let failed = asked(&upstream, WHOLE, Reply::error(503, "UNAVAILABLE", "The model is overloaded.")).await;
    assert_eq!((failed.status, failed.json()["error"]["status"].as_str()), (503, Some("UNAVAILABLE")));
}

#[tokio::test]
async fn a_stream_is_chunks_and_ends_with_its_body() {
    let upstream = Upstream::start().await;
    let answer = asked(&upstream, STREAM, Reply::thinking("Let me see.", "s", "One two.")).await;
    assert!(answer.text.ends_with("\r\n\r\n") && !answer.text.contains("[DONE]"), "{}", answer.text);
    let chunks: Vec<_> = answer.events().into_iter().map(|(_, chunk)| chunk).collect();
    let part = |chunk: &Value| chunk["candidates"][0]["content"]["parts"][0].clone();
    let texts: Vec<_> = chunks.iter().map(|chunk| part(chunk)["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, ["Let ", "me ", "see.", "One ", "two."]);
    let signed: Vec<_> = chunks.iter().map(|chunk| part(chunk).get("thoughtSignature").is_some()).collect();
    assert_eq!(signed, [false, false, false, false, true]);
    let finishes: Vec<_> =
        chunks.iter().map(|chunk| chunk["candidates"][0].get("finishReason").is_some()).collect();
    assert_eq!(finishes, [false, false, false, false, true]);
    let blocked = asked(&upstream, STREAM, Reply::blocked("SAFETY")).await.events();
    assert_eq!((blocked.len(), &blocked[0].1["promptFeedback"]["blockReason"]), (1, &json!("SAFETY")));
}

#[tokio::test]
async fn a_stream_can_break_in_every_way() {
    let upstream = Upstream::start().await;
    let text = || Reply::text("One two three four.");
    let answer = asked(&upstream, STREAM, text().failing_midway(503, "UNAVAILABLE", "Overloaded.")).await;
    let (_, lines) = answer.text.split_once("\r\n\r\n{").expect("lines of JSON after the events");
    assert!(!lines.contains("data:") && lines.contains("\n  \"error\""), "{lines}");
    let answer = asked(&upstream, STREAM, Reply::error_in_list(429, "RESOURCE_EXHAUSTED", "Quota.")).await;
    assert_eq!((answer.status, &answer.json()[0]["error"]["code"]), (429, &json!(429)));
    assert!(asked(&upstream, STREAM, text().cut_midway()).await.broke);
    for reply in [text().ending_early(), Reply::ending("One two.", None)] {
        let answer = asked(&upstream, STREAM, reply).await;
        assert!(!answer.broke && !answer.text.contains("finishReason"), "{}", answer.text);
    }
}
