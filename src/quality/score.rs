//! What do the looks say together?

use super::Said;
use super::defect::{self, Defect};
use super::{integrity, json, keywords, length, refusal, repetition};
use crate::chat::{ChatRequest, ChatResponse, Choice};
use crate::config::QualityWeights;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// In [0, 1].
    pub score: f64,
    /// What makes the answer, or one of its choices, none.
    pub defect: Option<Defect>,
}

/// The least that a look gives: none of them alone says that an answer is worth nothing.
const LEAST: f64 = 0.01;

/// Returns what an answer is worth, in [0, 1]: that of its worst choice, 0 for one with a [`Defect`].
///
/// It is the geometric mean of the looks that apply, by their weights. In a sum of them, an answer that says one
/// sentence forty times would be made up for by its length, its spelling and its manners. An answer that no look applies
/// to, such as a call of a tool, is worth 1.
pub fn score(request: &ChatRequest, answer: &ChatResponse, weights: &QualityWeights) -> f64 {
    Worth::of(request, answer, weights).score
}

impl Worth {
    /// Judges an answer.
    pub fn of(request: &ChatRequest, answer: &ChatResponse, weights: &QualityWeights) -> Self {
        let nothing = Self { score: 0.0, defect: Some(Defect::Empty) };
        let choices = answer.choices.iter().map(|choice| Self::of_choice(request, choice, weights));
        choices.reduce(|one, other| if other.score < one.score { other } else { one }).unwrap_or(nothing)
    }

    fn of_choice(request: &ChatRequest, choice: &Choice, weights: &QualityWeights) -> Self {
        let said = Said::new(request, choice);
        let defect = defect::of_said(&said);
        Self { score: if defect.is_some() { 0.0 } else { mean(&looks(&said, weights)) }, defect }
    }
}

/// Returns what each look says, where it applies, and its weight.
fn looks(said: &Said<'_>, weights: &QualityWeights) -> [(Option<f64>, f64); 6] {
    let QualityWeights { length, repetition, integrity, keywords, refusal, format } = *weights;
    [
        (length::look(said), length),
        (repetition::look(said), repetition),
        (integrity::look(said), integrity),
        (keywords::look(said), keywords),
        (refusal::look(said), refusal),
        (json::look(said), format),
    ]
}

/// Returns the geometric mean of values in [0, 1]; 1 where there are none.
fn mean(looks: &[(Option<f64>, f64)]) -> f64 {
    let applying = looks.iter().filter_map(|(value, weight)| Some(((*value)?.clamp(LEAST, 1.0), *weight)));
    let weighed: Vec<_> = applying.filter(|(_, weight)| *weight > 0.0 && weight.is_finite()).collect();
    // Measured by the greatest, so that no sum overflows.
    let greatest = weighed.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let (sum, weight) = weighed.iter().fold((0.0, 0.0), |(sum, total), (value, weight)| {
        let weight = weight / greatest;
        (value.ln().mul_add(weight, sum), total + weight)
    });
    if weighed.is_empty() { 1.0 } else { (sum / weight).exp().clamp(0.0, 1.0) }
}
