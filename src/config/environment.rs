//! The environment, read once, and the upstreams that stand in it.

use std::collections::HashMap;

use super::{LimitsConfig, ProviderConfig, ProviderKind, SandboxConfig, Secret, Timeouts};

/// What gives a server its first provider, for whoever has none.
pub const HOW_TO_GET_A_PROVIDER: &str = "set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, AZURE_OPENAI_API_KEY with \
     AZURE_OPENAI_ENDPOINT, or OPENROUTER_API_KEY, add [[providers]] to refrain.toml, or try `refrain serve --sandbox`";

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
    /// for every key that is of no use without another variable.
    pub(super) fn providers(&self) -> (Vec<ProviderConfig>, Vec<String>) {
        let mut providers = Vec::new();
        let mut notices = Vec::new();
        for Vendor { name, kind, key_variable, address } in VENDORS {
            let Some(key) = self.secret(key_variable) else { continue };
            let base_url = match address {
                Address::Own => None,
                Address::Fixed(address) => Some(*address),
                Address::Variable(variable) => self.get(variable),
                Address::Needed(variable) => match self.get(variable) {
                    Some(address) => Some(address),
                    None => {
                        notices.push(format!(
                            "{key_variable} is set, but {variable} is not: `{name}` is skipped"
                        ));
                        continue;
                    }
                },
            };
            providers.push(ProviderConfig {
                api_key_env: Some((*key_variable).to_owned()),
                api_key: Some(key),
                base_url: base_url.map(str::to_owned),
                ..ProviderConfig::named(name, *kind)
            });
        }
        (providers, notices)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self::from_iter(variables)
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
            limits: LimitsConfig::default(),
            sandbox: SandboxConfig::default(),
        }
    }
}

struct Vendor {
    name: &'static str,
    kind: ProviderKind,
    key_variable: &'static str,
    address: Address,
}

/// Where a vendor's address comes from.
enum Address {
    /// The vendor has one of its own.
    Own,
    Fixed(&'static str),
    /// A variable, where it is set; else the vendor's own.
    Variable(&'static str),
    /// A variable, without which the vendor cannot be asked.
    Needed(&'static str),
}

/// Whose keys are looked for, first choice first.
const VENDORS: &[Vendor] = &[
    Vendor {
        name: "openai",
        kind: ProviderKind::OpenAi,
        key_variable: "OPENAI_API_KEY",
        address: Address::Variable("OPENAI_BASE_URL"),
    },
    Vendor {
        name: "anthropic",
        kind: ProviderKind::Anthropic,
        key_variable: "ANTHROPIC_API_KEY",
        address: Address::Variable("ANTHROPIC_BASE_URL"),
    },
    Vendor {
        name: "gemini",
        kind: ProviderKind::Gemini,
        key_variable: "GEMINI_API_KEY",
        address: Address::Own,
    },
    Vendor {
        name: "azure",
        kind: ProviderKind::AzureOpenAi,
        key_variable: "AZURE_OPENAI_API_KEY",
        address: Address::Needed("AZURE_OPENAI_ENDPOINT"),
    },
    Vendor {
        name: "openrouter",
        kind: ProviderKind::OpenAiCompatible,
        key_variable: "OPENROUTER_API_KEY",
        address: Address::Fixed("https://openrouter.ai/api/v1"),
    },
];
