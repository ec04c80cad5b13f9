//! From the name a caller asks for to the upstreams that answer under it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Upstream;
use crate::chat::{ChatRequest, KeyRules, ModelAlias, OutputFormat, Part};
use crate::config::{CacheConfig, Capability, DegradeConfig, Prices, ProviderKind, RetryConfig, Strategy};
use crate::providers::{ProviderError, ProviderErrorKind};

/// Where a request goes, and how it is cached.
#[derive(Debug)]
pub struct Route {
    /// The name that the cache knows the model by: a route's alias, else `provider/model`.
    pub alias: ModelAlias,
    /// The label in metrics: a configured name or `other`.
    pub label: Arc<str>,
    /// Whom to ask, first choice first; empty where no provider is configured at all.
    pub chain: Vec<Step>,
    pub key_rules: Arc<KeyRules>,
    pub cache: Arc<CacheConfig>,
    /// In which order those of the chain are asked that are well.
    pub strategy: Strategy,
    /// The share of each of the chain, for [`Strategy::Weighted`].
    pub weights: Option<Vec<u32>>,
    pub retry: RetryConfig,
    /// Whether an answer of another model than the first may be kept as the route's answer.
    pub is_interchangeable: bool,
    /// Whether an answer that broke off may be finished by asking the next upstream to continue it.
    pub rescue_by_turn: bool,
    /// What is answered where nobody does.
    pub degrade: Arc<DegradeConfig>,
}

impl Route {
    /// Returns whether one of the chain could be asked now.
    pub fn is_well(&self, now: Instant) -> bool {
        self.chain.iter().any(|step| step.unavailable(now).is_none())
    }

    /// Returns the place of the first choice; `None` where the strategy finds one each time.
    pub fn first_choice(&self) -> Option<usize> {
        (self.strategy == Strategy::Ordered && !self.chain.is_empty()).then_some(0)
    }

    /// Returns whether an answer of this model is that of a fallback: the route has a first choice, and this is another
    /// model.
    pub fn is_fallback(&self, model: &str) -> bool {
        let has_first_choice = matches!(self.strategy, Strategy::Ordered | Strategy::LastSuccess);
        has_first_choice && self.is_other_model(model)
    }

    /// Returns whether this upstream and model stand in for the first choice, where the chain is an order of preference.
    pub fn is_stand_in(&self, provider: &str, model: &str) -> bool {
        let is_first = |first: &Step| *first.upstream.name == *provider && first.model == model;
        self.strategy == Strategy::Ordered && !self.chain.first().is_some_and(is_first)
    }

    /// Returns whether this is another model than the first of the chain.
    pub fn is_other_model(&self, model: &str) -> bool {
        self.chain.first().is_some_and(|first| first.model != model)
    }
}

/// One upstream of a chain, and what it is to be asked for.
#[derive(Clone, Debug)]
pub struct Step {
    pub upstream: Arc<Upstream>,
    pub model: String,
    /// Whether the caller named the model freely: it stands in no route and no list, so its absence upstream is the
    /// caller's mistake and not ours.
    pub is_free: bool,
}

impl Step {
    /// Returns `provider/model`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.upstream.name, self.model)
    }

    /// Returns what the model costs, where that is known.
    pub fn prices(&self) -> Option<Prices> {
        self.upstream.tariff.prices(&self.model)
    }

    /// Returns how many tokens prompt and answer may have together, where that is configured.
    pub fn context_window(&self) -> Option<u64> {
        self.upstream.context_window(&self.model)
    }

    /// Returns whether the model is declared to be able to do this.
    pub(super) fn declares(&self, capability: Capability) -> bool {
        self.upstream.declares(&self.model, capability)
    }

    /// Returns why the model cannot be asked this, as far as its declared capabilities tell.
    pub(super) fn objection(&self, request: &ChatRequest) -> Option<ProviderError> {
        let has_images = || {
            let mut parts = request.messages.iter().flat_map(|message| &message.content);
            parts.any(|part| matches!(part, Part::Image(_)))
        };
        let wants_schema = matches!(request.output_format, OutputFormat::JsonSchema(_));
        let needs = [
            (Capability::Tools, "tools", !request.tools.is_empty()),
            (Capability::JsonSchema, "response_format", wants_schema),
            (Capability::Images, "messages", has_images()),
        ];
        let lacking = needs
            .into_iter()
            .find(|(capability, _, is_needed)| *is_needed && self.upstream.lacks(&self.model, *capability));
        lacking.map(|(_, field, _)| ProviderError {
            param: Some(field.to_owned()),
            code: Some("unsupported_parameter".to_owned()),
            ..ProviderError::new(
                ProviderErrorKind::Capability,
                format_args!("`{field}` asks for what the model is not declared to be able to do"),
            )
        })
    }

    /// Returns the model's label in metrics: its name where that is configured, else `other`.
    pub fn model_label(&self) -> &str {
        if self.is_free { "other" } else { &self.model }
    }
}

/// The name means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel {
    pub asked: String,
    /// What may be asked for.
    pub known: Vec<String>,
}

/// All names that mean something.
#[derive(Debug)]
pub struct Routes {
    pub(super) aliases: HashMap<String, Arc<Route>>,
    /// The label of every name that is not a route.
    pub(super) other: Arc<str>,
    /// What stands in chains, as `provider/model`: whoever names it names what the operator has named.
    pub(super) chained: HashSet<String>,
    /// In the order of preference.
    pub(super) upstreams: Vec<Arc<Upstream>>,
    /// The model that a request without one means, where no route is called `default`.
    pub(super) default_model: Option<String>,
    /// The keys, the cache settings and the ladder of every name that is not a route.
    pub(super) key_rules: Arc<KeyRules>,
    pub(super) cache: Arc<CacheConfig>,
    pub(super) retry: RetryConfig,
    pub(super) degrade: Arc<DegradeConfig>,
}

/// The alias that a request without a model means.
const DEFAULT_ALIAS: &str = "default";

impl Routes {
    /// Returns the route of a model name; `None` means the alias `default`.
    ///
    /// # Errors
    /// [`UnknownModel`], naming what is known.
    pub fn resolve(&self, asked: Option<&str>) -> Result<Arc<Route>, UnknownModel> {
        let asked = asked.unwrap_or(DEFAULT_ALIAS);
        if let Some(route) = self.aliases.get(asked) {
            return Ok(Arc::clone(route));
        }
        let name = match (asked, &self.default_model) {
            (DEFAULT_ALIAS, Some(model)) => model.as_str(),
            _ => asked,
        };
        // The default model may itself be the name of a route.
        if let Some(route) = self.aliases.get(name) {
            return Ok(Arc::clone(route));
        }
        if self.upstreams.is_empty() {
            return Ok(self.direct(ModelAlias::new(name), Vec::new()));
        }
        let step = self
            .full_name(name)
            .or_else(|| self.bare_name(name))
            .ok_or_else(|| UnknownModel { asked: asked.to_owned(), known: self.names() })?;
        let is_ours = asked == DEFAULT_ALIAS || self.chained.contains(&step.name());
        let step = Step { is_free: step.is_free && !is_ours, ..step };
        Ok(self.direct(ModelAlias::new(step.name()), vec![step]))
    }

    /// Returns the label of a name in metrics, without building its route.
    pub fn label(&self, asked: Option<&str>) -> Arc<str> {
        let named = self.aliases.get(asked.unwrap_or(DEFAULT_ALIAS));
        Arc::clone(named.map_or(&self.other, |route| &route.label))
    }

    /// Returns the label of every route, by name, and that of all other names.
    pub fn labels(&self) -> Vec<Arc<str>> {
        let mut labels: Vec<_> = self.aliases.values().map(|route| Arc::clone(&route.label)).collect();
        labels.sort();
        labels.push(Arc::clone(&self.other));
        labels
    }

    /// Returns every name that may be asked for, with who answers; a provider that takes any model is `name/*`.
    pub fn listed(&self) -> Vec<(String, String)> {
        let mut aliases: Vec<_> =
            self.aliases.keys().map(|alias| (alias.clone(), "refrain".to_owned())).collect();
        aliases.sort();
        for upstream in &self.upstreams {
            let owner = upstream.name.to_string();
            match &upstream.models {
                None => aliases.push((format!("{owner}/*"), owner)),
                Some(models) => aliases
                    .extend(models.iter().map(|model| (format!("{owner}/{}", model.name), owner.clone()))),
            }
        }
        aliases
    }

    fn names(&self) -> Vec<String> {
        self.listed().into_iter().map(|(name, _)| name).collect()
    }

    fn direct(&self, alias: ModelAlias, chain: Vec<Step>) -> Arc<Route> {
        Arc::new(Route {
            alias,
            label: Arc::clone(&self.other),
            chain,
            key_rules: Arc::clone(&self.key_rules),
            cache: Arc::clone(&self.cache),
            strategy: Strategy::Ordered,
            weights: None,
            retry: self.retry,
            is_interchangeable: true,
            rescue_by_turn: false,
            degrade: Arc::clone(&self.degrade),
        })
    }

    /// `provider/model`.
    fn full_name(&self, name: &str) -> Option<Step> {
        let (provider, model) = name.split_once('/')?;
        let upstream = self.upstreams.iter().find(|upstream| *upstream.name == *provider)?;
        upstream.step(model)
    }

    /// A name without its provider: of the only one, else of the one that lists it, else of the vendor whose models
    /// are called so.
    fn bare_name(&self, name: &str) -> Option<Step> {
        if let [only] = self.upstreams.as_slice() {
            return only.step(name);
        }
        let lists = |upstream: &&Arc<Upstream>| upstream.lists(name);
        let vendor =
            |upstream: &&Arc<Upstream>| upstream.models.is_none() && vendor_of(name) == Some(upstream.kind);
        let found = self.upstreams.iter().find(lists).or_else(|| self.upstreams.iter().find(vendor));
        found.and_then(|upstream| upstream.step(name))
    }
}

/// Returns whose models have names like this.
fn vendor_of(model: &str) -> Option<ProviderKind> {
    let is_reasoning_series =
        model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if model.starts_with("gpt-") || is_reasoning_series {
        Some(ProviderKind::OpenAi)
    } else if model.starts_with("claude-") {
        Some(ProviderKind::Anthropic)
    } else if model.starts_with("gemini-") {
        Some(ProviderKind::Gemini)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Flags, ModelConfig, ProviderConfig, load};
    use crate::providers::OpenAi;

    fn upstream(name: &str, kind: ProviderKind, models: Option<&[&str]>) -> Arc<Upstream> {
        let config = ProviderConfig {
            base_url: Some("http://127.0.0.1:9/v1".into()),
            models: models.map(|names| names.iter().map(|name| ModelConfig::named(*name)).collect()),
            ..ProviderConfig::named(name, kind)
        };
        Arc::new(Upstream::new(&config, Arc::new(OpenAi::official(&config).unwrap())))
    }

    fn routes(upstreams: Vec<Arc<Upstream>>, default_model: Option<&str>) -> Routes {
        let Config { cache, retry, .. } = load(&Flags::default(), &Environment::default()).unwrap();
        Routes {
            aliases: HashMap::new(),
            other: Arc::from("other"),
            chained: HashSet::new(),
            upstreams,
            default_model: default_model.map(str::to_owned),
            key_rules: Arc::default(),
            cache: Arc::new(cache),
            retry,
            degrade: Arc::default(),
        }
    }

    fn alias(routes: &Routes, asked: Option<&str>) -> Option<String> {
        routes.resolve(asked).ok().map(|route| route.alias.to_string())
    }

    #[test]
    fn a_bare_name_and_its_full_form_are_one_model() {
        let routes = routes(vec![upstream("openai", ProviderKind::OpenAi, None)], None);
        assert_eq!(alias(&routes, Some("gpt-4o-mini")).as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(alias(&routes, Some("openai/gpt-4o-mini")).as_deref(), Some("openai/gpt-4o-mini"));
    }

    #[test]
    fn the_only_provider_takes_names_with_slashes_of_its_own() {
        let routes = routes(vec![upstream("openrouter", ProviderKind::OpenAiCompatible, None)], None);
        let alias = alias(&routes, Some("openai/gpt-4o-mini"));
        assert_eq!(alias.as_deref(), Some("openrouter/openai/gpt-4o-mini"));
    }

    #[test]
    fn among_several_the_one_that_lists_it_wins_then_the_vendor_of_the_prefix() {
        let routes = routes(
            vec![
                upstream("openai", ProviderKind::OpenAi, None),
                upstream("local", ProviderKind::OpenAiCompatible, Some(&["gpt-oss", "llama"])),
                upstream("anthropic", ProviderKind::Anthropic, None),
                upstream("google", ProviderKind::Gemini, None),
            ],
            None,
        );
        assert_eq!(alias(&routes, Some("gpt-oss")).as_deref(), Some("local/gpt-oss"));
        assert_eq!(alias(&routes, Some("o3")).as_deref(), Some("openai/o3"));
        assert_eq!(alias(&routes, Some("llama")).as_deref(), Some("local/llama"));
        let claude = alias(&routes, Some("claude-haiku-4-5"));
        assert_eq!(claude.as_deref(), Some("anthropic/claude-haiku-4-5"));
        assert_eq!(alias(&routes, Some("gemini-3-flash")).as_deref(), Some("google/gemini-3-flash"));
        let unknown = routes.resolve(Some("mistral")).unwrap_err();
        assert_eq!(unknown.known, ["openai/*", "local/gpt-oss", "local/llama", "anthropic/*", "google/*"]);
        assert_eq!(alias(&routes, Some("local/other")), None);
    }

    #[test]
    fn no_model_means_the_default_one_and_without_providers_any_name_has_a_route() {
        let of = |upstreams, default| alias(&routes(upstreams, default), None);
        let openai = vec![upstream("openai", ProviderKind::OpenAi, None)];
        assert_eq!(of(openai, Some("openai/gpt-4o-mini")).as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(of(Vec::new(), None).as_deref(), Some("default"));
    }
}
