//! Just enough of HTTP to know what is asked, and where a request ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The head of a request.
pub(super) struct Head {
    /// Path and query.
    pub target: String,
    body: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads the next head, and what came of the body along with it; `None` when the client has left.
pub(super) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut seen = Vec::new();
    loop {
        if let Some(end) = find(&seen, b"\r\n\r\n") {
            let rest = seen.split_off(end + 4);
            return Ok(Some((parsed(&String::from_utf8_lossy(&seen)), rest)));
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Ok(None);
        }
    }
}

fn parsed(head: &str) -> Head {
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|first| first.split(' ').nth(1)).unwrap_or("").to_owned();
    let mut body = Framing::Length(0);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => body = Framing::Length(value.trim().parse().unwrap_or(0)),
            "transfer-encoding" => body = Framing::Chunked,
            _ => {}
        }
    }
    Head { target, body }
}

/// Reads the body, of which this much is there.
pub(super) async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    head: &Head,
    mut seen: Vec<u8>,
) -> io::Result<Vec<u8>> {
    loop {
        let whole = match head.body {
            Framing::Length(length) => seen.get(..length).map(<[u8]>::to_vec),
            Framing::Chunked => unchunked(&seen),
        };
        if let Some(whole) = whole {
            return Ok(whole);
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns the body of these chunks, once the last of them is there.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(bytes, b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let chunk = bytes.get(end + 2..end + 2 + size)?;
        bytes = bytes.get(end + 2 + size + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
