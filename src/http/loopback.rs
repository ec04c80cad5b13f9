//! Without keys, who may call? Programs on this machine, and no web page.
//!
//! A page can make the browser of whoever reads it send requests to a loopback address, with its own `Origin`, or
//! under its own name pointed at 127.0.0.1 (DNS rebinding). Neither may spend money or fill the cache.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Keys;
use super::error::HttpError;
use super::record;

/// Judges the address of every request, and with it who may have sent it.
pub(super) async fn check(State(keys): State<Keys>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut checked = check_target(&parts);
    if keys.is_keyless() {
        checked = checked.and_then(|()| check_local(&parts));
    }
    match checked {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => {
            record::refused(&parts.extensions, &error);
            error.into_response()
        }
    }
}

/// Refuses what no honest client sends to any listener: no `Host` or several, one that is none, `CONNECT`.
fn check_target(parts: &Parts) -> Result<(), HttpError> {
    if parts.method == Method::CONNECT {
        return Err(HttpError::bad_request("this is no proxy: CONNECT is not answered").closing());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if authority(host).is_some() => Ok(()),
        (None, None) if parts.version == Version::HTTP_10 => Ok(()),
        _ => Err(HttpError::bad_request("header `host`: expected one host name or address").closing()),
    }
}

/// Refuses whoever does not address this machine by a name that only this machine has, and every foreign web page.
fn check_local(parts: &Parts) -> Result<(), HttpError> {
    // The host of an absolute-form target counts like `Host`, and is judged beside it.
    let named_in_target = parts.uri.authority();
    let named_in_header = parts.headers.get(HOST).and_then(authority);
    let mut named = named_in_target.into_iter().chain(&named_in_header).peekable();
    if named.peek().is_none() || !named.all(|authority| is_loopback(authority.host())) {
        return Err(HttpError::forbidden("header `host`: without keys only loopback names are answered"));
    }
    if !is_same_origin(&parts.headers) {
        return Err(HttpError::forbidden("header `origin`: without keys no foreign web page is answered"));
    }
    Ok(())
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    // A user name has no place in `Host`, and hides the host from a quick look.
    (!authority.as_str().contains('@')).then_some(authority)
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns whether the request comes from no page at all, or from one of the listener's own.
///
/// The browser writes the address it really calls into `Host`, which has been found to be loopback, so a page of the
/// listener's own is one whose origin is `http://` and just that.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    headers.get_all(ORIGIN).iter().all(|origin| {
        origin.as_bytes().strip_prefix(b"http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a valid request").into_parts().0
    }

    #[test]
    fn loopback_names_are_answered_with_any_port() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080", "localhost."]
        {
            let parts = parts("/v1/models", &[("host", host)]);
            assert!(check_target(&parts).is_ok(), "{host}");
            assert!(check_local(&parts).is_ok(), "{host}");
        }
    }

    #[test]
    fn foreign_names_are_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:8080",
            "[::]:8080",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
            "127.1",
            "2130706433",
        ] {
            let parts = parts("/v1/models", &[("host", host)]);
            assert_eq!(check_local(&parts).expect_err(host).status().as_u16(), 403, "{host}");
        }
    }

    #[test]
    fn an_absolute_target_is_judged_like_host() {
        assert!(check_local(&parts("http://localhost:1/v1/models", &[("host", "localhost:1")])).is_ok());
        assert!(check_local(&parts("http://evil.example/", &[("host", "localhost")])).is_err());
        assert!(check_local(&parts("http://localhost/", &[("host", "evil.example")])).is_err());
    }

    #[test]
    fn only_the_listeners_own_pages_are_answered() {
        let from =
            |origin| check_local(&parts("/", &[("host", "127.0.0.1:8080"), ("origin", origin)])).is_ok();
        assert!(from("http://127.0.0.1:8080"));
        for origin in [
            "http://127.0.0.1:9000",
            "http://localhost:8080",
            "https://127.0.0.1:8080",
            "https://evil.example",
            "null",
            "",
        ] {
            assert!(!from(origin), "{origin}");
        }
    }

    #[test]
    fn a_host_that_is_none_is_a_bad_request() {
        for headers in [
            &[][..],
            &[("host", "a"), ("host", "b")],
            &[("host", "user@localhost")],
            &[("host", "local host")],
            &[("host", "")],
            &[("host", "a/b")],
        ] {
            let error = check_target(&parts("/", headers)).expect_err("refused");
            assert_eq!(error.status().as_u16(), 400, "{headers:?}");
        }
    }
}
