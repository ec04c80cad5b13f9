//! Hits and wrong answers by threshold.

use serde::Serialize;

use super::interval::{Interval, wilson};

/// What the decision made of one pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub may_share: bool,
    /// What the threshold is compared with, in [0, 1].
    pub score: f64,
    /// The layer that refuses whatever the threshold, if one does.
    pub vetoed_by: Option<&'static str>,
}

/// What is served at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    pub threshold: f64,
    /// Pairs served that may share an answer, and how many of those there are.
    pub hits: u64,
    pub shareable: u64,
    /// Pairs served that may not, and how many of those there are.
    pub wrong: u64,
    pub traps: u64,
}

impl Point {
    /// Returns the share of the shareable pairs that is served.
    pub fn hit_rate(&self) -> Interval {
        wilson(self.hits, self.shareable)
    }

    /// Returns the share of the traps that is served.
    pub fn trap_rate(&self) -> Interval {
        wilson(self.wrong, self.traps)
    }

    /// Returns the share of what is served that is wrong: what a user meets.
    pub fn wrong_rate(&self) -> Interval {
        wilson(self.wrong, self.hits + self.wrong)
    }

    /// Returns the share of all pairs that is served.
    pub fn served(&self) -> Interval {
        wilson(self.hits + self.wrong, self.shareable + self.traps)
    }
}

/// Judged pairs, the highest score first.
#[derive(Clone, Debug)]
pub struct Curve {
    judged: Vec<Judged>,
    shareable: u64,
    traps: u64,
}

impl Curve {
    /// Sorts what was judged. A score that is no number counts as none.
    pub fn new(mut judged: Vec<Judged>) -> Self {
        for one in &mut judged {
            if one.score.is_nan() {
                one.score = 0.0;
            }
        }
        judged.sort_by(|one, other| other.score.total_cmp(&one.score));
        let shareable = judged.iter().filter(|one| one.may_share).count() as u64;
        let traps = judged.len() as u64 - shareable;
        Self { judged, shareable, traps }
    }

    /// Returns what is served at a threshold.
    pub fn at(&self, threshold: f64) -> Point {
        let served = self.judged.iter().take_while(|one| one.score >= threshold);
        let served = served.filter(|one| one.vetoed_by.is_none());
        let (hits, wrong) =
            served.fold(
                (0, 0),
                |(hits, wrong), one| {
                    if one.may_share { (hits + 1, wrong) } else { (hits, wrong + 1) }
                },
            );
        Point { threshold, hits, shareable: self.shareable, wrong, traps: self.traps }
    }

    /// Returns a point for each score that decides about a pair, the highest first: every point that a threshold can reach.
    pub fn points(&self) -> Vec<Point> {
        let mut point = self.at(f64::INFINITY);
        let mut points: Vec<Point> = Vec::new();
        for one in &self.judged {
            point.threshold = one.score;
            if one.vetoed_by.is_some() {
                continue;
            }
            if one.may_share {
                point.hits += 1
            } else {
                point.wrong += 1
            }
            match points.last_mut() {
                Some(last) if last.threshold == point.threshold => *last = point,
                _ => points.push(point),
            }
        }
        points
    }

    /// Returns the point of the most hits, and of those the highest threshold, where no more of what is served is wrong than
    /// this, as far as these pairs tell: `None` where no threshold keeps to it.
    pub fn suggest(&self, wrong_rate_max: f64) -> Option<Point> {
        let kept = |point: &Point| point.hits > 0 && point.wrong_rate().share <= wrong_rate_max;
        self.points().into_iter().rev().filter(kept).max_by_key(|point| point.hits)
    }

    /// Returns the share of shareable pairs that is served where at most this share of the traps is.
    pub fn recall_at_traps(&self, share: f64) -> f64 {
        let allowed = |point: &Point| point.trap_rate().share <= share;
        self.points()
            .iter()
            .filter(|point| allowed(point))
            .map(|point| point.hit_rate().share)
            .fold(0.0, f64::max)
    }

    /// Returns how often a shareable pair ranks above a trap, ties counting half: the area under the ROC curve. Pairs that
    /// were vetoed rank below all others, by their scores among themselves.
    pub fn auc(&self) -> f64 {
        let rank = |one: &Judged| (one.vetoed_by.is_none(), one.score);
        let mut ranked: Vec<_> = self.judged.iter().map(|one| (rank(one), one.may_share)).collect();
        ranked.sort_by(|(one, _), (other, _)| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let (mut above, mut traps_below, mut at) = (0.0, 0.0, 0);
        while at < ranked.len() {
            let run = ranked[at..].iter().take_while(|(rank, _)| *rank == ranked[at].0);
            let (length, shareable) =
                run.fold((0, 0), |(length, shareable), (_, may)| (length + 1, shareable + usize::from(*may)));
            let traps = (length - shareable) as f64;
            above += shareable as f64 * (traps_below + traps / 2.0);
            traps_below += traps;
            at += length;
        }
        above / (self.shareable as f64 * self.traps as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(may_share: bool, score: f64) -> Judged {
        Judged { may_share, score, vetoed_by: None }
    }

    fn vetoed(may_share: bool, score: f64) -> Judged {
        Judged { vetoed_by: Some("numbers"), ..judged(may_share, score) }
    }

    #[test]
    fn a_threshold_serves_what_reaches_it_and_is_not_vetoed() {
        let curve =
            Curve::new(vec![judged(true, 0.9), judged(false, 0.8), vetoed(false, 0.99), judged(true, 0.7)]);
        let point = curve.at(0.8);
        assert_eq!((point.hits, point.shareable, point.wrong, point.traps), (1, 2, 1, 2));
        assert_eq!(curve.suggest(0.0).map(|point| (point.threshold, point.hits)), Some((0.9, 1)));
        assert_eq!(curve.suggest(0.34).map(|point| (point.threshold, point.hits)), Some((0.7, 2)));
        assert_eq!(curve.recall_at_traps(0.0), 0.5);
    }

    #[test]
    fn the_area_is_one_where_all_traps_rank_below_and_half_where_nothing_tells() {
        assert_eq!(Curve::new(vec![judged(true, 0.9), judged(false, 0.1), vetoed(false, 1.0)]).auc(), 1.0);
        assert_eq!(Curve::new(vec![judged(true, 0.5), judged(false, 0.5)]).auc(), 0.5);
    }

    proptest! {
        #[test]
        fn a_lower_threshold_never_serves_less(
            pairs in prop::collection::vec((any::<bool>(), 0.0..1.0_f64, any::<bool>()), 0..60), a in 0.0..1.0_f64, b in 0.0..1.0_f64
        ) {
            let made = pairs.iter().map(|(may, score, is_vetoed)| if *is_vetoed { vetoed(*may, *score) } else { judged(*may, *score) });
            let curve = Curve::new(made.collect());
            let (high, low) = (curve.at(a.max(b)), curve.at(a.min(b)));
            prop_assert!(high.hits <= low.hits && high.wrong <= low.wrong);
            for point in curve.points() {
                prop_assert_eq!(curve.at(point.threshold), point);
            }
            prop_assert_eq!(curve.suggest(1.0).map_or(0, |point| point.hits), curve.at(0.0).hits);
        }
    }
}
