//! A `generateContent` answer, whole or in chunks, read from an upstream. Both have one shape: a whole answer is a
//! stream of one chunk.

use serde_json::{Map, Value};

use super::failure::{AnswerError, parse};
use super::openai_usage::BELIEVABLE_TOKENS;
use super::sse;
use crate::chat::{Assembly, ChatResponse, Delta, Dialect, FinishReason, Part, Usage};

/// Reads a whole answer. Nothing that we do not know is kept, since no caller speaks this format: ratings, citations
/// and the seals on plain texts, which Google only recommends to send back, are dropped.
///
/// # Errors
/// When it is an error, a refusal to look at the prompt, no JSON, or has no candidate.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, AnswerError> {
    let mut deltas = Vec::new();
    ChunkDecoder::default().read(parse(body)?, &mut deltas)?;
    let mut assembly = Assembly::default();
    deltas.iter().for_each(|delta| assembly.push(delta));
    assembly
        .into_answer()
        .filter(|answer| !answer.choices.is_empty())
        .ok_or_else(|| AnswerError::malformed("the answer has no candidate that says anything"))
}

/// Reads the chunks of one streamed answer.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    has_started: bool,
    id: String,
    candidates: Vec<Candidate>,
}

/// What is known of an answer under way.
#[derive(Debug)]
struct Candidate {
    index: u32,
    /// How many calls it has made.
    calls: u32,
    /// Whether any part of it has come.
    has_content: bool,
    is_finished: bool,
}

impl ChunkDecoder {
    /// Adds the pieces in one event. Pieces of one kind that follow each other are one part, wherever the vendor cut
    /// them; usage comes with every chunk and is the sum so far.
    ///
    /// # Errors
    /// When it is an error, or none of this format.
    pub fn decode(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        if event.data.trim().is_empty() {
            return Ok(());
        }
        self.read(parse(event.data.as_bytes())?, deltas)
    }

    /// Returns whether each of the `choices` asked for has said why it ended.
    pub fn is_finished(&self, choices: u32) -> bool {
        self.candidates.iter().filter(|candidate| candidate.is_finished).count() >= choices as usize
    }

    /// Reads a chunk, or a list of them: an error may come in a list of one, and a stream that is no event stream is
    /// one list.
    fn read(&mut self, value: Value, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        match value {
            Value::Object(chunk) => self.read_chunk(chunk, deltas),
            Value::Array(chunks) => chunks.into_iter().try_for_each(|chunk| match chunk {
                Value::Object(chunk) => self.read_chunk(chunk, deltas),
                _ => Err(AnswerError::malformed("a chunk is not an object")),
            }),
            _ => Err(AnswerError::malformed("the answer is not an object")),
        }
    }

    fn read_chunk(
        &mut self,
        mut fields: Map<String, Value>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), AnswerError> {
        if fields.get("error").is_some_and(|error| !error.is_null()) {
            return Err(AnswerError::said(&Value::Object(fields)));
        }
        let candidates = take_list(&mut fields, "candidates");
        if candidates.is_empty()
            && let Some(reason) =
                fields.get("promptFeedback").and_then(|feedback| feedback.get("blockReason"))
        {
            let reason = reason.as_str().unwrap_or("no reason given");
            return Err(AnswerError::Blocked(format!("the prompt was blocked: {reason}")));
        }
        let usage = fields.get("usageMetadata").and_then(Value::as_object).and_then(read_usage);
        if self.id.is_empty() {
            self.id = take_text(&mut fields, "responseId").unwrap_or_default();
        }
        let says_something = !candidates.is_empty() || usage.is_some();
        if says_something && !self.has_started {
            self.has_started = true;
            deltas.push(Delta::Start {
                id: self.id.clone(),
                created: 0,
                model: take_text(&mut fields, "modelVersion").unwrap_or_default(),
                dialect: Dialect::Native,
                unknown: Map::new(),
            });
        }
        for (candidate, at) in candidates.into_iter().zip(0..) {
            self.read_candidate(candidate, at, deltas)?;
        }
        deltas.extend(usage.map(Delta::Usage));
        Ok(())
    }

    fn read_candidate(&mut self, value: Value, at: u32, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let Value::Object(mut fields) = value else {
            return Err(AnswerError::malformed("a candidate is not an object"));
        };
        let index = fields.get("index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
        let (id, candidate) = self.candidate(index.unwrap_or(at));
        if let Some(Value::Object(content)) = fields.get_mut("content") {
            for part in take_list(content, "parts") {
                candidate.read_part(id, part, deltas)?;
            }
        }
        let choice = candidate.index;
        for source in LIVE_SOURCES {
            let found = fields
                .remove(source)
                .filter(|found| found.as_object().is_some_and(|found| !found.is_empty()));
            if let Some(found) = found {
                deltas.push(Delta::Unknown { choice, field: ANNOTATIONS.to_owned(), value: [found].into() });
            }
        }
        let word = fields.get("finishReason").and_then(Value::as_str);
        if let Some(reason) = finish_reason(word.unwrap_or(""), candidate.calls > 0)?
            && !candidate.is_finished
        {
            candidate.is_finished = true;
            if !candidate.has_content {
                deltas.push(Delta::Text { choice, text: String::new() });
            }
            deltas.push(Delta::Finish { choice, reason });
        }
        Ok(())
    }

    fn candidate(&mut self, index: u32) -> (&str, &mut Candidate) {
        let known = self.candidates.iter().position(|candidate| candidate.index == index);
        let at = known.unwrap_or_else(|| {
            self.candidates.push(Candidate { index, calls: 0, has_content: false, is_finished: false });
            self.candidates.len() - 1
        });
        (&self.id, &mut self.candidates[at])
    }
}

/// Where a candidate says that it drew on the live web. Such an answer is not to be stored, which is what our mark for
/// sources says to the cache's policy; the sources themselves no caller of ours could read.
const LIVE_SOURCES: [&str; 2] = ["groundingMetadata", "urlContextMetadata"];
const ANNOTATIONS: &str = "annotations";

impl Candidate {
    /// Reads a part of the answer with this id. A part has one thing to say, and perhaps a seal beside it.
    fn read_part(&mut self, id: &str, part: Value, deltas: &mut Vec<Delta>) -> Result<(), AnswerError> {
        let Value::Object(mut fields) = part else {
            return Err(AnswerError::malformed("a part is not an object"));
        };
        let choice = self.index;
        let signature = take_text(&mut fields, "thoughtSignature");
        let is_thought = fields.remove("thought").is_some_and(|thought| thought == true);
        let delta = match (fields.remove("text"), fields.remove("functionCall")) {
            (Some(Value::String(text)), None) if is_thought => {
                let is_empty = text.is_empty() && signature.is_none();
                (!is_empty).then_some(Delta::Reasoning { choice, text, signature })
            }
            // The last text of a stream is often empty.
            (Some(Value::String(text)), None) => (!text.is_empty()).then_some(Delta::Text { choice, text }),
            (None, Some(Value::Object(call))) => Some(self.read_call(id, call, signature)?),
            (None, None) if ["inlineData", "fileData"].iter().any(|data| fields.contains_key(*data)) => {
                let reason = "the answer has a picture or another file, which cannot be passed on here";
                return Err(AnswerError::malformed(reason));
            }
            (None, None) => (!fields.is_empty()).then_some(Delta::Part { choice, part: Part::Other(fields) }),
            _ => return Err(AnswerError::malformed("a part is neither a text nor a call")),
        };
        self.has_content |= delta.is_some();
        deltas.extend(delta);
        Ok(())
    }

    /// Reads a call, which always comes whole. Only later models give it an id; any other gets one that is the same
    /// whenever this answer is read.
    fn read_call(
        &mut self,
        id: &str,
        mut fields: Map<String, Value>,
        signature: Option<String>,
    ) -> Result<Delta, AnswerError> {
        let (choice, index) = (self.index, self.calls);
        let Some(name) = take_text(&mut fields, "name") else {
            return Err(AnswerError::malformed("a call names no function"));
        };
        let own_id = take_text(&mut fields, "id").filter(|id| !id.is_empty());
        let arguments = fields.remove("args").filter(|args| !args.is_null());
        self.calls += 1;
        Ok(Delta::ToolCall {
            choice,
            index,
            id: Some(own_id.unwrap_or_else(|| format!("call_{id}_{choice}_{index}"))),
            name: Some(name),
            arguments: arguments.map_or_else(|| "{}".to_owned(), |args| args.to_string()),
            signature,
        })
    }
}

/// Reads why a candidate ended; `None` where it has not.
fn finish_reason(word: &str, has_calls: bool) -> Result<Option<FinishReason>, AnswerError> {
    Ok(Some(match word {
        "" | "FINISH_REASON_UNSPECIFIED" => return Ok(None),
        "STOP" if has_calls => FinishReason::ToolCalls,
        "STOP" => FinishReason::Stop,
        // The latter could be asked to go on, in a format that we do not speak.
        "MAX_TOKENS" | "CONTINUATION" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MALFORMED_RESPONSE"
        | "MISSING_THOUGHT_SIGNATURE" => {
            return Err(AnswerError::malformed(format!("the vendor gave the answer up: {word}")));
        }
        other => FinishReason::Other(other.to_owned()),
    }))
}

/// Reads token counts. A count that is not there is zero, as ever in this format; without the prompt's there are none.
fn read_usage(fields: &Map<String, Value>) -> Option<Usage> {
    let count = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_u64().filter(|count| *count <= BELIEVABLE_TOKENS).map(Some),
    };
    let reasoning_tokens = count("thoughtsTokenCount")?;
    Some(Usage {
        prompt_tokens: count("promptTokenCount")?? + count("toolUsePromptTokenCount")?.unwrap_or(0),
        completion_tokens: count("candidatesTokenCount")?.unwrap_or(0) + reasoning_tokens.unwrap_or(0),
        cached_tokens: count("cachedContentTokenCount")?,
        cache_write_tokens: None,
        reasoning_tokens,
        is_estimated: false,
        unknown: Map::new(),
    })
}

fn take_text(fields: &mut Map<String, Value>, field: &str) -> Option<String> {
    match fields.remove(field) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn take_list(fields: &mut Map<String, Value>, field: &str) -> Vec<Value> {
    match fields.remove(field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::any_json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn decoded(body: &Value) -> Result<ChatResponse, AnswerError> {
        decode_response(body.to_string().as_bytes())
    }

    /// Reads chunks as the events of one stream.
    fn streamed<'a>(chunks: impl IntoIterator<Item = &'a Value>) -> Result<Vec<Delta>, AnswerError> {
        let mut decoder = ChunkDecoder::default();
        let mut deltas = Vec::new();
        for chunk in chunks {
            let event = sse::Event { name: None, data: chunk.to_string() };
            decoder.decode(&event, &mut deltas)?;
        }
        Ok(deltas)
    }

    fn assembled(deltas: &[Delta]) -> Option<ChatResponse> {
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        assembly.into_answer()
    }

    fn candidate(fields: Value) -> Value {
        json!({"candidates": [fields], "responseId": "r", "modelVersion": "m"})
    }

    fn ended(word: &str, parts: Value) -> Result<ChatResponse, AnswerError> {
        decoded(&candidate(json!({"content": {"parts": parts}, "finishReason": word})))
    }

    #[test]
    fn every_end_has_its_reason() {
        use FinishReason::*;
        for (word, reason) in [
            ("STOP", Stop),
            ("MAX_TOKENS", Length),
            ("SAFETY", ContentFilter),
            ("IMAGE_RECITATION", ContentFilter),
            ("LANGUAGE", ContentFilter),
            ("OTHER", Other("OTHER".into())),
            ("NO_IMAGE", Other("NO_IMAGE".into())),
        ] {
            assert_eq!(ended(word, json!([{"text": "x"}])).unwrap().choices[0].finish, Some(reason));
        }
        let called = ended("STOP", json!([{"functionCall": {"name": "f"}}])).unwrap();
        assert_eq!(called.choices[0].finish, Some(ToolCalls));
        assert_eq!(
            ended("FINISH_REASON_UNSPECIFIED", json!([{"text": "x"}])).unwrap().choices[0].finish,
            None
        );
        for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"] {
            let refusal = ended(word, json!([{"text": "x"}])).unwrap_err();
            assert!(matches!(refusal, AnswerError::Malformed(reason) if reason.contains(word)));
        }
    }

    #[test]
    fn what_is_no_answer_says_what_it_is() {
        for body in [
            "",
            "{}",
            "null",
            "[]",
            "[1]",
            "<html>",
            r#"{"candidates": []}"#,
            r#"{"candidates": [5]}"#,
            r#"{"candidates": [{}]}"#,
            r#"{"candidates": [{"content": {"parts": [5]}}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"text": 5}]}}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}"#,
            r#"{"usageMetadata": {"promptTokenCount": 1}}"#,
            // A picture, which nobody could be shown.
            r#"{"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}]}"#,
        ] {
            assert!(matches!(decode_response(body.as_bytes()), Err(AnswerError::Malformed(_))), "{body}");
        }
        let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}});
        let words = "the prompt was blocked: PROHIBITED_CONTENT".to_owned();
        assert_eq!(decoded(&blocked), Err(AnswerError::Blocked(words)));
        let error = json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}});
        for body in [error.clone(), json!([error]), json!([candidate(json!({})), error])] {
            let Err(AnswerError::Error(error)) = decoded(&body) else { panic!("{body}") };
            assert_eq!((error.status(), error.kind.as_deref()), (Some(503), Some("UNAVAILABLE")));
        }
    }

    #[test]
    fn an_answer_that_ended_without_a_word_is_an_empty_text() {
        for content in [json!({"role": "model"}), json!({"parts": [{"text": "", "thoughtSignature": "s"}]})] {
            let body = candidate(json!({"content": content, "finishReason": "MAX_TOKENS"}));
            assert_eq!(decoded(&body).unwrap().choices[0].content, [Part::Text(String::new())]);
        }
    }

    #[test]
    fn parts_of_one_kind_are_one_wherever_they_are_cut() {
        let chunks = [
            candidate(json!({"content": {"parts": [{"text": "a", "thought": true}]}})),
            candidate(
                json!({"content": {"parts": [{"text": "b", "thought": true, "thoughtSignature": "s"}, {"text": "c"}]}}),
            ),
            candidate(json!({"content": {"parts": [{"text": "d"}]}, "finishReason": "STOP"})),
        ];
        let answer = assembled(&streamed(&chunks).unwrap()).unwrap();
        let thought = crate::chat::Reasoning { text: "ab".into(), signature: Some("s".into()) };
        assert_eq!(answer.choices[0].content, [Part::Reasoning(thought), Part::Text("cd".into())]);
        assert_eq!(decoded(&chunks.iter().cloned().collect()).unwrap(), answer);
    }

    #[test]
    fn a_call_without_an_id_gets_one_that_stays() {
        let call = json!({"functionCall": {"name": "f", "args": {"b": 1, "a": [2.5]}}});
        let own = json!({"functionCall": {"name": "f", "args": null, "id": "own"}});
        let body = candidate(json!({"content": {"parts": [call, own, call]}}));
        let answer = decoded(&body).unwrap();
        let calls: Vec<_> = answer.choices[0].tool_calls().collect();
        let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["call_r_0_0", "own", "call_r_0_2"]);
        assert_eq!(serde_json::from_str::<Value>(&calls[0].arguments).unwrap(), json!({"b": 1, "a": [2.5]}));
        assert_eq!(calls[1].arguments, "{}");
        assert_eq!(decoded(&body).unwrap(), answer);
    }

    #[test]
    fn live_sources_leave_a_mark_and_nothing_else_does() {
        let marked = |field: &str, value: Value| {
            let mut fields = json!({"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"});
            fields[field] = value;
            decoded(&candidate(fields)).unwrap().choices[0].unknown.clone()
        };
        let mark = marked("groundingMetadata", json!({"webSearchQueries": ["q"]}));
        assert!(mark[ANNOTATIONS].as_array().is_some_and(|sources| sources.len() == 1));
        assert!(marked("groundingMetadata", json!({})).is_empty());
        assert!(marked("citationMetadata", json!({"citations": [1]})).is_empty());
    }

    #[test]
    fn tokens_are_added_up_and_believed_within_reason() {
        let read = |usage: Value| {
            let mut body = candidate(json!({"content": {"parts": [{"text": "x"}]}}));
            body["usageMetadata"] = usage;
            decoded(&body).unwrap().usage
        };
        assert_eq!(
            read(json!({"promptTokenCount": 10, "toolUsePromptTokenCount": 2, "cachedContentTokenCount": 4,
                "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 24})),
            Some(Usage {
                prompt_tokens: 12,
                completion_tokens: 12,
                cached_tokens: Some(4),
                reasoning_tokens: Some(7),
                ..Usage::default()
            })
        );
        let begun = Usage { prompt_tokens: 10, ..Usage::default() };
        assert_eq!(read(json!({"promptTokenCount": 10, "totalTokenCount": 10})), Some(begun));
        for usage in [
            json!({}),
            json!({"candidatesTokenCount": 1}),
            json!({"promptTokenCount": -1}),
            json!({"promptTokenCount": 1, "candidatesTokenCount": 1e300}),
            json!({"promptTokenCount": 1, "thoughtsTokenCount": u64::MAX}),
        ] {
            assert_eq!(read(usage.clone()), None, "{usage}");
        }
    }

    /// Any part that the API may send.
    fn any_part() -> impl Strategy<Value = Value> {
        prop_oneof![
            ("[ab ]{0,3}", any::<bool>(), prop::option::of("[xy]")).prop_map(|(text, thought, signature)| {
                json!({"text": text, "thought": thought, "thoughtSignature": signature})
            }),
            ("[fg]", any_json(), prop::option::of("[12]"))
                .prop_map(|(name, args, id)| json!({"functionCall": {"name": name, "args": args, "id": id}})),
            any_json().prop_map(|code| json!({"executableCode": code})),
        ]
    }

    proptest! {
        #[test]
        fn an_answer_is_the_same_whole_and_streamed(
            chunks in prop::collection::vec(prop::collection::vec(any_part(), 0..4), 1..5),
        ) {
            let last = chunks.len() - 1;
            let with_end = |parts: &[Value], is_last: bool| {
                let finish = is_last.then_some("STOP");
                candidate(json!({"content": {"parts": parts}, "finishReason": finish, "index": 0}))
            };
            let events: Vec<_> =
                chunks.iter().enumerate().map(|(at, parts)| with_end(parts, at == last)).collect();
            let whole = decoded(&with_end(&chunks.concat(), true)).unwrap();
            prop_assert_eq!(assembled(&streamed(&events).unwrap()).unwrap(), whole);
        }

        #[test]
        fn any_json_is_an_answer_or_a_fault(body in any_json(), inner in any_json()) {
            let _ = decoded(&body);
            let _ = streamed([&body, &inner]);
            let _ = decoded(&candidate(inner.clone()));
            let _ = decoded(&candidate(json!({"content": {"parts": [inner, body]}})));
            let _ = decoded(&json!({"candidates": [{}], "usageMetadata": body, "promptFeedback": inner}));
        }
    }
}
