//! Where an upstream answers, and how it knows us.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};

use super::{ProviderError, ProviderErrorKind};
use crate::config::Secret;
use crate::transport::{Outgoing, Url};

/// An address that all calls of an upstream begin with, and the headers that all of them carry.
#[derive(Clone, Debug)]
pub(super) struct Base {
    url: Url,
    headers: HeaderMap,
}

/// Why an upstream cannot be what its configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    #[error("base_url is missing; say where the server answers, such as http://127.0.0.1:11434/v1")]
    NoBaseUrl,
    #[error("base_url is not an http or https address")]
    BaseUrl,
    #[error("the API key has characters that no header can carry")]
    ApiKey,
}

impl Base {
    /// Takes an address as the operator wrote it, with a query or a slash at its end or without.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn new(base_url: &str) -> Result<Self, InvalidUpstream> {
        let mut url = Url::parse(base_url).map_err(|_| InvalidUpstream::BaseUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(InvalidUpstream::BaseUrl);
        }
        url.path_segments_mut().map_err(|()| InvalidUpstream::BaseUrl)?.pop_if_empty();
        Ok(Self { url, headers: HeaderMap::new() })
    }

    /// Adds the version to an address that does not end with it: operators write both forms.
    pub(super) fn versioned(mut self, version: &str) -> Self {
        let ends_with_it =
            self.url.path_segments().and_then(Iterator::last).is_some_and(|last| last == version);
        if !ends_with_it && let Ok(mut path) = self.url.path_segments_mut() {
            path.push(version);
        }
        self
    }

    /// Adds the header that proves who calls, where there is a key; `scheme` stands before it.
    ///
    /// # Errors
    /// When no header can carry the key.
    pub(super) fn key(
        mut self,
        name: HeaderName,
        scheme: &str,
        key: Option<&Secret>,
    ) -> Result<Self, InvalidUpstream> {
        if let Some(key) = key {
            let value = HeaderValue::try_from(format!("{scheme}{}", key.expose()));
            let mut value = value.map_err(|_| InvalidUpstream::ApiKey)?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    /// Adds a header to every call.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the address of a path below this one; the query stays.
    pub(super) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    /// Builds a call that asks for an answer.
    pub(super) fn post(&self, url: Url, stream: bool, body: Vec<u8>) -> Outgoing {
        let mut headers = self.headers.clone();
        let accept = if stream { "text/event-stream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Outgoing { method: Method::POST, url, headers, body: Bytes::from(body) }
    }

    /// Returns where a call goes that is passed on as it came, and the headers that prove who calls.
    ///
    /// # Errors
    /// When the path would leave the base.
    pub(super) fn forward(&self, path: &str) -> Result<(Url, HeaderMap), ProviderError> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.url.clone();
        let base = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&format!("{base}{}", path.trim_start_matches('/')));
        // A URL takes `..`, and a backslash for a slash, in every spelling: only the result tells where it leads.
        if !url.path().starts_with(&base) || path.split(['/', '\\']).any(is_step_up) {
            return Err(ProviderError::new(ProviderErrorKind::BadRequest, "the path leads out of the API"));
        }
        let joined = match (self.url.query(), query) {
            (Some(own), Some(asked)) => Some(format!("{own}&{asked}")),
            (own, asked) => own.or(asked).map(str::to_owned),
        };
        url.set_query(joined.as_deref());
        Ok((url, self.headers.clone()))
    }
}

/// Recognises `..` in each of its spellings (WHATWG URL, double-dot segment).
fn is_step_up(segment: &str) -> bool {
    segment.to_ascii_lowercase().replace("%2e", ".") == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_below_the_base_and_never_out_of_it() {
        let base = Base::new("http://127.0.0.1:1/base/v1/?a=b").unwrap();
        assert_eq!(
            base.at(&["chat", "completions"]).as_str(),
            "http://127.0.0.1:1/base/v1/chat/completions?a=b"
        );
        assert_eq!(base.at(&["a/b"]).path(), "/base/v1/a%2Fb");
        let (url, _) = base.forward("files/f%2F1?limit=2").unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:1/base/v1/files/f%2F1?a=b&limit=2");
        for path in
            ["../admin", "files/../../x", "files/%2e%2E/x", "files/.%2e", "..\\..\\admin", "a\\..\\..\\b"]
        {
            assert!(base.forward(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_version_is_added_once() {
        for url in
            ["https://a.example", "https://a.example/", "https://a.example/v1", "https://a.example/v1/"]
        {
            assert_eq!(Base::new(url).unwrap().versioned("v1").at(&["x"]).as_str(), "https://a.example/v1/x");
        }
    }
}
