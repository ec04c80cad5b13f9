//! From file, environment and flags to one configuration: `refrain.toml`, then `REFRAIN__SECTION__KEY`, then flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map};

use super::{Config, Environment, Origin, ProviderConfig, ProviderKind, Secret};

/// What the command line says; each wins over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub admin_listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
    pub models_dir: Option<PathBuf>,
    /// The sandbox is the only upstream and takes any model name.
    pub sandbox: bool,
    /// No upstream will be called, so none of their keys has to be there.
    pub calls_nobody: bool,
}

/// Why there is no configuration; the message names the key, the file or the variable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no configuration file at {0}; pass an existing one with --config, or none at all")]
    NoFile(PathBuf),
    #[error("cannot read the configuration: {0}")]
    Unreadable(String),
    #[error("{origin}: {path}: {reason}")]
    Invalid { origin: String, path: String, reason: String },
}

impl From<config::ConfigError> for ConfigError {
    /// Keeps where the file is wrong and why, and drops the line itself, which may hold a password.
    fn from(error: config::ConfigError) -> Self {
        let text = error.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let is_quoted = |line: &&&str| line.contains('|');
        Self::Unreadable(lines.iter().filter(|line| !is_quoted(line)).copied().collect::<Vec<_>>().join(", "))
    }
}

impl ConfigError {
    pub(super) fn at(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { origin: "configuration".to_owned(), path: path.into(), reason: reason.into() }
    }
}

/// Reads, merges and checks the configuration.
///
/// # Errors
/// Names the file that cannot be read, or the key that is unknown, has the wrong type or an impossible value.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Config, ConfigError> {
    let file = find_file(flags, environment)?;
    let mut sources = config::Config::builder();
    if let Some(file) = &file {
        sources = sources.add_source(File::from(file.as_path()).format(FileFormat::Toml));
    }
    let variables: Map<String, String> =
        environment.all().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    sources = sources.add_source(
        config::Environment::with_prefix("REFRAIN")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .source(Some(variables)),
    );
    let mut config: Config = serde_path_to_error::deserialize(sources.build()?).map_err(|error| {
        let origin = file.as_deref().map_or("environment".to_owned(), |file| file.display().to_string());
        ConfigError::Invalid {
            origin,
            path: error.path().to_string(),
            reason: error.into_inner().to_string(),
        }
    })?;

    let folder = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    place(&mut config, flags, &folder);
    read_environment(&mut config, flags, environment)?;
    super::validate::validate(&config)?;
    config.origin = Origin::new(Flags { config: file, ..flags.clone() }, environment.clone());
    Ok(config)
}

fn find_file(flags: &Flags, environment: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    let named = flags.config.clone().or_else(|| environment.get("REFRAIN_CONFIG").map(PathBuf::from));
    match named {
        Some(path) if path.is_file() => Ok(Some(path)),
        Some(path) => Err(ConfigError::NoFile(path)),
        None => Ok(Some(PathBuf::from("refrain.toml")).filter(|path| path.is_file())),
    }
}

/// Puts the flags over the file, and relative paths of the file into its folder.
fn place(config: &mut Config, flags: &Flags, folder: &Path) {
    for list in &mut config.precompute.files {
        *list = folder.join(&*list);
    }
    config.data_dir = flags.data_dir.clone().unwrap_or_else(|| folder.join(&config.data_dir));
    config.models_dir =
        flags.models_dir.clone().or_else(|| config.models_dir.take().map(|path| folder.join(path)));
    config.server.listen = flags.listen.unwrap_or(config.server.listen);
    config.server.admin_listen = flags.admin_listen.unwrap_or(config.server.admin_listen);
    let url = match config.store.url.take() {
        Some(url) => match url.expose().strip_prefix("sqlite://") {
            Some(path) => sqlite_url(&folder.join(path)),
            None => url,
        },
        None => sqlite_url(&config.data_dir.join("refrain.db")),
    };
    config.store.url = Some(url);
}

fn sqlite_url(path: &Path) -> Secret {
    Secret::new(format!("sqlite://{}", path.display()))
}

fn read_environment(
    config: &mut Config,
    flags: &Flags,
    environment: &Environment,
) -> Result<(), ConfigError> {
    config.default_model = environment.get("REFRAIN_MODEL").map(str::to_owned);
    if let Some(log) = environment.get("RUST_LOG") {
        log.clone_into(&mut config.log);
    }
    config.auth.environment_key = environment.secret("REFRAIN_API_KEY");
    if let Some(variable) = &config.index.api_key_env {
        config.index.api_key = environment.secret(variable);
        if config.index.api_key.is_none() {
            let reason = format!("the variable {variable} with the key of the vector index is not set");
            return Err(ConfigError::at("index.api_key_env", reason));
        }
    }
    read_webhooks(config, flags, environment)?;
    if flags.sandbox {
        config.providers = vec![ProviderConfig::named("sandbox", ProviderKind::Sandbox)];
        config.routes.clear();
        // Nor is there anybody who could judge: what the sandbox says is made up.
        config.cache.semantic.judge_model = None;
        return Ok(());
    }
    if config.providers.is_empty() {
        (config.providers, config.notices) = environment.providers();
        return Ok(());
    }
    for (at, provider) in config.providers.iter_mut().enumerate() {
        let usual = provider.kind.key_variable().map(str::to_owned);
        provider.api_key_env = provider.api_key_env.take().or(usual);
        let Some(variable) = &provider.api_key_env else { continue };
        provider.api_key = environment.secret(variable);
        if provider.api_key.is_none() && !flags.calls_nobody {
            return Err(ConfigError::at(
                format!("providers[{at}].api_key_env"),
                format!("the variable {variable} with the key of `{}` is not set", provider.name),
            ));
        }
    }
    Ok(())
}

fn read_webhooks(config: &mut Config, flags: &Flags, environment: &Environment) -> Result<(), ConfigError> {
    let read = |path: String, variable: &str| match environment.secret(variable) {
        None if !flags.calls_nobody => Err(ConfigError::at(
            path,
            format!("the variable {variable} with the webhook's address is not set"),
        )),
        address => Ok(address),
    };
    if let Some(variable) = &config.alerts.webhook_url_env {
        config.alerts.webhook_url = read("alerts.webhook_url_env".to_owned(), variable)?;
    }
    for (name, variable) in &config.jobs.webhooks {
        if let Some(address) = read(format!("jobs.webhooks.{name}"), variable)? {
            config.jobs.webhook_urls.insert(name.clone(), address);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{ModelConfig, Prices};
    use super::*;

    fn load_text(text: &str, environment: &Environment) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        std::fs::write(&path, text).unwrap();
        load(&Flags { config: Some(path), ..Flags::default() }, environment)
    }

    fn refusal(text: &str) -> String {
        load_text(text, &Environment::default()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        let config = load_text("", &Environment::default()).unwrap();
        assert_eq!(config.cache.ttl_seconds, 86_400);
        assert!(config.store.url.unwrap().expose().ends_with("data/refrain.db"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_path() {
        for (text, path) in [
            ("colour = 1", "colour"),
            ("[cache]\nttl_secondz = 1", "cache.ttl_secondz"),
            ("[cache.semantic]\nfoo = 1", "cache.semantic.foo"),
            ("[[routes]]\nmodel = \"m\"\nchain = []\n[routes.cache]\nbar = 1", "routes[0].cache.bar"),
        ] {
            let message = refusal(text);
            assert!(message.contains(path), "{message}");
        }
    }

    #[test]
    fn a_wrong_type_or_value_is_refused_with_its_path() {
        for (text, path) in [
            ("[cache]\nttl_seconds = \"soon\"", "cache.ttl_seconds"),
            ("[cache]\nttl_seconds = 0", "cache.ttl_seconds"),
            ("[cache.semantic]\nsimilarity_threshold = 1.5", "cache.semantic.similarity_threshold"),
            ("[server]\nlisten = \"0.0.0.0:1\"", "server.listen"),
            ("[[routes]]\nmodel = \"m\"\nchain = [\"nobody/x\"]", "routes[0].chain"),
            ("[[providers]]\nname = \"o\"\nkind = \"openai\"", "OPENAI_API_KEY"),
        ] {
            let message = refusal(text);
            assert!(message.contains(path), "{message}");
        }
    }

    const LOCAL: &str =
        "[[providers]]\nname = \"l\"\nkind = \"openai_compatible\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";

    #[test]
    fn a_model_is_a_name_or_a_table_with_what_is_known_of_it() {
        let models = |text: &str| {
            let text = format!("{LOCAL}{text}");
            load_text(&text, &Environment::default()).unwrap().providers[0].models.clone().unwrap()
        };
        let known = ModelConfig {
            stream: false,
            context_window: Some(8_192),
            prices: Some(Prices { input: 1.0, output: 2.5, cached_input: Some(0.0) }),
            ..ModelConfig::named("a")
        };
        let table = [
            "name = \"a\"",
            "stream = false",
            "context_window = 8192",
            "prices = { input = 1, output = 2.5, cached_input = 0 }",
        ];
        let block = models(&format!("[[providers.models]]\n{}", table.join("\n")));
        assert_eq!(block, std::slice::from_ref(&known));
        let inline = models(&format!("models = [\"b\", {{ {} }}]", table.join(", ")));
        assert_eq!(inline, [ModelConfig::named("b"), known]);
        let uncached = models("models = [{ name = \"a\", prices = { input = 1, output = 2 } }]");
        assert_eq!(uncached[0].prices, Some(Prices { input: 1.0, output: 2.0, cached_input: None }));
    }

    #[test]
    fn an_impossible_price_or_window_is_refused_with_its_path() {
        for (table, path) in [
            ("prices = { input = -0.1, output = 1 }", "providers[0].models[1].prices.input"),
            ("prices = { input = 1, output = nan }", "providers[0].models[1].prices.output"),
            (
                "prices = { input = 1, output = 1, cached_input = inf }",
                "providers[0].models[1].prices.cached_input",
            ),
            ("context_window = 0", "providers[0].models[1].context_window"),
            ("prices = { input = 1 }", "providers[0].models[1]"),
            ("prices = { input = 1, output = 1, discount = 1 }", "providers[0].models[1]"),
            ("price = 1", "providers[0].models[1]"),
        ] {
            let message = refusal(&format!("{LOCAL}models = [\"a\", {{ name = \"b\", {table} }}]"));
            assert!(message.contains(path), "{table}: {message}");
        }
    }

    #[test]
    fn a_variable_wins_over_the_file_and_a_flag_over_both() {
        let environment = Environment::from([
            ("REFRAIN__CACHE__TTL_SECONDS", "60"),
            ("REFRAIN__DATA_DIR", "elsewhere"),
            ("REFRAIN__EMBEDDING__THREADS", "2"),
        ]);
        let config = load_text("[cache]\nttl_seconds = 5", &environment).unwrap();
        assert_eq!(config.cache.ttl_seconds, 60);
        assert_eq!(config.embedding.threads, Some(2));

        let flags = Flags { data_dir: Some("chosen".into()), ..Flags::default() };
        let config = load(&flags, &environment).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("chosen"));
    }

    #[test]
    fn keys_in_the_environment_make_upstreams_in_order_of_preference() {
        let environment = Environment::from([
            ("OPENROUTER_API_KEY", "b"),
            ("OPENAI_API_KEY", "a"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
            ("GEMINI_API_KEY", "c"),
            ("AZURE_OPENAI_API_KEY", "d"),
            ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com"),
            ("ANTHROPIC_API_KEY", "e"),
        ]);
        let config = load(&Flags::default(), &environment).unwrap();
        let found: Vec<_> =
            config.providers.iter().map(|provider| (provider.name.as_str(), provider.kind)).collect();
        let expected = [
            ("openai", ProviderKind::OpenAi),
            ("anthropic", ProviderKind::Anthropic),
            ("gemini", ProviderKind::Gemini),
            ("azure", ProviderKind::AzureOpenAi),
            ("openrouter", ProviderKind::OpenAiCompatible),
        ];
        assert_eq!(found, expected);
        assert_eq!(config.providers[0].base_url.as_deref(), Some("http://127.0.0.1:9/v1"));
        assert_eq!(config.providers[1].base_url, None);
        assert_eq!(config.providers[3].base_url.as_deref(), Some("https://r.openai.azure.com"));
        assert!(config.notices.is_empty());
        assert!(!format!("{config:?}").contains("\"a\""));
    }

    #[test]
    fn a_key_of_azure_is_of_no_use_without_its_endpoint() {
        let environment = Environment::from([("AZURE_OPENAI_API_KEY", "d")]);
        let config = load(&Flags::default(), &environment).unwrap();
        assert!(config.providers.is_empty());
        let [notice] = config.notices.as_slice() else { panic!("{:?}", config.notices) };
        assert!(notice.contains("AZURE_OPENAI_API_KEY") && notice.contains("AZURE_OPENAI_ENDPOINT"));
    }

    #[test]
    fn every_vendor_has_its_usual_variable() {
        for (kind, variable) in [
            ("openai", "OPENAI_API_KEY"),
            ("anthropic", "ANTHROPIC_API_KEY"),
            ("gemini", "GEMINI_API_KEY"),
            ("azure_openai", "AZURE_OPENAI_API_KEY"),
        ] {
            let text =
                format!("[[providers]]\nname = \"o\"\nkind = \"{kind}\"\nbase_url = \"https://a.example\"");
            assert!(refusal(&text).contains(variable), "{kind}");
            let config = load_text(&text, &Environment::from([(variable, "k")])).unwrap();
            assert!(config.providers[0].api_key.is_some());
        }
    }

    #[test]
    fn azure_needs_its_endpoint_and_alone_has_deployments() {
        let environment = Environment::from([("AZURE_OPENAI_API_KEY", "k")]);
        let azure = |rest: &str| {
            load_text(&format!("[[providers]]\nname = \"a\"\nkind = \"azure_openai\"\n{rest}"), &environment)
        };
        let endpoint = "base_url = \"https://r.openai.azure.com\"\n";
        let models = |deployment: &str| {
            format!("models = [\"gpt-4o\", {{ name = \"gpt-4o-mini\", deployment = \"{deployment}\" }}]\n")
        };
        assert!(azure("").unwrap_err().to_string().contains("providers[0].base_url"));
        let config = azure(&format!("{endpoint}{}", models("mine"))).unwrap();
        let models_read = config.providers[0].models.clone().unwrap();
        assert_eq!(models_read[0], ModelConfig::named("gpt-4o"));
        assert_eq!(models_read[1].deployment.as_deref(), Some("mine"));
        for refused in [
            azure(&format!("{endpoint}{}", models(""))),
            load_text(&format!("{LOCAL}{}", models("mine")), &environment),
        ] {
            assert!(refused.unwrap_err().to_string().contains("providers[0].models[1].deployment"));
        }
    }

    #[test]
    fn a_command_that_calls_nobody_needs_no_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        std::fs::write(&path, "[[providers]]\nname = \"o\"\nkind = \"openai\"").unwrap();
        let flags = Flags { config: Some(path), calls_nobody: true, ..Flags::default() };
        assert!(load(&flags, &Environment::default()).is_ok());
    }

    #[test]
    fn the_sandbox_is_alone_when_asked_for() {
        let environment = Environment::from([("OPENAI_API_KEY", "a")]);
        let config = load(&Flags { sandbox: true, ..Flags::default() }, &environment).unwrap();
        assert_eq!(config.providers.len(), 1);
        assert_eq!(config.providers[0].kind, ProviderKind::Sandbox);
        // What the file says of others is no reason not to start.
        let environment = Environment::from([("REFRAIN__CACHE__SEMANTIC__JUDGE_MODEL", "openai/gpt-4o")]);
        let config = load(&Flags { sandbox: true, ..Flags::default() }, &environment).unwrap();
        assert_eq!(config.cache.semantic.judge_model, None);
    }
}
