//! Upstreams behind TLS: those whom one may trust, and those whom nobody should.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::format::{Format, Question, Words};
use super::http2::{self, Refusal};
use super::request;
use crate::support::upstream::Asked;

/// Who shows up behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Whom the client expects, vouched for by whom it trusts.
    Expected,
    /// The same, but the certificate is out of date.
    Expired,
    /// Somebody else, vouched for all the same.
    SomebodyElse,
    /// Whom the client expects, vouched for by nobody but itself.
    SelfSigned,
    /// A server that speaks no TLS, and answers in plain text.
    Plain,
    /// Whoever it is does not say a word.
    Silent,
    /// Whom the client expects, speaking HTTP/2, and refusing the first request in this way.
    Refusing(Refusal),
}

/// Vouches for servers.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A running upstream, which answers whatever it is asked with the same words.
pub struct TlsServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Returns what whoever trusts it needs.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// Returns what a server with this face shows.
    fn identity(&self, face: Face) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let name = if face == Face::SomebodyElse { "elsewhere.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if face == Face::Expired {
            params.not_before = date_time_ymd(2024, 1, 1);
            params.not_after = date_time_ymd(2024, 12, 31);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match face {
            Face::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        (certificate.unwrap().into(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

impl TlsServer {
    /// Listens on a free port with this face, and says this text to whoever gets through.
    pub async fn start(authority: &Authority, face: Face, text: &'static str) -> Self {
        let (certificate, key) = authority.identity(face);
        let mut config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        if matches!(face, Face::Refusing(_)) {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), face, text, Arc::clone(&counted)));
            }
        });
        Self { address, requests }
    }

    /// Returns what a client is to be configured with.
    pub fn base_url(&self) -> String {
        format!("https://{}/v1", self.address)
    }

    /// Returns how many requests it could read, whether it should have or not.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    face: Face,
    text: &str,
    requests: Arc<AtomicUsize>,
) {
    let body = answer(text);
    match face {
        Face::Silent => while stream.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {},
        Face::Plain => {
            let mut first = [0; 5];
            if stream.read_exact(&mut first).await.is_ok() {
                requests.fetch_add(usize::from(&first == b"POST "), Ordering::Relaxed);
            }
            // The client may leave at any time, here and below.
            let _ = stream.write_all(response(&body).as_bytes()).await;
        }
        Face::Refusing(refusal) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = http2::serve(stream, refusal, &requests, body.as_bytes()).await;
            }
        }
        Face::Expected | Face::Expired | Face::SomebodyElse | Face::SelfSigned => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = answer_all(stream, &response(&body), &requests).await;
            }
        }
    }
}

async fn answer_all(
    mut stream: TlsStream<TcpStream>,
    response: &str,
    requests: &AtomicUsize,
) -> io::Result<()> {
    while let Some((head, rest)) = request::head(&mut stream).await? {
        request::body(&mut stream, &head, rest).await?;
        requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(response.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Returns a whole answer, whatever was asked.
fn answer(text: &str) -> String {
    let asked = Asked { model: "m".to_owned(), ..Asked::default() };
    let question = Question { asked, due: String::new() };
    Format::OpenAi.whole(&Words::text(text), &question).to_string()
}

fn response(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}
