//! May the answer to a stored prompt be served for the asked one?
//!
//! A chain of layers, each of which may only refuse; the first refusal wins. Some only doubt: what they see is most often a
//! trap, and where it is not, the verifier can tell, so they refuse unless it is very sure. [`propose`] stops at the first
//! refusal and, with [`verify`] after it, is what serving uses; [`verdicts`] asks every layer and is what `explain` shows.
//! Both read the same table, so they cannot disagree.

use std::cell::OnceCell;
use std::fmt;

use super::guards::{self, Aligned, Scripts, Side};
use crate::embed::Weights;

/// A layer of the decision, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The similarity reaches the threshold.
    Threshold,
    /// Neither prompt is longer than the model's window.
    Window,
    /// The same scripts, all known to the model.
    Script,
    /// Languages that the model knows, as far as can be told.
    Language,
    /// The same material to work on.
    Payload,
    /// The same numbers, units and dates.
    Numbers,
    /// The same negations.
    Negation,
    /// The same identifiers, flags, addresses, versions and symbols.
    Code,
    /// The same people, places and products.
    Names,
    /// No word against its opposite, or against another thing of its kind.
    Opposites,
    /// The same words the same way round: who does what to whom, from where to where.
    Roles,
    /// The same reach: all or some, first or last, only or not only.
    Scope,
    /// The same people are meant: mine or his.
    Person,
    /// The same is asked of the subject: how, why, when, its price.
    Asked,
    /// Not equal but for one word.
    Substitution,
    /// Neither says all that the other says and more.
    Surplus,
    /// The model that reads both prompts together agrees.
    Verifier,
}

impl Layer {
    /// All layers, in the order in which they are asked.
    pub const ALL: [Layer; 17] = [
        Layer::Threshold,
        Layer::Window,
        Layer::Script,
        Layer::Language,
        Layer::Payload,
        Layer::Numbers,
        Layer::Negation,
        Layer::Code,
        Layer::Names,
        Layer::Opposites,
        Layer::Roles,
        Layer::Scope,
        Layer::Person,
        Layer::Asked,
        Layer::Substitution,
        Layer::Surplus,
        Layer::Verifier,
    ];

    /// Returns the word for this layer: metric label, reason, configuration key.
    pub const fn name(self) -> &'static str {
        match self {
            Layer::Threshold => "threshold",
            Layer::Window => "window",
            Layer::Script => "script",
            Layer::Language => "language",
            Layer::Payload => "payload",
            Layer::Numbers => "numbers",
            Layer::Negation => "negation",
            Layer::Code => "code",
            Layer::Names => "names",
            Layer::Opposites => "opposites",
            Layer::Roles => "roles",
            Layer::Scope => "scope",
            Layer::Person => "person",
            Layer::Asked => "asked",
            Layer::Substitution => "substitution",
            Layer::Surplus => "surplus",
            Layer::Verifier => "verifier",
        }
    }

    /// Finds a layer by its word.
    pub fn from_name(name: &str) -> Option<Layer> {
        Layer::ALL.into_iter().find(|layer| layer.name() == name)
    }

    /// Returns whether a very sure verifier may overrule it. Chosen on pairs that were kept for choosing: of these the rules
    /// refuse many rewordings, and the verifier lets through hardly a trap of theirs.
    const fn only_doubts(self) -> bool {
        matches!(self, Layer::Substitution | Layer::Surplus)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Which layers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers(u32);

impl Layers {
    /// Every layer.
    pub const ALL: Layers = Layers(u32::MAX);

    /// Returns these layers without one. The thresholds are always asked.
    pub const fn without(self, layer: Layer) -> Layers {
        match layer {
            Layer::Threshold | Layer::Verifier => self,
            _ => Layers(self.0 & !layer.bit()),
        }
    }

    /// Returns whether a layer is asked.
    pub const fn contains(self, layer: Layer) -> bool {
        self.0 & layer.bit() != 0
    }
}

/// What the decision depends on beside the prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The smallest cosine similarity that may serve, in (0, 1].
    pub similarity_threshold: f32,
    /// The smallest score that may serve, in (0, 1]: what the verifier and the similarity say together.
    pub verifier_threshold: f32,
    /// The same where a layer doubts.
    pub doubt_threshold: f32,
    /// How the two are weighed.
    pub weights: Weights,
    /// The layers that are asked.
    pub layers: Layers,
    /// The scripts that the embedding model was trained on; `None` for a multilingual model.
    pub scripts: Option<Scripts>,
    /// The languages that it was trained on, as two-letter codes; `None` for a multilingual model.
    pub languages: Option<Vec<String>>,
}

/// A pair to decide about.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The prompt of the request.
    pub asked: Side<'a>,
    /// The prompt of the stored entry.
    pub stored: Side<'a>,
    /// Their cosine similarity.
    pub similarity: f32,
    /// What the verifier says of it, in [0, 1], once it was asked: last, since it takes a thousand times as long as the others.
    pub verified: Option<f32>,
}

/// Why an answer is not served. The reason quotes the prompts, so `Debug` hides it: it may not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The layer that refused.
    pub layer: Layer,
    /// The reason, as a sentence for an application developer.
    pub reason: String,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// Whether the stored answer is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No layer objects.
    Serve,
    /// The first layer that objects.
    Refuse(Refusal),
}

/// Whether a pair is worth the verifier's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// It is, and this is the first layer that doubts.
    Verify { doubt: Option<Refusal> },
    /// The first layer that refuses.
    Refuse(Refusal),
}

/// What one layer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No objection.
    Pass,
    /// The answer may not be served.
    Veto,
    /// The layer is switched off.
    Skipped,
}

impl Verdict {
    /// Returns the word that `explain` shows.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Veto => "veto",
            Verdict::Skipped => "skipped",
        }
    }
}

/// A layer's verdict, for `explain`.
#[derive(Clone, PartialEq, Eq)]
pub struct Explained {
    /// The layer.
    pub layer: Layer,
    /// What it says.
    pub verdict: Verdict,
    /// Why, where it refuses or is switched off.
    pub reason: Option<String>,
}

/// Returns what all layers before the verifier say, the first refusal and the cheap layers first: only what they agree to
/// is worth its time.
pub fn propose(pair: &Pair<'_>, settings: &Settings) -> Proposal {
    let look = Look::at(pair);
    let asked = |layer: &Layer| *layer != Layer::Verifier && settings.layers.contains(*layer);
    let mut doubt = None;
    for layer in Layer::ALL.into_iter().filter(asked) {
        let Some(reason) = objection(layer, &look, settings) else { continue };
        let refusal = Refusal { layer, reason };
        if !layer.only_doubts() {
            return Proposal::Refuse(refusal);
        }
        doubt.get_or_insert(refusal);
    }
    Proposal::Verify { doubt }
}

/// Returns what the verifier's word decides about a pair of this similarity that was proposed.
pub fn verify(verified: f32, similarity: f32, doubt: Option<Refusal>, settings: &Settings) -> Decision {
    if let Some(reason) = below_verified(Some(verified), similarity, settings) {
        return Decision::Refuse(Refusal { layer: Layer::Verifier, reason });
    }
    match doubt {
        Some(doubt) if !overrules(Some(verified), similarity, settings) => Decision::Refuse(doubt),
        _ => Decision::Serve,
    }
}

/// Asks every layer, whatever the others say.
pub fn verdicts(pair: &Pair<'_>, settings: &Settings) -> Vec<Explained> {
    let look = Look::at(pair);
    let explained = |layer| {
        if !settings.layers.contains(layer) {
            let reason = Some("switched off in the configuration".to_owned());
            return Explained { layer, verdict: Verdict::Skipped, reason };
        }
        let reason = objection(layer, &look, settings);
        let is_overruled = layer.only_doubts() && overrules(pair.verified, pair.similarity, settings);
        match reason {
            Some(reason) if is_overruled => {
                let reason = Some(format!("{reason}; the verifier is sure enough to overrule that"));
                Explained { layer, verdict: Verdict::Pass, reason }
            }
            Some(reason) => Explained { layer, verdict: Verdict::Veto, reason: Some(reason) },
            None => Explained { layer, verdict: Verdict::Pass, reason: None },
        }
    };
    Layer::ALL.into_iter().map(explained).collect()
}

/// A pair, and what several layers want to know of it.
struct Look<'a> {
    pair: &'a Pair<'a>,
    aligned: OnceCell<Aligned<'a>>,
}

impl<'a> Look<'a> {
    fn at(pair: &'a Pair<'a>) -> Self {
        Self { pair, aligned: OnceCell::new() }
    }

    fn aligned(&self) -> &Aligned<'a> {
        self.aligned.get_or_init(|| Aligned::of(self.pair.asked.prompt, self.pair.stored.prompt))
    }
}

/// Returns why a layer refuses the pair. A new layer is a variant, a name and a line here.
fn objection(layer: Layer, look: &Look<'_>, settings: &Settings) -> Option<String> {
    let Look { pair, .. } = look;
    let (asked, stored) = (&pair.asked, &pair.stored);
    match layer {
        Layer::Threshold => below_threshold(pair.similarity, settings.similarity_threshold),
        Layer::Window => guards::window(asked, stored),
        Layer::Script => guards::script(asked, stored, settings.scripts.as_ref()),
        Layer::Language => {
            settings.languages.as_ref().and_then(|known| guards::language(asked, stored, known))
        }
        Layer::Payload => guards::payload(asked, stored),
        Layer::Numbers => guards::numbers(asked, stored),
        Layer::Negation => guards::negation(asked, stored),
        Layer::Code => guards::code(asked, stored),
        Layer::Names => look.aligned().names(),
        Layer::Opposites => guards::opposites(asked, stored),
        Layer::Roles => look.aligned().roles(),
        Layer::Scope => guards::scope(asked, stored),
        Layer::Person => guards::person(asked, stored),
        Layer::Asked => guards::asked(asked, stored),
        Layer::Substitution => look.aligned().substitution(),
        Layer::Surplus => look.aligned().surplus(),
        Layer::Verifier => below_verified(pair.verified, pair.similarity, settings),
    }
}

/// Without the verifier's word nothing is served, and neither is a score that is no number.
fn below_verified(verified: Option<f32>, similarity: f32, settings: &Settings) -> Option<String> {
    let Some(verified) = verified else { return Some("the verifier was not asked".to_owned()) };
    let (score, threshold) = (settings.weights.score(verified, similarity), settings.verifier_threshold);
    let reached = score >= threshold;
    (!reached).then(|| {
        format!("verifier and similarity give the pair {score:.3}, below the threshold {threshold:.3}")
    })
}

/// Returns whether the verifier is so sure that a doubt does not count.
fn overrules(verified: Option<f32>, similarity: f32, settings: &Settings) -> bool {
    let needed = settings.doubt_threshold.max(settings.verifier_threshold);
    verified.is_some_and(|verified| settings.weights.score(verified, similarity) >= needed)
}

/// A similarity that is no number never serves.
fn below_threshold(similarity: f32, threshold: f32) -> Option<String> {
    let reached = similarity >= threshold;
    (!reached).then(|| format!("the similarity {similarity:.3} is below the threshold {threshold:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::guards::Analysed;

    fn settings() -> Settings {
        Settings {
            similarity_threshold: 0.9,
            verifier_threshold: 0.8,
            doubt_threshold: 0.95,
            weights: Weights::VERIFIER_ALONE,
            layers: Layers::ALL,
            scripts: None,
            languages: None,
        }
    }

    fn judged<T>(asked: &str, stored: &str, similarity: f32, judge: impl Fn(&Pair<'_>) -> T) -> T {
        let (asked, stored) = (Analysed::new(asked), Analysed::new(stored));
        let side = |prompt| Side { prompt, tokens: 12, truncated: false };
        judge(&Pair { asked: side(&asked), stored: side(&stored), similarity, verified: Some(0.9) })
    }

    /// As serving does it.
    fn decide(pair: &Pair<'_>, settings: &Settings) -> Decision {
        match (propose(pair, settings), pair.verified) {
            (Proposal::Verify { doubt }, Some(verified)) => {
                verify(verified, pair.similarity, doubt, settings)
            }
            (Proposal::Verify { .. }, None) => Decision::Serve,
            (Proposal::Refuse(refusal), _) => Decision::Refuse(refusal),
        }
    }

    fn refused_by(asked: &str, stored: &str, similarity: f32, settings: &Settings) -> Option<Layer> {
        match judged(asked, stored, similarity, |pair| decide(pair, settings)) {
            Decision::Serve => None,
            Decision::Refuse(refusal) => Some(refusal.layer),
        }
    }

    #[test]
    fn a_reworded_prompt_is_served() {
        assert_eq!(refused_by("How far is 5 km?", "How far is 5 kilometers?", 0.95, &settings()), None);
    }

    #[test]
    fn the_first_layer_that_refuses_is_named() {
        let (a, b) = ("Is it safe at 5 km?", "Is it not safe at 6 km?");
        assert_eq!(refused_by(a, b, 0.5, &settings()), Some(Layer::Threshold));
        assert_eq!(refused_by(a, b, 0.95, &settings()), Some(Layer::Numbers));
        let without = Settings { layers: Layers::ALL.without(Layer::Numbers), ..settings() };
        assert_eq!(refused_by(a, b, 0.95, &without), Some(Layer::Negation));
    }

    #[test]
    fn the_threshold_is_inclusive_and_cannot_be_switched_off() {
        assert_eq!(refused_by("a", "a", 0.9, &settings()), None);
        assert_eq!(refused_by("a", "a", f32::NAN, &settings()), Some(Layer::Threshold));
        let without = Settings { layers: Layers::ALL.without(Layer::Threshold), ..settings() };
        assert_eq!(refused_by("a", "a", 0.1, &without), Some(Layer::Threshold));
    }

    #[test]
    fn a_doubt_is_overruled_by_a_verifier_that_is_very_sure() {
        let (a, b) = ("How do I bake a plum cake?", "How do I bake a pear cake?");
        assert_eq!(refused_by(a, b, 0.95, &settings()), Some(Layer::Substitution), "0.9 is not sure enough");
        let lower = Settings { doubt_threshold: 0.85, ..settings() };
        assert_eq!(refused_by(a, b, 0.95, &lower), None);
        let stricter = Settings { verifier_threshold: 0.95, ..lower.clone() };
        assert_eq!(refused_by(a, b, 0.95, &stricter), Some(Layer::Verifier));
        for (settings, verdict) in [(settings(), Verdict::Veto), (lower, Verdict::Pass)] {
            let said = judged(a, b, 0.95, |pair| verdicts(pair, &settings));
            let said = said.iter().find(|said| said.layer == Layer::Substitution).expect("asked");
            assert_eq!((said.verdict, said.reason.is_some()), (verdict, true));
        }
        // What is seen for certain is never overruled.
        assert_eq!(refused_by("at 5 km", "at 6 km", 0.95, &lower_all()), Some(Layer::Numbers));
    }

    fn lower_all() -> Settings {
        Settings { doubt_threshold: 0.0, verifier_threshold: 0.0, ..settings() }
    }

    #[test]
    fn every_layer_explains_itself() {
        let without = Settings { layers: Layers::ALL.without(Layer::Code), ..settings() };
        let said = judged("Is it safe?", "Is it not safe?", 0.5, |pair| verdicts(pair, &without));
        let layers: Vec<Layer> = said.iter().map(|explained| explained.layer).collect();
        assert_eq!(layers, Layer::ALL);
        for explained in said {
            let expected = match explained.layer {
                Layer::Threshold | Layer::Negation => Verdict::Veto,
                Layer::Code => Verdict::Skipped,
                _ => Verdict::Pass,
            };
            assert_eq!(explained.verdict, expected, "{}", explained.layer.name());
            assert_eq!(explained.reason.is_some(), expected != Verdict::Pass);
        }
    }

    #[test]
    fn a_refusal_keeps_the_prompts_out_of_logs() {
        let decision = judged("pay 5 euros", "pay 6 euros", 0.95, |pair| decide(pair, &settings()));
        assert!(!format!("{decision:?}").contains("euro"));
    }

    #[test]
    fn layers_are_found_by_their_names() {
        for layer in Layer::ALL {
            assert_eq!(Layer::from_name(layer.name()), Some(layer));
        }
    }
}
