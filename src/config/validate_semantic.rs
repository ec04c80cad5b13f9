//! What the types cannot say of `[cache.semantic]`, of the whole cache and of every route.

use super::validate::{refuse, share, within};
use super::{Config, ConfigError, SemanticConfig};

/// Checks the settings at this path; the names in them are those of the configuration.
pub(super) fn semantic(path: &str, semantic: &SemanticConfig, config: &Config) -> Result<(), ConfigError> {
    within(&format!("{path}.candidates"), Some(semantic.candidates as u64), 1..=100)?;
    within(&format!("{path}.budget_ms"), Some(semantic.budget_ms), 1..=60_000)?;
    for (name, threshold) in [
        ("similarity_threshold", semantic.similarity_threshold),
        ("verifier_threshold", semantic.verifier_threshold),
        ("nearest_threshold", semantic.nearest_threshold),
    ] {
        if let Some(threshold) = threshold {
            share(&format!("{path}.{name}"), threshold.into())?;
        }
    }
    let rate = semantic.verify_sample_rate;
    if !(0.0..=1.0).contains(&rate) {
        return refuse(format!("{path}.verify_sample_rate"), format!("{rate} is outside [0, 1]"));
    }
    if let Some(rate) = semantic.max_error_rate
        && !(rate > 0.0 && rate < 1.0)
    {
        let reason = format!("{rate} is outside (0, 1); leave it out to never switch off");
        return refuse(format!("{path}.max_error_rate"), reason);
    }
    match &semantic.judge_model {
        Some(model) if !is_known(model, config) => refuse(
            format!("{path}.judge_model"),
            format!(
                "`{model}` is neither the model of a route nor `provider/model` of a configured provider"
            ),
        ),
        _ => Ok(()),
    }
}

/// Returns whether a name means one route or one model. Without any provider nobody is asked, and who it would be may
/// depend on keys that only the server has.
fn is_known(model: &str, config: &Config) -> bool {
    if config.providers.is_empty() || config.routes.iter().any(|route| route.model == model) {
        return true;
    }
    let Some((name, model)) = model.split_once('/') else { return false };
    let provider = config.providers.iter().find(|provider| provider.name == name);
    provider.is_some_and(|provider| match &provider.models {
        None => !model.is_empty(),
        Some(models) => models.iter().any(|listed| listed.name == model),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, ProviderConfig, ProviderKind};

    fn judged(change: impl FnOnce(&mut SemanticConfig)) -> Result<(), String> {
        let mut settings = SemanticConfig::default();
        change(&mut settings);
        let mut config = Config::default();
        let listed = Some(vec![ModelConfig::named("parrot")]);
        config.providers = vec![
            ProviderConfig { models: listed, ..ProviderConfig::named("fake", ProviderKind::OpenAi) },
            ProviderConfig::named("any", ProviderKind::OpenAi),
        ];
        config.routes =
            toml::from_str::<Config>("routes = [{model = \"referee\", chain = [\"any/x\"]}]").unwrap().routes;
        semantic("cache.semantic", &settings, &config).map_err(|error| error.to_string())
    }

    #[test]
    fn rates_are_shares_and_say_what_is_wrong() {
        for (rate, is_well) in
            [(0.0, true), (0.01, true), (1.0, true), (-0.1, false), (1.1, false), (f64::NAN, false)]
        {
            let said = judged(|settings| settings.verify_sample_rate = rate);
            assert_eq!(said.is_ok(), is_well, "{rate}");
            assert!(said.err().is_none_or(|said| said.contains("cache.semantic.verify_sample_rate")));
        }
        for (rate, is_well) in [(0.05, true), (0.0, false), (1.0, false), (f64::NAN, false)] {
            let said = judged(|settings| settings.max_error_rate = Some(rate));
            assert_eq!(said.is_ok(), is_well, "{rate}");
            assert!(said.err().is_none_or(|said| said.contains("cache.semantic.max_error_rate")));
        }
    }

    #[test]
    fn a_judge_is_a_route_or_a_model_of_a_provider() {
        for (model, is_well) in [
            ("referee", true),
            ("fake/parrot", true),
            ("any/model/at-all", true),
            ("fake/macaw", false),
            ("any/", false),
            ("nobody/parrot", false),
            ("parrot", false),
        ] {
            let said = judged(|settings| settings.judge_model = Some(model.to_owned()));
            assert_eq!(said.is_ok(), is_well, "{model}: {said:?}");
            assert!(said.err().is_none_or(|said| said.contains("judge_model") && said.contains(model)));
        }
    }
}
