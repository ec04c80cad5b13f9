//! Other ways to say a prompt, so that what people type tomorrow finds it near.
//!
//! First those that the list's author wrote, then those that a rule makes: a question as a request or as key words and
//! the other way round. What no rule fits has no more wordings, and that is no mistake: a wrong one would be bought too.

/// The beginning of a prompt, and what it may be said with instead.
const OPENINGS: &[(&[&str], &[&str])] = &[
    (
        &["how do i ", "how can i ", "how do you ", "how to "],
        &["How do I {}?", "How can I {}?", "How to {}", "Please tell me how to {}.", "Explain how to {}."],
    ),
    (
        &["what is ", "what's ", "explain "],
        &["What is {}?", "Explain {}.", "Can you explain {}?", "Tell me what {} is."],
    ),
    (&["can i "], &["Can I {}?", "Is it possible to {}?", "Am I able to {}?"]),
    (
        &["write ", "create ", "give me "],
        &["Please write {}.", "Write {}", "Can you write {}?", "I need {}."],
    ),
];

/// Returns up to `count` wordings of a prompt, the prompt itself first, none of them twice.
pub(super) fn of(prompt: &str, written: &[String], count: usize) -> Vec<String> {
    let mut wordings = vec![prompt.to_owned()];
    let made = made(prompt);
    for wording in written.iter().chain(&made) {
        if wordings.len() >= count {
            break;
        }
        if !wordings.iter().any(|known| is_same(known, wording)) {
            wordings.push(wording.clone());
        }
    }
    wordings
}

fn made(prompt: &str) -> Vec<String> {
    let bare = prompt.trim().trim_end_matches(['?', '.', '!']);
    let low = bare.to_lowercase();
    for (openings, forms) in OPENINGS {
        // Lower case may be of another length in some scripts; then no rule of English fits.
        let Some(opening) = openings.iter().find(|opening| low.starts_with(**opening)) else { continue };
        let Some(rest) = bare.get(opening.len()..) else { continue };
        return forms.iter().map(|form| form.replace("{}", rest)).collect();
    }
    Vec::new()
}

/// Case and the sign at the end make no other wording.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches(['?', '.', '!']).to_lowercase();
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_before_what_is_made_and_nothing_twice() {
        let written = ["steps to reset the router".to_owned(), "how do I reset the router".to_owned()];
        assert_eq!(
            of("How do I reset the router?", &written, 4),
            [
                "How do I reset the router?",
                "steps to reset the router",
                "How can I reset the router?",
                "How to reset the router"
            ]
        );
    }

    #[test]
    fn what_no_rule_fits_stays_alone() {
        assert_eq!(of("Ode to a lamp", &[], 5), ["Ode to a lamp"]);
        assert_eq!(of("Why is the sky blue?", &[], 5), ["Why is the sky blue?"]);
    }
}
