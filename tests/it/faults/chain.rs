//! A server with two upstreams, for what needs more than a case can say.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::faults::{FaultServer, Format};
use crate::support::response::Response;
use crate::vendors::client::{Client, Read};

/// The alias of both.
pub const ROUTE: &str = "route";

/// What differs from the usual: settings, as lines of each table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan<'a> {
    pub server: &'a str,
    pub primary: &'a str,
    pub backup: &'a str,
    pub route: &'a str,
    /// The format of the second upstream.
    pub format: Format,
}

/// A server, the upstream that is asked first and the one that is asked next, both for their model `m`.
pub struct Chain {
    pub app: TestApp,
    pub primary: FaultServer,
    pub backup: FaultServer,
}

impl Plan<'_> {
    pub async fn start(self) -> Chain {
        let (primary, backup) =
            (FaultServer::start().await, FaultServer::start_as(self.format, Default::default()).await);
        let app = TestApp::with(&self.settings(&primary, &backup)).await;
        Chain { app, primary, backup }
    }

    /// Starts the server as a process of its own.
    pub async fn start_apart(self) -> Chain {
        let (primary, backup) =
            (FaultServer::start().await, FaultServer::start_as(self.format, Default::default()).await);
        let app = TestApp::binary(&self.settings(&primary, &backup)).await;
        Chain { app, primary, backup }
    }

    fn settings(self, primary: &FaultServer, backup: &FaultServer) -> String {
        let provider = |name: &str, server: &FaultServer, format: Format, more: &str| {
            let (kind, base_url) = (format.kind(), server.base_url());
            format!(
                "[[providers]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\napi_key_env = \"FAKE_KEY\"\n{more}\n"
            )
        };
        let Self { server, route, format, .. } = self;
        format!(
            "cache.mode = \"exact\"\nretry.base_ms = 10\n{server}\n{}{}[[routes]]\nmodel = \"{ROUTE}\"\nchain = [\"primary/m\", \"backup/m\"]\n{route}",
            provider("primary", primary, Format::OpenAi, self.primary),
            provider("backup", backup, format, self.backup),
        )
    }
}

impl Chain {
    /// Asks for a whole answer.
    pub async fn ask(&self, prompt: &str) -> Response {
        self.app.chat(Client::OpenAi.ask(ROUTE, prompt)).await
    }

    /// Asks for a stream in this dialect, and reads it to its end.
    pub async fn stream(&self, client: Client, prompt: &str) -> Response {
        self.app.post(client.path(), &[], streamed(client.ask(ROUTE, prompt), client)).await
    }

    /// Asks for a stream and reads its good end.
    pub async fn read(&self, client: Client, prompt: &str) -> Read {
        client.streamed(&self.stream(client, prompt).await)
    }

    /// Returns the text that is kept for a prompt, and who wrote it.
    pub async fn kept(&self, client: Client, prompt: &str) -> Option<(String, String)> {
        let only_kept = [("cache-control", "only-if-cached")];
        let response = self.app.post(client.path(), &only_kept, client.ask(ROUTE, prompt)).await;
        let found = (response.status == 200).then(|| client.whole(&response).text)?;
        Some((found, response.header("x-provider").to_owned()))
    }
}

/// Returns a request for a stream. OpenAI's clients ask for a count of tokens in so many words.
pub fn streamed(mut body: Value, client: Client) -> Value {
    body["stream"] = json!(true);
    if client == Client::OpenAi {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}
