//! Streams of prompts: what stands in a file, and in which order it is sent.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::Value;

/// The order of a labelled stream where none is asked for: files group their intents, and callers do not.
const USUAL_SEED: u64 = 1;

/// A prompt, and what is meant by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    /// Prompts of one intent may share an answer, those of two may not.
    pub intent: Option<String>,
}

/// Prompts in the order in which they are sent.
pub struct Stream {
    pub prompts: Vec<Prompt>,
}

impl Stream {
    /// Reads JSON lines (`text` or `prompt`, perhaps `intent`) or tab-separated values with a header (`text`, perhaps
    /// `intent`) where the name ends so, else plain text with a prompt on each line. Fields of other names are left alone.
    ///
    /// # Panics
    /// Where a line is none, and where some prompts have an intent and others have none.
    pub fn read(name: &str, text: &str) -> Self {
        let mut prompts: Vec<Prompt> = if name.ends_with(".jsonl") {
            lines(text).map(|(line, text)| from_json(name, line, text)).collect()
        } else if name.ends_with(".tsv") {
            from_tsv(name, text)
        } else {
            lines(text).map(|(_, text)| Prompt { text: text.to_owned(), intent: None }).collect()
        };
        prompts.retain(|prompt| !prompt.text.trim().is_empty());
        let labelled = prompts.iter().filter(|prompt| prompt.intent.is_some()).count();
        assert!(
            labelled == 0 || labelled == prompts.len(),
            "{name}: only {labelled} prompts have an `intent`"
        );
        Self { prompts }
    }

    /// Returns whether every prompt has an intent.
    pub fn is_labelled(&self) -> bool {
        self.prompts.first().is_some_and(|prompt| prompt.intent.is_some())
    }

    /// Puts the prompts in random order, and leaves out those beyond `most`. Without a seed, a labelled stream takes one of
    /// its own, and any other stream stays in the order of its file.
    #[must_use]
    pub fn in_order_of(mut self, seed: Option<u64>, most: usize) -> Self {
        if let Some(seed) = seed.or(self.is_labelled().then_some(USUAL_SEED)) {
            self.prompts.shuffle(&mut StdRng::seed_from_u64(seed));
        }
        self.prompts.truncate(most);
        self
    }

    /// Returns the intent behind each text that is asked; of two, the one that is asked first and so answered.
    pub fn intents(&self) -> HashMap<&str, &str> {
        let mut intents = HashMap::new();
        for Prompt { text, intent } in &self.prompts {
            intents.entry(text.as_str()).or_insert(intent.as_deref().unwrap_or(text));
        }
        intents
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

fn from_json(name: &str, line: usize, text: &str) -> Prompt {
    let fields: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: line {line}: {error}"));
    let field = |name: &str| fields[name].as_str().map(str::to_owned);
    let text = field("text").or_else(|| field("prompt"));
    let text = text.unwrap_or_else(|| panic!("{name}: line {line}: neither `text` nor `prompt` is a text"));
    Prompt { text, intent: field("intent") }
}

fn from_tsv(name: &str, text: &str) -> Vec<Prompt> {
    let mut lines = lines(text);
    let (_, header) = lines.next().unwrap_or((1, ""));
    let column = |name| header.split('\t').position(|column| column.trim() == name);
    let text = column("text").unwrap_or_else(|| panic!("{name}: the header names no column `text`"));
    let intent = column("intent");
    let read = |(line, row): (usize, &str)| {
        let fields: Vec<_> = row.split('\t').collect();
        let field = |at: usize| {
            let field = fields.get(at);
            field.unwrap_or_else(|| panic!("{name}: line {line}: {} fields are too few", fields.len())).trim()
        };
        Prompt { text: field(text).replace("\\n", "\n"), intent: intent.map(|at| field(at).to_owned()) }
    };
    lines.map(read).collect()
}
