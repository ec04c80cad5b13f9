//! Just enough of HTTP/2 to refuse a request and to answer one.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How the first request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The connection ends, and no request of it was looked at.
    GoAway,
    /// The request was not looked at.
    RefusedStream,
    /// The request was given up, nobody knows where.
    Reset,
}

/// What every connection begins with.
const PREFACE: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// Serves one connection: the first request that the whole server gets is refused, the others are answered with this
/// JSON.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    refusal: Refusal,
    requests: &AtomicUsize,
    body: &[u8],
) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE]).await?;
    write(&mut stream, SETTINGS, 0, 0, &[]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes(id);
        match kind {
            SETTINGS if flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[]).await?,
            DATA | HEADERS if flags & END_STREAM != 0 => {
                let is_first = requests.fetch_add(1, Ordering::Relaxed) == 0;
                match refusal {
                    Refusal::GoAway if is_first => {
                        let last_and_reason = [0_u32.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
                        write(&mut stream, GOAWAY, 0, 0, &last_and_reason).await?;
                        return stream.shutdown().await;
                    }
                    Refusal::RefusedStream if is_first => {
                        write(&mut stream, RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes()).await?;
                    }
                    Refusal::Reset if is_first => {
                        write(&mut stream, RST_STREAM, 0, id, &INTERNAL_ERROR.to_be_bytes()).await?;
                    }
                    Refusal::GoAway | Refusal::RefusedStream | Refusal::Reset => {
                        write(&mut stream, HEADERS, END_HEADERS, id, &head_of_answer()).await?;
                        write(&mut stream, DATA, END_STREAM, id, body).await?;
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns `:status: 200` and `content-type: application/json`, by the numbers that both names have.
fn head_of_answer() -> Vec<u8> {
    let content_type = b"application/json";
    [&[0x88, 0x0f, 0x10, content_type.len() as u8][..], content_type].concat()
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> io::Result<()> {
    let length = (payload.len() as u32).to_be_bytes();
    let frame = [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat();
    stream.write_all(&frame).await?;
    stream.flush().await
}
