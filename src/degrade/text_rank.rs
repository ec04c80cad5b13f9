//! Which sentences does a text lean on?
//!
//! TextRank (Mihalcea and Tarau, 2004): each sentence recommends those that are like it, the more so the more alike
//! they are, and a recommendation weighs as much as the sentence that gives it. PageRank on a graph with weights.

use super::Likeness;

/// How much of a rank is recommended; the rest every sentence has by itself.
const DAMPING: f64 = 0.85;
/// Below this change in every rank the iteration has ended.
const SETTLED: f64 = 1e-6;
/// It settles in about thirty; the bound is for graphs that nobody thought of.
const ITERATIONS_MAX: usize = 100;

/// Returns the rank of every sentence: higher is more telling.
pub(super) fn ranks(likeness: &Likeness) -> Vec<f64> {
    let sentences = likeness.sentences();
    let given: Vec<f64> = (0..sentences).map(|at| likeness.row(at).iter().sum()).collect();
    let mut ranks = vec![1.0; sentences];
    for _ in 0..ITERATIONS_MAX {
        let next: Vec<f64> = (0..sentences)
            .map(|at| {
                let from = |(other, weight): (usize, &f64)| {
                    // Who is like nobody recommends nobody.
                    if given[other] > 0.0 { weight / given[other] * ranks[other] } else { 0.0 }
                };
                1.0 - DAMPING + DAMPING * likeness.row(at).iter().enumerate().map(from).sum::<f64>()
            })
            .collect();
        let change = next.iter().zip(&ranks).map(|(new, old)| (new - old).abs()).fold(0.0, f64::max);
        ranks = next;
        if change < SETTLED {
            break;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn likeness(vectors: &[[f32; 3]]) -> Likeness {
        Likeness::of_embeddings(&vectors.iter().map(|vector| Arc::from(&vector[..])).collect::<Vec<_>>())
    }

    #[test]
    fn the_sentence_that_all_others_are_like_comes_first_and_a_stranger_last() {
        let ranks = ranks(&likeness(&[[0.9, 0.0, 0.1], [0.7, 0.7, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, -1.0]]));
        assert!(ranks.iter().all(|rank| *rank <= ranks[1]), "{ranks:?}");
        assert!((ranks[3] - (1.0 - DAMPING)).abs() < 1e-9, "{ranks:?}");
    }

    #[test]
    fn alike_sentences_rank_alike_and_none_are_no_trouble() {
        let same = ranks(&likeness(&[[1.0, 0.0, 0.0]; 3]));
        assert!(same.iter().all(|rank| (rank - 1.0).abs() < 1e-6), "{same:?}");
        assert!(ranks(&likeness(&[])).is_empty());
        assert_eq!(ranks(&likeness(&[[1.0, 0.0, 0.0]])), [1.0 - DAMPING]);
    }

    proptest! {
        #[test]
        fn ranks_are_shares_of_one_whole_and_do_not_depend_on_the_order(
            vectors in prop::collection::vec(prop::array::uniform3(0.01_f32..1.0), 2..12),
        ) {
            let ranked = ranks(&likeness(&vectors));
            let sum: f64 = ranked.iter().sum();
            prop_assert!((sum - vectors.len() as f64).abs() < 1e-3, "{ranked:?}");
            prop_assert!(ranked.iter().all(|rank| *rank >= 1.0 - DAMPING), "{ranked:?}");
            let reversed: Vec<_> = vectors.iter().rev().copied().collect();
            let back = ranks(&likeness(&reversed));
            for (one, other) in ranked.iter().zip(back.iter().rev()) {
                prop_assert!((one - other).abs() < 1e-3, "{ranked:?} {back:?}");
            }
        }
    }
}
