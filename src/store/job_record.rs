//! The stored form of what a job asks; see `record.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::jobs::JobRequest;
use super::record::{VERSION, to_json};
use super::request_record::RequestRecord;
use crate::chat::{Directives, Namespace, TenantId};
use crate::config::CacheMode;

#[derive(Serialize, Deserialize)]
struct JobRecord {
    request: RequestRecord,
    directives: DirectivesRecord,
    request_id: String,
    sees_internals: bool,
}

/// Writes what a job asks.
pub(super) fn write_job_request(job: JobRequest) -> Result<Vec<u8>, StoreError> {
    let JobRequest { request, directives, request_id, sees_internals } = job;
    to_json(&JobRecord {
        request: RequestRecord::new(&request, &request.messages),
        directives: directives_record(directives),
        request_id: request_id.as_ref().to_owned(),
        sees_internals,
    })
}

/// Reads it back; `None` if it is not in a form we know.
pub(super) fn read_job_request(bytes: &[u8]) -> Option<JobRequest> {
    let JobRecord { request, directives, request_id, sees_internals } = serde_json::from_slice(bytes).ok()?;
    (request.v == VERSION).then(|| JobRequest {
        request: request.into_request(),
        directives: directives.into_directives(),
        request_id: request_id.into(),
        sees_internals,
    })
}

#[derive(Serialize, Deserialize)]
struct DirectivesRecord {
    tenant: String,
    namespace: String,
    mode: ModeRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
    no_cache: bool,
    no_store: bool,
    only_if_cached: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_stale: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Duration>,
}

fn directives_record(directives: Directives) -> DirectivesRecord {
    let Directives {
        tenant,
        namespace,
        mode,
        ttl,
        threshold,
        no_cache,
        no_store,
        only_if_cached,
        max_age,
        max_stale,
        tags,
        task,
        deadline,
    } = directives;
    DirectivesRecord {
        tenant: tenant.as_str().to_owned(),
        namespace: namespace.as_str().to_owned(),
        mode: mode_record(mode),
        ttl,
        threshold,
        no_cache,
        no_store,
        only_if_cached,
        max_age,
        max_stale,
        tags,
        task,
        deadline,
    }
}

impl DirectivesRecord {
    fn into_directives(self) -> Directives {
        Directives {
            tenant: TenantId::new(self.tenant),
            namespace: Namespace::new(self.namespace),
            mode: self.mode.into_mode(),
            ttl: self.ttl,
            threshold: self.threshold,
            no_cache: self.no_cache,
            no_store: self.no_store,
            only_if_cached: self.only_if_cached,
            max_age: self.max_age,
            max_stale: self.max_stale,
            tags: self.tags,
            task: self.task,
            deadline: self.deadline,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModeRecord {
    Off,
    Exact,
    Shadow,
    Semantic,
}

fn mode_record(mode: CacheMode) -> ModeRecord {
    match mode {
        CacheMode::Off => ModeRecord::Off,
        CacheMode::Exact => ModeRecord::Exact,
        CacheMode::Shadow => ModeRecord::Shadow,
        CacheMode::Semantic => ModeRecord::Semantic,
    }
}

impl ModeRecord {
    fn into_mode(self) -> CacheMode {
        match self {
            Self::Off => CacheMode::Off,
            Self::Exact => CacheMode::Exact,
            Self::Shadow => CacheMode::Shadow,
            Self::Semantic => CacheMode::Semantic,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::request;
    use super::*;

    fn directives() -> impl Strategy<Value = Directives> {
        let mode = prop_oneof![Just(CacheMode::Off), Just(CacheMode::Exact), Just(CacheMode::Semantic)];
        let threshold = proptest::option::of(0.0_f32..=1.0);
        let texts = any::<(String, String, Vec<String>, Option<String>)>();
        (texts, mode, threshold, any::<[bool; 3]>(), any::<[Option<Duration>; 4]>()).prop_map(
            |((tenant, namespace, tags, task), mode, threshold, wishes, times)| {
                let [no_cache, no_store, only_if_cached] = wishes;
                let [ttl, max_age, max_stale, deadline] = times;
                Directives {
                    tenant: TenantId::new(tenant),
                    namespace: Namespace::new(namespace),
                    mode,
                    ttl,
                    threshold,
                    no_cache,
                    no_store,
                    only_if_cached,
                    max_age,
                    max_stale,
                    tags,
                    task,
                    deadline,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_a_job_asks_comes_back_as_it_was(
            request in request(),
            directives in directives(),
            id in any::<String>(),
            sees_internals in any::<bool>(),
        ) {
            let job = JobRequest { request, directives, request_id: id.into(), sees_internals };
            let bytes = write_job_request(job.clone()).unwrap();
            prop_assert_eq!(read_job_request(&bytes), Some(job));
        }
    }

    #[test]
    fn any_age_that_will_do_is_kept_as_that() {
        let max_stale = Some(Duration::MAX);
        let directives = Directives { max_stale, ..Directives::of(TenantId::new("acme")) };
        let bytes = to_json(&directives_record(directives.clone())).unwrap();
        let read: DirectivesRecord = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.into_directives(), directives);
    }
}
