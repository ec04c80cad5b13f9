//! What the types cannot say: ranges, names that must be known, addresses that must not be called.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::validate_semantic::semantic;
use super::{
    CacheConfig, Config, ConfigError, DegradeConfig, LadderStep, ModelConfig, PrecomputeConfig,
    ProviderConfig, ProviderKind, RetryConfig, Secret,
};

/// Seconds an answer may be asked to live, at most a year; requests are held to the same range.
pub const TTL_SECONDS: RangeInclusive<u64> = 1..=31_536_000;

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    listeners(config)?;
    cache("cache", &config.cache, config)?;
    within("embedding.threads", config.embedding.threads.map(|n| n as u64), 1..=64)?;
    within("embedding.queue", Some(config.embedding.queue as u64), 1..=65_536)?;
    store(config)?;
    resilience(config)?;
    let mut names = HashSet::new();
    for (at, upstream) in config.providers.iter().enumerate() {
        provider(&format!("providers[{at}]"), upstream)?;
        if !names.insert(upstream.name.as_str()) {
            return refuse(format!("providers[{at}].name"), format!("`{}` is there twice", upstream.name));
        }
    }
    if let Some(name) = &config.passthrough.provider
        && !names.contains(name.as_str())
    {
        let known: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        return refuse(
            "passthrough.provider",
            format!("`{name}` is not a configured provider ({})", known.join(", ")),
        );
    }
    let mut aliases = HashSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        if !aliases.insert(route.model.as_str()) {
            return refuse(format!("routes[{at}].model"), format!("`{}` is there twice", route.model));
        }
        if route.chain.is_empty() {
            return refuse(format!("routes[{at}].chain"), "name at least one `provider/model`");
        }
        for step in &route.chain {
            match step.split_once('/') {
                Some((name, model)) if names.contains(name) && !model.is_empty() => {}
                _ => {
                    let known: Vec<_> = config.providers.iter().map(|p| p.name.as_str()).collect();
                    return refuse(
                        format!("routes[{at}].chain"),
                        format!(
                            "`{step}` is not `provider/model` of a configured provider ({})",
                            known.join(", ")
                        ),
                    );
                }
            }
        }
        if let Some(weights) = &route.weights
            && (weights.len() != route.chain.len() || weights.iter().all(|weight| *weight == 0))
        {
            let reason = "expected one weight for each of the chain, and not all of them 0";
            return refuse(format!("routes[{at}].weights"), reason);
        }
        cache(&format!("routes[{at}].cache"), &config.cache.overridden(&route.cache), config)?;
        retry(&format!("routes[{at}].retry"), &config.retry.overridden(&route.retry))?;
        degrade(&format!("routes[{at}].degrade"), &config.degrade.overridden(&route.degrade))?;
    }
    Ok(())
}

fn resilience(config: &Config) -> Result<(), ConfigError> {
    let breaker = &config.breaker;
    within("breaker.failures", Some(breaker.failures.into()), 1..=1_000)?;
    within("breaker.window_seconds", Some(breaker.window_seconds), 1..=86_400)?;
    share("breaker.failure_ratio", breaker.failure_ratio)?;
    within("breaker.min_calls", Some(breaker.min_calls.into()), 1..=1_000)?;
    within("breaker.open_seconds", Some(breaker.open_seconds), 1..=86_400)?;
    within("breaker.max_open_seconds", Some(breaker.max_open_seconds), breaker.open_seconds..=86_400)?;
    retry("retry", &config.retry)?;
    degrade("degrade", &config.degrade)?;
    let quality = &config.quality;
    if !(0.0..=1.0).contains(&quality.store_threshold) {
        return refuse("quality.store_threshold", format!("{} is outside [0, 1]", quality.store_threshold));
    }
    let weights = quality.weights;
    let all = [
        ("length", weights.length),
        ("repetition", weights.repetition),
        ("integrity", weights.integrity),
        ("keywords", weights.keywords),
        ("refusal", weights.refusal),
        ("format", weights.format),
    ];
    for (name, weight) in all {
        if !weight.is_finite() || weight < 0.0 {
            return refuse(format!("quality.weights.{name}"), "expected 0 or more, and finite");
        }
    }
    if all.iter().all(|(_, weight)| *weight == 0.0) {
        return refuse("quality.weights", "at least one must be more than 0");
    }
    within("jobs.concurrency", Some(config.jobs.concurrency as u64), 1..=1_024)?;
    within("jobs.queue", Some(config.jobs.queue.into()), 1..=1_000_000)?;
    within("jobs.result_ttl_seconds", Some(config.jobs.result_ttl_seconds), 1..=31_536_000)?;
    precompute(&config.precompute)?;
    within("alerts.window_seconds", Some(config.alerts.window_seconds), 1..=86_400)?;
    share("alerts.fallback_rate", config.alerts.fallback_rate)?;
    share("alerts.error_rate", config.alerts.error_rate)?;
    if let Some(address) = &config.alerts.webhook_url {
        webhook("alerts.webhook_url_env", address)?;
    }
    let of_jobs = &mut config.jobs.webhook_urls.iter();
    of_jobs.try_for_each(|(name, address)| webhook(&format!("jobs.webhooks.{name}"), address))
}

fn precompute(config: &PrecomputeConfig) -> Result<(), ConfigError> {
    within("precompute.concurrency", Some(config.concurrency as u64), 1..=256)?;
    within("precompute.refresh_within_seconds", Some(config.refresh_within_seconds), 0..=31_536_000)?;
    within("precompute.max_items", config.max_items.map(|most| most as u64), 1..=1_000_000)?;
    let share = config.share_of_limit;
    if !(share > 0.0 && share <= 1.0) {
        return refuse("precompute.share_of_limit", "expected a share above 0 and up to 1");
    }
    match config.max_cost_usd {
        Some(most) if !(most.is_finite() && most >= 0.0) => {
            refuse("precompute.max_cost_usd", "expected a sum of at least 0")
        }
        _ => Ok(()),
    }
}

/// Whoever knows the address can post there, so it is not shown.
fn webhook(path: &str, address: &Secret) -> Result<(), ConfigError> {
    let url = url::Url::parse(address.expose()).ok();
    if url.is_some_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https")) {
        return Ok(());
    }
    refuse(path, "the variable holds no address such as https://hooks.slack.com/services/…")
}

fn retry(path: &str, retry: &RetryConfig) -> Result<(), ConfigError> {
    within(&format!("{path}.attempts_per_upstream"), Some(retry.attempts_per_upstream.into()), 1..=10)?;
    within(&format!("{path}.attempts_per_request"), Some(retry.attempts_per_request.into()), 1..=100)?;
    within(&format!("{path}.cap_ms"), Some(retry.cap_ms), 0..=600_000)?;
    within(&format!("{path}.base_ms"), Some(retry.base_ms), 0..=retry.cap_ms)?;
    within(&format!("{path}.max_wait_ms"), Some(retry.max_wait_ms), 0..=600_000)?;
    within(&format!("{path}.max_cooldown_seconds"), Some(retry.max_cooldown_seconds), 0..=86_400)?;
    if !(0.0..=1.0).contains(&retry.budget_ratio) {
        return refuse(format!("{path}.budget_ratio"), format!("{} is outside [0, 1]", retry.budget_ratio));
    }
    Ok(())
}

fn degrade(path: &str, degrade: &DegradeConfig) -> Result<(), ConfigError> {
    for (at, step) in degrade.ladder.iter().enumerate() {
        if degrade.ladder[..at].contains(step) {
            return refuse(format!("{path}.ladder"), "a step is there twice");
        }
    }
    if degrade.ladder.contains(&LadderStep::Static) && degrade.texts.is_empty() {
        return refuse(
            format!("{path}.static"),
            "the ladder has the step `static`, and no text stands here; add `default = \"…\"`",
        );
    }
    if let Some(task) = degrade.texts.iter().find_map(|(task, text)| text.trim().is_empty().then_some(task)) {
        return refuse(format!("{path}.static.{task}"), "the text is empty");
    }
    within(&format!("{path}.extractive_sentences"), Some(degrade.extractive_sentences as u64), 1..=100)?;
    within(&format!("{path}.truncate_chars"), Some(degrade.truncate_chars as u64), 1..=1_000_000)
}

pub(super) fn share(path: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    refuse(path, format!("{value} is outside (0, 1]"))
}

pub(super) fn refuse<T>(path: impl Into<String>, reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::at(path, reason))
}

pub(super) fn within(path: &str, value: Option<u64>, range: RangeInclusive<u64>) -> Result<(), ConfigError> {
    match value {
        Some(value) if !range.contains(&value) => {
            refuse(path, format!("{value} is outside {} to {}", range.start(), range.end()))
        }
        _ => Ok(()),
    }
}

fn listeners(config: &Config) -> Result<(), ConfigError> {
    let server = &config.server;
    within("server.max_body_bytes", Some(server.max_body_bytes as u64), 1_024..=1 << 30)?;
    within("server.request_timeout_ms", Some(server.request_timeout_ms), 1..=86_400_000)?;
    within("server.max_stream_seconds", Some(server.max_stream_seconds), 1..=86_400)?;
    within("server.drain_timeout_ms", Some(server.drain_timeout_ms), 0..=3_600_000)?;
    if config.auth.is_keyless() {
        for (path, address) in
            [("server.listen", server.listen), ("server.admin_listen", server.admin_listen)]
        {
            if !address.ip().is_loopback() {
                return refuse(
                    path,
                    format!(
                        "{address} is not loopback, and no key guards it; set REFRAIN_API_KEY, or add the \
                         block that `refrain key new` prints"
                    ),
                );
            }
        }
    }
    Ok(())
}

fn cache(path: &str, cache: &CacheConfig, config: &Config) -> Result<(), ConfigError> {
    within(&format!("{path}.ttl_seconds"), Some(cache.ttl_seconds), TTL_SECONDS)?;
    within(&format!("{path}.volatile_ttl_seconds"), Some(cache.volatile_ttl_seconds), TTL_SECONDS)?;
    within(&format!("{path}.stale_if_error_seconds"), Some(cache.stale_if_error_seconds), 0..=31_536_000)?;
    within(
        &format!("{path}.stale_while_revalidate_seconds"),
        Some(cache.stale_while_revalidate_seconds),
        0..=31_536_000,
    )?;
    within(&format!("{path}.fallback_ttl_seconds"), Some(cache.fallback_ttl_seconds), TTL_SECONDS)?;
    semantic(&format!("{path}.semantic"), &cache.semantic, config)
}

fn store(config: &Config) -> Result<(), ConfigError> {
    let url = config.store.url.as_ref().map_or("", |url| url.expose());
    // The value may hold a password: the message names the form, never the text.
    if !["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return refuse("store.url", "expected `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`");
    }
    Ok(())
}

fn provider(path: &str, provider: &ProviderConfig) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if provider.name.is_empty() || !provider.name.bytes().all(plain) {
        return refuse(format!("{path}.name"), "expected letters, digits, `.`, `_` and `-`");
    }
    if !(0.0..=1.0).contains(&provider.sandbox.failure_rate) {
        return refuse(format!("{path}.sandbox.failure_rate"), "expected a share in [0, 1]");
    }
    let timeouts = provider.timeouts;
    for (name, value) in [
        ("connect_ms", timeouts.connect_ms),
        ("first_token_ms", timeouts.first_token_ms),
        ("idle_ms", timeouts.idle_ms),
    ] {
        within(&format!("{path}.timeouts.{name}"), Some(value), 1..=3_600_000)?;
    }
    within(&format!("{path}.limits.concurrency"), Some(provider.limits.concurrency as u64), 1..=65_536)?;
    within(&format!("{path}.limits.queue"), Some(provider.limits.queue as u64), 0..=1_000_000)?;
    for (at, listed) in provider.models.iter().flatten().enumerate() {
        let path = format!("{path}.models[{at}]");
        model(&path, listed)?;
        if listed.deployment.is_some() && provider.kind != ProviderKind::AzureOpenAi {
            return refuse(format!("{path}.deployment"), "only an `azure_openai` provider has deployments");
        }
    }
    match (&provider.base_url, provider.kind) {
        (Some(url), _) => base_url(&format!("{path}.base_url"), url),
        (None, ProviderKind::OpenAiCompatible) => {
            refuse(format!("{path}.base_url"), "an `openai_compatible` provider needs its address")
        }
        (None, ProviderKind::AzureOpenAi) => refuse(
            format!("{path}.base_url"),
            "an `azure_openai` provider needs its endpoint, such as https://NAME.openai.azure.com",
        ),
        (
            None,
            ProviderKind::OpenAi | ProviderKind::Anthropic | ProviderKind::Gemini | ProviderKind::Sandbox,
        ) => Ok(()),
    }
}

fn model(path: &str, model: &ModelConfig) -> Result<(), ConfigError> {
    if model.deployment.as_deref() == Some("") {
        return refuse(format!("{path}.deployment"), "expected the deployment's name");
    }
    within(&format!("{path}.context_window"), model.context_window, 1..=1_000_000_000)?;
    let Some(prices) = model.prices else { return Ok(()) };
    for (name, price) in [
        ("input", Some(prices.input)),
        ("output", Some(prices.output)),
        ("cached_input", prices.cached_input),
    ] {
        if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
            return refuse(
                format!("{path}.prices.{name}"),
                "expected USD per million tokens, 0 or more and finite",
            );
        }
    }
    Ok(())
}

/// The operator's word is taken, loopback and plain HTTP included; but a link-local address is where clouds keep
/// their credentials, and no LLM answers there.
fn base_url(path: &str, address: &str) -> Result<(), ConfigError> {
    // The parser that the call will use, since it knows an address in more spellings than one (`2852039166`).
    let Some(parsed) = url::Url::parse(address).ok().filter(url::Url::has_host) else {
        return refuse(path, format!("`{address}` is not an address such as https://api.openai.com/v1"));
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return refuse(path, "expected http:// or https://");
    }
    let host = parsed.host_str().unwrap_or("");
    let is_link_local = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local())
        }
        Err(_) => false,
    };
    if is_link_local {
        return refuse(path, format!("{host} is link-local, where no provider is"));
    }
    Ok(())
}
