//! The events of streams, and the order that two of the dialects promise for theirs.

use serde_json::{Value, json};

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// Empty where it has none.
    pub name: String,
    pub text: String,
    /// Null where the text is no JSON.
    pub data: Value,
}

/// Returns the events of a stream, without comments.
pub fn named(text: &str) -> Vec<Event> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default()
    };
    let read = |event: &str| {
        let text = field(event, "data: ");
        Event { name: field(event, "event: "), data: serde_json::from_str(&text).unwrap_or_default(), text }
    };
    text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')).map(read).collect()
}

/// Checks the order of Anthropic's events and returns the message that they make.
pub fn check_blocks(events: &[Event]) -> Value {
    for event in events {
        assert_eq!(event.data["type"], event.name.as_str(), "{event:?}");
    }
    let events: Vec<_> = events.iter().filter(|event| event.name != "ping").collect();
    let (first, rest) = events.split_first().unwrap();
    let [blocks @ .., delta, stop] = rest else { panic!("no end: {events:#?}") };
    let order = [&first.name, &delta.name, &stop.name].map(String::as_str);
    assert_eq!(order, ["message_start", "message_delta", "message_stop"]);
    let mut message = first.data["message"].clone();
    assert_eq!((&message["content"], &message["stop_reason"]), (&json!([]), &Value::Null));
    let mut content: Vec<Value> = Vec::new();
    let mut open: Option<(Value, String)> = None;
    for Event { name, data, .. } in blocks {
        match (name.as_str(), &mut open) {
            ("content_block_start", None) => {
                assert_eq!(data["index"], content.len());
                open = Some((data["content_block"].clone(), String::new()));
            }
            ("content_block_delta", Some((block, json))) => {
                assert_eq!(data["index"], content.len());
                let (field, piece) = piece_of(&data["delta"]);
                match field {
                    "input" => *json += piece,
                    field => block[field] = (block[field].as_str().unwrap().to_owned() + piece).into(),
                }
            }
            ("content_block_stop", Some((block, json))) => {
                assert_eq!(data["index"], content.len());
                if !json.is_empty() {
                    block["input"] = serde_json::from_str(json).unwrap();
                }
                content.push(block.clone());
                open = None;
            }
            other => panic!("out of order: {other:?} in {events:#?}"),
        }
    }
    assert!(open.is_none(), "a block has no end: {events:#?}");
    message["content"] = content.into();
    for field in ["stop_reason", "stop_sequence"] {
        message[field] = delta.data["delta"][field].clone();
    }
    message["usage"] = delta.data["usage"].clone();
    message
}

/// Returns the field that a delta goes on with, and the piece.
fn piece_of(delta: &Value) -> (&'static str, &str) {
    let (field, name) = match delta["type"].as_str().unwrap() {
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        "signature_delta" => ("signature", "signature"),
        "input_json_delta" => ("input", "partial_json"),
        other => panic!("a delta of type {other}"),
    };
    (field, delta[name].as_str().unwrap())
}

/// Checks the order of Responses' events and returns the answer that the last of them holds.
pub fn check_items(events: &[Event]) -> Value {
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.data["type"], event.name.as_str(), "{event:?}");
        assert_eq!(event.data["sequence_number"], at, "{event:?}");
    }
    let [created, in_progress, items @ .., last] = events else { panic!("too short: {events:#?}") };
    assert_eq!([created.name.as_str(), &in_progress.name], ["response.created", "response.in_progress"]);
    assert!(["response.completed", "response.incomplete"].contains(&last.name.as_str()), "{last:?}");
    let answer = last.data["response"].clone();
    assert_eq!(created.data["response"]["id"], answer["id"]);
    assert_eq!(created.data["response"]["status"], "in_progress");
    let done: Vec<_> = items.iter().filter(|event| event.name == "response.output_item.done").collect();
    let output = answer["output"].as_array().unwrap();
    assert_eq!(done.len(), output.len());
    for (at, (done, item)) in done.iter().zip(output).enumerate() {
        assert_eq!((&done.data["item"], &done.data["output_index"]), (item, &json!(at)));
        check_item(items, at, item);
    }
    answer
}

/// Checks that one item begins, is told in pieces, and ends.
fn check_item(events: &[Event], at: usize, item: &Value) {
    let of_item: Vec<_> = events.iter().filter(|event| event.data["output_index"] == at).collect();
    let names: Vec<_> = of_item.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(
        (names[0], names[names.len() - 1]),
        ("response.output_item.added", "response.output_item.done")
    );
    let said = |kind: &str| -> String {
        let deltas = of_item.iter().filter(|event| event.name == format!("response.{kind}.delta"));
        deltas.map(|event| event.data["delta"].as_str().unwrap()).collect()
    };
    match item["type"].as_str().unwrap() {
        "function_call" => assert_eq!(item["arguments"], said("function_call_arguments")),
        "reasoning" => assert_eq!(item["content"][0]["text"], said("reasoning_text")),
        _ => {
            let parts = item["content"].as_array().unwrap();
            let whole =
                |field: &str| parts.iter().filter_map(|part| part[field].as_str()).collect::<String>();
            assert_eq!((whole("text"), whole("refusal")), (said("output_text"), said("refusal")));
        }
    }
}
