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
    /// Whether the stream broke after its answer was complete.
    is_over: bool,
}

impl StreamDecoder {
    /// Begins to read an answer of so many choices.
    pub fn new(format: Format, choices: u32) -> Self {
        Self { events: sse::Decoder::default(), reader: AnswerReader::new(format), choices, is_over: false }
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
            Some(body) => Err(refused(AnswerError::Error(body))),
            None => Err(ProviderError::broken_off()),
        }
    }

    /// Returns whether every choice asked for has said why it ended. Usage may follow, and a caller gives it a moment.
    pub fn is_complete(&self) -> bool {
        self.reader.is_finished(self.choices)
    }

    /// Returns whether nothing follows: the vendor said so, or the stream broke when the answer was complete.
    pub const fn is_done(&self) -> bool {
        self.is_over || self.reader.is_done()
    }

    fn read(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        for event in self.events.feed(bytes).map_err(ProviderError::malformed)? {
            self.reader.read(&event, deltas).map_err(refused)?;
        }
        Ok(())
    }

    fn read_rest(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(event) = self.events.finish().map_err(ProviderError::malformed)? {
            self.reader.read(&event, deltas).map_err(refused)?;
        }
        Ok(())
    }

    fn forgive(&mut self, read: Result<(), ProviderError>) -> Result<(), ProviderError> {
        if read.is_err() && self.is_complete() {
            self.is_over = true;
            return Ok(());
        }
        read
    }
}
