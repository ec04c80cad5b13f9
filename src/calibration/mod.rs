//! What do labelled pairs say of a decision: how much is served, how much of that is wrong, and how sure is that?
//!
//! Knows pairs, labels, scores and words for whoever decided; nothing of caches or models, and does no I/O.

mod curve;
mod interval;
mod pairs;
mod plot;
mod svg;

pub use curve::{Curve, Judged, Point};
pub use interval::{Interval, wilson};
pub use pairs::{LabelledPair, PairsError, read_pairs};
pub use plot::plot;
pub use svg::svg;
