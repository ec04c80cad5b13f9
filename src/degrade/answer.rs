//! An answer of our own making, and how it is told from a model's.

use crate::chat::{ChatResponse, Choice, FinishReason, Part, Source, Usage};

/// Who wrote what no provider wrote.
pub const OURSELVES: &str = "refrain";

/// Returns the model's name in the body of a degraded answer, so that whoever sees nothing but the body sees it too.
pub fn model(step: Source) -> String {
    format!("{OURSELVES}/{}", step.name())
}

/// Returns an answer from the cache as the ladder hands it out: its own but for the name of its model.
pub fn signed(answer: &ChatResponse, step: Source) -> ChatResponse {
    ChatResponse { model: model(step), ..answer.clone() }
}

/// Returns an answer of this text, once for every choice that was asked for. Nothing was spent on it.
pub fn written(text: &str, step: Source, choices: u32, id: String, unix_seconds: i64) -> ChatResponse {
    let choice = |index| Choice {
        index,
        content: vec![Part::Text(text.to_owned())],
        finish: Some(FinishReason::Stop),
        ..Choice::default()
    };
    ChatResponse {
        id,
        created: unix_seconds,
        model: model(step),
        choices: (0..choices).map(choice).collect(),
        usage: Some(Usage::default()),
        ..ChatResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_says_which_step_it_was() {
        let made = written("so", Source::Extractive, 2, "id".to_owned(), 7);
        assert_eq!((made.model.as_str(), made.choices.len()), ("refrain/extractive", 2));
        assert!(made.choices.iter().all(|choice| choice.text().as_deref() == Some("so")));
        let kept = signed(&ChatResponse { model: "gpt".to_owned(), ..made.clone() }, Source::Stale);
        assert_eq!(kept, ChatResponse { model: "refrain/stale".to_owned(), ..made });
    }
}
