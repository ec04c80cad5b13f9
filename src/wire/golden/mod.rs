//! Golden pairs: what came over the wire beside this file, and what we made of it in the snapshots.

mod anthropic;
mod gemini;
mod responses;

use serde_json::Value;

use super::openai::{
    ChunkDecoder, ChunkEncoder, Encoding, decode_response, encode_request, encode_response, parse_request,
};
use super::{ErrorShape, native, sse};
use crate::chat::{Assembly, Delta, LimitSpelling, Usage};

fn check(name: &str, seen: &str) {
    insta::with_settings!({snapshot_path => "", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, seen);
    });
}

fn pretty(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn a_request_with_everything_is_understood_and_forwarded() {
    let asked = parse_request(include_bytes!("request_full.json")).unwrap();
    check("request_full.parsed", &format!("{asked:#?}"));
    let encoding =
        Encoding { model: "gpt-4o-mini", stream: true, limit: LimitSpelling::MaxTokens, is_extended: false };
    check("request_full.openai", &pretty(&encode_request(&asked.request, encoding).unwrap()));
}

#[test]
fn a_native_request_is_put_to_openai() {
    let asked = native::parse_request(include_bytes!("request_native.json")).unwrap();
    let encoding = Encoding {
        model: "gpt-4o-mini",
        stream: false,
        limit: LimitSpelling::MaxCompletionTokens,
        is_extended: false,
    };
    check("request_native.openai", &pretty(&encode_request(&asked.request, encoding).unwrap()));
}

#[test]
fn an_answer_with_tools_is_read_and_written() {
    let answer = decode_response(include_bytes!("response_tools.json")).unwrap();
    check("response_tools.parsed", &format!("{answer:#?}"));
    check("response_tools.openai", &pretty(&encode_response(&answer)));
}

#[test]
fn streams_are_read_and_replayed() {
    for (name, bytes) in [
        ("stream_openai", include_bytes!("stream_openai.sse").as_slice()),
        ("stream_azure", include_bytes!("stream_azure.sse")),
        ("stream_vllm", include_bytes!("stream_vllm.sse")),
        ("stream_tools", include_bytes!("stream_tools.sse")),
    ] {
        let deltas = read(bytes);
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        assert!(assembly.is_finished(1), "{name}");
        let answer = assembly.into_answer().unwrap();
        check(&format!("{name}.parsed"), &format!("{answer:#?}"));

        let mut replay = Vec::new();
        let mut encoder = ChunkEncoder::new(true);
        answer.deltas().iter().for_each(|delta| encoder.push(delta, &mut replay));
        encoder.finish(&mut replay);
        check(&format!("{name}.replayed"), std::str::from_utf8(&replay).unwrap());
    }
}

fn read(bytes: &[u8]) -> Vec<Delta> {
    let mut events = sse::Decoder::default();
    let mut chunks = ChunkDecoder::default();
    let mut deltas = Vec::new();
    for event in events.feed(bytes).unwrap() {
        chunks.decode(&event.data, &mut deltas).unwrap();
    }
    assert!(chunks.is_done() && chunks.is_finished(1));
    deltas
}

#[test]
fn a_native_answer_is_written_whole_and_streamed() {
    let mut answer = native::NativeAnswer {
        id: "r-1".into(),
        text: Some("Paris.".into()),
        source: "semantic".into(),
        model: "gpt-4o-mini".into(),
        provider: "openai".into(),
        finish_reason: Some("stop".into()),
        usage: Some(Usage { prompt_tokens: 11, completion_tokens: 84, ..Usage::default() }),
        cache: native::NativeCache {
            key: Some("00".into()),
            tier: Some("semantic".into()),
            similarity: Some(0.968),
            age_seconds: Some(40),
            ttl_seconds: Some(86_360),
            ..native::NativeCache::default()
        },
        latency_ms: 1.7,
        ..native::NativeAnswer::default()
    };
    check("native.whole", std::str::from_utf8(&native::encode_answer(&answer)).unwrap());

    let mut stream = Vec::new();
    native::encode_delta("Par", &mut stream);
    native::encode_delta("is.", &mut stream);
    answer.text = None;
    native::encode_summary(&answer, &mut stream);
    check("native.streamed", std::str::from_utf8(&stream).unwrap());

    let mut stream = Vec::new();
    let error = ErrorShape {
        status: 502,
        message: "cut",
        kind: "server_error",
        param: None,
        code: Some("upstream_interrupted"),
    };
    native::encode_stream_error(&error, &mut stream);
    check("native.error", std::str::from_utf8(&stream).unwrap());
}
