//! What the benches send: what they read, what they count, and what our own prompts hold.

#[path = "../../benches/hit_rate/methods.rs"]
mod methods;
#[path = "../../benches/load/prompts.rs"]
mod prompts;
#[path = "../../benches/hit_rate/stream.rs"]
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use methods::{Count, asked_before, cosine_only, exact_only};
use stream::{Prompt, Stream};

const OURS: &str = include_str!("../../benches/stream.tsv");

fn prompt(text: &str, intent: Option<&str>) -> Prompt {
    Prompt { text: text.to_owned(), intent: intent.map(str::to_owned) }
}

#[test]
fn three_forms_say_the_same() {
    let expected = [prompt("one\ntwo", Some("a")), prompt("three", Some("b"))];
    let tsv = "domain\tintent\ttext\nx\ta\tone\\ntwo\nx\tb\tthree\n";
    let jsonl = "{\"text\": \"one\\ntwo\", \"intent\": \"a\", \"tenant\": 1}\n\n{\"prompt\": \"three\", \"intent\": \"b\"}";
    assert_eq!(Stream::read("s.tsv", tsv).prompts, expected);
    assert_eq!(Stream::read("s.jsonl", jsonl).prompts, expected);
    let plain = Stream::read("s.txt", "three\n\nfour\n");
    assert_eq!(plain.prompts, [prompt("three", None), prompt("four", None)]);
    assert!(!plain.is_labelled());
}

#[test]
fn a_labelled_stream_is_mixed_and_any_other_keeps_its_order() {
    let in_order = |stream: Stream, seed| -> Vec<String> {
        stream.in_order_of(seed, 100).prompts.into_iter().map(|prompt| prompt.text).collect()
    };
    let labelled = |seed| in_order(Stream::read("s.tsv", OURS), seed);
    assert_eq!(labelled(None), labelled(None));
    assert_ne!(labelled(None), labelled(Some(2)));
    let plain: String = (0..100).map(|at| format!("prompt {at}\n")).collect();
    let read = || Stream::read("s.txt", &plain);
    assert_eq!(in_order(read(), None), plain.lines().collect::<Vec<_>>());
    assert_ne!(in_order(read(), Some(1)), plain.lines().collect::<Vec<_>>());
}

#[test]
fn each_method_is_counted_by_what_it_serves() {
    let asked = [("x", "a"), ("y", "a"), ("x", "a"), ("z", "b"), ("x", "c")];
    let stream = Stream { prompts: asked.map(|(text, intent)| prompt(text, Some(intent))).into() };
    assert_eq!(asked_before(&stream), 2);
    assert_eq!(exact_only(&stream), Count { all: 5, served: 2, wrong: 1 });
    // `y` lies beside `x`, and `z` at right angles to both.
    let vectors = [[1.0, 0.0], [0.8, 0.6], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]];
    assert_eq!(cosine_only(&stream, &vectors, 0.95), Count { all: 5, served: 2, wrong: 1 });
    assert_eq!(cosine_only(&stream, &vectors, 0.75), Count { all: 5, served: 3, wrong: 1 });
    // What was served is not stored, so `z` does not find `y`.
    assert_eq!(cosine_only(&stream, &vectors, 0.5).served, 3);
}

#[test]
fn long_prompts_differ_in_their_last_words_alone_and_no_story_comes_twice() {
    let mut stories = BTreeSet::new();
    for at in 0..100 {
        let (stored, asked) = prompts::long_prompts(at, 14);
        let story = |prompt: &str| prompt.rsplit_once(". ").map(|(story, _)| story.to_owned()).unwrap();
        assert_eq!(story(&stored), story(&asked));
        assert_ne!(stored, asked);
        assert!(stories.insert(story(&stored)), "{stored}");
    }
}

#[test]
fn our_own_stream_is_of_many_intents_and_no_text_has_two() {
    let Stream { prompts } = Stream::read("stream.tsv", OURS);
    let domains: BTreeSet<_> = OURS.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let mut said = BTreeMap::<&str, usize>::new();
    let mut meant = BTreeMap::<&str, BTreeSet<&str>>::new();
    for Prompt { text, intent } in &prompts {
        let intent = intent.as_deref().unwrap();
        *said.entry(intent).or_default() += 1;
        meant.entry(text).or_default().insert(intent);
    }
    assert!(domains.len() >= 6 && said.len() >= 100 && prompts.len() >= 500, "{domains:?}, {}", said.len());
    assert!(said.values().all(|times| (3..=7).contains(times)), "{said:?}");
    assert!(meant.values().all(|intents| intents.len() == 1));
    assert!(meant.len() < prompts.len(), "some are said again in the same words");
}
