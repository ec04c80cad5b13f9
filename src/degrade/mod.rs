//! What can still be said where nobody answers?
//!
//! The lower steps of the ladder, which need no model and no cache: the most telling sentences of the text in a prompt
//! (TextRank), its beginning, or a text of the operator's. Everything here is pure; the gateway finds the text, has its
//! sentences embedded, and keeps the time.

mod answer;
mod likeness;
mod sentences;
mod summary;
mod text_rank;
mod truncate;

use crate::chat::Source;
use crate::config::{DegradeConfig, LadderStep};

pub use answer::{OURSELVES, model, signed, written};
pub use likeness::Likeness;
pub use sentences::sentences;
pub use summary::{is_summary_task, summary};
pub use truncate::truncated;

/// Returns the source of what a step answers.
pub const fn source_of(step: LadderStep) -> Source {
    match step {
        LadderStep::Stale => Source::Stale,
        LadderStep::Nearest => Source::Nearest,
        LadderStep::Extractive => Source::Extractive,
        LadderStep::Truncated => Source::Truncated,
        LadderStep::Static => Source::Static,
    }
}

/// Returns the operator's text for a task, or the one for all others.
pub fn static_text<'a>(settings: &'a DegradeConfig, task: Option<&str>) -> Option<&'a str> {
    let of_task = task.and_then(|task| settings.texts.get(task));
    of_task.or_else(|| settings.texts.get("default")).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_its_own_text_and_all_others_share_one() {
        let text = |task: &str| (task.to_owned(), format!("about {task}"));
        let texts = [text("summary"), text("default")].into_iter().collect();
        let settings = DegradeConfig { texts, ..DegradeConfig::default() };
        assert_eq!(static_text(&settings, Some("summary")), Some("about summary"));
        assert_eq!(static_text(&settings, Some("triage")), Some("about default"));
        assert_eq!(static_text(&settings, None), Some("about default"));
        assert_eq!(static_text(&DegradeConfig::default(), None), None);
    }
}
