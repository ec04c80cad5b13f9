//! Texts that the ladder makes of a prompt.
//!
//! Reading a long prompt takes milliseconds, so it is done away from the async threads, and for a few requests at a
//! time: in an outage everybody comes at once.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::cache::guards::Material;
use crate::chat::{ChatRequest, Part, Role};
use crate::degrade::{self, Likeness};
use crate::embed::Embedder;

/// Makes texts, a few at a time.
pub(super) struct Texts(Arc<Semaphore>);

/// Texts made at a time.
const AT_A_TIME: usize = 4;
/// The beginning of a prompt that is looked at; nobody waits for the rest.
const PROMPT_BYTES_MAX: usize = 128 << 10;

impl Default for Texts {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

/// How long the ladder may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until then store, index and embedder are waited for.
    pub parts_until: Instant,
    /// The end of all.
    pub ends: Instant,
}

impl Texts {
    /// Returns the beginning of the text in the prompt, or of the prompt itself where they cannot be told apart.
    pub(super) async fn beginning(
        &self,
        request: &ChatRequest,
        chars_max: usize,
        ends: Instant,
    ) -> Option<String> {
        let prompt = prompt_of(request)?;
        let make = move || match Material::of(&prompt) {
            Some(material) => degrade::truncated(&material.text, chars_max),
            None => degrade::truncated(&prompt, chars_max),
        };
        self.made(make, ends).await.filter(|text| !text.is_empty())
    }

    /// Returns the most telling sentences of the text in the prompt, if a summary is asked for: by the task, or by the
    /// prompt itself. Where their embeddings cannot be had in time, their words are compared.
    pub(super) async fn summary(
        &self,
        request: &ChatRequest,
        task: Option<&str>,
        sentences_max: usize,
        embedder: Option<&dyn Embedder>,
        patience: Patience,
    ) -> Option<String> {
        let prompt = prompt_of(request)?;
        let is_asked = task.is_some_and(degrade::is_summary_task);
        let cut = move || match Material::of(&prompt) {
            Some(material) if is_asked || material.is_to_be_summarised() => {
                degrade::sentences(&material.text)
            }
            None if is_asked => degrade::sentences(&prompt),
            Some(_) | None => Vec::new(),
        };
        let sentences = self.made(cut, patience.ends).await.filter(|found| !found.is_empty())?;
        let embeddings = match embedder {
            Some(embedder) => embedded(&sentences, embedder, patience.parts_until).await,
            None => None,
        };
        let rank = move || {
            let likeness = match embeddings {
                Some(embeddings) => Likeness::of_embeddings(&embeddings),
                None => Likeness::of_words(&sentences),
            };
            degrade::summary(&sentences, &likeness, sentences_max)
        };
        self.made(rank, patience.ends).await
    }

    async fn made<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
        ends: Instant,
    ) -> Option<T> {
        let making = async {
            let turn = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let making = spawn_blocking(move || {
                let made = make();
                drop(turn);
                made
            });
            making.await.ok()
        };
        timeout_at(ends, making).await.ok().flatten()
    }
}

/// Returns the embedding of every sentence, or `None` where one of them could not be had in time. One after the other:
/// others wait for the same embedder.
async fn embedded(sentences: &[String], embedder: &dyn Embedder, until: Instant) -> Option<Vec<Arc<[f32]>>> {
    let embedding = async {
        let mut embeddings = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            embeddings.push(Arc::clone(embedder.embed(sentence).await.ok()?.vector()));
        }
        Some(embeddings)
    };
    timeout_at(until, embedding).await.ok().flatten()
}

/// Returns the beginning of what the user said last, if that is nothing but text.
fn prompt_of(request: &ChatRequest) -> Option<String> {
    let last = request.messages.last().filter(|message| message.role == Role::User)?;
    let mut prompt = String::new();
    for part in &last.content {
        let Part::Text(text) = part else { return None };
        if !prompt.is_empty() {
            prompt.push_str("\n\n");
        }
        let room = PROMPT_BYTES_MAX.saturating_sub(prompt.len()).min(text.len());
        prompt.push_str(&text[..text.floor_char_boundary(room)]);
    }
    Some(prompt)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::{Message, Reasoning};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn a_beginning_is_the_texts_and_not_the_instructions() {
        let beginning = async |prompt: &str, chars| {
            Texts::default().beginning(&ChatRequest::from_prompt(prompt), chars, soon()).await
        };
        let prompt = "Translate into French:\n\nThe cat sleeps on the mat.";
        assert_eq!(beginning(prompt, 9).await.as_deref(), Some("The cat…"));
        assert_eq!(beginning("What is a fjord?", 9).await.as_deref(), Some("What is a…"));
        assert_eq!(beginning(" ", 9).await, None);
    }

    #[tokio::test]
    async fn a_summary_is_made_where_one_is_asked_for_and_without_an_embedder_too() {
        let summary = async |prompt: &str, task| {
            let patience = Patience { parts_until: soon(), ends: soon() };
            let request = ChatRequest::from_prompt(prompt);
            Texts::default().summary(&request, task, 1, None, patience).await
        };
        let text =
            "The glacier carved the valley. A glacier and its valley belong together. I like tea a lot.";
        let expected = Some("The glacier carved the valley.");
        assert_eq!(summary(&format!("Summarise: {text}"), None).await.as_deref(), expected);
        assert_eq!(summary(text, Some("summary")).await.as_deref(), expected);
        assert_eq!(summary(text, None).await, None);
        assert_eq!(summary(&format!("Translate into French: {text}"), None).await, None);
    }

    #[test]
    fn only_the_users_own_text_is_read_and_not_to_its_end() {
        let with = |role, content| {
            let mut request = ChatRequest::from_prompt("");
            request.messages = vec![Message { content, ..Message::text(role, "") }];
            prompt_of(&request)
        };
        let text = |text: &str| Part::Text(text.to_owned());
        let two = with(Role::User, vec![text("Summarise:"), text("It rains.")]);
        assert_eq!(two.as_deref(), Some("Summarise:\n\nIt rains."));
        assert_eq!(with(Role::Assistant, vec![text("a")]), None);
        assert_eq!(with(Role::User, vec![text("a"), Part::Reasoning(Reasoning::default())]), None);
        let long = with(Role::User, vec![text(&"é".repeat(PROMPT_BYTES_MAX))]).expect("a text");
        assert_eq!(long.len(), PROMPT_BYTES_MAX);
    }
}
