//! Golden pairs of Gemini's format, which only upstreams speak.

use super::{check, pretty};
use crate::chat::{Assembly, ChatResponse};
use crate::wire::gemini::{ChunkDecoder, decode_response, encode_request};
use crate::wire::openai::{encode_response, parse_request};
use crate::wire::sse;

#[test]
fn a_request_with_everything_is_put_to_gemini() {
    let asked = parse_request(include_bytes!("request_gemini.json")).unwrap();
    check("request.gemini", &pretty(&encode_request(&asked.request, "gemini-3-pro").unwrap()));
}

#[test]
fn an_answer_of_gemini_is_read_and_written() {
    let answer = decode_response(include_bytes!("response_gemini.json")).unwrap();
    check("response_gemini.parsed", &format!("{answer:#?}"));
    check("response_gemini.openai", &pretty(&encode_response(&answer)));
}

#[test]
fn streams_of_gemini_are_read_and_written() {
    for (name, bytes) in [
        ("stream_gemini", include_bytes!("stream_gemini.sse").as_slice()),
        ("stream_gemini_cut", include_bytes!("stream_gemini_cut.sse")),
    ] {
        let answer = read(bytes);
        check(&format!("{name}.parsed"), &format!("{answer:#?}"));
        check(&format!("{name}.openai"), &pretty(&encode_response(&answer)));
    }
}

fn read(bytes: &[u8]) -> ChatResponse {
    let mut events = sse::Decoder::default();
    let mut chunks = ChunkDecoder::default();
    let mut deltas = Vec::new();
    for event in events.feed(bytes).unwrap() {
        chunks.decode(&event, &mut deltas).unwrap();
    }
    assert!(chunks.is_finished(1));
    let mut assembly = Assembly::default();
    deltas.iter().for_each(|delta| assembly.push(delta));
    assembly.into_answer().unwrap()
}
