//! Who calls, what may they do, and how often?

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::clock::unix_millis;
use super::error::HttpError;
use super::key_limit::KeyLimit;
use super::listener::peer;
use super::record;
use super::wrong_keys::WrongKeys;
use crate::chat::TenantId;
use crate::config::{AuthConfig, KeyConfig, KeyScope, Secret};
use crate::telemetry::Telemetry;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who a request comes from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose cache the request uses. The scope `admin` is the operator's and reaches every tenant.
    pub tenant: TenantId,
    scopes: Scopes,
    /// Shared by all who hold the same key.
    limit: Option<Arc<KeyLimit>>,
}

impl Caller {
    /// Returns whether similarities, keys and phases may be shown to it: to someone who shares a cache they tell
    /// what others asked.
    pub fn sees_internals(&self) -> bool {
        self.scopes.holds(KeyScope::Debug)
    }
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scopes(u8);

impl Scopes {
    fn of(scopes: &[KeyScope]) -> Self {
        Self(scopes.iter().fold(0, |bits, scope| bits | Self::bit(*scope)))
    }

    const fn bit(scope: KeyScope) -> u8 {
        match scope {
            KeyScope::Generate => 1,
            KeyScope::Debug => 1 << 1,
            KeyScope::Metrics => 1 << 2,
            KeyScope::Admin => 1 << 3,
        }
    }

    const fn holds(self, scope: KeyScope) -> bool {
        self.0 & Self::bit(scope) != 0
    }
}

/// The keys that a listener accepts. Clones share them, and have them exchanged together.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    set: ArcSwap<KeySet>,
    /// The digest of one more key, which stands in no configuration.
    token: Option<[u8; 32]>,
    wrong: WrongKeys,
}

#[derive(Debug, Default)]
struct KeySet {
    keys: Vec<Key>,
    is_keyless: bool,
}

#[derive(Debug)]
struct Key {
    digest: [u8; 32],
    /// Unix milliseconds; `None` never ends.
    expires: Option<i64>,
    caller: Caller,
}

/// Why a key opens nothing.
#[derive(Debug)]
enum Unknown {
    /// None was shown.
    NoKey,
    /// It is none of ours, or no longer.
    WrongKey(&'static str),
}

impl Keys {
    /// Returns the keys of the public listener.
    pub fn public(config: &AuthConfig) -> Self {
        Self::new(config, None)
    }

    /// Returns the keys of the admin listener: those of the public one, and the token of the lock file.
    pub fn admin(config: &AuthConfig, token: &Secret) -> Self {
        Self::new(config, Some(digest(token.expose().as_bytes())))
    }

    fn new(config: &AuthConfig, token: Option<[u8; 32]>) -> Self {
        let set = ArcSwap::from_pointee(KeySet::new(config, token, &KeySet::default()));
        Self(Arc::new(Ring { set, token, wrong: WrongKeys::default() }))
    }

    /// Accepts the keys of this configuration from the next request on. What was taken of a limit that stays is not given
    /// back.
    pub fn replace(&self, config: &AuthConfig) {
        let Ring { set, token, .. } = &*self.0;
        set.store(Arc::new(KeySet::new(config, *token, &set.load())));
    }

    /// Returns whether callers need no key, and are held to the rules for that instead.
    pub(super) fn is_keyless(&self) -> bool {
        self.0.set.load().is_keyless
    }

    /// Returns who presents these headers at that moment.
    fn caller(&self, headers: &HeaderMap, now: i64) -> Result<Caller, Unknown> {
        let set = self.0.set.load();
        if set.is_keyless {
            return Ok(almighty());
        }
        let digest = digest(presented(headers).ok_or(Unknown::NoKey)?);
        // Every key is compared, in constant time, whichever fits: the work tells nothing about the keys.
        let mut found = None;
        for key in &set.keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        match found {
            Some(key) if key.expires.is_none_or(|end| now < end) => Ok(key.caller.clone()),
            // An expired key is told so: who presents it has had it.
            Some(_) => Err(Unknown::WrongKey("the API key has expired")),
            None => Err(Unknown::WrongKey("the API key is not known here")),
        }
    }
}

impl KeySet {
    /// Returns the keys of a configuration and the token; a key whose limit was the same before goes on with what is left
    /// of it.
    fn new(config: &AuthConfig, token: Option<[u8; 32]>, before: &Self) -> Self {
        let configured = config.keys.iter().map(|key| Key {
            digest: key.sha256.0,
            expires: key.expires.map(|stamp| stamp.0),
            caller: Caller {
                tenant: TenantId::new(key.tenant.as_str()),
                scopes: Scopes::of(&key.scopes),
                limit: before.limit_of(key),
            },
        });
        let environment = config.environment_key.as_ref().map(|key| digest(key.expose().as_bytes()));
        let others = environment.into_iter().chain(token).map(|digest| Key {
            digest,
            expires: None,
            caller: almighty(),
        });
        Self { keys: configured.chain(others).collect(), is_keyless: config.is_keyless() }
    }

    fn limit_of(&self, key: &KeyConfig) -> Option<Arc<KeyLimit>> {
        let per_minute = key.requests_per_minute?;
        let before = self.keys.iter().find(|known| known.digest == key.sha256.0);
        let limit = before.and_then(|known| known.caller.limit.clone());
        let limit = limit.filter(|limit| limit.per_minute() == per_minute);
        Some(limit.unwrap_or_else(|| Arc::new(KeyLimit::new(per_minute))))
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Returns the caller who needs no key, or has the one for everything.
fn almighty() -> Caller {
    Caller { tenant: TenantId::new("default"), scopes: Scopes::of(&KeyScope::ALL), limit: None }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get(X_API_KEY).map(|value| value.as_bytes()))
}

/// What a group of routes asks of its callers.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub keys: Keys,
    /// Any one of these opens it.
    pub scopes: &'static [KeyScope],
    /// Whether passing it takes one off the key's limit.
    pub is_metered: bool,
    /// Where it is counted that a limit kept somebody out.
    pub telemetry: Option<Arc<Telemetry>>,
}

impl Door {
    /// Returns who comes in.
    fn open(&self, headers: &HeaderMap, now: i64) -> Result<Caller, HttpError> {
        let caller = self.keys.caller(headers, now).map_err(|unknown| self.turn_away(unknown))?;
        if self.scopes.iter().any(|scope| caller.scopes.holds(*scope)) {
            return Ok(caller);
        }
        let wanted: Vec<_> = self.scopes.iter().map(|scope| scope.name()).collect();
        Err(HttpError::forbidden(format!("the API key lacks the scope `{}`", wanted.join("` or `"))))
    }

    fn turn_away(&self, unknown: Unknown) -> HttpError {
        let Unknown::WrongKey(message) = unknown else {
            return HttpError::unauthorized(
                "no API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            );
        };
        match peer().and_then(|peer| self.keys.0.wrong.note(peer, Instant::now())) {
            Some(wait) => {
                self.count("wrong_keys");
                HttpError::limited("too many requests with a wrong API key from this address", wait)
            }
            None => HttpError::unauthorized(message),
        }
    }

    fn count(&self, reason: &'static str) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.refused(reason);
        }
    }
}

/// Lets a request in if its caller may, and tells the handler who it is.
pub(super) async fn admit(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let caller = match door.open(request.headers(), unix_millis()) {
        Ok(caller) => caller,
        Err(error) => {
            record::refused(request.extensions(), &error);
            return error.into_response();
        }
    };
    let Some(limit) = caller.limit.clone().filter(|_| door.is_metered) else {
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    };
    let taken = limit.take();
    let mut response = match &taken {
        Ok(_) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(wait) => {
            door.count("key_limit");
            let message = format!("this API key may make {} requests a minute", limit.per_minute());
            let error = HttpError::limited(message, *wait);
            record::refused(request.extensions(), &error);
            error.into_response()
        }
    };
    limit.say(&taken, response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyConfig, Sha256Hex, Stamp};

    fn key(secret: &str, tenant: &str, scopes: &[KeyScope], expires: Option<i64>) -> KeyConfig {
        KeyConfig {
            name: tenant.into(),
            tenant: tenant.into(),
            scopes: scopes.to_vec(),
            sha256: Sha256Hex(Sha256::digest(secret).into()),
            expires: expires.map(Stamp),
            requests_per_minute: None,
        }
    }

    fn config() -> AuthConfig {
        AuthConfig {
            keys: vec![
                key("one", "a", &[KeyScope::Generate], None),
                key("two", "b", &[KeyScope::Admin, KeyScope::Debug], Some(1_000)),
            ],
            environment_key: Some(Secret::new("env".into())),
        }
    }

    fn caller(keys: &Keys, header: &'static str, value: &'static str, now: i64) -> Option<Caller> {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().expect("a header value"));
        keys.caller(&headers, now).ok()
    }

    #[test]
    fn a_key_opens_its_tenant_and_no_more() {
        let keys = Keys::public(&config());
        let one = caller(&keys, "authorization", "Bearer one", 0).expect("known");
        assert_eq!((one.tenant.as_str(), one.scopes), ("a", Scopes::of(&[KeyScope::Generate])));
        assert!(!one.sees_internals());
        let two = caller(&keys, "x-api-key", "two", 0).expect("known");
        assert_eq!(two.tenant.as_str(), "b");
        assert!(two.sees_internals());
        let all = caller(&keys, "authorization", "bearer env", 0).expect("known");
        assert_eq!((all.tenant.as_str(), all.scopes), ("default", Scopes::of(&KeyScope::ALL)));
    }

    #[test]
    fn anything_else_opens_nothing() {
        let keys = Keys::public(&config());
        for (header, value) in [
            ("authorization", "Bearer three"),
            ("authorization", "Bearer "),
            ("authorization", "Bearer"),
            ("authorization", "Basic one"),
            ("authorization", "one"),
            ("x-api-key", ""),
            ("cookie", "one"),
        ] {
            assert!(caller(&keys, header, value, 0).is_none(), "{header}: {value}");
        }
        assert!(matches!(keys.caller(&HeaderMap::new(), 0), Err(Unknown::NoKey)));
    }

    #[test]
    fn an_expired_key_opens_nothing() {
        let keys = Keys::public(&config());
        assert!(caller(&keys, "x-api-key", "two", 999).is_some());
        assert!(caller(&keys, "x-api-key", "two", 1_000).is_none());
    }

    #[test]
    fn the_lock_files_token_opens_the_admin_listener_alone() {
        let token = Secret::new("token".into());
        assert!(caller(&Keys::admin(&config(), &token), "authorization", "Bearer token", 0).is_some());
        assert!(caller(&Keys::public(&config()), "authorization", "Bearer token", 0).is_none());
    }

    #[test]
    fn keys_are_exchanged_for_every_clone_and_a_limit_that_stays_is_not_refilled() {
        let limited = |per_minute| {
            let mut config = config();
            config.keys[0].requests_per_minute = std::num::NonZeroU32::new(per_minute);
            config
        };
        let keys = Keys::admin(&limited(1), &Secret::new("token".into()));
        let clone = keys.clone();
        let limit = || caller(&clone, "x-api-key", "one", 0).expect("known").limit.expect("limited");
        assert_eq!(limit().take(), Ok(0));
        keys.replace(&limited(1));
        assert!(limit().take().is_err());
        keys.replace(&limited(2));
        assert_eq!(limit().take(), Ok(1));
        keys.replace(&AuthConfig { keys: Vec::new(), ..config() });
        assert!(caller(&clone, "x-api-key", "one", 0).is_none());
        assert!(caller(&clone, "x-api-key", "token", 0).is_some(), "the token stays");
        keys.replace(&AuthConfig::default());
        assert!(clone.is_keyless());
    }

    #[test]
    fn without_keys_everybody_may_do_everything() {
        let keys = Keys::admin(&AuthConfig::default(), &Secret::new("token".into()));
        let nobody = keys.caller(&HeaderMap::new(), 0).expect("keyless");
        assert!(nobody.sees_internals());
        assert!(keys.is_keyless());
    }
}
