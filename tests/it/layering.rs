//! The ranks and the borders of `src/lib.rs`, read from the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every module, lowest rank first. An import goes strictly downward: modules of one rank do not know each other.
const RANKS: &[&[&str]] = &[
    &["calibration", "config", "single_flight", "telemetry", "templates"],
    &["chat"],
    &["quality", "cost", "wire", "transport"],
    &["embed", "index", "store", "providers", "webhook"],
    &["alerts", "cache", "checks", "router"],
    &["degrade"],
    &["gateway"],
    &["jobs", "precompute"],
    &["http"],
    &["app"],
    &["cli"],
    &["main"],
];

/// Names that only some modules may say, and why.
const BORDERS: &[(&str, &[&str], &str)] = &[
    ("axum::", &["http"], "only http knows axum"),
    ("reqwest::", &["transport"], "only transport owns an HTTP client"),
    ("env::var", &["config"], "only config reads the environment"),
    ("process::exit", &["main"], "only main exits"),
    ("process::abort", &["main"], "only main exits"),
    ("anyhow", &["app", "cli", "main"], "below app every error has a type"),
];

/// A file of the sources without its comments.
struct Source {
    path: String,
    /// The module of the first level that it belongs to.
    module: String,
    code: String,
}

#[test]
fn an_import_goes_strictly_downward() {
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        for imported in imports(&code) {
            if imported != module && rank(&imported) >= rank(&module) {
                wrong.push(format!(
                    "{path}: `{module}` must not know `{imported}`, which does not rank below it"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_only_one_module_may_know_no_other_names() {
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        for (name, allowed, reason) in BORDERS {
            if code.contains(name) && !allowed.contains(&module.as_str()) {
                wrong.push(format!("{path}: `{module}` must not say `{name}`, since {reason}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_that_are_pure_read_no_clock() {
    let pure = [
        "alerts/watch.rs",
        "alerts/window.rs",
        "alerts/message.rs",
        "cache/decision.rs",
        "cache/policy.rs",
        "cache/freshness.rs",
        "cache/guards/",
        "checks/compare.rs",
        "checks/judge.rs",
        "checks/window.rs",
        "chat/",
        "degrade/",
        "quality/",
    ];
    for Source { path, code, .. } in sources() {
        let is_pure = pure.iter().any(|part| path.contains(part));
        for clock in ["Instant::now", "SystemTime::now", "Timestamp::now"] {
            assert!(!(is_pure && code.contains(clock)), "{path} must read no clock, but says `{clock}`");
        }
    }
}

fn rank(module: &str) -> usize {
    let found = RANKS.iter().position(|rank| rank.contains(&module));
    found.unwrap_or_else(|| panic!("the module `{module}` has no rank: give it one here and in src/lib.rs"))
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found at {}", root.display());
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
        Source { path, module, code: code.join("\n") }
    };
    files.into_iter().map(read).filter(|source| source.module != "lib").collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the modules of the first level that the code names, in `use` and elsewhere.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "refrain::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(first_names(group)),
                None => found.extend(name(rest)),
            }
        }
    }
    found
}

/// Returns the first name of every path in a group of imports, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let mut names: Vec<String> = name(group).into_iter().collect();
    let mut depth = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

fn name(code: &str) -> Option<String> {
    let code = code.trim_start();
    let end = code.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')?;
    (end > 0).then(|| code[..end].to_owned())
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::chat::{Key, Entry};\nuse crate::{cache::{Hit, Miss}, store, config::Config,};\n\
                let x = crate::wire::json();\n";
    let found = imports(code);
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        ["cache", "chat", "config", "store", "wire"]
    );
}
