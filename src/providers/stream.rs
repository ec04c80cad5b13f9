//! From the bytes of a streamed answer to its pieces.

use super::ProviderError;
use super::classes::refused;
use crate::chat::Delta;
use crate::wire::{AnswerError, AnswerReader, ErrorBody, Format, sse};

/// Reads one streamed answer. A new one is made for every call.
#[derive(Debug)]
pub struct StreamDecoder {
    events: sse::Decoder,
    reader: AnswerReader,
    choices: u32,
    /// The choices that have ended.
    finished: Vec<u32>,
    /// Whether the stream broke after its answer was complete.
    is_over: bool,
}

impl StreamDecoder {
    /// Begins to read an answer of so many choices.
    pub fn new(format: Format, choices: u32) -> Self {
        Self {
            events: sse::Decoder::default(),
            reader: AnswerReader::new(format),
            choices,
            finished: Vec::new(),
            is_over: false,
        }
    }

    /// Takes the next bytes, cut anywhere, and adds the pieces that they complete: none for a comment or a ping,
    /// which is why those do not count as signs of progress.
    ///
    /// # Errors
    /// When the stream says an error or is no stream of answers; it is of no use after that, but the pieces that came
    /// before are good. What breaks after the answer is complete costs at most its usage and is no error.
    pub fn feed(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let read = self.read(bytes, deltas);
        self.forgive(read)
    }

    /// Takes the end of the bytes and adds the pieces that were left.
    ///
    /// # Errors
    /// When the answer was not complete.
    pub fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let read = self.read_rest(deltas);
        self.forgive(read)?;
        if self.is_complete() {
            return Ok(());
        }
        // Google and llama.cpp say what went wrong outside of any event.
        match ErrorBody::decode(self.events.stray().as_bytes()) {
            Some(body) => Err(refused(AnswerError::Error(Box::new(body)))),
            None => Err(ProviderError::broken_off()),
        }
    }

    /// Returns whether every choice asked for has said why it ended. Usage may follow, and a caller gives it a moment.
    pub fn is_complete(&self) -> bool {
        self.reader.is_finished(self.choices)
    }

    /// Returns how many pieces were taken in of which nothing is told yet. While it grows the vendor is at work.
    pub const fn kept(&self) -> usize {
        self.reader.kept()
    }

    /// Returns whether nothing follows: the vendor said so, or the stream broke when the answer was complete.
    pub const fn is_done(&self) -> bool {
        self.is_over || self.reader.is_done()
    }

    fn read(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        for event in self.events.feed(bytes).map_err(ProviderError::malformed)? {
            self.read_event(&event, deltas)?;
        }
        Ok(())
    }

    fn read_rest(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(event) = self.events.finish().map_err(ProviderError::malformed)? {
            self.read_event(&event, deltas)?;
        }
        Ok(())
    }

    /// What a vendor repeats after the end of a choice is no part of it (fault 50).
    fn read_event(&mut self, event: &sse::Event, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let from = deltas.len();
        let read = self.reader.read(event, deltas).map_err(refused);
        for delta in deltas.split_off(from) {
            let choice = choice_of(&delta);
            if choice.is_some_and(|choice| self.finished.contains(&choice)) {
                continue;
            }
            if let Delta::Finish { choice, .. } = &delta {
                self.finished.push(*choice);
            }
            deltas.push(delta);
        }
        read
    }

    fn forgive(&mut self, read: Result<(), ProviderError>) -> Result<(), ProviderError> {
        if read.is_err() && self.is_complete() {
            self.is_over = true;
            return Ok(());
        }
        read
    }
}

/// Returns the choice that a piece belongs to; `None` for what belongs to the answer.
const fn choice_of(delta: &Delta) -> Option<u32> {
    match delta {
        Delta::Start { .. } | Delta::Late { .. } | Delta::Usage(_) => None,
        Delta::Break { choice }
        | Delta::Text { choice, .. }
        | Delta::Citation { choice, .. }
        | Delta::Reasoning { choice, .. }
        | Delta::Refusal { choice, .. }
        | Delta::ToolCall { choice, .. }
        | Delta::Part { choice, .. }
        | Delta::Logprobs { choice, .. }
        | Delta::Unknown { choice, .. }
        | Delta::Finish { choice, .. } => Some(*choice),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::chat::Assembly;
    use crate::providers::ProviderErrorKind;
    use proptest::prelude::*;

    #[test]
    fn what_came_before_an_error_is_not_lost_with_it() {
        let mut stream = StreamDecoder::new(Format::OpenAi, 1);
        let mut deltas = Vec::new();
        let bytes = concat!(
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"said\"}}]}\n\n",
            "data: {\"error\": {\"message\": \"broken\", \"code\": 502}}\n\n",
        );
        let error = stream.feed(bytes.as_bytes(), &mut deltas).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::ServerError);
        assert!(deltas.contains(&Delta::Text { choice: 0, text: "said".into() }));
    }

    #[test]
    fn what_is_repeated_after_the_end_of_a_choice_is_no_part_of_it() {
        let said = r#"data: {"id":"1","choices":[{"index":0,"delta":{"content":"said"}}]}"#;
        let stop = r#"data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage = r#"data: {"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let bytes = [said, stop, said, stop, usage, "data: [DONE]"].join("\n\n") + "\n\n";
        let deltas = read([bytes.as_bytes()]).unwrap();
        let mut assembly = Assembly::default();
        deltas.iter().for_each(|delta| assembly.push(delta));
        let answer = assembly.into_answer().unwrap();
        assert_eq!((answer.text().as_ref(), answer.usage.is_some()), ("said", true));
        assert!(matches!(deltas.as_slice(), [_, Delta::Text { .. }, Delta::Finish { .. }, Delta::Usage(_)]));
    }

    #[test]
    fn an_error_outside_of_any_event_is_read_at_the_end() {
        for (bytes, kind) in [
            (
                "{\n  \"error\": {\"code\": 503, \"status\": \"UNAVAILABLE\"}\n}\n",
                ProviderErrorKind::Overloaded,
            ),
            ("error: {\"code\": 400, \"message\": \"x\"}\n\n", ProviderErrorKind::BadRequest),
            ("nonsense\n\n", ProviderErrorKind::Malformed),
        ] {
            let mut stream = StreamDecoder::new(Format::OpenAi, 1);
            stream.feed(bytes.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(stream.finish(&mut Vec::new()).unwrap_err().kind, kind, "{bytes}");
        }
    }

    const STREAM: &str = concat!(
        ": ping\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße 🦀\"}}]}\r\n\r\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        "data: [DONE]",
    );

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Delta>, ProviderError> {
        read_as(Format::OpenAi, chunks)
    }

    /// Reads a whole stream of one choice, cut like this.
    pub(in crate::providers) fn read_as<'a>(
        format: Format,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Delta>, ProviderError> {
        let mut stream = StreamDecoder::new(format, 1);
        let mut deltas = Vec::new();
        for chunk in chunks {
            stream.feed(chunk, &mut deltas)?;
        }
        stream.finish(&mut deltas)?;
        Ok(deltas)
    }

    /// Cuts a text here and there, in the middle of its characters too.
    pub(in crate::providers) fn chunks<'a>(
        text: &'a str,
        cuts: &'a mut Vec<usize>,
    ) -> impl Iterator<Item = &'a [u8]> {
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]])
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_pieces(mut cuts in prop::collection::vec(0..=STREAM.len(), 0..9)) {
            prop_assert_eq!(read(chunks(STREAM, &mut cuts)), read([STREAM.as_bytes()]));
        }

        #[test]
        fn a_stream_cut_before_its_finish_reason_is_never_complete(cut in 0..STREAM.len()) {
            let finish = STREAM.find("stop").unwrap();
            let read = read([&STREAM.as_bytes()[..cut]]);
            if cut <= finish {
                prop_assert!(read.is_err());
            }
            if let Ok(deltas) = read {
                let mut assembly = Assembly::default();
                deltas.iter().for_each(|delta| assembly.push(delta));
                prop_assert!(assembly.is_finished(1));
                let answer = assembly.into_answer().unwrap();
                prop_assert_eq!(answer.text(), "Grüße 🦀");
            }
        }
    }

    #[test]
    fn an_answer_is_complete_before_the_stream_is_over_and_nothing_after_that_spoils_it() {
        let mut stream = StreamDecoder::new(Format::OpenAi, 1);
        let (head, tail) = STREAM.split_at(STREAM.find("data: {\"id\":\"1\",\"choices\":[],").unwrap());
        assert!(!stream.is_complete());
        stream.feed(head.as_bytes(), &mut Vec::new()).unwrap();
        assert!(stream.is_complete() && !stream.is_done());
        stream.feed(tail.as_bytes(), &mut Vec::new()).unwrap();
        stream.finish(&mut Vec::new()).unwrap();
        assert!(stream.is_done());

        let mut stream = StreamDecoder::new(Format::OpenAi, 1);
        stream.feed(head.as_bytes(), &mut Vec::new()).unwrap();
        let mut late = Vec::new();
        assert_eq!(stream.feed(b"data: {\"error\": {\"message\": \"late\"}}\n\n", &mut late), Ok(()));
        assert!(late.is_empty());
        assert!(stream.is_done());
    }
}
