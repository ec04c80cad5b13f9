//! `[[providers]]`: the upstreams.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::Secret;

/// One upstream: a vendor's protocol at an address, with a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The first half of the upstream's model names, as in `openai/gpt-4o-mini`.
    pub name: String,
    pub kind: ProviderKind,
    /// Where it answers, with the version's path (`https://api.openai.com/v1`; `anthropic` and `gemini` add their own
    /// where it is missing). Default: the vendor's own address; required for `openai_compatible` and `azure_openai`. With
    /// `?api-version=…` Azure is spoken to in its classic form, else in the newer one, which is OpenAI's.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The environment variable that holds the key. Default: the vendor's usual one; none for `openai_compatible`.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// The key itself, read from the variable when the configuration is loaded.
    #[serde(skip)]
    pub api_key: Option<Secret>,
    /// The models it may be asked for. Default: any.
    #[serde(default)]
    pub models: Option<Vec<ModelConfig>>,
    #[serde(default)]
    pub timeouts: Timeouts,
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How the sandbox behaves; only for `kind = "sandbox"`.
    #[serde(default)]
    pub sandbox: SandboxConfig,
}

/// The protocol an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    #[serde(rename = "openai")]
    OpenAi,
    /// Any server that speaks OpenAI's Chat Completions: vLLM, Ollama's `/v1`, llama.cpp, …
    #[serde(rename = "openai_compatible")]
    OpenAiCompatible,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// OpenAI's models in Microsoft's cloud.
    #[serde(rename = "azure_openai")]
    AzureOpenAi,
    /// Answers in this process with text made from the prompt.
    Sandbox,
}

impl ProviderKind {
    /// Returns the variable that usually holds the key; `None` where there is no usual one.
    pub(super) const fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::AzureOpenAi => Some("AZURE_OPENAI_API_KEY"),
            Self::OpenAiCompatible | Self::Sandbox => None,
        }
    }
}

/// A model of an upstream: a name, or a table with what is known of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "ModelSpelling")]
pub struct ModelConfig {
    pub name: String,
    /// Whether it can stream. Default `true`; where it cannot it is asked for whole answers.
    pub stream: bool,
    /// What `azure_openai` calls it; `name` stays what the cache and the prices know it by. Default: as `name`.
    pub deployment: Option<String>,
    /// Tokens that prompt and answer may have together; what was too long for one model is not sent to another whose window
    /// is no larger. Default: unknown.
    pub context_window: Option<u64>,
    /// What it can do. Where this is said, it is not asked for what is missing here; `prefill` and `reasoning` count only
    /// where they are said. Default: unknown.
    pub capabilities: Option<Vec<Capability>>,
    /// What it costs. Default: as `models/prices.toml` has it; where that has nothing the cost is unknown.
    pub prices: Option<Prices>,
}

/// What a model costs, in USD per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of the prompt.
    pub input: f64,
    /// Of the answer, reasoning included.
    pub output: f64,
    /// Of what the vendor had in its own prompt cache. Default: as `input`.
    #[serde(default)]
    pub cached_input: Option<f64>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a model's name, or a table with `name`, `stream`, `deployment`, `context_window`, \
                 `capabilities` (of `tools`, `json_schema`, `images`, `prefill`, `reasoning`) and \
                 `prices = { input, output, cached_input }`"
)]
enum ModelSpelling {
    Name(String),
    #[serde(rename_all = "snake_case")]
    Table(ModelTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    name: String,
    #[serde(default = "yes")]
    stream: bool,
    #[serde(default)]
    deployment: Option<String>,
    #[serde(default)]
    context_window: Option<u64>,
    #[serde(default)]
    capabilities: Option<Vec<Capability>>,
    #[serde(default)]
    prices: Option<Prices>,
}

const fn yes() -> bool {
    true
}

impl ModelConfig {
    /// Returns a model of which only the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            stream: true,
            deployment: None,
            context_window: None,
            capabilities: None,
            prices: None,
        }
    }

    /// Returns whether it is declared to be able to do this.
    pub fn declares(&self, capability: Capability) -> bool {
        self.capabilities.as_ref().is_some_and(|known| known.contains(&capability))
    }

    /// Returns whether it is declared to be unable to do this.
    pub fn lacks(&self, capability: Capability) -> bool {
        self.capabilities.as_ref().is_some_and(|known| !known.contains(&capability))
    }
}

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Calls functions.
    Tools,
    /// Answers in JSON of a given schema.
    JsonSchema,
    /// Looks at images.
    Images,
    /// Goes on where a last message of the assistant stops.
    Prefill,
    /// Thinks before it speaks, so that its first word may take a while.
    Reasoning,
}

impl From<ModelSpelling> for ModelConfig {
    fn from(spelling: ModelSpelling) -> Self {
        match spelling {
            ModelSpelling::Name(name) => Self::named(name),
            ModelSpelling::Table(ModelTable {
                name,
                stream,
                deployment,
                context_window,
                capabilities,
                prices,
            }) => Self { name, stream, deployment, context_window, capabilities, prices },
        }
    }
}

/// How long an upstream may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Milliseconds to connect. Default 5,000.
    pub connect_ms: u64,
    /// Milliseconds to the first token while another upstream is left in the chain, but at least 120,000 for a model that
    /// is asked to reason; the last one has until the deadline. Default 10,000.
    pub first_token_ms: u64,
    /// Milliseconds between tokens; comments and pings do not count as tokens. Default 15,000.
    pub idle_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_token_ms: 10_000, idle_ms: 15_000 }
    }
}

/// How much an upstream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests per minute. Default: none but what the upstream says of itself.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens per minute, of prompts (estimated) and of the answers' limits. Default as above.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Calls at a time. Default 64.
    pub concurrency: usize,
    /// Calls that wait for their turn; beyond it the next upstream is asked. Default 256.
    pub queue: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { requests_per_minute: None, tokens_per_minute: None, concurrency: 64, queue: 256 }
    }
}

/// How the sandbox behaves.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Milliseconds before it answers. Default 300.
    pub latency_ms: u64,
    /// The share of requests it fails with 503, in [0, 1]. Default 0.
    pub failure_rate: f64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { latency_ms: 300, failure_rate: 0.0 }
    }
}
