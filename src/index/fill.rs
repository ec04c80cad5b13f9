//! Which of two writers is right while the store's points flow into the index?
//!
//! A fill brings what it read from the store some moments ago, while new entries are written and old ones removed.
//! The rule is small: a key touched since the fill began is not the fill's to write.

use std::collections::HashSet;

use super::{IndexError, Point, WantsFill};
use crate::chat::Fingerprint;

/// Whether the index wants to be filled, and how far that is.
#[derive(Debug, Default)]
pub(super) struct FillProgress {
    wanted: Option<WantsFill>,
    running: Option<Running>,
}

#[derive(Debug, Default)]
struct Running {
    touched: HashSet<Fingerprint>,
    /// Points brought before may be gone again, so this fill cannot end the wish.
    disturbed: bool,
}

impl FillProgress {
    pub fn wanted(&self) -> Option<WantsFill> {
        self.wanted
    }

    /// Asks for a fill. One that is under way was begun for an earlier reason and does not answer this one.
    pub fn want(&mut self, reason: WantsFill) {
        self.wanted = Some(reason);
        if let Some(running) = &mut self.running {
            running.disturbed = true;
        }
    }

    pub fn begin(&mut self) {
        self.running = Some(Running::default());
    }

    /// Notes keys that someone else writes or removes.
    pub fn touch(&mut self, keys: impl Iterator<Item = Fingerprint>) {
        if let Some(running) = &mut self.running {
            running.touched.extend(keys);
        }
    }

    /// Returns the points that are still the fill's to write.
    pub fn untouched(&self, mut points: Vec<Point>) -> Result<Vec<Point>, IndexError> {
        let running = self.running.as_ref().ok_or(IndexError::NoFill)?;
        points.retain(|point| !running.touched.contains(&point.key));
        Ok(points)
    }

    pub fn commit(&mut self) -> Result<(), IndexError> {
        let running = self.running.take().ok_or(IndexError::NoFill)?;
        if !running.disturbed {
            self.wanted = None;
        }
        Ok(())
    }

    pub fn abandon(&mut self) {
        self.running = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Partition;

    fn point(n: u8) -> Point {
        Point {
            key: Fingerprint::from_bytes([n; 32]),
            vector: vec![1.0],
            partition: Partition::from_bytes([0; 32]),
            owner: "owner".into(),
            expires_at_ms: None,
        }
    }

    #[test]
    fn a_touched_key_is_not_the_fills_to_write() {
        let mut fill = FillProgress::default();
        fill.touch([point(1).key].into_iter());
        fill.begin();
        fill.touch([point(2).key].into_iter());
        let left = fill.untouched(vec![point(1), point(2), point(3)]).unwrap();
        assert_eq!(left.iter().map(|p| p.key).collect::<Vec<_>>(), [point(1).key, point(3).key]);
    }

    #[test]
    fn only_an_undisturbed_fill_ends_the_wish() {
        let mut fill = FillProgress::default();
        fill.want(WantsFill::Unverified);
        fill.begin();
        fill.want(WantsFill::Lost);
        fill.commit().unwrap();
        assert_eq!(fill.wanted(), Some(WantsFill::Lost));

        fill.begin();
        fill.commit().unwrap();
        assert_eq!(fill.wanted(), None);
    }

    #[test]
    fn steps_without_a_beginning_are_refused() {
        let mut fill = FillProgress::default();
        assert!(matches!(fill.untouched(vec![]), Err(IndexError::NoFill)));
        assert!(matches!(fill.commit(), Err(IndexError::NoFill)));
        fill.begin();
        fill.abandon();
        assert!(matches!(fill.commit(), Err(IndexError::NoFill)));
    }
}
