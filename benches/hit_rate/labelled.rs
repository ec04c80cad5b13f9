//! A stream whose intents are known: how much is served, and how much of that with the answer to another intent?
//!
//! What crosses intents is counted as wrong, so what is left is right as far as the labels see: they are as fine as whoever
//! made them. Beside it stands what other caches make of the same prompts in the same order: equality alone, and cosine alone.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;

use refrain::calibration::{Interval, wilson};
use refrain::embed::{Catalog, Embedder, Pool, PoolOptions};
use serde_json::{Value, json};

use super::methods::{Count, asked_before, cosine_only, exact_only};
use super::picture::{Bar, bars};
use super::replay::{By, Sent};
use super::stream::Stream;
use super::{COSINES, keep, one_line};

/// A prompt, and the intent whose answer was served from the cache.
type Hit<'a> = (&'a Sent<'a>, Option<&'a str>);
/// The intent of an answer to what nobody asked.
const NOBODYS: &str = "?";

/// Prints the table and every hit that crosses intents, and keeps figures and picture.
pub async fn report(name: &str, stream: &Stream, sent: &[Sent<'_>], model: &str) {
    let intents = stream.intents();
    // An answer to what nobody asked has an intent of its own.
    let served =
        |one: &'_ Sent<'_>| one.stored.as_deref().map(|stored| *intents.get(stored).unwrap_or(&NOBODYS));
    let hits: Vec<_> = sent.iter().map(|one| (one, served(one))).collect();
    let mut methods = served_by_us(&hits);
    methods.push(("exact only".to_owned(), exact_only(stream)));
    let vectors = embedded(stream, model).await;
    for threshold in COSINES {
        let count = cosine_only(stream, &vectors, threshold as f32);
        methods.push((format!("cosine {threshold:.2} alone"), count));
    }
    let (all, repeated) = (stream.prompts.len() as u64, asked_before(stream));
    println!(
        "\n{all} prompts of {name}; the intent of {repeated} ({}) was asked before\n\n{}",
        wilson(repeated, all),
        text_of(&methods)
    );
    print_crossings(&hits);
    let methods_json: Vec<Value> = methods.iter().map(json_of).collect();
    let figures = json!({"prompts": all, "asked_before": repeated, "methods": methods_json});
    keep("stream.json", &format!("{figures:#}\n"));
    keep("stream.svg", &picture(&methods, repeated));
}

/// Counts the server's own answers: all of them, and by tier.
fn served_by_us(hits: &[Hit<'_>]) -> Vec<(String, Count)> {
    let count = |counts: &dyn Fn(By) -> bool| {
        let mut count = Count::default();
        for (one, served) in hits {
            count.note(asked(one), served.filter(|_| counts(one.by)));
        }
        count
    };
    vec![
        ("Refrain".to_owned(), count(&|_| true)),
        ("  by exact".to_owned(), count(&|by| by != By::Semantic)),
        ("  by semantic".to_owned(), count(&|by| by == By::Semantic)),
    ]
}

fn asked<'a>(one: &Sent<'a>) -> &'a str {
    one.prompt.intent.as_deref().unwrap_or_default()
}

fn text_of(methods: &[(String, Count)]) -> String {
    let mut out = format!(
        "{:<20} {:>7} {:>24} {:>7} {:>24}\n",
        "", "served", "of all (95 %)", "wrong", "of served (95 %)"
    );
    for (name, Count { all, served, wrong }) in methods {
        let (of_all, of_served) = (wilson(*served, *all), wilson(*wrong, *served));
        // A String takes whatever is written to it.
        let _ = writeln!(out, "{name:<20} {served:>7} {of_all:>24} {wrong:>7} {of_served:>24}");
    }
    out
}

fn print_crossings(hits: &[Hit<'_>]) {
    println!("hits of another intent: similarity, what was meant and asked, whose answer was served");
    for (one, served) in hits {
        if let Some(served) = served.filter(|served| *served != asked(one)) {
            let (text, stored) = (&one.prompt.text, one.stored.as_deref().unwrap_or_default());
            let (asked, text, stored) = (asked(one), one_line(text), one_line(stored));
            println!("{}\t{asked}\t{text}\t{served}\t{stored}", one.similarity);
        }
    }
}

async fn embedded(stream: &Stream, model: &str) -> Vec<Arc<[f32]>> {
    let pool = Pool::start(PoolOptions {
        model: Catalog::built_in().model(model).expect("the server started with it"),
        models_dir: "models".into(),
        threads: NonZeroUsize::MIN,
        queue: NonZeroUsize::MIN,
    })
    .expect("the model is there: make models");
    let mut vectors = Vec::with_capacity(stream.prompts.len());
    for prompt in &stream.prompts {
        let embedding = pool.embed(&prompt.text).await.expect("a prompt can be embedded");
        vectors.push(Arc::clone(embedding.vector()));
    }
    vectors
}

fn json_of((name, Count { all, served, wrong }): &(String, Count)) -> Value {
    let (of_all, of_served): (Interval, Interval) = (wilson(*served, *all), wilson(*wrong, *served));
    json!({
        "method": name.trim(), "prompts": all, "served": served, "wrong": wrong, "served_of_all": of_all,
        "wrong_of_served": of_served,
    })
}

fn picture(methods: &[(String, Count)], repeated: u64) -> String {
    let drawn = methods.iter().filter(|(name, _)| !name.starts_with(' '));
    let drawn: Vec<_> = drawn
        .map(|(name, Count { all, served, wrong })| Bar {
            name,
            right: (served - wrong) as f64 / *all as f64,
            wrong: *wrong as f64 / *all as f64,
        })
        .collect();
    let all = methods.first().map_or(1, |(_, count)| count.all.max(1));
    bars("Of a stream of prompts, served right and served wrong", &drawn, repeated as f64 / all as f64)
}
