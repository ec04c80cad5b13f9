//! A summary in a text's own words.

use super::Likeness;
use super::text_rank::ranks;

/// Words in the name of a task that asks for a summary.
const TASKS: &[&str] = &[
    "abstract",
    "digest",
    "summaries",
    "summarise",
    "summarisation",
    "summarization",
    "summarize",
    "summary",
    "tldr",
];

/// Returns whether a task is a summary: `summary`, `article-summary`, `TLDR`.
pub fn is_summary_task(task: &str) -> bool {
    let mut words = task.split(|c: char| !c.is_alphanumeric());
    words.any(|word| TASKS.contains(&word.to_lowercase().as_str()))
}

/// Returns the most telling of these sentences, at most so many, in the order in which they stood. `likeness` compares
/// the same sentences.
pub fn summary(sentences: &[String], likeness: &Likeness, count: usize) -> String {
    debug_assert_eq!(sentences.len(), likeness.sentences());
    let ranks = ranks(likeness);
    let mut chosen: Vec<usize> = (0..sentences.len()).collect();
    // Of two that tell as much the earlier one is taken: texts say first what matters.
    chosen.sort_by(|one, other| ranks[*other].total_cmp(&ranks[*one]).then(one.cmp(other)));
    chosen.truncate(count);
    chosen.sort_unstable();
    let mut text = String::new();
    for at in chosen {
        // Scripts that put no space between words put none between sentences.
        if !text.is_empty() && !text.ends_with(['。', '！', '？']) {
            text.push(' ');
        }
        text.push_str(&sentences[at]);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::degrade::sentences;

    fn summarised(text: &str, count: usize) -> String {
        let sentences = sentences(text);
        summary(&sentences, &Likeness::of_words(&sentences), count)
    }

    #[test]
    fn the_most_telling_sentences_keep_their_order() {
        let text = "Glaciers shape mountain valleys over thousands of years. My uncle once bought a yellow hat. \
                    Moving glaciers carve valleys wider and deeper than rivers do. He wore it to three weddings. \
                    When glaciers melt, mountain valleys keep the shape that the glaciers gave them.";
        assert_eq!(
            summarised(text, 2),
            "Glaciers shape mountain valleys over thousands of years. When glaciers melt, mountain valleys keep the \
             shape that the glaciers gave them."
        );
    }

    #[test]
    fn a_text_that_is_short_enough_stays_whole_and_nothing_stays_nothing() {
        assert_eq!(
            summarised("It was a dark night. Nobody saw the ship.", 3),
            "It was a dark night. Nobody saw the ship."
        );
        assert_eq!(summarised("猫は静かに座った。それから眠った。", 3), "猫は静かに座った。それから眠った。");
        assert_eq!(summarised("", 3), "");
    }

    #[test]
    fn tasks_are_known_by_any_of_their_words() {
        for task in ["summary", "Summarize", "article-summary", "tldr", "summary.short"] {
            assert!(is_summary_task(task), "{task}");
        }
        for task in ["", "translate", "summarylike", "chat"] {
            assert!(!is_summary_task(task), "{task}");
        }
    }

    proptest! {
        #[test]
        fn a_summary_is_sentences_of_its_text_in_order(
            words in prop::collection::vec("[a-f]{4,6}", 1..120), count in 1_usize..5,
        ) {
            let text: String = words.chunks(5).map(|some| format!("{} here and now. ", some.join(" "))).collect();
            let all = sentences(&text);
            let summary = summarised(&text, count);
            let kept = sentences(&summary);
            prop_assert_eq!(kept.len(), count.min(all.len()));
            let mut places = kept.iter().map(|sentence| all.iter().position(|other| other == sentence));
            prop_assert!(places.by_ref().all(|place| place.is_some()));
            let places: Vec<_> = kept.iter().map(|sentence| all.iter().position(|other| other == sentence)).collect();
            prop_assert!(places.is_sorted());
        }
    }
}
