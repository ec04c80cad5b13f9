//! One answer to one request: steps, one after the other.

use std::time::Duration;

use super::format::{Failure, Words};
use crate::support::reply::Gate;

/// What is done with one request. What begins a body and says nothing of its end ends it in good order.
#[derive(Clone, Debug, Default)]
pub struct Reply(pub(super) Vec<Step>);

/// One thing that is done.
#[derive(Clone, Debug)]
pub enum Step {
    /// A header of the response, in place of the one that would be sent under its name.
    Header(String),
    /// The status of the response, where it is not 200.
    Status(u16),
    /// An answer in the vendor's words, streamed or whole as it was asked for.
    Answer(Words),
    /// An error in the vendor's words.
    Fail(u16, Failure),
    /// A body of this type, with its length.
    Body(String, Vec<u8>),
    /// The head of a body of this type that comes in pieces: in chunks, or with the length that it claims to have.
    Begin(String, Option<usize>),
    /// A piece of a streamed answer. Begins the stream where nothing has.
    Say(String),
    /// The same piece again and again, with a pause after each time, until the client leaves.
    SayEvery(Duration, String),
    /// The first half of what the prompt deserves, and the second.
    SayHalf,
    SayRest,
    /// An event of a stream with this data.
    Event(String),
    /// Why the answer ends.
    Finish(String),
    /// The last count of tokens: of the prompt, of the answer.
    Usage(u64, u64),
    /// `[DONE]`
    Done,
    /// Bytes of the body. Begins a stream where nothing has.
    Raw(Vec<u8>),
    /// The same bytes of the body, again and again, with a pause after each time, until the client leaves.
    Every(Duration, Vec<u8>),
    /// The same bytes of the body, again and again, as fast as they are taken: so many in all, or for ever.
    Pour(Option<usize>, Vec<u8>),
    /// A compressed body without end that is tiny as it travels.
    Bomb,
    /// Bytes of the connection, whatever is going on on it.
    Bytes(Vec<u8>),
    /// Nothing, for so long.
    Wait(Duration),
    /// Nothing, until the test lets it go on.
    Hold(Gate),
    /// Nothing, until the client leaves.
    Stall,
    /// The connection is closed: what was said before arrives.
    Close,
    /// The connection is reset: what was said before may be lost.
    Reset,
}

impl Reply {
    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// Answers with this text, streamed or whole as it is asked for.
    pub fn answer(text: &str) -> Self {
        Self(vec![Step::Answer(Words::text(text))])
    }

    /// Answers as the prompt deserves.
    pub fn well() -> Self {
        Self(vec![Step::Answer(Words::due())])
    }

    /// Fails with this status.
    pub fn fail(status: u16) -> Self {
        Self::failing(status, Failure::default())
    }

    /// Fails with this status and these words.
    pub fn failing(status: u16, failure: Failure) -> Self {
        Self(vec![Step::Fail(status, failure)])
    }

    /// Begins a stream by saying these pieces.
    pub fn saying(pieces: &[&str]) -> Self {
        Self(pieces.iter().map(|piece| Step::Say((*piece).to_owned())).collect())
    }

    /// Says nothing, ever.
    pub fn silent() -> Self {
        Self(vec![Step::Stall])
    }

    /// Does this before all else.
    pub fn after(mut self, step: Step) -> Self {
        self.0.insert(0, step);
        self
    }

    /// Does this next.
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Sends this header.
    pub fn header(self, line: &str) -> Self {
        self.after(Step::Header(line.to_owned()))
    }
}
