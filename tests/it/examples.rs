//! The example configurations load, name only keys that exist, and tell the truth about defaults.

use std::path::{Path, PathBuf};

use refrain::config::{Config, Environment, Flags, load};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn load_text(folder: &Path, text: &str) -> Config {
    let path = folder.join("refrain.toml");
    std::fs::write(&path, text).unwrap();
    let environment = Environment::from_iter(
        ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AZURE_OPENAI_API_KEY", "QDRANT_API_KEY"]
            .map(|variable| (variable, "k"))
            .into_iter()
            .chain([
                ("ALERTS_WEBHOOK_URL", "https://hooks.example/services/1"),
                ("JOBS_WEBHOOK_URL", "https://hooks.example/services/2"),
            ]),
    );
    load(&Flags { config: Some(path), ..Flags::default() }, &environment).unwrap()
}

/// Takes the mark off every line that is a setting behind it; prose stays a comment.
fn uncommented(text: &str, mark: &str) -> String {
    let is_setting = |rest: &str| {
        let key = rest.split(" = ").next().unwrap_or(rest);
        rest.starts_with('[')
            || (key.len() < rest.len()
                && key.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit()))
    };
    let lines = text.lines().map(|line| match line.strip_prefix(mark) {
        Some(rest) if is_setting(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_configuration_loads() {
    let folder = tempfile::tempdir().unwrap();
    let files = examples();
    assert!(!files.is_empty());
    for file in files {
        load_text(folder.path(), &std::fs::read_to_string(file).unwrap());
    }
}

#[test]
fn the_reference_tells_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let reference = include_str!("../../examples/refrain.toml");
    let told = uncommented(reference, "#");
    assert_ne!(told, reference);
    assert_eq!(
        format!("{:#?}", load_text(folder.path(), &told)),
        format!("{:#?}", load_text(folder.path(), ""))
    );
}

#[test]
fn the_reference_names_only_keys_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let reference = include_str!("../../examples/refrain.toml");
    let config = load_text(folder.path(), &uncommented(&uncommented(reference, "#"), "# "));
    assert_eq!(config.providers.len(), 6);
    assert!(config.providers[3].models.as_ref().is_some_and(|models| models[0].deployment.is_some()));
    assert!(config.providers[4].models.as_ref().is_some_and(|models| models[0].prices.is_some()));
    assert_eq!(config.routes[0].chain.len(), 2);
    assert_eq!(config.auth.keys[0].scopes.len(), 4);
    assert_eq!(config.embedding.threads, Some(2));
}
