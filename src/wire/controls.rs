//! The body field `cache`, which LiteLLM's clients send, and the limits it shares with the headers of the same sense.

use std::time::Duration;

use serde_json::Value;

use super::WireError;
use super::fields::Path;
use crate::chat::Namespace;

/// The longest time an answer may live, in seconds: a year.
pub const TTL_SECONDS_MAX: u64 = 31_536_000;
const NAMESPACE_CHARS_MAX: usize = 64;

/// What a body says about the cache. Never forwarded. A header of the same sense wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyControls {
    /// How long the answer may live.
    pub ttl: Option<Duration>,
    pub namespace: Option<Namespace>,
    /// Do not read the cache.
    pub no_cache: bool,
    /// Do not write to it.
    pub no_store: bool,
    /// The oldest answer that will do.
    pub s_maxage: Option<Duration>,
}

/// Returns the time to live of that many seconds, or `None` outside 1 to [`TTL_SECONDS_MAX`].
pub fn ttl(seconds: u64) -> Option<Duration> {
    (1..=TTL_SECONDS_MAX).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Returns the namespace of that name, or `None` where it is not 1 to 64 of `A-Za-z0-9._-`.
pub fn namespace(name: &str) -> Option<Namespace> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ((1..=NAMESPACE_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_plain))
        .then(|| Namespace::new(name))
}

impl BodyControls {
    /// Reads the value of the field `cache`.
    pub(super) fn read(value: Value, at: &Path<'_>) -> Result<Self, WireError> {
        let mut controls = Self::default();
        for (field, value) in at.object(value)? {
            let at = at.field(&field);
            if value.is_null() {
                continue;
            }
            match field.as_str() {
                "ttl" => {
                    let read = at.u64(value).ok().and_then(ttl);
                    let words = format!("must be a whole number of seconds from 1 to {TTL_SECONDS_MAX}");
                    controls.ttl = Some(read.ok_or_else(|| at.error(words))?);
                }
                "namespace" => {
                    let read = namespace(&at.text(value)?);
                    let words = format!("must be 1 to {NAMESPACE_CHARS_MAX} of A-Z a-z 0-9 . _ -");
                    controls.namespace = Some(read.ok_or_else(|| at.error(words))?);
                }
                "no-cache" => controls.no_cache = at.bool(value)?,
                "no-store" => controls.no_store = at.bool(value)?,
                "s-maxage" => controls.s_maxage = Some(Duration::from_secs(at.u64(value)?)),
                _ => {
                    return Err(at.error(
                        "is not known; `ttl`, `namespace`, `no-cache`, `no-store` and `s-maxage` are",
                    ));
                }
            }
        }
        Ok(controls)
    }
}
