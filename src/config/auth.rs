//! `[auth]`: who may call.

use std::num::NonZeroU32;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Secret;

/// The keys that callers present. None at all means that both listeners accept loopback only.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// One block per key, as `refrain key new` prints it.
    pub keys: Vec<KeyConfig>,
    /// `REFRAIN_API_KEY`: one more key, of the tenant `default`, with every scope.
    #[serde(skip)]
    pub environment_key: Option<Secret>,
}

impl AuthConfig {
    /// Returns whether callers need no key.
    pub fn is_keyless(&self) -> bool {
        self.keys.is_empty() && self.environment_key.is_none()
    }
}

/// One key. The key itself is never written down, only its hash.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// A name for people.
    pub name: String,
    /// Whose cache the key opens. Default `default`.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// What it may do. Default `["generate"]`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<KeyScope>,
    /// Hex SHA-256 of the whole key string.
    pub sha256: Sha256Hex,
    /// When it stops working, as `2027-01-31` (the end of that day, UTC). Default: never.
    #[serde(default)]
    pub expires: Option<Stamp>,
    /// Requests per minute of the key's holders together; beyond it they get 429 with `retry-after`. Default: any number.
    #[serde(default)]
    pub requests_per_minute: Option<NonZeroU32>,
}

fn default_tenant() -> String {
    "default".to_owned()
}

fn default_scopes() -> Vec<KeyScope> {
    vec![KeyScope::Generate]
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// Every `/v1/*` endpoint.
    Generate,
    /// Sees similarities, cache keys and phases in the headers of its own requests.
    Debug,
    /// `/metrics`.
    Metrics,
    /// `/admin/*`, and `/metrics` too.
    Admin,
}

impl KeyScope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Generate, Self::Debug, Self::Metrics, Self::Admin];

    /// Returns the word that stands in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Debug => "debug",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

/// A SHA-256 digest, written as 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Hex(pub [u8; 32]);

impl<'de> Deserialize<'de> for Sha256Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| Error::custom("expected the 64 hex digits that `refrain key new` prints"))?;
        Ok(Self(bytes))
    }
}

/// The moment a key ends, in Unix milliseconds: a date (the end of that day, UTC) or an RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub i64);

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self(moment.as_millisecond()));
        }
        let end_of_day = || {
            let day = text.parse::<Date>().ok()?.tomorrow().ok()?;
            Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
        };
        end_of_day().map(Self).ok_or_else(|| {
            Error::custom("expected a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z")
        })
    }
}
