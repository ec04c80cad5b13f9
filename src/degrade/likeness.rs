//! How alike are the sentences of a text?
//!
//! By the cosine of their embeddings, or, where there is no embedder, by the words that two share: the measure of
//! Mihalcea and Tarau, "TextRank: Bringing Order into Texts" (2004).

use std::collections::BTreeSet;
use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation;

/// How alike each two sentences are: not negative, and the same both ways. No sentence is like itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Likeness {
    sentences: usize,
    weights: Vec<f64>,
}

impl Likeness {
    /// Compares sentences by their embeddings, which have unit length; what points the other way is not alike at all.
    pub fn of_embeddings(embeddings: &[Arc<[f32]>]) -> Self {
        Self::between(embeddings, |one, other| {
            one.iter().zip(other.iter()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        })
    }

    /// Compares sentences by the words that both have, each counted once, in proportion to how many they have at all.
    pub fn of_words(sentences: &[String]) -> Self {
        let words: Vec<_> = sentences.iter().map(|sentence| telling_words(sentence)).collect();
        Self::between(&words, |one, other| {
            let shared = one.intersection(other).count() as f64;
            // One is added to each, so that a single word is no division by zero.
            shared / ((1.0 + one.len() as f64).ln() + (1.0 + other.len() as f64).ln()).max(1.0)
        })
    }

    fn between<T>(items: &[T], alike: impl Fn(&T, &T) -> f64) -> Self {
        let sentences = items.len();
        let mut weights = vec![0.0; sentences * sentences];
        for row in 0..sentences {
            for column in 0..row {
                let weight = alike(&items[row], &items[column]);
                // A comparison that came to no number says nothing.
                let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
                weights[row * sentences + column] = weight;
                weights[column * sentences + row] = weight;
            }
        }
        Self { sentences, weights }
    }

    /// Returns how many sentences were compared.
    pub const fn sentences(&self) -> usize {
        self.sentences
    }

    /// Returns how alike a sentence is to each of all.
    pub(super) fn row(&self, sentence: usize) -> &[f64] {
        &self.weights[sentence * self.sentences..][..self.sentences]
    }
}

/// Short words of alphabets are mostly grammar, which all sentences share.
const LETTERS_MIN: usize = 4;

fn telling_words(sentence: &str) -> BTreeSet<String> {
    let is_telling = |word: &&str| !word.is_ascii() || word.len() >= LETTERS_MIN;
    sentence.unicode_words().filter(is_telling).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_words(sentences: &[&str]) -> Likeness {
        Likeness::of_words(&sentences.iter().map(|sentence| (*sentence).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn shared_words_make_sentences_alike_and_grammar_does_not() {
        let likeness = of_words(&[
            "The river flooded the valley.",
            "Every spring the River floods that valley.",
            "She has it on the two of us.",
        ]);
        assert!(likeness.row(0)[1] > 0.5, "{likeness:?}");
        assert_eq!(likeness.row(0)[0], 0.0);
        assert_eq!(likeness.row(2), [0.0, 0.0, 0.0]);
        assert_eq!(likeness.row(1)[0], likeness.row(0)[1]);
    }

    #[test]
    fn embeddings_are_compared_by_their_cosine_and_nonsense_is_not_alike() {
        let vectors: [Arc<[f32]>; 4] =
            [[1.0, 0.0].into(), [0.6, 0.8].into(), [-1.0, 0.0].into(), [f32::NAN, 0.0].into()];
        let likeness = Likeness::of_embeddings(&vectors);
        assert!((likeness.row(0)[1] - 0.6).abs() < 1e-6);
        assert_eq!((likeness.row(0)[2], likeness.row(0)[3]), (0.0, 0.0));
    }
}
