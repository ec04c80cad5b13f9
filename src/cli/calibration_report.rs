//! What a calibration found: as tables and a picture for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::output::excerpt;
use crate::app::{Verdict, Veto};
use crate::calibration::{Curve, Judged, LabelledPair, Point, plot};
use crate::config::CacheMode;

/// Thresholds of the table, the highest first.
const THRESHOLDS: [f64; 9] = [0.97, 0.95, 0.925, 0.90, 0.85, 0.80, 0.70, 0.60, 0.50];
/// The word for what refuses every pair where the mode serves nothing similar.
const MODE: &str = "mode";
/// How far the pictures reach to the right, as a share of the traps.
pub const PICTURE_TRAPS_MAX: f64 = 0.25;

/// A pair, and what was made of it.
pub struct Decided {
    pub pair: LabelledPair,
    pub verdict: Verdict,
}

impl Decided {
    fn judged(&self) -> Judged {
        let vetoed_by = self.verdict.vetoes.first().map(|veto| veto.name());
        Judged { may_share: self.pair.may_share, score: f64::from(self.verdict.verified), vetoed_by }
    }

    fn without_guards(&self) -> Judged {
        Judged { vetoed_by: None, ..self.judged() }
    }

    fn by_similarity(&self) -> Judged {
        Judged { vetoed_by: None, score: f64::from(self.verdict.similarity), ..self.judged() }
    }
}

/// What a server has that calibrates nothing.
pub struct InForce {
    /// `None` stands for every model that is no route.
    pub route: Option<String>,
    pub mode: CacheMode,
    pub threshold: f32,
}

impl InForce {
    /// Returns the first thing that refuses a pair.
    pub fn refused_by(&self, verdict: &Verdict) -> Option<&'static str> {
        if !self.decides() {
            return Some(MODE);
        }
        verdict.refused_by(self.threshold).map(Veto::name)
    }

    /// Returns whether a decision about similar prompts is made at all.
    fn decides(&self) -> bool {
        self.mode >= CacheMode::Shadow
    }

    /// Returns what is served of these pairs.
    fn served(&self, curve: &Curve) -> Point {
        let threshold = f64::from(self.threshold);
        let reached = if self.decides() { threshold } else { f64::INFINITY };
        Point { threshold, ..curve.at(reached) }
    }

    /// Returns whose settings these are, and what follows where they serve nothing similar.
    fn text(&self) -> String {
        let whose = self.route.as_ref().map_or("[cache]".to_owned(), |route| format!("the route `{route}`"));
        let mode = self.mode.name();
        let remark = match self.mode {
            CacheMode::Semantic => "",
            CacheMode::Shadow => {
                "\nnothing is served by similarity: what counts as served here is counted as `shadow_hit` there"
            }
            CacheMode::Exact | CacheMode::Off => {
                "\nnothing is served by similarity: the thresholds and the curves say what `semantic` would serve"
            }
        };
        format!("settings of {whose}, mode `{mode}`{remark}\n")
    }
}

pub struct Report {
    curve: Curve,
    /// The same score without the layers before it, and the cosine alone.
    bare: Curve,
    cosine: Curve,
    categories: BTreeMap<(bool, String), Curve>,
    /// How many pairs each layer refuses, traps and shareable ones; a pair counts with the first that does.
    layers: BTreeMap<&'static str, (u64, u64)>,
    pub in_force: InForce,
    served: Point,
    max_wrong_rate: f64,
    suggested: Option<Point>,
}

impl Report {
    pub fn of(decided: &[Decided], in_force: InForce, max_wrong_rate: f64) -> Self {
        let curve = Curve::new(decided.iter().map(Decided::judged).collect());
        let mut categories: BTreeMap<(bool, String), Vec<Judged>> = BTreeMap::new();
        let mut layers: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        for one in decided {
            let category = (one.pair.may_share, one.pair.category.clone());
            categories.entry(category).or_default().push(one.judged());
            if let Some(layer) = in_force.refused_by(&one.verdict) {
                let (traps, shareable) = layers.entry(layer).or_default();
                *(if one.pair.may_share { shareable } else { traps }) += 1;
            }
        }
        Self {
            bare: Curve::new(decided.iter().map(Decided::without_guards).collect()),
            cosine: Curve::new(decided.iter().map(Decided::by_similarity).collect()),
            categories: categories.into_iter().map(|(name, judged)| (name, Curve::new(judged))).collect(),
            layers,
            served: in_force.served(&curve),
            in_force,
            suggested: curve.suggest(max_wrong_rate),
            curve,
            max_wrong_rate,
        }
    }

    pub fn curves(&self) -> [(&'static str, &Curve); 3] {
        [("guards and score", &self.curve), ("score alone", &self.bare), ("cosine alone", &self.cosine)]
    }

    /// Returns the point to be marked on the curves: none where no decision is in force.
    pub fn mark(&self) -> Option<Point> {
        self.in_force.decides().then_some(self.served)
    }

    pub fn text(&self) -> String {
        let Point { shareable, traps, .. } = self.served;
        let mut out = format!(
            "{} pairs: {shareable} that may share an answer, {traps} traps\n{}\n",
            shareable + traps,
            self.in_force.text()
        );
        // A String takes whatever is written to it.
        let _ = writeln!(
            out,
            "{:>9}  {:>22}  {:>22}  {:>22}  {:>7}",
            "threshold", "right served (95 %)", "traps served (95 %)", "wrong of served (95 %)", "served"
        );
        for threshold in THRESHOLDS {
            let _ = writeln!(out, "{}", row(&self.curve.at(threshold)));
        }
        let _ = writeln!(out, "{}  in force", row(&self.served));
        match &self.suggested {
            Some(point) => {
                let _ = writeln!(
                    out,
                    "{}  suggested: at most {} wrong",
                    row(point),
                    percent(self.max_wrong_rate)
                );
            }
            None => {
                let _ =
                    writeln!(out, "no threshold keeps to {} wrong of served", percent(self.max_wrong_rate));
            }
        }
        let (one, five) = ("right at 1 % of traps", "right at 5 % of traps");
        let _ = writeln!(out, "\n{:<24} {:>7} {one:>24} {five:>24}", "", "AUC");
        for (name, curve) in self.curves() {
            let (one, five) = (percent(curve.recall_at_traps(0.01)), percent(curve.recall_at_traps(0.05)));
            let _ = writeln!(out, "{name:<24} {:>7.3} {one:>24} {five:>24}", curve.auc());
        }
        let _ = writeln!(out, "\n{}", plot(&self.curves(), self.mark(), PICTURE_TRAPS_MAX).trim_end());
        let _ = writeln!(out, "\n{:<28} {:>7} {:>7}", "first refused by", "traps", "right");
        for (layer, (traps, shareable)) in &self.layers {
            let _ = writeln!(out, "{layer:<28} {traps:>7} {shareable:>7}");
        }
        let _ = writeln!(out, "\n{:<60} {:>6}  served in force", "category", "pairs");
        for ((may_share, name), curve) in &self.categories {
            let point = self.in_force.served(curve);
            let (count, rate) = if *may_share {
                (point.shareable, point.hit_rate())
            } else {
                (point.traps, point.trap_rate())
            };
            let word = if *may_share { "right" } else { "trap " };
            let name = excerpt(if name.is_empty() { "-" } else { name }, 50);
            let _ = writeln!(out, "{:<60} {count:>6}  {}", format!("{word} {name}"), rate);
        }
        out
    }

    pub fn json(&self) -> Value {
        let point = |point: &Point| {
            json!({
                "threshold": point.threshold, "hits": point.hits, "shareable": point.shareable, "wrong": point.wrong,
                "traps": point.traps, "hit_rate": point.hit_rate(), "trap_rate": point.trap_rate(),
                "wrong_of_served": point.wrong_rate(), "served": point.served(),
            })
        };
        let categories = self.categories.iter().map(|((may_share, name), curve)| {
            let point = self.in_force.served(curve);
            let (served, pairs) =
                if *may_share { (point.hits, point.shareable) } else { (point.wrong, point.traps) };
            json!({"category": name, "label": u8::from(*may_share), "pairs": pairs, "served": served})
        });
        let layers = self.layers.iter().map(
            |(layer, (traps, shareable))| json!({"layer": layer, "traps": traps, "shareable": shareable}),
        );
        let thresholds = THRESHOLDS.iter().map(|threshold| point(&self.curve.at(*threshold)));
        json!({
            "route": self.in_force.route,
            "mode": self.in_force.mode.name(),
            "in_force": point(&self.served),
            "suggested": self.suggested.as_ref().map(point),
            "max_wrong_rate": self.max_wrong_rate,
            "auc": self.curve.auc(),
            "auc_without_guards": self.bare.auc(),
            "auc_of_similarity": self.cosine.auc(),
            "recall_at_1_percent_of_traps": self.curve.recall_at_traps(0.01),
            "recall_at_5_percent_of_traps": self.curve.recall_at_traps(0.05),
            "thresholds": thresholds.collect::<Vec<_>>(),
            "categories": categories.collect::<Vec<_>>(),
            "layers": layers.collect::<Vec<_>>(),
        })
    }
}

fn row(point: &Point) -> String {
    format!(
        "{:>9.4}  {:>22}  {:>22}  {:>22}  {:>7}",
        point.threshold,
        point.hit_rate(),
        point.trap_rate(),
        point.wrong_rate(),
        percent(point.served().share)
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
