//! A collection on a Qdrant server, in Qdrant's words: its shape, its points, its filters, its errors.

use std::collections::HashMap;
use std::time::Duration;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, Filter, GetCollectionInfoResponse, KeywordIndexParamsBuilder,
    PayloadIncludeSelector, PointId, PointStruct, PointsIdsList, QueryPointsBuilder, Range,
    ScrollPointsBuilder, UpsertPointsBuilder, Value, VectorParamsBuilder,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use tonic::Code;

use super::{IndexError, KeyMark, KeyPage, Neighbour, Point, Search, Within, field};
use crate::chat::Fingerprint;

/// Points of one request: about 0.5 MiB at 384 dimensions, far below gRPC's usual 4 MiB for a message.
const POINTS_PER_REQUEST: usize = 256;
const KEYS_PER_REQUEST: usize = 4_096;

/// One collection, reached through one client; every call is bounded by `limit`.
#[derive(Clone)]
pub(super) struct Collection {
    pub client: Qdrant,
    pub name: String,
    pub dimension: usize,
}

impl Collection {
    /// Makes the collection if it is missing, and returns whether it was.
    ///
    /// One of another dimension is refused and left alone: it is somebody else's.
    pub async fn ensure(&self, limit: Duration) -> Result<bool, IndexError> {
        let made = match self.check_shape(limit).await {
            Err(IndexError::Missing(_)) => {
                let vectors = VectorParamsBuilder::new(self.dimension as u64, Distance::Cosine);
                let create = CreateCollectionBuilder::new(&self.name).vectors_config(vectors);
                if let Err(refused) = self.bounded(limit, self.client.create_collection(create)).await {
                    // Another replica may have made it in between.
                    self.check_shape(limit).await.map_err(|_| refused)?;
                }
                true
            }
            found => found.map(|()| false)?,
        };
        self.ensure_fields(limit).await?;
        Ok(made)
    }

    async fn check_shape(&self, limit: Duration) -> Result<(), IndexError> {
        let found = self.bounded(limit, self.client.collection_info(&self.name)).await?;
        match dimension(&found) {
            Some(dimension) if dimension == self.dimension => Ok(()),
            other => Err(IndexError::WrongDimension {
                expected: other.unwrap_or_default(),
                actual: self.dimension,
            }),
        }
    }

    /// Indexes what searches filter by. Asking again for an index that is there does nothing.
    async fn ensure_fields(&self, limit: Duration) -> Result<(), IndexError> {
        let new = |name, kind| CreateFieldIndexCollectionBuilder::new(&self.name, name, kind).wait(true);
        // A partition is Qdrant's tenant: nearly every search is confined to one, so its points lie together.
        let tenant = KeywordIndexParamsBuilder::default().is_tenant(true);
        for index in [
            new(field::PARTITION, FieldType::Keyword).field_index_params(tenant),
            new(field::OWNER, FieldType::Keyword),
            new(field::EXPIRES_AT_MS, FieldType::Integer),
        ] {
            self.bounded(limit, self.client.create_field_index(index)).await?;
        }
        Ok(())
    }

    pub async fn search(&self, search: Search<'_>, limit: Duration) -> Result<Vec<Neighbour>, IndexError> {
        let request = QueryPointsBuilder::new(&self.name)
            .query(search.vector.to_vec())
            .filter(filter(&search))
            .score_threshold(search.similarity_min)
            .limit(search.limit as u64)
            .with_payload(key_only());
        let response = self.bounded(limit, self.client.query(request)).await?;
        response
            .result
            .into_iter()
            .map(|point| Ok(Neighbour { key: key(&point.payload)?, similarity: point.score }))
            .collect()
    }

    /// Writes points whose vectors were checked, and waits until they are found by searches.
    pub async fn upsert(&self, points: Vec<Point>, limit: Duration) -> Result<(), IndexError> {
        let mut points = points.into_iter().map(point_struct).peekable();
        while points.peek().is_some() {
            let some: Vec<_> = points.by_ref().take(POINTS_PER_REQUEST).collect();
            let request = UpsertPointsBuilder::new(&self.name, some).wait(true);
            self.bounded(limit, self.client.upsert_points(request)).await?;
        }
        Ok(())
    }

    pub async fn remove(&self, keys: &[Fingerprint], limit: Duration) -> Result<(), IndexError> {
        for some in keys.chunks(KEYS_PER_REQUEST) {
            let ids = some.iter().map(|key| PointId::from(Point::id(key).to_string())).collect();
            let request = DeletePointsBuilder::new(&self.name).points(PointsIdsList { ids }).wait(true);
            self.bounded(limit, self.client.delete_points(request)).await?;
        }
        Ok(())
    }

    pub async fn keys(
        &self,
        from: Option<KeyMark>,
        page: usize,
        limit: Duration,
    ) -> Result<KeyPage, IndexError> {
        let page = u32::try_from(page).unwrap_or(u32::MAX);
        let mut request = ScrollPointsBuilder::new(&self.name).limit(page).with_payload(key_only());
        if let Some(KeyMark(id)) = from {
            request = request.offset(PointId::from(id.to_string()));
        }
        let response = self.bounded(limit, self.client.scroll(request)).await?;
        let keys = response.result.iter().map(|point| key(&point.payload)).collect::<Result<_, _>>()?;
        Ok(KeyPage { keys, next: response.next_page_offset.and_then(mark) })
    }

    pub async fn points(&self, limit: Duration) -> Result<u64, IndexError> {
        let request = CountPointsBuilder::new(&self.name).exact(true);
        let response = self.bounded(limit, self.client.count(request)).await?;
        Ok(response.result.map_or(0, |result| result.count))
    }

    /// The client's own limits cover a request but not what comes before it, such as a connection that stays half
    /// made.
    async fn bounded<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, IndexError> {
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map_err(|error| self.failed(error, limit)),
            Err(_) => Err(IndexError::Timeout(limit)),
        }
    }

    fn failed(&self, error: QdrantError, limit: Duration) -> IndexError {
        let status = match error {
            QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
                status
            }
            other => return IndexError::Refused(other.to_string()),
        };
        match status.code() {
            Code::NotFound => IndexError::Missing(self.name.clone()),
            Code::DeadlineExceeded => IndexError::Timeout(limit),
            // The client says `Internal` when it cannot connect, `Unknown` or `Cancelled` when a connection breaks.
            Code::Unavailable | Code::Internal | Code::Unknown | Code::Cancelled | Code::Aborted => {
                IndexError::Unavailable(status.message().to_owned())
            }
            Code::Ok
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => {
                IndexError::Refused(format!("{:?}: {}", status.code(), status.message()))
            }
        }
    }
}

fn filter(search: &Search<'_>) -> Filter {
    let within = match search.within {
        Within::Partition(partition) => Condition::matches(field::PARTITION, partition.to_string()),
        Within::Owner(owner) => Condition::matches(field::OWNER, owner.to_owned()),
    };
    // Exact: milliseconds since 1970 fit into the 53 bits of a float for the next 285,000 years.
    let passed = Range { lte: Some(search.now_ms as f64), ..Range::default() };
    Filter {
        must: vec![within],
        must_not: vec![Condition::range(field::EXPIRES_AT_MS, passed)],
        ..Filter::default()
    }
}

fn key_only() -> SelectorOptions {
    SelectorOptions::Include(PayloadIncludeSelector { fields: vec![field::KEY.to_owned()] })
}

fn point_struct(point: Point) -> PointStruct {
    let mut payload = Payload::with_capacity(4);
    payload.insert(field::KEY, point.key.to_string());
    payload.insert(field::PARTITION, point.partition.to_string());
    payload.insert(field::OWNER, point.owner.as_ref());
    if let Some(at_ms) = point.expires_at_ms {
        payload.insert(field::EXPIRES_AT_MS, at_ms);
    }
    PointStruct::new(Point::id(&point.key).to_string(), point.vector, payload)
}

fn key(payload: &HashMap<String, Value>) -> Result<Fingerprint, IndexError> {
    match payload.get(field::KEY).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => Fingerprint::from_hex(text),
        _ => None,
    }
    .ok_or_else(|| IndexError::Refused("a point carries no key".into()))
}

fn mark(id: PointId) -> Option<KeyMark> {
    match id.point_id_options {
        Some(PointIdOptions::Uuid(text)) => text.parse().ok().map(KeyMark),
        Some(PointIdOptions::Num(_)) | None => None,
    }
}

fn dimension(found: &GetCollectionInfoResponse) -> Option<usize> {
    let vectors = found.result.as_ref()?.config.as_ref()?.params.as_ref()?.vectors_config.as_ref()?;
    match vectors.config.as_ref()? {
        Config::Params(params) => usize::try_from(params.size).ok(),
        Config::ParamsMap(_) => None,
    }
}
