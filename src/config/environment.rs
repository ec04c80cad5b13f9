//! The environment, read once, and the upstreams that stand in it.

use std::collections::HashMap;

use super::{ProviderConfig, ProviderKind, SandboxConfig, Secret, Timeouts};

/// The variables of the process, or of a test.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the variables of this process; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// Returns the value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.to_owned()))
    }

    pub(super) fn all(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// Returns the upstreams whose key variables are set, in the order in which they are preferred, and a sentence
    /// for every key that this version has no use for.
    pub(super) fn providers(&self) -> (Vec<ProviderConfig>, Vec<String>) {
        let mut providers = Vec::new();
        let mut notices = Vec::new();
        for (variable, vendor) in VENDORS {
            let Some(key) = self.secret(variable) else { continue };
            match vendor {
                Vendor::Known { name, kind, base_url, base_url_variable } => {
                    let base_url = base_url_variable.and_then(|variable| self.get(variable)).or(*base_url);
                    providers.push(ProviderConfig {
                        api_key_env: Some((*variable).to_owned()),
                        api_key: Some(key),
                        base_url: base_url.map(str::to_owned),
                        ..ProviderConfig::named(name, *kind)
                    });
                }
                Vendor::NotYet(name) => {
                    notices.push(format!("{variable} is set, but {name} is not supported yet: skipped"));
                }
            }
        }
        (providers, notices)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

impl ProviderConfig {
    /// Returns an upstream with everything but its name and kind at the default.
    pub fn named(name: &str, kind: ProviderKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            base_url: None,
            api_key_env: None,
            api_key: None,
            models: None,
            timeouts: Timeouts::default(),
            sandbox: SandboxConfig::default(),
        }
    }
}

enum Vendor {
    Known {
        name: &'static str,
        kind: ProviderKind,
        base_url: Option<&'static str>,
        base_url_variable: Option<&'static str>,
    },
    NotYet(&'static str),
}

/// Key variables and whose they are, first choice first.
const VENDORS: &[(&str, Vendor)] = &[
    (
        "OPENAI_API_KEY",
        Vendor::Known {
            name: "openai",
            kind: ProviderKind::OpenAi,
            base_url: None,
            base_url_variable: Some("OPENAI_BASE_URL"),
        },
    ),
    ("ANTHROPIC_API_KEY", Vendor::NotYet("Anthropic")),
    ("GEMINI_API_KEY", Vendor::NotYet("Gemini")),
    ("AZURE_OPENAI_API_KEY", Vendor::NotYet("Azure OpenAI")),
    (
        "OPENROUTER_API_KEY",
        Vendor::Known {
            name: "openrouter",
            kind: ProviderKind::OpenAiCompatible,
            base_url: Some("https://openrouter.ai/api/v1"),
            base_url_variable: None,
        },
    ),
];
