//! How long a connection may keep us waiting, reading and writing.
//!
//! hyper has one timer for the head of a request, and it also runs while a kept-alive connection lies idle. Ten
//! seconds are right for the first and too short for the second: SDKs would find their pooled connections closed.
//! So the timer handed to hyper looks at the socket: until the first byte of the next request has come the idle
//! limit holds, from then on the head's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The number of reads that brought bytes, shared between a socket and its timer.
///
/// Both live in the connection's one task, so the order of memory accesses is that of the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(Arc<AtomicU64>);

impl Reads {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket that counts its reads, and fails when the other side does not read what it is sent.
#[derive(Debug)]
pub(super) struct Patient<S> {
    socket: S,
    reads: Reads,
    unread: Duration,
    /// Running while a write waits for room.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(socket: S, reads: Reads, unread: Duration) -> Self {
        Self { socket, reads, unread, stalled: None }
    }

    /// Passes on the result of a write, which fails when it has been waiting for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let unread = self.unread;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(unread))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.reads.increment();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The timer of one connection. hyper asks it for one sleep per head.
#[derive(Debug)]
pub(super) struct HeadTimer {
    reads: Reads,
    head: Duration,
    idle: Duration,
    has_begun: AtomicBool,
}

impl HeadTimer {
    pub(super) fn new(reads: Reads, head: Duration, idle: Duration) -> Self {
        Self { reads, head, idle, has_begun: AtomicBool::new(false) }
    }

    fn next_head(&self) -> HeadSleep {
        // Nobody connects in order to say nothing: the first head has no idle time before it.
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        let limit = if is_first { self.head } else { self.idle };
        HeadSleep {
            sleep: Box::pin(sleep(limit)),
            reads: self.reads.clone(),
            idle_since: (!is_first).then(|| self.reads.count()),
            head: self.head,
        }
    }
}

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.next_head())
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.next_head())
    }
}

/// The wait for one head.
#[derive(Debug)]
struct HeadSleep {
    sleep: Pin<Box<Sleep>>,
    reads: Reads,
    /// The count of reads when the wait began; `None` once the head has begun to come.
    idle_since: Option<u64>,
    head: Duration,
}

impl Future for HeadSleep {
    type Output = ();

    /// hyper polls this after every read that did not complete the head, so a first byte is noticed when it comes.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.idle_since.is_some_and(|count| count != self.reads.count()) {
            self.idle_since = None;
            let limit = tokio::time::Instant::now() + self.head;
            self.sleep.as_mut().reset(limit);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for HeadSleep {}
