//! Anthropic's golden pairs: requests, answers and streams as its API takes and sends them.

use super::{check, pretty};
use crate::chat::{Assembly, ChatResponse, Delta, LimitSpelling};
use crate::wire::anthropic::{
    EventDecoder, EventEncoder, decode_response, encode_request, encode_response, parse_request,
};
use crate::wire::{openai, sse};

#[test]
fn a_request_is_understood_and_forwarded() {
    let asked = parse_request(include_bytes!("request_anthropic.json")).unwrap();
    check("request_anthropic.parsed", &format!("{asked:#?}"));
    check(
        "request_anthropic.anthropic",
        &pretty(&encode_request(&asked.request, "claude-opus-5", true).unwrap()),
    );
    let encoding = openai::Encoding {
        model: "gpt-4o-mini",
        stream: true,
        limit: LimitSpelling::MaxCompletionTokens,
        is_extended: true,
    };
    check("request_anthropic.openai", &pretty(&openai::encode_request(&asked.request, encoding).unwrap()));
}

#[test]
fn what_only_anthropic_knows_reaches_anthropic() {
    let asked = parse_request(include_bytes!("request_anthropic_own.json")).unwrap();
    let bytes = encode_request(&asked.request, "claude-opus-5", false).unwrap();
    check("request_anthropic_own.anthropic", &pretty(&bytes));
}

#[test]
fn a_native_request_is_put_to_anthropic() {
    let asked = crate::wire::native::parse_request(include_bytes!("request_native.json")).unwrap();
    check(
        "request_native.anthropic",
        &pretty(&encode_request(&asked.request, "claude-opus-5", false).unwrap()),
    );
}

#[test]
fn an_answer_is_read_and_written() {
    let answer = decode_response(include_bytes!("response_anthropic.json")).unwrap();
    check("response_anthropic.parsed", &format!("{answer:#?}"));
    check("response_anthropic.anthropic", &pretty(&encode_response(&answer)));
    check("response_anthropic.openai", &pretty(&openai::encode_response(&answer)));
}

#[test]
fn an_answer_of_openai_is_shown_as_anthropics() {
    let answer = openai::decode_response(include_bytes!("response_tools.json")).unwrap();
    check("response_tools.anthropic", &pretty(&encode_response(&answer)));
}

#[test]
fn streams_are_read_and_replayed() {
    for (name, bytes) in [
        ("stream_anthropic", include_bytes!("stream_anthropic.sse").as_slice()),
        ("stream_anthropic_search", include_bytes!("stream_anthropic_search.sse")),
    ] {
        let (deltas, answer) = read(bytes);
        check(&format!("{name}.parsed"), &format!("{answer:#?}"));
        check(&format!("{name}.replayed"), &replayed(&answer.deltas()));
        // What passes through piece by piece says the same as what is replayed.
        assert_eq!(read(replayed(&deltas).as_bytes()).1, answer, "{name}");
    }
}

fn replayed(deltas: &[Delta]) -> String {
    let mut stream = Vec::new();
    let mut encoder = EventEncoder::default();
    deltas.iter().for_each(|delta| encoder.push(delta, &mut stream));
    encoder.finish(&mut stream);
    String::from_utf8(stream).unwrap()
}

fn read(bytes: &[u8]) -> (Vec<Delta>, ChatResponse) {
    let (mut decoder, mut deltas) = (EventDecoder::default(), Vec::new());
    for event in sse::Decoder::default().feed(bytes).unwrap() {
        decoder.decode(&event, &mut deltas).unwrap();
    }
    assert!(decoder.is_done() && decoder.is_finished());
    let mut assembly = Assembly::default();
    deltas.iter().for_each(|delta| assembly.push(delta));
    assert!(assembly.is_finished(1));
    (deltas, assembly.into_answer().unwrap())
}
