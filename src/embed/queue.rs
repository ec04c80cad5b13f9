//! Who waits for an instance, and how many may?

use std::collections::VecDeque;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{EmbedError, Embedding};

/// What an instance is to do, and the caller who waits for it.
pub(super) enum Job {
    Embed { text: String, reply: oneshot::Sender<Result<Embedding, EmbedError>> },
    Verify { asked: String, stored: String, reply: oneshot::Sender<Result<f32, EmbedError>> },
}

impl Job {
    /// Returns whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Embed { reply, .. } => reply.is_closed(),
            Self::Verify { reply, .. } => reply.is_closed(),
        }
    }
}

/// Texts in the order they came, between async callers and the instances' threads.
///
/// Pushing never blocks, popping does; that is why this is not one of tokio's channels. The instance that worked last
/// is woken first: its weights are still in the processor's cache. Taking turns, two instances need more than twice as
/// long for a short prompt, since each run fetches its weights from memory again.
pub(super) struct Queue {
    capacity: NonZeroUsize,
    state: Mutex<State>,
    closed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    /// Threads that found nothing to do; the last one to do so is at the end.
    idle: Vec<Thread>,
    closed: bool,
}

impl Queue {
    pub fn new(capacity: NonZeroUsize) -> Self {
        let state = State { jobs: VecDeque::with_capacity(capacity.get()), idle: Vec::new(), closed: false };
        Self { capacity, state: Mutex::new(state), closed: Condvar::new() }
    }

    /// Appends a job, or says at once that there is no room for it.
    pub fn push(&self, job: Job) -> Result<(), EmbedError> {
        let mut state = self.lock();
        if state.closed {
            return Err(EmbedError::Unavailable);
        }
        if state.jobs.len() >= self.capacity.get() {
            // Callers who gave up hold no place: after a stall only those who still wait count.
            state.jobs.retain(|job| !job.is_abandoned());
        }
        if state.jobs.len() >= self.capacity.get() {
            return Err(EmbedError::Overloaded { capacity: self.capacity.get() });
        }
        state.jobs.push_back(job);
        let woken = state.idle.pop();
        drop(state);
        if let Some(thread) = woken {
            thread.unpark();
        }
        Ok(())
    }

    /// Waits for the next job whose caller still waits; `None` once the queue is closed.
    pub fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.jobs.pop_front() {
                Some(job) if job.is_abandoned() => {}
                Some(job) => return Some(job),
                None => {
                    let me = thread::current();
                    state.idle.push(me.clone());
                    drop(state);
                    thread::park();
                    state = self.lock();
                    // Woken for no reason, it still stands there.
                    state.idle.retain(|idle| idle.id() != me.id());
                }
            }
        }
    }

    /// Waits for a while; returns early, and `false`, when the queue is closed.
    pub fn pause(&self, duration: Duration) -> bool {
        let waited = self.closed.wait_timeout_while(self.lock(), duration, |state| !state.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Refuses everything from now on; whoever waits learns that there will be no answer.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        let idle = mem::take(&mut state.idle);
        drop(state);
        for thread in idle {
            thread.unpark();
        }
        self.closed.notify_all();
    }

    /// Returns how many texts wait, those in an instance not counted.
    pub fn depth(&self) -> usize {
        self.lock().jobs.len()
    }

    /// No job runs under this lock, so what a panic may have left behind is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(job: Job) -> String {
        match job {
            Job::Embed { text, .. } => text,
            Job::Verify { asked, .. } => asked,
        }
    }

    type Reply = oneshot::Receiver<Result<Embedding, EmbedError>>;

    fn queue(capacity: usize) -> Queue {
        Queue::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn job(text: &str) -> (Job, Reply) {
        let (reply, answer) = oneshot::channel();
        (Job::Embed { text: text.into(), reply }, answer)
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let queue = queue(1);
        let (first, _first_waits) = job("first");
        queue.push(first).unwrap();
        assert_eq!(queue.push(job("second").0), Err(EmbedError::Overloaded { capacity: 1 }));
        assert_eq!(queue.depth(), 1);
    }

    #[test]
    fn callers_who_gave_up_hold_no_place_and_are_skipped() {
        let queue = queue(2);
        let (first, first_left) = job("first");
        let (second, _second_waits) = job("second");
        let (third, _third_waits) = job("third");
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        drop(first_left);
        queue.push(third).unwrap();
        assert_eq!(text_of(queue.pop().unwrap()), "second");

        let (fourth, fourth_left) = job("fourth");
        queue.push(fourth).unwrap();
        drop(fourth_left);
        assert_eq!(text_of(queue.pop().unwrap()), "third");
        queue.close();
        assert!(queue.pop().is_none());
    }

    #[test]
    fn the_one_who_worked_last_is_woken_first() {
        let queue = queue(4);
        let idle = || queue.lock().idle.len();
        let wait_for = |count| {
            while idle() != count {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| queue.pop().map(text_of));
            wait_for(1);
            let last = scope.spawn(|| queue.pop().map(text_of));
            wait_for(2);
            let (job, _waits) = job("only");
            queue.push(job).unwrap();
            assert_eq!(last.join().unwrap().as_deref(), Some("only"));
            queue.close();
            assert_eq!(first.join().unwrap(), None);
        });
    }

    #[test]
    fn closing_answers_everyone() {
        let queue = queue(2);
        let (waiting, mut answer) = job("waiting");
        queue.push(waiting).unwrap();
        std::thread::scope(|scope| {
            let paused = scope.spawn(|| queue.pause(Duration::from_secs(60)));
            queue.close();
            assert!(!paused.join().unwrap());
        });
        assert!(answer.try_recv().is_err());
        assert!(queue.pop().is_none());
        assert_eq!(queue.push(job("late").0), Err(EmbedError::Unavailable));
    }
}
