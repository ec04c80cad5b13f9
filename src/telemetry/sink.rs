//! Where log lines wait to be taken.
//!
//! Whoever logs does not wait for whoever reads: lines go through a bounded queue to a thread of their own, which alone
//! writes to standard error. Where the reader is gone, or does not keep up, lines are dropped and counted. A request that
//! waits for a terminal that somebody has stopped would be an outage, and one that panics over it would be worse.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that may wait.
const WAITING: usize = 4_096;
/// How long the last lines of a process are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines that nobody took.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many log lines of this process were dropped.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Piece {
    Line(Vec<u8>),
    /// Answered when all that came before was taken, or dropped.
    Mark(SyncSender<()>),
}

/// Takes lines and never fails; clones feed the same queue.
#[derive(Clone)]
pub(super) struct Sink(SyncSender<Piece>);

impl Sink {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// The system's, where it has no thread to give.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(WAITING);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || take(&pieces, out))?;
        Ok(Self(sender))
    }

    /// Waits until what was said so far is taken, for a second at most.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.0.try_send(Piece::Mark(done)).is_ok() {
            // Beyond that nobody seems to read.
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

impl Write for Sink {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Piece::Line(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn take(pieces: &Receiver<Piece>, mut out: impl Write) {
    for piece in pieces {
        match piece {
            Piece::Line(line) => {
                if out.write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Whoever asked may have stopped waiting.
            Piece::Mark(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A reader that keeps what it takes, and takes nothing while somebody looks at it.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_taken_in_their_order_and_those_beyond_the_queue_are_dropped() {
        let reader = Reader::default();
        let mut sink = Sink::start(reader.clone()).unwrap();
        sink.write_all(b"one\n").unwrap();
        sink.write_all(b"two\n").unwrap();
        sink.flush();
        assert_eq!(*reader.0.lock().unwrap(), b"one\ntwo\n");

        let before = dropped();
        let stopped = reader.0.lock().unwrap();
        for _ in 0..WAITING + 10 {
            sink.write_all(b"x").unwrap();
        }
        drop(stopped);
        assert!((9..=10).contains(&(dropped() - before)), "one may be in hand: {}", dropped() - before);
    }
}
