//! What a cache makes of a labelled stream, prompt after prompt, by whatever it decides.

use std::collections::HashSet;

use super::stream::Stream;

/// How often a method answered, and how often with the answer to another intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub all: u64,
    pub served: u64,
    pub wrong: u64,
}

impl Count {
    /// Takes in a prompt: `served` is the intent whose answer it got, if it got one.
    pub fn note(&mut self, asked: &str, served: Option<&str>) {
        self.all += 1;
        self.served += u64::from(served.is_some());
        self.wrong += u64::from(served.is_some_and(|served| served != asked));
    }
}

/// Returns how many prompts have an intent that was asked before: what a cache that knows everything would serve.
pub fn asked_before(stream: &Stream) -> u64 {
    let mut seen = HashSet::new();
    stream.prompts.iter().filter(|prompt| !seen.insert(prompt.intent.as_deref())).count() as u64
}

/// Answers a prompt by an equal one.
pub fn exact_only(stream: &Stream) -> Count {
    let intents = stream.intents();
    let (mut count, mut stored) = (Count::default(), HashSet::new());
    for prompt in &stream.prompts {
        let is_new = stored.insert(prompt.text.as_str());
        let served = (!is_new).then(|| intents[prompt.text.as_str()]);
        count.note(prompt.intent.as_deref().unwrap_or_default(), served);
    }
    count
}

/// Answers a prompt by the nearest stored one where their cosine reaches `threshold`, and else stores it: what a cache does
/// that knows nothing but vectors. Vectors are of unit length.
pub fn cosine_only(stream: &Stream, vectors: &[impl AsRef<[f32]>], threshold: f32) -> Count {
    let (mut count, mut stored) = (Count::default(), Vec::<usize>::new());
    for at in 0..stream.prompts.len() {
        let near = |other: &usize| (cosine(vectors[at].as_ref(), vectors[*other].as_ref()), *other);
        let nearest = stored.iter().map(near).max_by(|(one, _), (other, _)| one.total_cmp(other));
        let served = nearest.filter(|(similarity, _)| *similarity >= threshold).map(|(_, other)| other);
        let intent = |at: usize| stream.prompts[at].intent.as_deref().unwrap_or_default();
        count.note(intent(at), served.map(intent));
        if served.is_none() {
            stored.push(at);
        }
    }
    count
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
