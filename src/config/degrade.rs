//! `[degrade]` and `[quality]`: what is answered when nobody can be asked, and what an answer must be worth.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The ladder of degradation, for every route that does not say otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DegradeConfig {
    /// The steps, first choice first. Default `["stale"]`; the others only where a route should have them.
    pub ladder: Vec<LadderStep>,
    /// For `static`: the text for each task, and `default` for all others. Default: none.
    #[serde(rename = "static")]
    pub texts: BTreeMap<String, String>,
    /// For `extractive`: sentences of a summary. Default 3.
    pub extractive_sentences: usize,
    /// For `truncated`: characters that are kept. Default 500.
    pub truncate_chars: usize,
}

impl Default for DegradeConfig {
    fn default() -> Self {
        Self {
            ladder: vec![LadderStep::Stale],
            texts: BTreeMap::new(),
            extractive_sentences: 3,
            truncate_chars: 500,
        }
    }
}

/// One step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LadderStep {
    /// The expired answer to an equal request.
    Stale,
    /// The answer to a less similar request than would be served otherwise.
    Nearest,
    /// The most telling sentences of the text in the prompt, where a summary was asked for.
    Extractive,
    /// The beginning of the text in the prompt.
    Truncated,
    /// A text of the operator's.
    Static,
}

/// `[routes.degrade]`: what one route does differently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DegradeOverrides {
    pub ladder: Option<Vec<LadderStep>>,
    #[serde(rename = "static")]
    pub texts: Option<BTreeMap<String, String>>,
    pub extractive_sentences: Option<usize>,
    pub truncate_chars: Option<usize>,
}

impl DegradeConfig {
    /// Returns these settings with a route's own put over them.
    pub fn overridden(&self, by: &DegradeOverrides) -> Self {
        let DegradeOverrides { ladder, texts, extractive_sentences, truncate_chars } = by.clone();
        Self {
            ladder: ladder.unwrap_or_else(|| self.ladder.clone()),
            texts: texts.unwrap_or_else(|| self.texts.clone()),
            extractive_sentences: extractive_sentences.unwrap_or(self.extractive_sentences),
            truncate_chars: truncate_chars.unwrap_or(self.truncate_chars),
        }
    }
}

/// `[quality]`: how an answer is scored, and from where on it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualityConfig {
    /// Answers that score below this are served and not stored, in [0, 1]. Default 0.3.
    pub store_threshold: f64,
    /// What each look weighs in the score, 0 or more; only their proportions count.
    pub weights: QualityWeights,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self { store_threshold: 0.3, weights: QualityWeights::default() }
    }
}

/// What each look weighs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualityWeights {
    /// Neither nothing nor endless. Default 1.
    pub length: f64,
    /// Not the same words over and over. Default 3.
    pub repetition: f64,
    /// Whole characters, whole sentences. Default 2.
    pub integrity: f64,
    /// Words of the prompt come up. Default 1.
    pub keywords: f64,
    /// No refusal. Default 2.
    pub refusal: f64,
    /// JSON, and of the schema, where that was asked for. Default 3.
    pub format: f64,
}

impl Default for QualityWeights {
    fn default() -> Self {
        Self { length: 1.0, repetition: 3.0, integrity: 2.0, keywords: 1.0, refusal: 2.0, format: 3.0 }
    }
}
