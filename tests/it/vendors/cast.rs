//! One server with an upstream of every vendor's, and what they are to say in words that all of them have.

use serde_json::{Value, json};

use super::client::Client;
use crate::support::app::TestApp;
use crate::support::openai::Door;
use crate::support::reply::{Gate, Reply, Scripted};
use crate::support::response::{Response, Streamed};
use crate::support::upstream::{Call, Upstream};
use crate::support::{anthropic, gemini};

/// An upstream of the cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    OpenAi,
    /// Azure's older door, with the deployment in the path.
    AzureClassic,
    /// Azure's newer door, which is OpenAI's own.
    AzureV1,
    Anthropic,
    Gemini,
}

use Vendor::*;

pub const VENDORS: [Vendor; 5] = [OpenAi, AzureClassic, AzureV1, Anthropic, Gemini];

impl Vendor {
    /// Returns the name that its model is asked for by.
    pub const fn model(self) -> &'static str {
        match self {
            OpenAi => "fake/parrot",
            AzureClassic => "classic/owl",
            AzureV1 => "newer/owl",
            Anthropic => "claude/claude-haiku-4-5",
            Gemini => "google/gemini-2.5-flash",
        }
    }
}

/// What an upstream says.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// A text, to its end.
    Text(&'static str),
    /// A text that was cut at the limit.
    Cut(&'static str),
    /// A text that a filter cut, or as much as its vendor has of one.
    Filtered(&'static str),
    /// The vendor's own words of refusal.
    Refused(&'static str),
    /// A call of a tool, with the JSON of its arguments.
    Call(&'static str, &'static str),
}

/// How it says that.
#[derive(Clone, Debug)]
pub enum Manner {
    Plainly,
    /// Half of it, and the rest when the gate opens.
    Held(Gate),
    /// Half of it, then the connection breaks when the gate opens.
    Cut(Gate),
    /// Half of it, then the body ends in good order when the gate opens.
    Early(Gate),
    /// Without a count of tokens.
    Uncounted,
}

impl Manner {
    fn of<W>(&self, reply: Scripted<W>) -> Scripted<W> {
        match self {
            Self::Plainly => reply,
            Self::Held(gate) => reply.held_midway(gate),
            Self::Cut(gate) => reply.held_midway(gate).cut_midway(),
            Self::Early(gate) => reply.held_midway(gate).ending_early(),
            Self::Uncounted => reply.without_usage(),
        }
    }
}

/// A server and all its upstreams.
pub struct Cast {
    pub app: TestApp,
    pub classic: Upstream,
    pub newer: Upstream,
    pub claude: anthropic::Upstream,
    pub google: gemini::Upstream,
}

impl Cast {
    /// Starts a server that serves equal requests from the cache.
    pub async fn exact() -> Self {
        Self::with("cache.mode = \"exact\"").await
    }

    /// Starts a server that asks anew for every answer.
    pub async fn uncached() -> Self {
        Self::with("cache.mode = \"off\"").await
    }

    /// Starts a server with these settings put over the usual ones.
    pub async fn with(settings: &str) -> Self {
        Self::with_first(settings, "").await
    }

    /// Starts a server with these settings, and those of its first upstream, put over the usual ones.
    pub async fn with_first(settings: &str, first: &str) -> Self {
        Self::start(settings, first, "").await
    }

    /// Starts a server with these settings, and those of each of its upstreams, put over the usual ones.
    pub async fn with_each(settings: &str, each: &str) -> Self {
        Self::start(settings, each, each).await
    }

    async fn start(settings: &str, first: &str, others: &str) -> Self {
        let classic = Upstream::azure(Door::AzureDeployment("owl")).await;
        let newer = Upstream::azure(Door::AzureV1).await;
        let claude = anthropic::Upstream::start().await;
        let google = gemini::Upstream::start().await;
        let provider = |name: &str, kind: &str, base_url: &str| {
            let key = format!("api_key_env = \"FAKE_KEY\"\n{others}");
            format!("[[providers]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n{key}\n")
        };
        let classic_url =
            format!("{}/?api-version={}", classic.base_url(), crate::support::openai::API_VERSION);
        let settings = [
            settings,
            "\n[[providers]]\n",
            first,
            "\n",
            &provider("classic", "azure_openai", &classic_url),
            &provider("newer", "azure_openai", newer.base_url()),
            &provider("claude", "anthropic", claude.base_url()),
            &provider("google", "gemini", google.base_url()),
        ];
        let app = TestApp::with(&settings.concat()).await;
        Self { app, classic, newer, claude, google }
    }

    /// Has an upstream say this from now on.
    pub fn says(&self, vendor: Vendor, said: Said, manner: &Manner) {
        match vendor {
            OpenAi => self.app.upstream.always(manner.of(openai_reply(said))),
            AzureClassic => self.classic.always(manner.of(openai_reply(said))),
            AzureV1 => self.newer.always(manner.of(openai_reply(said))),
            Anthropic => self.claude.always(manner.of(anthropic_reply(said))),
            Gemini => self.google.always(manner.of(gemini_reply(said))),
        }
    }

    /// Has every upstream take fields that it does not know.
    pub fn take_anything(&self) {
        for upstream in [&self.app.upstream, &self.classic, &self.newer] {
            upstream.lenient();
        }
        self.claude.lenient();
        self.google.lenient();
    }

    /// Forgets every complaint of every upstream.
    pub fn forgive(&self) {
        for upstream in [&self.app.upstream, &self.classic, &self.newer] {
            upstream.forgive();
        }
        self.claude.forgive();
        self.google.forgive();
    }

    /// Returns every call of an upstream so far.
    pub fn heard(&self, vendor: Vendor) -> Vec<Call> {
        match vendor {
            OpenAi => self.app.upstream.heard(),
            AzureClassic => self.classic.heard(),
            AzureV1 => self.newer.heard(),
            Anthropic => self.claude.heard(),
            Gemini => self.google.heard(),
        }
    }

    /// Returns the last body that an upstream was sent, without what says how it is to be delivered.
    pub fn last_body(&self, vendor: Vendor) -> Value {
        let mut body = self.heard(vendor).pop().unwrap().body;
        let fields = body.as_object_mut().unwrap();
        fields.remove("stream");
        fields.remove("stream_options");
        body
    }

    /// Returns how often any of them was called.
    pub fn calls(&self) -> usize {
        VENDORS.iter().map(|vendor| self.heard(*vendor).len()).sum()
    }

    /// Asks for a whole answer.
    pub async fn whole(&self, client: Client, body: Value) -> Response {
        self.app.post(client.path(), &[], body).await
    }

    /// Asks for a stream and reads it to its end.
    pub async fn streamed(&self, client: Client, body: Value) -> Response {
        self.stream(client, body).await.rest().await
    }

    /// Asks for a stream.
    pub async fn stream(&self, client: Client, mut body: Value) -> Streamed {
        if client == Client::OpenAi {
            body["stream_options"] = json!({"include_usage": true});
        }
        self.app.stream(client.path(), body).await
    }
}

fn openai_reply(said: Said) -> Reply {
    match said {
        Said::Text(text) => Reply::text(text),
        Said::Cut(text) => Reply::ending(text, Some("length")),
        Said::Filtered(text) => Reply::ending(text, Some("content_filter")),
        Said::Refused(words) => Reply::refusal(words),
        Said::Call(name, arguments) => Reply::tool_call(name, arguments),
    }
}

fn anthropic_reply(said: Said) -> anthropic::Reply {
    match said {
        Said::Text(text) => anthropic::Reply::text(text),
        Said::Cut(text) => anthropic::Reply::ending(text, Some("max_tokens")),
        Said::Filtered(text) | Said::Refused(text) => anthropic::Reply::refusal(text, "cyber"),
        Said::Call(name, arguments) => {
            anthropic::Reply::tool_use(name, serde_json::from_str(arguments).unwrap())
        }
    }
}

fn gemini_reply(said: Said) -> gemini::Reply {
    match said {
        Said::Text(text) => gemini::Reply::text(text),
        Said::Cut(text) => gemini::Reply::ending(text, Some("MAX_TOKENS")),
        Said::Filtered(text) | Said::Refused(text) => gemini::Reply::ending(text, Some("SAFETY")),
        Said::Call(name, arguments) => {
            gemini::Reply::function_call(name, serde_json::from_str(arguments).unwrap())
        }
    }
}
