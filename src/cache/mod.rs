//! May an answer that was given before be given again?
//!
//! [`Cache`] asks the tiers in turn: memory, then the store, then the semantic tier. A tier that fails or takes too
//! long is a miss, a counter and one warning: the cache may never break a request. The rules are pure and live apart:
//! `policy`, `freshness`, `decision`, `guards`, `volatile` do no I/O and read no clock.

mod clock;
pub mod decision;
mod freshness;
pub mod guards;
mod hits;
mod indexer;
mod judged;
mod judged_pairs;
mod memory;
mod nearest;
mod policy;
mod semantic;
mod stale;
mod sweeper;
pub mod volatile;
mod warm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use tokio_util::task::TaskTracker;

use crate::chat::{
    ChatRequest, Entry, Fingerprint, Key, KeyRules, ModelAlias, Namespace, SemanticKey, TenantId, Tier,
    Timing, UnixMillis,
};
use crate::config::{CacheMode, SemanticConfig};
use crate::embed::{EmbedError, Embedding};
use crate::index::Point;
use crate::store::{JudgedPair, NewEntry, RememberedRequest, Selection, Store, StoreError, StoredVector};
use crate::telemetry::Telemetry;

pub use clock::WallClock;
pub use freshness::Accepts;
pub use indexer::Indexer;
pub use judged::Judged;
pub use judged_pairs::JudgedPairs;
pub use policy::{Policy, Skip, judge_answer, judge_worth, shares_with_similar};
pub use semantic::{ModelLimits, SemanticTier};
pub use sweeper::{Keeping, Sweeper};
pub use warm::{Fate, Warm};

use hits::HitLog;
use memory::MemoryTier;
use semantic::Sought;

/// How long a look-up waits for the store: one read of a local file, or one of a database next door.
const STORE_BUDGET: Duration = Duration::from_millis(250);

/// All tiers together.
pub struct Cache {
    memory: MemoryTier,
    store: Arc<Store>,
    /// `None` where the model is missing: then only equal requests are answered.
    semantic: Option<SemanticTier>,
    judged: JudgedPairs,
    hits: HitLog,
    clock: WallClock,
    telemetry: Arc<Telemetry>,
    /// Writes under way; they are committed before the process ends.
    writes: TaskTracker,
    /// Shared by writes, taken alone by removals: what was answered before a removal began is stored before it, and
    /// so removed by it.
    removal: Arc<RwLock<()>>,
    /// Counts removals, so that what was read from the store before one is not put into memory after it.
    removals: AtomicU64,
}

/// What a request asks of the cache.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub request: &'a ChatRequest,
    pub tenant: &'a TenantId,
    pub namespace: &'a Namespace,
    pub model: &'a ModelAlias,
    pub key: &'a Key,
    pub rules: &'a KeyRules,
    /// How much of the cache may be read.
    pub read: CacheMode,
    pub accepts: Accepts,
    /// How long after its expiry an equal entry will do besides, because a fresh one is made meanwhile.
    pub grace: Duration,
    /// The caller's own threshold, which can only be stricter than the configured one.
    pub threshold: Option<f32>,
    pub settings: &'a SemanticConfig,
}

impl Question<'_> {
    fn limit(&self) -> Option<u32> {
        self.request.limit.map(|limit| limit.tokens)
    }

    /// Returns whether this entry, found under a similar request, may answer now. What the index or the memory says is
    /// only a pointer: whose it is, its age and its length are checked here, every time.
    fn admits(&self, entry: &Entry, now: UnixMillis) -> bool {
        self.admits_within(self.accepts, entry, now)
    }

    /// Returns the same of an entry under an equal request, which has the time of grace besides.
    fn admits_equal(&self, entry: &Entry, now: UnixMillis) -> bool {
        self.admits_within(self.accepts.or_stale_for(self.grace), entry, now)
    }

    fn admits_within(&self, accepts: Accepts, entry: &Entry, now: UnixMillis) -> bool {
        entry.tenant == *self.tenant && accepts.admits(entry, now) && entry.serves_limit(self.limit())
    }
}

/// What the cache has.
#[derive(Debug)]
pub enum Lookup {
    Hit(Hit),
    Miss(Miss),
}

/// An entry that may answer.
#[derive(Debug)]
pub struct Hit {
    pub entry: Arc<Entry>,
    pub tier: Tier,
    /// Cosine similarity, for the semantic tier.
    pub similarity: Option<f32>,
}

/// Nothing that may answer, and what was learned in finding that out.
#[derive(Debug, Default)]
pub struct Miss {
    /// The prompt's embedding, so that the write need not compute it again.
    pub embedding: Option<Embedding>,
}

/// An answer to take in.
#[derive(Debug)]
pub struct Insertion {
    pub entry: Arc<Entry>,
    /// The prompt's embedding, where it is known already.
    pub embedding: Option<Embedding>,
    /// Who has it bought ahead of time, and waits for its commit.
    pub warm: Option<Arc<Warm>>,
}

/// Why a stored entry has no vector yet.
#[derive(Debug, thiserror::Error)]
enum VectorError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Cache {
    /// Puts the tiers together.
    pub fn new(
        memory_capacity_bytes: u64,
        store: Arc<Store>,
        semantic: Option<SemanticTier>,
        judged: JudgedPairs,
        telemetry: Arc<Telemetry>,
        writes: TaskTracker,
    ) -> Self {
        Self {
            memory: MemoryTier::new(memory_capacity_bytes),
            store,
            semantic,
            judged,
            hits: HitLog::default(),
            clock: WallClock::default(),
            telemetry,
            writes,
            removal: Arc::default(),
            removals: AtomicU64::new(0),
        }
    }

    /// Returns the present, by a clock that never runs backwards.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Looks into memory once more, uncounted: for one who is about to have an answer generated that may have come
    /// since it looked first.
    pub fn recall_again(&self, question: &Question<'_>) -> Option<Hit> {
        let now = self.now();
        let entry = self.in_memory(question, now)?;
        self.hits.note(entry.key, now);
        Some(Hit { entry, tier: Tier::Memory, similarity: None })
    }

    fn in_memory(&self, question: &Question<'_>, now: UnixMillis) -> Option<Arc<Entry>> {
        self.memory.get(&question.key.fingerprint).filter(|entry| question.admits_equal(entry, now))
    }

    /// Looks into memory alone, which takes less than a microsecond and never waits.
    pub fn recall(&self, question: &Question<'_>, timing: &mut Timing) -> Option<Hit> {
        let began = Instant::now();
        let hit = self.recall_again(question);
        timing.cache = Some(millis_since(began));
        self.telemetry.lookup("memory", if hit.is_some() { "hit" } else { "miss" });
        hit
    }

    /// Looks through the tiers behind the memory. Never fails: what is broken or slow is a miss.
    ///
    /// The prompt is embedded, and its neighbours are sought, while the store is read: an entry that is in the store
    /// but not in memory is rare, and what it costs then is less than what every miss would wait.
    pub async fn look_up(&self, question: &Question<'_>, timing: &mut Timing) -> Lookup {
        let began = Instant::now();
        let now = self.now();
        let mut similar = std::pin::pin!(self.look_for_similar(question));
        let mut stored = std::pin::pin!(self.in_store(question, now));
        let mut found = None;
        let stored = tokio::select! {
            biased;
            stored = &mut stored => stored,
            similar = &mut similar => {
                found = Some(similar);
                stored.await
            }
        };
        *timing.cache.get_or_insert_default() += millis_since(began);
        if let Some(entry) = stored {
            self.hits.note(entry.key, now);
            return Lookup::Hit(Hit { entry, tier: Tier::Store, similarity: None });
        }
        let found = match found {
            Some(found) => found,
            None => similar.await,
        };
        let Some(sought) = found else {
            return Lookup::Miss(Miss::default());
        };
        let is_shadow = question.read == CacheMode::Shadow;
        let Sought { hit, embedding, outcome, timing: spent } =
            if is_shadow { sought.in_shadow() } else { sought };
        (timing.embed, timing.search, timing.verify) = (spent.embed, spent.search, spent.verify);
        self.telemetry.lookup("semantic", outcome);
        match hit {
            Some(hit) => {
                self.hits.note(hit.entry.key, now);
                Lookup::Hit(hit)
            }
            None => Lookup::Miss(Miss { embedding }),
        }
    }

    /// Asks the semantic tier, if there is one and the question may.
    async fn look_for_similar(&self, question: &Question<'_>) -> Option<Sought> {
        let tier = self.semantic.as_ref().filter(|_| question.read >= CacheMode::Shadow)?;
        let (key, prompt) = (question.key.semantic?, question.request.last_prompt()?);
        Some(tier.look_up(self, question, key, prompt).await)
    }

    async fn in_store(&self, question: &Question<'_>, now: UnixMillis) -> Option<Arc<Entry>> {
        let (found, outcome) = self.read_store(question, now).await;
        self.telemetry.lookup("store", outcome);
        found
    }

    /// Reads the store within its budget; returns what it has, and `hit`, `miss`, `error` or `timeout`.
    async fn read_store(
        &self,
        question: &Question<'_>,
        now: UnixMillis,
    ) -> (Option<Arc<Entry>>, &'static str) {
        match tokio::time::timeout(STORE_BUDGET, self.load_stored(&question.key.fingerprint)).await {
            Ok(Ok(found)) => {
                let found = found.filter(|entry| question.admits_equal(entry, now));
                let outcome = if found.is_some() { "hit" } else { "miss" };
                (found, outcome)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store failed a look-up, which is a miss");
                (None, "error")
            }
            Err(_) => {
                tracing::warn!("the store was too slow for a look-up, which is a miss");
                (None, "timeout")
            }
        }
    }

    /// Says what the exact tiers have for a question, without counting or keeping anything.
    pub async fn peek(&self, question: &Question<'_>) -> (&'static str, String) {
        let now = self.now();
        let outcome = |is_hit| if is_hit { "hit" } else { "miss" };
        let memory = self.in_memory(question, now).is_some();
        let store = match self.store.get(&question.key.fingerprint).await {
            Ok(found) => outcome(found.is_some_and(|entry| question.admits_equal(&entry, now))).to_owned(),
            Err(error) => error.to_string(),
        };
        (outcome(memory), store)
    }

    /// Loads an entry wherever it lies, and keeps nothing.
    async fn view(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        match self.memory.get(key) {
            Some(entry) => Ok(Some(entry)),
            None => Ok(self.store.get(key).await?.map(Arc::new)),
        }
    }

    /// Loads an entry wherever it lies, and keeps it in memory.
    async fn load(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        match self.memory.get(key) {
            Some(entry) => Ok(Some(entry)),
            None => self.load_stored(key).await,
        }
    }

    async fn load_stored(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        let removals = self.removals.load(Ordering::Acquire);
        let entry = self.store.get(key).await?.map(Arc::new);
        if let Some(entry) = &entry {
            self.memory.keep(entry);
            // Whatever was removed meanwhile may have been this one.
            if self.removals.load(Ordering::Acquire) != removals {
                self.memory.remove(key);
            }
        }
        Ok(entry)
    }

    /// Takes in an answer: into memory at once, into store and index in a tracked background task.
    pub fn insert(self: &Arc<Self>, insertion: Insertion) {
        self.memory.insert(Arc::clone(&insertion.entry));
        let cache = Arc::clone(self);
        // Taken now and not in the task: a removal that begins between the two must wait for this write.
        let turn = Arc::clone(&self.removal).try_read_owned().ok();
        self.writes.spawn(async move {
            let turn = match turn {
                Some(turn) => turn,
                None => Arc::clone(&cache.removal).read_owned().await,
            };
            cache.write(insertion, turn).await;
        });
    }

    /// Stores first, since the store is the truth, and tells the index after the commit.
    async fn write(&self, insertion: Insertion, turn: OwnedRwLockReadGuard<()>) {
        let Insertion { entry, embedding, warm } = insertion;
        let tier = self.semantic.as_ref().zip(entry.semantic);
        let vector = match (&tier, &embedding) {
            (Some((tier, key)), Some(embedding)) if !embedding.truncated() => {
                Some(tier.stored_vector(*key, embedding))
            }
            _ => None,
        };
        let owner = entry.owner_names().owner();
        let warmed = warm.as_ref().map(|warm| warm.mark().clone());
        let new = NewEntry { entry: Arc::clone(&entry), owner, vector: vector.clone(), warmed };
        let stored = self.store.put(new).await;
        // What is removed from here on is gone for good: a vector without its entry is not stored, and a point without
        // one leads nowhere.
        drop(turn);
        if let Some(warm) = warm {
            warm.settle(match &stored {
                Ok(()) => Fate::Stored,
                Err(error) => Fate::Unwritten(error.kind()),
            });
        }
        if let Err(error) = stored {
            self.telemetry.write_failed(error.kind());
            tracing::warn!(%error, "an answer could not be stored; it stays in memory");
            return;
        }
        let Some((tier, key)) = tier else { return };
        match (vector, embedding) {
            (Some(vector), _) => tier.index(point(&entry, vector)).await,
            // Longer than the model's window: for equal requests only.
            (None, Some(_)) => {}
            // The look-up did not get as far as an embedding, so it is made now, without a caller who waits.
            (None, None) => match self.embed_and_index(tier, key, &entry).await {
                Ok(()) => {}
                // The indexer finds entries without a vector and makes up for it.
                Err(VectorError::Embed(error)) => {
                    tracing::debug!(%error, "an answer was stored without its vector");
                }
                Err(VectorError::Store(error)) => tracing::warn!(%error, "a vector could not be stored"),
            },
        }
    }

    /// Embeds a stored entry's prompt and tells store and index, unless the prompt is longer than the model's window or
    /// the entry was removed meanwhile.
    async fn embed_and_index(
        &self,
        tier: &SemanticTier,
        key: SemanticKey,
        entry: &Entry,
    ) -> Result<(), VectorError> {
        let Some(prompt) = entry.request.last_prompt() else { return Ok(()) };
        let embedding = tier.embed(prompt, &self.telemetry).await?;
        if embedding.truncated() {
            return Ok(());
        }
        let vector = tier.stored_vector(key, &embedding);
        if self.store.put_vector(entry.key, vector.clone()).await? {
            tier.index(point(entry, vector)).await;
        }
        Ok(())
    }

    /// Notes which entry a request was answered by, so that feedback can name it. Lossy by design: feedback is rare
    /// and a request must not wait for it.
    pub fn remember_request(&self, tenant: &TenantId, request_id: &str, request: RememberedRequest) {
        self.store.remember_request(tenant, request_id, request);
    }

    /// Returns what is known of a request that was answered.
    ///
    /// # Errors
    /// The store's.
    pub async fn recall_request(
        &self,
        tenant: &TenantId,
        request_id: &str,
    ) -> Result<Option<RememberedRequest>, StoreError> {
        self.store.recall_request(tenant, request_id, self.now()).await
    }

    /// Forbids two requests ever to answer each other, or has them always do it.
    ///
    /// # Errors
    /// The store's; then nothing is changed.
    pub async fn judge_pair(&self, pair: JudgedPair) -> Result<(), StoreError> {
        let (keys, verdict) = (pair.keys, pair.verdict);
        self.store.judge_pair(pair).await?;
        self.judged.insert(keys.0, keys.1, verdict);
        self.telemetry.judged(verdict.name());
        Ok(())
    }

    /// Returns an entry, fresh or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn entry(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        self.load(key).await
    }

    /// Removes entries from every tier and returns how many there were.
    ///
    /// # Errors
    /// The store's; then the entries are still there.
    pub async fn remove(&self, keys: &[Fingerprint], reason: &'static str) -> Result<u64, StoreError> {
        let _alone = self.begin_removal().await;
        // Out of memory first: what is wrong must not be served on, even where the store cannot be reached.
        for key in keys {
            self.memory.remove(key);
        }
        let removed = self.store.remove(keys.to_vec()).await?;
        self.forget(keys).await;
        self.telemetry.removed(reason, removed);
        Ok(removed)
    }

    /// Removes all entries of a selection and returns how many there were. Goes on to its end even when the caller
    /// leaves.
    ///
    /// # Errors
    /// The store's; what was removed by then is gone.
    pub async fn remove_selected(
        self: &Arc<Self>,
        selection: &Selection,
        reason: &'static str,
    ) -> Result<u64, StoreError> {
        let (cache, selection) = (Arc::clone(self), selection.clone());
        let removal = self.writes.spawn(async move { cache.remove_now(&selection, reason).await });
        removal.await.unwrap_or(Err(StoreError::Panicked))
    }

    async fn remove_now(&self, selection: &Selection, reason: &'static str) -> Result<u64, StoreError> {
        let _alone = self.begin_removal().await;
        let keys = self.store.remove_selected(selection).await.inspect_err(|_| {
            // Some of it may be gone from the store, and nobody can say which: memory begins anew.
            self.memory.clear();
        })?;
        self.forget(&keys).await;
        self.telemetry.removed(reason, keys.len() as u64);
        Ok(keys.len() as u64)
    }

    async fn begin_removal(&self) -> RwLockWriteGuard<'_, ()> {
        let alone = self.removal.write().await;
        self.removals.fetch_add(1, Ordering::AcqRel);
        alone
    }

    /// Takes what is gone from the store out of the tiers that are derived from it.
    async fn forget(&self, keys: &[Fingerprint]) {
        for key in keys {
            self.memory.remove(key);
        }
        if let Some(semantic) = &self.semantic {
            semantic.forget(keys).await;
        }
    }

    /// Returns the truth behind the tiers.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Returns the semantic tier, unless its model is missing.
    pub fn semantic(&self) -> Option<&SemanticTier> {
        self.semantic.as_ref()
    }

    /// Returns entries and bytes of the memory tier.
    pub fn memory_holds(&self) -> (u64, u64) {
        self.memory.holds()
    }
}

fn point(entry: &Entry, vector: StoredVector) -> Point {
    Point {
        key: entry.key,
        vector: vector.vector.to_vec(),
        partition: vector.partition,
        owner: entry.owner_names().owner().to_string().into(),
        expires_at_ms: Some(entry.expires_at.0),
    }
}

fn millis_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
