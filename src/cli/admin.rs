//! Whom a subcommand asks: the server that `--server` names, the one that holds the data folder, or nobody, and then
//! the folder is opened here. All three answer the same requests of the admin API, so no subcommand can tell.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

use super::output::Advised;
use super::{Place, configuration};
use crate::app::App;
use crate::config::{Config, Environment, Flags, Secret};
use crate::store::{DataLock, Running};
use crate::transport::{CallLimits, Outgoing, Transport, TransportError, Url};

/// Whom to ask, and in which form to show the answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin API")]
pub struct AdminArgs {
    /// Ask the server whose admin listener is at this address, with the key in $REFRAIN_API_KEY
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Option<Url>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

fn server_url(text: &str) -> Result<Url, String> {
    let address = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none());
    address
        .ok_or_else(|| "expected the address of an admin listener, such as http://127.0.0.1:9464".to_owned())
}

/// Sends one JSON body to the admin API, wherever that is, and returns the JSON that came back.
///
/// # Errors
/// Names what is wrong with the configuration or the data folder, or carries the message of a refusal; with what may
/// help, where something may.
pub async fn post(args: &AdminArgs, place: &Place, path: &str, body: &Value) -> anyhow::Result<Value> {
    ask(args, place, Method::POST, path, body.to_string().into()).await
}

/// The same for what is to stand at one path of the admin API.
///
/// # Errors
/// As [`post`].
pub async fn put(args: &AdminArgs, place: &Place, path: &str, body: &Value) -> anyhow::Result<Value> {
    ask(args, place, Method::PUT, path, body.to_string().into()).await
}

/// Returns the JSON at one path of the admin API, wherever that is.
///
/// # Errors
/// As [`post`].
pub async fn get(args: &AdminArgs, place: &Place, path: &str) -> anyhow::Result<Value> {
    ask(args, place, Method::GET, path, Bytes::new()).await
}

/// Returns the lines at one path of the admin API, wherever that is.
///
/// # Errors
/// As [`post`].
pub async fn get_lines(
    args: &AdminArgs,
    place: &Place,
    path: &str,
    query: &[(&str, &str)],
) -> anyhow::Result<String> {
    // Any address will do to have the query encoded.
    let mut url = Url::parse("http://localhost")?.join(path)?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let path = url.as_str().trim_start_matches("http://localhost");
    let answer = send(args, place, request(Method::GET, path, Bytes::new())?).await?;
    if !answer.status().is_success() {
        return Err(understood(&answer).expect_err("a refusal is no answer"));
    }
    Ok(String::from_utf8(answer.into_body().into())?)
}

/// Returns what the server that holds the data folder says of itself, and its process id; `None` if none holds it.
pub async fn stats_of_holder(config: &Config) -> Option<(u32, anyhow::Result<Value>)> {
    let running = DataLock::read(&config.data_dir)?;
    let pid = running.pid;
    let stats = async {
        let answer =
            Server::holding(running)?.send(request(Method::GET, "/admin/stats", Bytes::new())?).await?;
        understood(&answer)
    };
    Some((pid, stats.await))
}

/// Several requests of one command, to whoever answers the first.
pub struct Session(Admin);

impl Session {
    /// Finds whom to ask; a folder that nobody holds is opened with all that the configuration names.
    ///
    /// # Errors
    /// As [`post`].
    pub async fn open(args: &AdminArgs, place: &Place) -> anyhow::Result<Self> {
        Admin::find(args, place, false).await.map(Self)
    }

    /// Sends lines of JSON, and returns the JSON that came back.
    ///
    /// # Errors
    /// As [`post`].
    pub async fn post_lines(&self, path: &str, lines: Bytes) -> anyhow::Result<Value> {
        let mut request = request(Method::POST, path, lines)?;
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        request.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        understood(&self.0.send(request).await?)
    }

    /// Returns the JSON at a path.
    ///
    /// # Errors
    /// As [`post`].
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        understood(&self.0.send(request(Method::GET, path, Bytes::new())?).await?)
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// As [`post`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        understood(&self.0.send(request(Method::DELETE, path, Bytes::new())?).await?)
    }

    /// Lets go of the data folder, where it was opened.
    pub async fn close(self) {
        self.0.close().await;
    }
}

async fn ask(
    args: &AdminArgs,
    place: &Place,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Value> {
    understood(&send(args, place, request(method, path, body)?).await?)
}

async fn send(args: &AdminArgs, place: &Place, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let admin = Admin::find(args, place, true).await?;
    let answer = admin.send(request).await;
    admin.close().await;
    answer
}

fn request(method: Method, path: &str, body: Bytes) -> anyhow::Result<Request<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    Ok(request.header(header::CONTENT_TYPE, "application/json").body(body)?)
}

/// Who answers the admin API.
enum Admin {
    Server(Server),
    /// Opened by this process, since no server holds the folder.
    Folder(Box<App>),
}

/// A running server, and the token that opens its admin API.
struct Server {
    transport: Transport,
    address: Url,
    token: Option<Secret>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take; removing very many entries is the slowest thing it is asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

impl Admin {
    /// `calls_nobody`: what is asked needs no provider, so no provider's key has to be at hand.
    async fn find(args: &AdminArgs, place: &Place, calls_nobody: bool) -> anyhow::Result<Self> {
        if let Some(address) = &args.server {
            let key = Environment::of_process().get("REFRAIN_API_KEY").map(|key| Secret::new(key.to_owned()));
            return Ok(Self::Server(Server::new(address.clone(), key)));
        }
        let config = configuration(&Flags { calls_nobody, ..place.flags() })?;
        // Whoever buys may begin with nothing; whoever asks of what is there has mistaken the folder.
        if calls_nobody && !config.data_dir.is_dir() {
            return Err(Advised::new(
                format!("there is no data folder at {}", config.data_dir.display()),
                "name it with --data-dir or --config, or a running server with --server",
            )
            .into());
        }
        match DataLock::read(&config.data_dir) {
            Some(running) => Server::holding(running).map(Self::Server),
            None => Ok(Self::Folder(Box::new(App::open(&config).await?))),
        }
    }
}

impl Admin {
    async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        match self {
            Self::Server(server) => server.send(request).await,
            Self::Folder(app) => Ok(app.ask_admin(request).await),
        }
    }

    async fn close(self) {
        if let Self::Folder(app) = self {
            app.close(Instant::now()).await;
        }
    }
}

impl Server {
    fn new(address: Url, token: Option<Secret>) -> Self {
        Self { transport: Transport::new(), address, token }
    }

    /// The server of this data folder, opened with the token that only readers of the folder know.
    fn holding(Running { admin, token, pid: _ }: Running) -> anyhow::Result<Self> {
        let address = Url::parse(&format!("http://{admin}"))
            .with_context(|| format!("the lock file names `{admin}`, which is no address"))?;
        Ok(Self::new(address, Some(token)))
    }

    async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| anyhow!("the key holds characters that no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let mut url = self.address.join(parts.uri.path())?;
        url.set_query(parts.uri.query());
        let outgoing = Outgoing { method: parts.method, url, headers, body };
        let limits = CallLimits::until(Instant::now() + ANSWER_TIMEOUT, CONNECT_TIMEOUT);
        let answer = async {
            let incoming = self.transport.send(outgoing, limits).await?;
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = incoming.status;
            *answer.body_mut() = incoming.body.whole().await?;
            Ok(answer)
        };
        answer.await.map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: TransportError) -> anyhow::Error {
        let address = self.address.origin().ascii_serialization();
        match error {
            TransportError::Resolve | TransportError::Connect | TransportError::ConnectTimeout => {
                Advised::new(
                    format!("no server answers at {address}"),
                    "the address is that of the admin listener, which `refrain serve` prints when it starts",
                )
                .into()
            }
            TransportError::Tls
            | TransportError::Deadline
            | TransportError::Reset
            | TransportError::TooLarge
            | TransportError::Encoding
            | TransportError::Client => anyhow::Error::new(error).context(format!("asking {address}")),
        }
    }
}

/// Reads an answer of the admin API.
fn understood(answer: &Response<Bytes>) -> anyhow::Result<Value> {
    let status = answer.status();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    if status.is_success() && !body.is_null() {
        return Ok(body);
    }
    let message = match &body["error"]["message"] {
        Value::String(message) => format!("{message} ({status})"),
        _ => format!("expected JSON of a Refrain admin listener, got {status}"),
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Advised::new(message, "set REFRAIN_API_KEY to a key with the scope `admin`").into())
        }
        _ => Err(anyhow!(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_refusal_is_told_in_the_server_s_own_words() {
        let refusal = understood(&answer(404, r#"{"error": {"message": "no such entry"}}"#)).unwrap_err();
        assert_eq!(refusal.to_string(), "no such entry (404 Not Found)");
        let refusal = understood(&answer(401, "{}")).unwrap_err();
        assert!(refusal.is::<Advised>());
    }

    #[test]
    fn what_is_no_admin_listener_is_not_taken_for_one() {
        assert!(understood(&answer(200, "<html>hello</html>")).is_err());
        assert!(understood(&answer(200, r#"{"entries": 0}"#)).is_ok());
    }

    #[test]
    fn a_server_is_named_by_its_address_alone() {
        assert!(server_url("http://127.0.0.1:9464").is_ok());
        assert!(server_url("https://cache.internal/").is_ok());
        for wrong in ["127.0.0.1:9464", "ftp://x", "http://x/admin", "http://"] {
            assert!(server_url(wrong).is_err(), "{wrong}");
        }
    }
}
