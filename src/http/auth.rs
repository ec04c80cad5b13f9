//! Who calls, and what may they do?

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::clock::unix_millis;
use super::error::HttpError;
use super::record;
use crate::chat::TenantId;
use crate::config::{AuthConfig, KeyScope, Secret};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who a request comes from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose cache the request uses. The scope `admin` is the operator's and reaches every tenant.
    pub tenant: TenantId,
    scopes: Scopes,
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

/// The keys that a listener accepts.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: Arc<[Key]>,
    is_keyless: bool,
}

#[derive(Debug)]
struct Key {
    digest: [u8; 32],
    /// Unix milliseconds; `None` never ends.
    expires: Option<i64>,
    caller: Caller,
}

impl Keys {
    /// Returns the keys of the public listener.
    pub fn public(config: &AuthConfig) -> Self {
        let configured = config.keys.iter().map(|key| Key {
            digest: key.sha256.0,
            expires: key.expires.map(|stamp| stamp.0),
            caller: Caller { tenant: TenantId::new(key.tenant.as_str()), scopes: Scopes::of(&key.scopes) },
        });
        let environment = config.environment_key.as_ref().map(Key::almighty);
        Self { keys: configured.chain(environment).collect(), is_keyless: config.is_keyless() }
    }

    /// Returns the keys of the admin listener: those of the public one, and the token of the lock file.
    pub fn admin(config: &AuthConfig, token: &Secret) -> Self {
        let public = Self::public(config);
        let keys = public.keys.iter().map(|Key { digest, expires, caller }| Key {
            digest: *digest,
            expires: *expires,
            caller: caller.clone(),
        });
        Self { keys: keys.chain([Key::almighty(token)]).collect(), is_keyless: public.is_keyless }
    }

    /// Returns whether callers need no key, and are held to the rules for that instead.
    pub(super) fn is_keyless(&self) -> bool {
        self.is_keyless
    }

    /// Returns who presents these headers at that moment.
    fn caller(&self, headers: &HeaderMap, now: i64) -> Result<Caller, HttpError> {
        if self.is_keyless {
            return Ok(almighty());
        }
        let Some(presented) = presented(headers) else {
            return Err(HttpError::unauthorized(
                "no API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(presented).into();
        // Every key is compared, in constant time, whichever fits: the work tells nothing about the keys.
        let mut found = None;
        for key in &*self.keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        match found {
            Some(key) if key.expires.is_none_or(|end| now < end) => Ok(key.caller.clone()),
            // An expired key is told so: who presents it has had it.
            Some(_) => Err(HttpError::unauthorized("the API key has expired")),
            None => Err(HttpError::unauthorized("the API key is not known here")),
        }
    }
}

impl Key {
    fn almighty(secret: &Secret) -> Self {
        Self { digest: Sha256::digest(secret.expose()).into(), expires: None, caller: almighty() }
    }
}

/// Returns the caller who needs no key, or has the one for everything.
fn almighty() -> Caller {
    Caller { tenant: TenantId::new("default"), scopes: Scopes::of(&KeyScope::ALL) }
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
}

impl Door {
    fn open(&self, headers: &HeaderMap, now: i64) -> Result<Caller, HttpError> {
        let caller = self.keys.caller(headers, now)?;
        if self.scopes.iter().any(|scope| caller.scopes.holds(*scope)) {
            return Ok(caller);
        }
        let wanted: Vec<_> = self.scopes.iter().map(|scope| scope.name()).collect();
        Err(HttpError::forbidden(format!("the API key lacks the scope `{}`", wanted.join("` or `"))))
    }
}

/// Lets a request in if its caller may, and tells the handler who it is.
pub(super) async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    match door.open(request.headers(), unix_millis()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            record::refused(request.extensions(), &error);
            error.into_response()
        }
    }
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
        assert_eq!(keys.caller(&HeaderMap::new(), 0).expect_err("no key").status().as_u16(), 401);
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
    fn without_keys_everybody_may_do_everything() {
        let keys = Keys::admin(&AuthConfig::default(), &Secret::new("token".into()));
        let nobody = keys.caller(&HeaderMap::new(), 0).expect("keyless");
        assert!(nobody.sees_internals());
        assert!(keys.is_keyless());
    }
}
