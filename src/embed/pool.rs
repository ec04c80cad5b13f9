//! How are many callers served by a few instances?

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::catalog::{Catalog, Model};
use super::instance::{Instance, Opener};
use super::queue::{Job, Queue};
use super::verifier::Reader;
use super::{EmbedError, Embedder, EmbedderVersion, Embedding, LoadError, Verifier, runtime};

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The model of every instance.
    pub model: Model,
    /// The folder that `make models` fills; it also holds the folder of fastembed's hub.
    pub models_dir: PathBuf,
    /// How many instances, hence texts at a time. Each takes a thread and, with the default models, about 60 MB.
    pub threads: NonZeroUsize,
    /// How many texts may wait for an instance; one more is refused.
    pub queue: NonZeroUsize,
}

/// Instances of one model, each on its own thread, all fed by one bounded queue.
///
/// Dropping it refuses whoever waits, lets the runs that have begun finish, and joins the threads.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    version: EmbedderVersion,
    dimension: usize,
}

impl Pool {
    /// Loads ONNX Runtime and opens all instances; blocks until they are ready.
    ///
    /// # Errors
    /// [`LoadError`], which says what to mend. Nothing is left running then.
    pub fn start(options: PoolOptions) -> Result<Self, LoadError> {
        let library = Catalog::built_in().runtime_library(&options.models_dir)?;
        let environment = runtime::load(&library)?;
        let opener = Arc::new(Opener::new(options.model, &options.models_dir, environment));
        let open = {
            let opener = Arc::clone(&opener);
            move || {
                let models = Models { embedder: opener.open()?, verifier: opener.open_verifier()? };
                Ok(Box::new(models) as Run)
            }
        };
        let (shared, threads) = spawn(Arc::new(open), options.threads, options.queue)?;
        let (version, dimension) = (opener.version()?, opener.dimension()?);
        Ok(Self { shared, threads, version, dimension })
    }

    /// Returns how often an instance panicked and had to be opened anew.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Embedder for Pool {
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.shared.embed(text).await
    }

    fn version(&self) -> &EmbedderVersion {
        &self.version
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn queue_depth(&self) -> usize {
        self.shared.queue.depth()
    }
}

#[async_trait]
impl Verifier for Pool {
    async fn verify(&self, asked: &str, stored: &str) -> Result<f32, EmbedError> {
        self.shared.verify(asked, stored).await
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        stop(&self.shared, &mut self.threads);
    }
}

/// What an instance can do. It stays on the thread that opened it.
trait Runs {
    fn embed(&mut self, text: &str) -> Result<Embedding, EmbedError>;

    fn verify(&mut self, asked: &str, stored: &str) -> Result<f32, EmbedError>;
}

/// An opened instance.
type Run = Box<dyn Runs>;

/// One of each model.
struct Models {
    embedder: Instance,
    verifier: Reader,
}

impl Runs for Models {
    fn embed(&mut self, text: &str) -> Result<Embedding, EmbedError> {
        self.embedder.embed(text)
    }

    fn verify(&mut self, asked: &str, stored: &str) -> Result<f32, EmbedError> {
        self.verifier.verify(asked, stored)
    }
}

/// Opens an instance on the thread that will use it.
type Open = dyn Fn() -> Result<Run, LoadError> + Send + Sync;

struct Shared {
    queue: Queue,
    /// Instances that can take a text, or will when their run is over.
    alive: AtomicUsize,
    restarts: AtomicU64,
    /// Held while an instance is opened, so that no two hold a whole model file at the same time.
    opening: Mutex<()>,
}

impl Shared {
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.ask(|reply| Job::Embed { text: text.to_owned(), reply }).await
    }

    async fn verify(&self, asked: &str, stored: &str) -> Result<f32, EmbedError> {
        self.ask(|reply| Job::Verify { asked: asked.to_owned(), stored: stored.to_owned(), reply }).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, EmbedError> {
        if self.alive.load(Ordering::Relaxed) == 0 {
            return Err(EmbedError::Unavailable);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.push(job(reply))?;
        answer.await.unwrap_or(Err(EmbedError::Unavailable))
    }

    fn open(&self, open: &Open) -> Result<Run, LoadError> {
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        open()
    }
}

fn spawn(
    open: Arc<Open>,
    threads: NonZeroUsize,
    queue: NonZeroUsize,
) -> Result<(Arc<Shared>, Vec<JoinHandle<()>>), LoadError> {
    let shared = Arc::new(Shared {
        queue: Queue::new(queue),
        alive: AtomicUsize::new(threads.get()),
        restarts: AtomicU64::new(0),
        opening: Mutex::new(()),
    });
    let (ready, opened) = mpsc::channel();
    let mut running = Vec::with_capacity(threads.get());
    let spawned = (0..threads.get()).try_for_each(|number| {
        let (shared, open, ready) = (Arc::clone(&shared), Arc::clone(&open), ready.clone());
        let thread = std::thread::Builder::new().name(format!("embed-{number}"));
        let thread = thread.spawn(move || match shared.open(&*open) {
            Ok(run) => {
                // Nobody listens any more when another instance has failed; then the queue is closed, too.
                drop(ready.send(Ok(())));
                // Whoever waits for all instances waits for all senders to be gone.
                drop(ready);
                serve(&shared, &*open, run);
            }
            Err(error) => drop(ready.send(Err(error))),
        });
        running.push(thread.map_err(LoadError::Thread)?);
        Ok(())
    });
    drop(ready);
    let outcome = spawned.and_then(|()| opened.iter().collect::<Result<Vec<()>, LoadError>>());
    match outcome {
        Ok(ready) if ready.len() == threads.get() => Ok((shared, running)),
        Ok(_) => {
            stop(&shared, &mut running);
            Err(LoadError::Thread(std::io::Error::other("it panicked while it opened its model")))
        }
        Err(error) => {
            stop(&shared, &mut running);
            Err(error)
        }
    }
}

fn stop(shared: &Shared, threads: &mut Vec<JoinHandle<()>>) {
    shared.queue.close();
    for thread in threads.drain(..) {
        // A panic outside of a run has been printed by the panic hook; there is nobody left to tell.
        drop(thread.join());
    }
}

/// Serves texts until the queue is closed.
fn serve(shared: &Shared, open: &Open, mut run: Run) {
    let mut pause = PAUSE_FIRST;
    while let Some(job) = shared.queue.pop() {
        let is_whole = match job {
            Job::Embed { text, reply } => answer(reply, || run.embed(&text)),
            Job::Verify { asked, stored, reply } => answer(reply, || run.verify(&asked, &stored)),
        };
        if is_whole {
            pause = PAUSE_FIRST;
            continue;
        }
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        shared.alive.fetch_sub(1, Ordering::Relaxed);
        drop(run);
        match reopen(shared, open, &mut pause) {
            Some(reopened) => run = reopened,
            None => return,
        }
        shared.alive.fetch_add(1, Ordering::Relaxed);
    }
}

type Reply<T> = oneshot::Sender<Result<T, EmbedError>>;

/// Runs a job and tells its caller, who may have left during the run. Returns whether the instance can go on: not after a
/// panic, whose own message may quote the text, so that it goes no further than the panic hook.
fn answer<T>(reply: Reply<T>, run: impl FnOnce() -> Result<T, EmbedError>) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let is_whole = outcome.is_ok();
    let panicked = |_| {
        let reason = "the embedding instance panicked and is being opened anew".to_owned();
        Err(EmbedError::Failed { reason })
    };
    drop(reply.send(outcome.unwrap_or_else(panicked)));
    is_whole
}

/// Pause before an instance is opened again after a panic; doubled up to [`PAUSE_MAX`] until a run succeeds, so that
/// a text which always panics costs no more than it must.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Opens an instance again, however often it takes; `None` once the queue is closed.
fn reopen(shared: &Shared, open: &Open, pause: &mut Duration) -> Option<Run> {
    loop {
        tracing::warn!(
            embed.pause_ms = pause.as_millis(),
            "an embedding instance stopped and will be opened anew"
        );
        if !shared.queue.pause(*pause) {
            return None;
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
        match catch_unwind(AssertUnwindSafe(|| shared.open(open))) {
            Ok(Ok(run)) => return Some(run),
            Ok(Err(error)) => tracing::warn!(%error, "an embedding instance could not be opened"),
            Err(_) => tracing::warn!("opening an embedding instance panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tasks and gates that end with a test"
    )]

    use super::*;

    impl<F: FnMut(&str) -> Result<Embedding, EmbedError>> Runs for F {
        fn embed(&mut self, text: &str) -> Result<Embedding, EmbedError> {
            self(text)
        }

        fn verify(&mut self, _: &str, _: &str) -> Result<f32, EmbedError> {
            Err(EmbedError::Unavailable)
        }
    }

    fn count(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    fn vector(tokens: usize) -> Result<Embedding, EmbedError> {
        Embedding::new(&[1.0, 0.0], tokens, false)
    }

    /// A pool of one whose run is a closure, with a gate: each text waits for one message.
    fn gated(queue: usize) -> (Pool, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let (gate, passes) = mpsc::channel::<()>();
        let (seen, begun) = mpsc::channel();
        let passes = Mutex::new(Some((passes, seen)));
        let pool = pool(1, queue, move || {
            let (passes, seen) = passes.lock().unwrap().take().unwrap();
            Ok(Box::new(move |text: &str| {
                seen.send(text.to_owned()).unwrap();
                // A gate that is gone stands open.
                let _ = passes.recv();
                vector(text.len())
            }))
        });
        (pool.unwrap(), gate, begun)
    }

    fn pool(
        threads: usize,
        queue: usize,
        open: impl Fn() -> Result<Run, LoadError> + Send + Sync + 'static,
    ) -> Result<Pool, LoadError> {
        let (shared, threads) = spawn(Arc::new(open), count(threads), count(queue))?;
        Ok(Pool { shared, threads, version: EmbedderVersion::new("test"), dimension: 2 })
    }

    /// Asks for a vector in a task of its own, and lets that task get as far as the queue.
    async fn ask(
        pool: &Arc<Pool>,
        text: &'static str,
    ) -> tokio::task::JoinHandle<Result<Embedding, EmbedError>> {
        let pool = Arc::clone(pool);
        let asking = tokio::spawn(async move { pool.embed(text).await });
        tokio::task::yield_now().await;
        asking
    }

    #[tokio::test]
    async fn more_than_may_wait_is_refused_at_once() {
        let (pool, gate, begun) = gated(1);
        let pool = Arc::new(pool);
        let running = ask(&pool, "running").await;
        assert_eq!(begun.recv().unwrap(), "running");
        let waiting = ask(&pool, "waiting").await;
        assert_eq!(pool.queue_depth(), 1);
        assert_eq!(pool.embed("refused").await, Err(EmbedError::Overloaded { capacity: 1 }));
        drop(gate);
        assert!(running.await.unwrap().is_ok());
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_text_whose_caller_left_is_never_run() {
        let (pool, gate, begun) = gated(8);
        let pool = Arc::new(pool);
        let first = ask(&pool, "first").await;
        assert_eq!(begun.recv().unwrap(), "first");
        let second = ask(&pool, "second").await;
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        let third = ask(&pool, "third").await;
        drop(gate);
        assert!(first.await.unwrap().is_ok() && third.await.unwrap().is_ok());
        assert_eq!(begun.try_iter().collect::<Vec<_>>(), ["third"]);
    }

    #[tokio::test]
    async fn an_instance_that_panics_fails_one_text_and_is_opened_anew() {
        let opened = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&opened);
        let pool = pool(1, 8, move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(|text: &str| match text {
                "bad" => panic!("cannot read that"),
                text => vector(text.len()),
            }))
        });
        let pool = pool.unwrap();
        let error = pool.embed("bad").await.unwrap_err();
        assert_eq!(error.kind(), "failed");
        assert!(!error.to_string().contains("cannot read that"), "a panic's message may quote the text");
        // Until the instance is back, callers hear so at once or wait for it; both end.
        let embedding = loop {
            match pool.embed("good").await {
                Ok(embedding) => break embedding,
                Err(error) => assert_eq!(error, EmbedError::Unavailable),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(embedding.tokens(), 4);
        assert_eq!(opened.load(Ordering::SeqCst), 2);
        assert_eq!(pool.restarts(), 1);
    }

    #[tokio::test]
    async fn closing_lets_a_run_end_and_refuses_who_waits() {
        let (pool, gate, begun) = gated(8);
        let pool = Arc::new(pool);
        let running = ask(&pool, "running").await;
        assert_eq!(begun.recv().unwrap(), "running");
        let waiting = ask(&pool, "waiting").await;
        pool.shared.queue.close();
        assert_eq!(waiting.await.unwrap(), Err(EmbedError::Unavailable));
        assert_eq!(pool.embed("late").await, Err(EmbedError::Unavailable));
        drop(gate);
        assert!(running.await.unwrap().is_ok());
        assert_eq!(begun.try_iter().count(), 0);
    }

    #[test]
    fn one_instance_that_cannot_open_stops_the_start() {
        let opened = AtomicUsize::new(0);
        let started = pool(3, 8, move || match opened.fetch_add(1, Ordering::SeqCst) {
            1 => Err(LoadError::Model { name: "m".into(), reason: "broken".into() }),
            _ => Ok(Box::new(|_: &str| vector(1))),
        });
        assert!(started.err().unwrap().to_string().contains("broken"));
    }

    #[test]
    fn an_instance_that_panics_while_it_opens_stops_the_start() {
        assert!(pool(2, 8, || panic!("no memory")).is_err());
    }
}
