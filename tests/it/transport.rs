//! The transport against servers that misbehave, on real sockets.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use refrain::transport::{CallLimits, Incoming, Outgoing, Transport, TransportError, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Long enough for anything that is not meant to time out.
const AMPLE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Accepts connections and hands each to `serve`, until the test ends; returns the address as a URL.
async fn server<F>(scheme: &str, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Url
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Url::parse(&format!("{scheme}://{address}/v1")).unwrap()
}

/// Reads a request whose body is `{}` and returns its text.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n{}") {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(seen).ok()
}

/// A server that answers every request of a connection with these bytes, then closes it.
async fn answering(bytes: impl Into<Vec<u8>>) -> Url {
    let bytes = bytes.into();
    server("http", move |mut stream| {
        let bytes = bytes.clone();
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

fn limits() -> CallLimits {
    CallLimits::until(Instant::now() + AMPLE, AMPLE)
}

fn outgoing(url: &Url) -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: url.clone(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    }
}

async fn send(url: &Url, limits: CallLimits) -> Result<Incoming, TransportError> {
    Transport::new().send(outgoing(url), limits).await
}

async fn body(url: &Url, limits: CallLimits) -> Result<Bytes, TransportError> {
    send(url, limits).await?.body.whole().await
}

#[tokio::test]
async fn bodies_come_whole_by_length_in_chunks_and_compressed() {
    for response in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".as_slice(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\
          \x1f\x8b\x08\0\0\0\0\0\x02\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0",
    ] {
        let url = answering(response).await;
        assert_eq!(body(&url, limits()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_request_carries_its_headers_and_nothing_that_betrays_a_browser() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let url = server("http", move |mut stream| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(request(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nset-cookie: a=b\r\n\r\n").await;
        }
    })
    .await;
    let transport = Transport::new();
    for _ in 0..2 {
        let mut call = outgoing(&url);
        call.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer k"));
        assert_eq!(transport.send(call, limits()).await.unwrap().status, 204);
        let seen = told.recv().await.unwrap().unwrap().to_ascii_lowercase();
        assert!(seen.starts_with("post /v1 http/1.1\r\n"), "{seen}");
        assert!(seen.contains("authorization: bearer k\r\n"), "{seen}");
        for forbidden in ["origin:", "cookie:", "referer:", "proxy-"] {
            assert!(!seen.contains(forbidden), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_connection_serves_more_than_one_call() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let url = server("http", move |mut stream| {
        let _ = tell.send(());
        async move {
            while request(&mut stream).await.is_some() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let transport = Transport::new();
    for _ in 0..3 {
        transport.send(outgoing(&url), limits()).await.unwrap().body.whole().await.unwrap();
    }
    assert_eq!(told.recv().await, Some(()));
    assert!(told.is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url =
        answering("HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(send(&url, limits()).await.unwrap().status, 307);
}

#[tokio::test]
async fn a_refused_connection_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert_eq!(send(&url, limits()).await.unwrap_err(), TransportError::Connect);
}

#[tokio::test]
async fn tls_is_never_lowered_to_plain_text() {
    let url = server("https", |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 This is no TLS\r\n\r\n").await;
    })
    .await;
    assert_eq!(send(&url, limits()).await.unwrap_err(), TransportError::Tls);
}

/// A listener whose queue is full drops further attempts without a word, as a firewall does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_nobody_answers_ends_with_the_connect_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let limits = CallLimits::until(Instant::now() + AMPLE, SHORT);
    assert_eq!(send(&url, limits).await.unwrap_err(), TransportError::ConnectTimeout);
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_with_the_connect_timeout() {
    let url = server("https", |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let limits = CallLimits::until(Instant::now() + AMPLE, SHORT);
    assert_eq!(send(&url, limits).await.unwrap_err(), TransportError::ConnectTimeout);
}

#[tokio::test]
async fn silence_ends_with_the_deadline_before_the_headers_and_within_the_body() {
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"] {
        let url = server("http", move |mut stream| async move {
            request(&mut stream).await;
            let _ = stream.write_all(start.as_bytes()).await;
            std::future::pending::<()>().await;
        })
        .await;
        let limits = CallLimits::until(Instant::now() + SHORT, AMPLE);
        assert_eq!(body(&url, limits).await.unwrap_err(), TransportError::Deadline, "{start}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_one_that_ends() {
    for part in [
        "",
        "HTTP/1.1 200",
        "no http at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
    ] {
        let url = answering(part).await;
        assert_eq!(body(&url, limits()).await.unwrap_err(), TransportError::Reset, "{part}");
    }
    let url = server("http", |mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(body(&url, limits()).await.unwrap_err(), TransportError::Reset);
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_cap() {
    let url = server("http", |mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {}
    })
    .await;
    let limits = CallLimits { body_bytes_max: 1 << 20, ..limits() };
    assert_eq!(body(&url, limits).await.unwrap_err(), TransportError::TooLarge);
}

/// A block of a compressed stream that is 64 KiB of zeros, in 83 bytes. Any number of them may follow each other.
fn bomb() -> Vec<u8> {
    let start = hex::decode("ecc101010000008090feafee080a").unwrap();
    let end = hex::decode("6a000000ffff").unwrap();
    [start, vec![0; 63], end].concat()
}

#[tokio::test]
async fn a_compressed_body_counts_by_what_it_unpacks_to() {
    let mut response =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\x02\x03".to_vec();
    response.extend(bomb().repeat(1_000));
    let sent_bytes = response.len();
    let url = answering(response).await;
    let limits = CallLimits { body_bytes_max: 1 << 20, ..limits() };
    assert!(sent_bytes < limits.body_bytes_max);
    assert_eq!(body(&url, limits).await.unwrap_err(), TransportError::TooLarge);
}

#[tokio::test]
async fn an_encoding_that_cannot_be_read_is_an_error() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nhello hello hello",
    ] {
        let url = answering(response).await;
        assert_eq!(body(&url, limits()).await.unwrap_err(), TransportError::Encoding, "{response}");
    }
}
