//! The index on a Qdrant server, which may be away, slow or empty at any moment.
//!
//! A request never pays to find that out: searches ask a server that answered last time, and fail at once while it is
//! away. Only background calls (writes, keys, status) connect again, at most once in [`RETRY_AFTER`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use qdrant_client::Qdrant;
use qdrant_client::config::QdrantConfig;

use super::collection::Collection;
use super::fill::FillProgress;
use super::{
    Fill, IndexError, KeyMark, KeyPage, Neighbour, Point, Search, Status, VectorIndex, WantsFill,
    check_points, check_vector,
};
use crate::chat::Fingerprint;

/// How long a server that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where the server is and how long it may take. No `Debug`: it holds a key.
#[derive(Clone)]
pub struct ServerSettings {
    /// The gRPC address, such as `http://localhost:6334`.
    pub url: String,
    /// The server's API key, if it wants one.
    pub api_key: Option<String>,
    /// The collection's whole name. It carries the embedding model's fingerprint, since vectors of two models must
    /// never meet.
    pub collection: String,
    /// The vectors' dimension.
    pub dimension: usize,
    /// The longest a search may take.
    pub search_timeout: Duration,
    /// The longest one request of a background call may take.
    pub write_timeout: Duration,
}

/// An index on a Qdrant server.
pub struct ServerIndex {
    settings: ServerSettings,
    link: Mutex<Link>,
    /// Held over a write from choosing its points to its end, so that a fill cannot undo a removal that came between.
    writing: tokio::sync::Mutex<()>,
}

/// What is known of the server.
struct Link {
    collection: Collection,
    state: LinkState,
    /// Whether this collection was reached by this very connection before; slowness alone does not take it back.
    verified: bool,
    fill: FillProgress,
    /// Whether points were ever seen or written, so that an empty collection means loss.
    held_points: bool,
}

enum LinkState {
    /// It has not been asked yet, or its collection vanished: the next background call sees to it.
    Unknown,
    Reached,
    Away {
        since: Instant,
        reason: String,
    },
}

impl ServerIndex {
    /// Prepares a connection; whether the server is there shows later.
    ///
    /// # Errors
    /// Fails if the address or the key can never work. The key is not repeated in the error.
    pub fn new(settings: ServerSettings) -> Result<Self, IndexError> {
        // The client would quote a malformed key in each of its errors, which end in the log.
        if let Some(key) = &settings.api_key
            && !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(IndexError::Settings("its API key holds a character that no header may hold".into()));
        }
        let link = Link {
            collection: connect(&settings)?,
            state: LinkState::Unknown,
            verified: false,
            fill: FillProgress::default(),
            held_points: false,
        };
        Ok(Self { settings, link: Mutex::new(link), writing: tokio::sync::Mutex::new(()) })
    }

    /// Returns the collection of a server that answered last time.
    fn reached(&self) -> Result<Collection, IndexError> {
        let link = self.link();
        match &link.state {
            LinkState::Reached => Ok(link.collection.clone()),
            LinkState::Unknown => Err(IndexError::Unavailable("it has not answered yet".into())),
            LinkState::Away { reason, .. } => Err(IndexError::Unavailable(reason.clone())),
        }
    }

    /// Returns the collection after seeing that it is there, unless the server failed a moment ago.
    async fn ready(&self) -> Result<Collection, IndexError> {
        let collection = {
            let mut link = self.link();
            match &link.state {
                LinkState::Reached => return Ok(link.collection.clone()),
                LinkState::Away { since, reason } if since.elapsed() < RETRY_AFTER => {
                    return Err(IndexError::Unavailable(reason.clone()));
                }
                LinkState::Away { .. } => {
                    // A new connection: one whose peer vanished without a word would time out for many minutes more.
                    link.collection = connect(&self.settings)?;
                }
                LinkState::Unknown => {}
            }
            link.collection.clone()
        };
        let made = self.noted(collection.ensure(self.settings.write_timeout).await)?;
        let mut link = self.link();
        if made {
            link.fill.want(WantsFill::Lost);
        } else if !link.verified {
            link.fill.want(WantsFill::Unverified);
        }
        link.verified = true;
        link.state = LinkState::Reached;
        Ok(collection)
    }

    /// Remembers what a result says about the server.
    fn noted<T>(&self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        if let Err(error) = &result {
            match error {
                IndexError::Unavailable(_) => self.link().part(error, false),
                IndexError::Timeout(_) => self.link().part(error, true),
                IndexError::Missing(_) => self.link().lose(),
                IndexError::WrongDimension { .. }
                | IndexError::NotFinite
                | IndexError::ZeroNorm
                | IndexError::Refused(_)
                | IndexError::Settings(_)
                | IndexError::Embedded(_)
                | IndexError::Folder { .. }
                | IndexError::DiskFull { .. }
                | IndexError::NoFill => {}
            }
        }
        result
    }

    /// Poison is no danger: nothing is left half changed under this lock.
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Leaves the server alone for a while. One that was only slow still holds what it held.
    fn part(&mut self, error: &IndexError, only_slow: bool) {
        let reason = match error {
            IndexError::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        self.state = LinkState::Away { since: Instant::now(), reason };
        self.verified &= only_slow;
    }

    fn lose(&mut self) {
        self.state = LinkState::Unknown;
        self.held_points = false;
        self.fill.want(WantsFill::Lost);
    }
}

impl ServerIndex {
    async fn write(&self, points: Vec<Point>) -> Result<(), IndexError> {
        self.ready().await?;
        let _turn = self.writing.lock().await;
        // Asked again: whoever stood before us in the line may have found the server gone.
        let collection = self.ready().await?;
        {
            let mut link = self.link();
            link.fill.touch(points.iter().map(|point| point.key));
            link.held_points = true;
        }
        self.noted(collection.upsert(points, self.settings.write_timeout).await)
    }
}

#[async_trait]
impl VectorIndex for ServerIndex {
    async fn search(&self, search: Search<'_>) -> Result<Vec<Neighbour>, IndexError> {
        check_vector(search.vector, self.settings.dimension)?;
        let collection = self.reached()?;
        self.noted(collection.search(search, self.settings.search_timeout).await)
    }

    async fn upsert(&self, points: Vec<Point>) -> Result<(), IndexError> {
        check_points(&points, self.settings.dimension)?;
        let written = self.write(points).await;
        if written.is_err() {
            // The store has these points and this server may not: only a fill finds out.
            self.link().fill.want(WantsFill::Unverified);
        }
        written
    }

    async fn remove(&self, keys: &[Fingerprint]) -> Result<(), IndexError> {
        let collection = self.ready().await?;
        let _turn = self.writing.lock().await;
        self.link().fill.touch(keys.iter().copied());
        self.noted(collection.remove(keys, self.settings.write_timeout).await)
    }

    async fn keys(&self, from: Option<KeyMark>, limit: usize) -> Result<KeyPage, IndexError> {
        let collection = self.ready().await?;
        self.noted(collection.keys(from, limit, self.settings.write_timeout).await)
    }

    async fn fill(&self, step: Fill) -> Result<(), IndexError> {
        match step {
            Fill::Begin => {
                self.ready().await?;
                self.link().fill.begin();
                Ok(())
            }
            Fill::Points(points) => {
                check_points(&points, self.settings.dimension)?;
                let collection = self.ready().await?;
                let _turn = self.writing.lock().await;
                let points = self.link().fill.untouched(points)?;
                self.noted(collection.upsert(points, self.settings.write_timeout).await)
            }
            Fill::Commit => self.link().fill.commit(),
            Fill::Abandon => {
                self.link().fill.abandon();
                Ok(())
            }
        }
    }

    async fn status(&self) -> Result<Status, IndexError> {
        let collection = self.ready().await?;
        let points = self.noted(collection.points(self.settings.write_timeout).await)?;
        let mut link = self.link();
        if points > 0 {
            link.held_points = true;
        } else if link.held_points {
            // Somebody emptied it, or made it anew without our payload indexes. Where we removed the last point
            // ourselves, the fill that this asks for finds nothing to do.
            link.lose();
        }
        Ok(Status { points, disk_bytes: None, wants_fill: link.fill.wanted(), crowded: false })
    }
}

fn connect(settings: &ServerSettings) -> Result<Collection, IndexError> {
    let config = QdrantConfig::from_url(&settings.url)
        .api_key(settings.api_key.clone())
        .timeout(settings.write_timeout)
        .connect_timeout(settings.write_timeout)
        .keep_alive_while_idle()
        // The check opens a connection while building and prints to stdout.
        .skip_compatibility_check();
    let client = Qdrant::new(config).map_err(|error| IndexError::Settings(error.to_string()))?;
    Ok(Collection { client, name: settings.collection.clone(), dimension: settings.dimension })
}
