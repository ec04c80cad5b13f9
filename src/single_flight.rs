//! How often is a question asked upstream that many ask at once? Once.
//!
//! The first to ask a key is its leader; whoever asks the same key before the leader has ended is a follower, who is
//! given all that has come so far and then follows live. Knows no domain type: `I` is a piece of the answer, `R` the
//! whole, `E` a failure.
//!
//! Every ending of a leader has a name in [`Ending`]. A leader that is dropped without one, because its task panicked
//! or was aborted, has [`Ending::Vanished`]: followers never wait for somebody who is gone. Failures are shared with
//! those who were waiting at that moment and never remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// How a leader ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending<R, E> {
    /// The answer is complete and was taken into the cache.
    Done(R),
    /// The answer is complete but cannot be cached. Those who were waiting asked the very same question at the same
    /// time, so they share it; whoever comes later leads anew.
    NotCacheable(R),
    /// There is no answer.
    Failed(E),
    /// The leader ran out of time.
    TimedOut,
    /// The leader's task panicked or was aborted.
    Vanished,
}

/// The flights under way.
#[derive(Debug)]
pub struct SingleFlight<K, I, R, E> {
    flights: Arc<Mutex<Flights<K, I, R, E>>>,
    capacity: usize,
}

type Flights<K, I, R, E> = HashMap<K, Arc<Flight<I, R, E>>>;

/// What one who asks turns out to be.
#[derive(Debug)]
pub enum Role<K: Hash + Eq, I, R, E> {
    /// The first: it must fly, and follows itself like any other.
    Leader(Leader<K, I, R, E>, Follower<I, R, E>),
    /// Somebody is on the way already.
    Follower(Follower<I, R, E>),
}

/// Until when somebody waits for a flight: the latest moment of all who have taken part. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Wanted(Arc<Mutex<Instant>>);

impl Wanted {
    /// Returns the patience of one who waits until then.
    pub fn until(moment: Instant) -> Self {
        Self(Arc::new(Mutex::new(moment)))
    }

    /// Returns the latest moment that anybody has named so far.
    pub fn latest(&self) -> Instant {
        *lock(&self.0)
    }

    fn extend(&self, moment: Instant) {
        let mut latest = lock(&self.0);
        *latest = (*latest).max(moment);
    }
}

/// So many different questions are under way that no more can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<K: Hash + Eq + Clone, I: Clone, R: Clone, E: Clone> SingleFlight<K, I, R, E> {
    /// Returns a register of at most `capacity` flights at a time.
    pub fn new(capacity: usize) -> Self {
        Self { flights: Arc::default(), capacity }
    }

    /// Takes part in the flight of this key, as its leader if there is none, and waits for it until `wanted`.
    ///
    /// # Errors
    /// [`Full`] when a new flight would be one too many.
    pub fn join(&self, key: K, wanted: Instant) -> Result<Role<K, I, R, E>, Full> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&key) {
            flight.wanted.extend(wanted);
            return Ok(Role::Follower(Follower::of(flight)));
        }
        if flights.len() >= self.capacity {
            return Err(Full);
        }
        let flight = Arc::new(Flight::new(wanted));
        flights.insert(key.clone(), Arc::clone(&flight));
        let follower = Follower::of(&flight);
        let leader = Leader { key: Some(key), flight, flights: Arc::clone(&self.flights) };
        Ok(Role::Leader(leader, follower))
    }

    /// Returns a flight of one's own, which nobody can join.
    pub fn alone(&self, wanted: Instant) -> Role<K, I, R, E> {
        let flight = Arc::new(Flight::new(wanted));
        let follower = Follower::of(&flight);
        Role::Leader(Leader { key: None, flight, flights: Arc::clone(&self.flights) }, follower)
    }

    /// Returns the number of flights under way that can be joined.
    pub fn len(&self) -> usize {
        lock(&self.flights).len()
    }

    /// Returns whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Flight<I, R, E> {
    log: Mutex<Log<I, R, E>>,
    /// Counts the changes of the log; its value means nothing else.
    changed: watch::Sender<()>,
    /// Followers left, and a signal whenever one leaves.
    followers: AtomicUsize,
    left: watch::Sender<()>,
    wanted: Wanted,
}

#[derive(Debug)]
struct Log<I, R, E> {
    items: Vec<I>,
    /// Whether a follower has taken a piece, after which none can be withdrawn.
    is_taken: bool,
    ending: Option<Ending<R, E>>,
}

impl<I, R, E> Flight<I, R, E> {
    fn new(wanted: Instant) -> Self {
        Self {
            log: Mutex::new(Log { items: Vec::new(), is_taken: false, ending: None }),
            changed: watch::Sender::new(()),
            followers: AtomicUsize::new(0),
            left: watch::Sender::new(()),
            wanted: Wanted::until(wanted),
        }
    }
}

/// The one who flies. Dropping it without [`Leader::end`] ends the flight as [`Ending::Vanished`].
#[derive(Debug)]
pub struct Leader<K: Hash + Eq, I, R, E> {
    /// `None` for a flight that nobody can join, and after the end.
    key: Option<K>,
    flight: Arc<Flight<I, R, E>>,
    flights: Arc<Mutex<Flights<K, I, R, E>>>,
}

impl<K: Hash + Eq, I, R, E> Leader<K, I, R, E> {
    /// Hands a piece of the answer to everybody who follows.
    pub fn push(&self, item: I) {
        lock(&self.flight.log).items.push(item);
        self.flight.changed.send_replace(());
    }

    /// Takes back all pieces, so that others can come in their place, unless a follower has taken one already. Returns
    /// whether it did.
    pub fn withdraw(&self) -> bool {
        let mut log = lock(&self.flight.log);
        if !log.is_taken {
            log.items.clear();
        }
        !log.is_taken
    }

    /// Returns until when somebody waits, which whoever joins may make later.
    pub fn wanted(&self) -> Wanted {
        self.flight.wanted.clone()
    }

    /// Ends the flight. From here on, whoever asks the key leads anew.
    pub fn end(mut self, ending: Ending<R, E>) {
        self.finish(ending);
    }

    /// Waits until nobody follows any more. A follower may still join afterwards; [`Leader::is_abandoned`] tells.
    ///
    /// Cancellation safe.
    pub async fn abandoned(&self) {
        let mut left = self.flight.left.subscribe();
        while !self.is_abandoned() {
            // The sender lives as long as `self.flight`, so waiting never fails.
            let _ = left.changed().await;
        }
    }

    /// Returns whether nobody follows.
    pub fn is_abandoned(&self) -> bool {
        self.flight.followers.load(Ordering::Acquire) == 0
    }

    fn finish(&mut self, ending: Ending<R, E>) {
        // Out of the register first, so that nobody joins a flight that has ended.
        if let Some(key) = self.key.take() {
            lock(&self.flights).remove(&key);
        }
        lock(&self.flight.log).ending.get_or_insert(ending);
        self.flight.changed.send_replace(());
    }
}

impl<K: Hash + Eq, I, R, E> Drop for Leader<K, I, R, E> {
    fn drop(&mut self) {
        self.finish(Ending::Vanished);
    }
}

/// One who waits for a leader. Dropping it is leaving.
#[derive(Debug)]
pub struct Follower<I, R, E> {
    flight: Arc<Flight<I, R, E>>,
    changed: watch::Receiver<()>,
    /// Items taken so far.
    position: usize,
}

impl<I: Clone, R: Clone, E: Clone> Follower<I, R, E> {
    fn of(flight: &Arc<Flight<I, R, E>>) -> Self {
        flight.followers.fetch_add(1, Ordering::AcqRel);
        Self { flight: Arc::clone(flight), changed: flight.changed.subscribe(), position: 0 }
    }

    /// Returns the next piece, or `None` when the leader has ended and every piece was taken.
    ///
    /// Cancellation safe.
    pub async fn next(&mut self) -> Option<I> {
        loop {
            // Marked as seen before looking, so that a change between looking and waiting is not lost.
            self.changed.borrow_and_update();
            {
                let mut log = lock(&self.flight.log);
                if let Some(item) = log.items.get(self.position).cloned() {
                    log.is_taken = true;
                    self.position += 1;
                    return Some(item);
                }
                if log.ending.is_some() {
                    return None;
                }
            }
            if self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Waits for the leader's ending.
    ///
    /// Cancellation safe.
    pub async fn ending(&mut self) -> Ending<R, E> {
        loop {
            self.changed.borrow_and_update();
            if let Some(ending) = &lock(&self.flight.log).ending {
                return ending.clone();
            }
            if self.changed.changed().await.is_err() {
                return Ending::Vanished;
            }
        }
    }
}

impl<I, R, E> Drop for Follower<I, R, E> {
    fn drop(&mut self) {
        self.flight.followers.fetch_sub(1, Ordering::AcqRel);
        self.flight.left.send_replace(());
    }
}

/// Nothing that runs under these locks can leave half a change behind, so a poisoned one is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tasks of a test end with it")]

    use std::time::Duration;

    use super::*;

    type Flights = SingleFlight<u8, &'static str, &'static str, &'static str>;
    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    type Member = Follower<&'static str, &'static str, &'static str>;

    fn leader(flights: &Flights) -> (Leader<u8, &'static str, &'static str, &'static str>, Member) {
        match flights.join(1, soon()).unwrap() {
            Role::Leader(leader, own) => (leader, own),
            Role::Follower(_) => panic!("the flight should be new"),
        }
    }

    fn follower(flights: &Flights) -> Member {
        match flights.join(1, soon()).unwrap() {
            Role::Leader(..) => panic!("the flight should be under way"),
            Role::Follower(follower) => follower,
        }
    }

    #[tokio::test]
    async fn a_late_follower_replays_and_then_follows_live() {
        let flights = Flights::new(8);
        let (leader, _own) = leader(&flights);
        leader.push("a");
        let mut late = follower(&flights);
        assert_eq!(late.next().await, Some("a"));
        let live = tokio::spawn(async move { (late.next().await, late.next().await, late.ending().await) });
        leader.push("b");
        leader.end(Ending::Done("ab"));
        assert_eq!(live.await.unwrap(), (Some("b"), None, Ending::Done("ab")));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_flight_is_wanted_as_long_as_the_most_patient_one_waits() {
        let flights = Flights::new(8);
        let (first, later) = (soon(), soon() + Duration::from_secs(9));
        let Ok(Role::Leader(leader, _own)) = flights.join(1, first) else { panic!("it should be new") };
        let wanted = leader.wanted();
        assert_eq!(wanted.latest(), first);
        let patient = flights.join(1, later).unwrap();
        let hasty = flights.join(1, first).unwrap();
        assert_eq!(wanted.latest(), later);
        // Who has left may have made it so late: a flight that was wanted goes on being made.
        drop((patient, hasty));
        assert_eq!(wanted.latest(), later);
    }

    #[tokio::test]
    async fn each_named_ending_reaches_everybody_and_is_not_remembered() {
        for ending in [
            Ending::Done("r"),
            Ending::NotCacheable("r"),
            Ending::Failed("e"),
            Ending::TimedOut,
            Ending::Vanished,
        ] {
            let flights = Flights::new(8);
            let (leader, mut own) = leader(&flights);
            let mut other = follower(&flights);
            leader.end(ending.clone());
            assert_eq!(own.ending().await, ending);
            assert_eq!(other.ending().await, ending);
            assert!(matches!(flights.join(1, soon()), Ok(Role::Leader(..))));
        }
    }

    #[tokio::test]
    async fn pieces_can_be_withdrawn_until_somebody_has_taken_one() {
        let flights = Flights::new(8);
        let (leader, mut own) = leader(&flights);
        leader.push("a");
        assert!(leader.withdraw());
        leader.push("b");
        assert_eq!(own.next().await, Some("b"));
        assert!(!leader.withdraw());
        leader.push("c");
        assert_eq!(own.next().await, Some("c"));
    }

    #[tokio::test]
    async fn a_leader_that_panics_has_vanished() {
        let flights = Flights::new(8);
        let (leader, mut own) = leader(&flights);
        let task = tokio::spawn(async move {
            let _leader = leader;
            panic!("the leader fell");
        });
        assert_eq!(own.ending().await, Ending::Vanished);
        assert!(task.await.is_err());
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn the_leader_learns_that_nobody_waits() {
        let flights = Flights::new(8);
        let (leader, own) = leader(&flights);
        let other = follower(&flights);
        drop(own);
        assert!(!leader.is_abandoned());
        drop(other);
        leader.abandoned().await;
    }

    #[test]
    fn flights_are_bounded_and_a_lone_one_is_not_joined() {
        let flights = Flights::new(1);
        let _lone = flights.alone(soon());
        let (_leader, _follower) = leader(&flights);
        assert_eq!(flights.join(2, soon()).unwrap_err(), Full);
        assert!(matches!(flights.join(1, soon()), Ok(Role::Follower(_))));
    }
}
