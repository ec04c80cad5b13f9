//! Answers that are bought ahead of time: whoever buys one wants to know for sure that it is there.

use std::time::Duration;

use tokio::sync::SetOnce;

use crate::store::Warmed;

/// That an answer is bought ahead of time, and what becomes of it.
#[derive(Debug)]
pub struct Warm {
    mark: Warmed,
    fate: SetOnce<Fate>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It and its mark are on the disk.
    Stored,
    /// It was not fit to be kept, by the word for why.
    Unfit(&'static str),
    /// It could not be written, by the word for why.
    Unwritten(&'static str),
}

impl Warm {
    /// Returns the order of a run, for a template.
    pub fn new(mark: Warmed) -> Self {
        Self { mark, fate: SetOnce::new() }
    }

    /// Returns what its entry is marked with.
    pub const fn mark(&self) -> &Warmed {
        &self.mark
    }

    /// Says what became of the answer; the first word counts.
    pub fn settle(&self, fate: Fate) {
        // A second word would be of a second attempt at the same thing.
        let _ = self.fate.set(fate);
    }

    /// Waits until it is known what became of the answer, but no longer than this.
    ///
    /// Cancel safe.
    pub async fn fate(&self, patience: Duration) -> Option<Fate> {
        tokio::time::timeout(patience, self.fate.wait()).await.ok().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_word_counts_and_is_not_waited_for_for_ever() {
        let warm = Warm::new(Warmed { run: "r".into(), template: "t".into() });
        assert_eq!(warm.fate(Duration::from_millis(1)).await, None);
        warm.settle(Fate::Unfit("quality"));
        warm.settle(Fate::Stored);
        assert_eq!(warm.fate(Duration::from_secs(20)).await, Some(Fate::Unfit("quality")));
    }
}
