//! The body of an answer that is still being written.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::HttpError;
use super::record::Record;
use super::writer::Writer;
use crate::gateway::{GatewayError, LiveAnswer};
use crate::wire::sse;

/// Time of silence after which a comment goes out, before a proxy takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An answer on its way from the gateway to one caller. Dropping it ends that caller's wait alone.
pub(super) struct Live {
    answer: LiveAnswer,
    writer: Writer,
    limit: Duration,
    ends: Instant,
    record: Record,
    is_over: bool,
}

impl Live {
    pub(super) fn new(answer: LiveAnswer, writer: Writer, limit: Duration, record: Record) -> Self {
        Self { answer, writer, limit, ends: Instant::now() + limit, record, is_over: false }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut live| async {
            let bytes = live.next().await?;
            Some((Ok::<_, Infallible>(bytes), live))
        }))
    }

    /// Returns the next events as soon as there are any; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while out.is_empty() && !self.is_over {
            tokio::select! {
                biased;
                // Cancellation safe: the other branches lose no piece.
                next = self.answer.next() => match next {
                    Some(Ok(delta)) => self.writer.push(&delta, &mut out),
                    Some(Err(error)) => self.fail(HttpError::midway(error), &mut out),
                    None => self.finish(&mut out),
                },
                () = sleep_until(self.ends) => {
                    self.fail(GatewayError::Deadline(self.limit).into(), &mut out);
                }
                () = sleep(HEARTBEAT) => out.extend_from_slice(sse::HEARTBEAT),
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(conclusion) = self.answer.conclusion() {
            self.writer.conclude(conclusion);
        }
        self.writer.finish(out);
        self.is_over = true;
    }

    fn fail(&mut self, error: HttpError, out: &mut Vec<u8>) {
        self.writer.fail(&error, out);
        self.record.failed(&error);
        self.is_over = true;
    }
}
