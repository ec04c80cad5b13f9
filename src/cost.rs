//! What does a model cost, and which one is meant when none is named?
//!
//! `models/prices.toml` is built in. Only its marks of the default models are read so far; prices follow with the
//! accounting of costs.

use std::sync::LazyLock;

use serde::Deserialize;

static PRICES: LazyLock<PriceList> = LazyLock::new(|| {
    toml::from_str(include_str!("../models/prices.toml")).expect("the built-in price list is tested to parse")
});

#[derive(Deserialize)]
struct PriceList {
    models: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    provider: String,
    name: String,
    #[serde(default)]
    default: bool,
}

/// Returns the model that a request without one means, for an upstream of this name.
pub fn default_model(provider: &str) -> Option<&'static str> {
    PRICES.models.iter().find(|row| row.default && row.provider == provider).map(|row| row.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_providers_have_a_default_model() {
        assert_eq!(default_model("openai"), Some("gpt-4o-mini"));
        assert_eq!(default_model("sandbox"), Some("sandbox"));
        assert_eq!(default_model("nobody"), None);
    }
}
