//! What a model costs, and which one is meant when none is named.
//!
//! `models/prices.toml` is built in: the vendors' list prices of one day, for prompts of usual length. A price in the
//! configuration goes before it, since contracts, regions and Azure's deployments have prices of their own.

use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use crate::config::{Prices, ProviderConfig, ProviderKind};

static LIST: LazyLock<PriceList> = LazyLock::new(|| {
    toml::from_str(include_str!("../../models/prices.toml"))
        .expect("the built-in price list is tested to parse")
});

#[derive(Deserialize)]
struct PriceList {
    models: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: Vendor,
    name: String,
    #[serde(default)]
    default: bool,
    /// Missing for a model that is only marked as the default and priced elsewhere.
    #[serde(default)]
    prices: Option<Prices>,
}

/// Whose price list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Vendor {
    #[serde(rename = "openai")]
    OpenAi,
    Anthropic,
    Gemini,
    /// Sells the others' models at their prices, under names such as `openai/gpt-4o-mini`.
    #[serde(rename = "openrouter")]
    OpenRouter,
    Sandbox,
}

impl Vendor {
    /// Returns the name that an upstream of this vendor usually has.
    const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::OpenRouter => "openrouter",
            Self::Sandbox => "sandbox",
        }
    }

    /// Returns the vendor whose list an upstream is billed by; `None` for a server of somebody's own.
    fn of(provider: &ProviderConfig) -> Option<Self> {
        match provider.kind {
            // Azure asks the same for global deployments.
            ProviderKind::OpenAi | ProviderKind::AzureOpenAi => Some(Self::OpenAi),
            ProviderKind::Anthropic => Some(Self::Anthropic),
            ProviderKind::Gemini => Some(Self::Gemini),
            ProviderKind::OpenAiCompatible => {
                let address = provider.base_url.as_deref()?.parse::<http::Uri>().ok()?;
                (address.host() == Some("openrouter.ai")).then_some(Self::OpenRouter)
            }
            ProviderKind::Sandbox => Some(Self::Sandbox),
        }
    }
}

/// Returns the model that a request without one means, for an upstream of this name.
pub fn default_model(provider: &str) -> Option<&'static str> {
    LIST.models.iter().find(|row| row.default && row.provider.name() == provider).map(|row| row.name.as_str())
}

/// What one upstream asks for its models.
#[derive(Clone, Debug)]
pub struct Tariff {
    /// Whose list applies to models that are not configured with a price; `None` for nobody's.
    vendor: Option<Vendor>,
    configured: Vec<(String, Prices)>,
}

impl Tariff {
    /// Reads the tariff of an upstream from its configuration.
    pub fn of(provider: &ProviderConfig) -> Self {
        let models = provider.models.iter().flatten();
        let configured = models.filter_map(|model| Some((model.name.clone(), model.prices?)));
        Self { vendor: Vendor::of(provider), configured: configured.collect() }
    }

    /// Returns what a model costs: as configured, else as the vendor's list has it. `None` where neither knows it; the
    /// cost is then unknown, and not zero.
    ///
    /// A dated snapshot costs what the model costs that it is one of, unless it is listed itself.
    pub fn prices(&self, model: &str) -> Option<Prices> {
        let configured = self.configured.iter().find(|(name, _)| name == model);
        configured.map(|(_, prices)| *prices).or_else(|| listed(self.vendor?, model))
    }
}

fn listed(vendor: Vendor, model: &str) -> Option<Prices> {
    let (vendor, model) = match vendor {
        Vendor::OpenAi | Vendor::Anthropic | Vendor::Gemini => (vendor, model.to_owned()),
        Vendor::OpenRouter => match model.split_once('/')? {
            ("openai", name) => (Vendor::OpenAi, name.to_owned()),
            // `claude-haiku-4.5` is its name for `claude-haiku-4-5`.
            ("anthropic", name) => (Vendor::Anthropic, name.replace('.', "-")),
            ("google", name) => (Vendor::Gemini, name.to_owned()),
            _ => return None,
        },
        // It answers under any name.
        Vendor::Sandbox => (vendor, vendor.name().to_owned()),
    };
    let rows = LIST.models.iter().filter(|row| row.provider == vendor);
    let (row, _) = rows
        .filter_map(|row| {
            let rest = model.strip_prefix(row.name.as_str())?;
            (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_date)).then_some((row, rest.len()))
        })
        .min_by_key(|(_, rest)| *rest)?;
    row.prices
}

/// Returns whether a text is the date of a snapshot, as OpenAI writes it (`2024-07-18`) or Anthropic (`20251001`).
fn is_date(text: &str) -> bool {
    matches!(text.len(), 8 | 10) && text.parse::<Date>().is_ok()
}

/// What an answer is billed by, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the whole prompt, `cached` included.
    pub prompt: u64,
    /// Those of the prompt that came from the vendor's own cache.
    pub cached: u64,
    /// Of the answer, reasoning included.
    pub completion: u64,
}

/// Returns what so many tokens cost, in USD.
///
/// Three surcharges are left out, so it may be low: writing to a vendor's cache (Anthropic takes a quarter more),
/// prompts of more than 100,000 to 272,000 tokens, and service tiers. Batch discounts are left out too.
pub fn cost_usd(prices: &Prices, counts: Counts) -> f64 {
    let Prices { input, output, cached_input } = *prices;
    let Counts { prompt, cached, completion } = counts;
    let cached = cached.min(prompt);
    let millionths = (prompt - cached) as f64 * input
        + cached as f64 * cached_input.unwrap_or(input)
        + completion as f64 * output;
    millionths / 1e6
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::ModelConfig;

    fn upstream(kind: ProviderKind) -> ProviderConfig {
        ProviderConfig::named("any", kind)
    }

    fn prices_of(provider: &ProviderConfig, model: &str) -> Option<Prices> {
        Tariff::of(provider).prices(model)
    }

    fn openrouter() -> ProviderConfig {
        let base_url = Some("https://openrouter.ai/api/v1".to_owned());
        ProviderConfig { base_url, ..upstream(ProviderKind::OpenAiCompatible) }
    }

    #[test]
    fn the_list_can_be_believed() {
        #[derive(Deserialize)]
        struct Dated {
            as_of: toml::value::Datetime,
        }
        let text = include_str!("../../models/prices.toml");
        let Dated { as_of } = toml::from_str(text).unwrap();
        assert!(as_of.to_string().parse::<Date>().is_ok());
        let mut names = HashSet::new();
        let mut defaults = HashSet::new();
        for row in &LIST.models {
            assert!(names.insert((row.provider.name(), &row.name)), "{} is there twice", row.name);
            assert!(!row.default || defaults.insert(row.provider.name()), "{} is a second default", row.name);
            let Some(Prices { input, output, cached_input }) = row.prices else {
                assert!(row.default, "{} is there for nothing", row.name);
                continue;
            };
            // No vendor asks more for less work; a row that does has its columns mixed up.
            let cached = cached_input.unwrap_or(input);
            assert!(0.0 <= cached && cached <= input && input <= output && output <= 1_000.0, "{}", row.name);
            let is_free = row.provider == Vendor::Sandbox;
            assert_eq!(is_free, output == 0.0, "{}", row.name);
        }
    }

    #[test]
    fn the_usual_providers_have_a_default_model_with_a_price() {
        for (provider, model) in [
            (Vendor::OpenAi, "gpt-4o-mini"),
            (Vendor::Anthropic, "claude-haiku-4-5"),
            (Vendor::Gemini, "gemini-2.5-flash"),
            (Vendor::OpenRouter, "openai/gpt-4o-mini"),
            (Vendor::Sandbox, "sandbox"),
        ] {
            assert_eq!(default_model(provider.name()), Some(model));
            assert!(listed(provider, model).is_some(), "{model}");
        }
        assert_eq!(default_model("nobody"), None);
    }

    #[test]
    fn a_dated_snapshot_costs_what_its_model_costs() {
        let mini = listed(Vendor::OpenAi, "gpt-4o-mini").unwrap();
        assert_ne!(Some(mini), listed(Vendor::OpenAi, "gpt-4o"));
        assert_eq!(listed(Vendor::OpenAi, "gpt-4o-mini-2024-07-18"), Some(mini));
        let haiku = listed(Vendor::Anthropic, "claude-haiku-4-5");
        assert!(haiku.is_some());
        assert_eq!(listed(Vendor::Anthropic, "claude-haiku-4-5-20251001"), haiku);
        for unknown in [
            "gpt-4o-mini-audio",
            "gpt-4o-mini-",
            "gpt-4o-mini2024-07-18",
            "gpt-4o-mini-2024-07-99",
            "gpt-4o-mini-2024-07-18-2024-07-18",
            "gpt-4o-mini-0718",
            "GPT-4o-mini",
            "",
        ] {
            assert_eq!(listed(Vendor::OpenAi, unknown), None, "{unknown}");
        }
        assert_eq!(listed(Vendor::Anthropic, "gpt-4o-mini"), None);
    }

    #[test]
    fn openrouter_sells_at_the_vendors_prices() {
        for (name, vendor, model) in [
            ("openai/gpt-4o-mini", Vendor::OpenAi, "gpt-4o-mini"),
            ("anthropic/claude-haiku-4.5", Vendor::Anthropic, "claude-haiku-4-5"),
            ("google/gemini-2.5-flash", Vendor::Gemini, "gemini-2.5-flash"),
        ] {
            let price = prices_of(&openrouter(), name);
            assert!(price.is_some(), "{name}");
            assert_eq!(price, listed(vendor, model));
        }
        for unknown in ["openai/gpt-4o-mini:free", "meta/gpt-4o-mini", "gpt-4o-mini"] {
            assert_eq!(prices_of(&openrouter(), unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_configured_price_goes_first_and_an_unknown_one_is_none() {
        let own = Prices { input: 7.0, output: 8.0, cached_input: None };
        let models = vec![
            ModelConfig { prices: Some(own), ..ModelConfig::named("gpt-4o-mini") },
            ModelConfig::named("gpt-4o"),
        ];
        let provider = ProviderConfig { models: Some(models), ..upstream(ProviderKind::OpenAi) };
        assert_eq!(prices_of(&provider, "gpt-4o-mini"), Some(own));
        assert_eq!(prices_of(&provider, "gpt-4o"), listed(Vendor::OpenAi, "gpt-4o"));
        assert_eq!(prices_of(&provider, "gpt-0"), None);
        let free = prices_of(&upstream(ProviderKind::Sandbox), "whatever").unwrap();
        assert_eq!(cost_usd(&free, Counts { prompt: 1_000, cached: 0, completion: 1_000 }), 0.0);
        let local = upstream(ProviderKind::OpenAiCompatible);
        assert_eq!(prices_of(&local, "gpt-4o-mini"), None);
        let elsewhere = Some("https://openrouter.ai.example/v1".to_owned());
        assert_eq!(prices_of(&ProviderConfig { base_url: elsewhere, ..local }, "openai/gpt-4o-mini"), None);
    }

    #[test]
    fn a_cost_is_the_sum_of_three_kinds_of_tokens() {
        let prices = Prices { input: 3.0, output: 15.0, cached_input: Some(0.5) };
        let cost = |prompt, cached, completion| cost_usd(&prices, Counts { prompt, cached, completion });
        assert_eq!(cost(1_000_000, 0, 0), 3.0);
        assert_eq!(cost(1_000_000, 1_000_000, 0), 0.5);
        assert_eq!(cost(0, 0, 1_000_000), 15.0);
        assert_eq!(cost(4_000_000, 2_000_000, 2_000_000), 6.0 + 1.0 + 30.0);
        // A vendor that counts more cached tokens than tokens is not paid for the difference.
        assert_eq!(cost(1_000_000, 5_000_000, 0), 0.5);
        let whole = Prices { cached_input: None, ..prices };
        assert_eq!(cost_usd(&whole, Counts { prompt: 2_000_000, cached: 1_000_000, completion: 0 }), 6.0);
        assert!(cost(u64::MAX, 0, u64::MAX).is_finite());
    }
}
