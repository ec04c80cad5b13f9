//! From the bytes of a streamed answer to its pieces.

use crate::chat::Delta;
use crate::wire::openai::ChunkDecoder;
use crate::wire::sse;

use super::ProviderError;
use super::openai::refused;

/// Reads one streamed answer. A new one is made for every call.
#[derive(Debug)]
pub struct StreamDecoder {
    events: sse::Decoder,
    chunks: ChunkDecoder,
    choices: u32,
}

impl StreamDecoder {
    pub(super) fn openai(choices: u32) -> Self {
        Self { events: sse::Decoder::default(), chunks: ChunkDecoder::default(), choices }
    }

    /// Takes the next bytes, cut anywhere, and returns the pieces that they complete: none for a comment or a ping,
    /// which is why those do not count as signs of progress.
    ///
    /// # Errors
    /// When the stream says an error or is no stream of answers; it is of no use after that. Pieces of the same bytes
    /// that came before the error are lost with it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Delta>, ProviderError> {
        let mut deltas = Vec::new();
        for event in self.events.feed(bytes).map_err(ProviderError::malformed)? {
            deltas.extend(self.chunks.decode(&event.data).map_err(refused)?);
        }
        Ok(deltas)
    }

    /// Takes the end of the bytes and returns the pieces that were left.
    ///
    /// # Errors
    /// When the answer was not complete.
    pub fn finish(&mut self) -> Result<Vec<Delta>, ProviderError> {
        let rest = match self.events.finish() {
            Ok(Some(event)) => self.chunks.decode(&event.data).map_err(refused),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(ProviderError::malformed(error)),
        };
        if self.is_complete() {
            // What breaks after the last finish reason takes at most the usage with it.
            return Ok(rest.unwrap_or_default());
        }
        rest.and_then(|deltas| if self.is_complete() { Ok(deltas) } else { Err(ProviderError::broken_off()) })
    }

    /// Returns whether every choice asked for has said why it ended. Usage may follow, and a caller gives it a moment.
    pub fn is_complete(&self) -> bool {
        self.chunks.is_finished(self.choices)
    }

    /// Returns whether the vendor has said that nothing follows.
    pub const fn is_done(&self) -> bool {
        self.chunks.is_done()
    }
}
