//! The lists that are shipped as examples, and the schema that editors check them by.

use std::path::{Path, PathBuf};

use refrain::templates::{Item, read};
use serde_json::Value;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/precompute").join(name)
}

fn items(name: &str) -> Vec<Item> {
    read(&example(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn prompt(item: &Item) -> &str {
    item.body["prompt"].as_str().expect("a prompt")
}

#[test]
fn every_example_becomes_the_requests_it_speaks_of() {
    let faq = items("faq.toml");
    assert_eq!(faq.len(), 40 * 3 + 5 + 4);
    assert_eq!(prompt(&faq[0]), "How do I assemble the Arc floor lamp?");
    let emails = items("emails.toml");
    assert_eq!(emails.len(), 4 * 2 + 5);
    assert!(
        prompt(&emails[1]).contains("whose lamp arrived broken")
            || prompt(&emails[1]).contains("whose parcel is late")
    );
    let products = items("products.toml");
    assert_eq!(products.len(), 5 * 2, "one is sold out");
    assert!(products.iter().any(|item| prompt(item).contains("Twig clip lamp, small")));
    assert_eq!(items("requests.jsonl").len(), 2);
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = std::fs::read_to_string(example("precompute.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let valid = |text: &str| {
        let list: Value = toml::from_str(text).expect("TOML");
        schema.is_valid(&list)
    };
    for name in ["faq.toml", "emails.toml", "products.toml"] {
        assert!(valid(&std::fs::read_to_string(example(name)).unwrap()), "{name}");
    }
    for wrong in [
        "",
        "[[templates]]\nname = \"a\"",
        "[[templates]]\nname = \"a\"\nprompt = \"b\"\nprio = 1",
        "[[templates]]\nname = \"a\"\nprompt = \"b\"\nvariations = 0",
        "[defaults]\nprompt = \"b\"\n[[templates]]\nname = \"a\"\nprompt = \"b\"",
    ] {
        assert!(!valid(wrong), "{wrong}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.toml");
        std::fs::write(&file, wrong).unwrap();
        assert!(read(&file).is_err(), "{wrong}");
    }
}
