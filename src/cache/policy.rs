//! May this request read the cache, and may its answer be written?
//!
//! Pure rules. What they refuse is counted under the word that [`Skip::name`] gives, and shown by `explain`.

use std::time::Duration;

use serde_json::Value;

use crate::chat::{
    ChatRequest, ChatResponse, Choice, Directives, FinishReason, OutputFormat, Part, ToolCall,
};
use crate::config::{CacheConfig, CacheMode};
use crate::quality::{self, Defect, Worth};

/// What a request may do with the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How much of the cache may be read.
    pub read: CacheMode,
    /// Whether the answer may be written, as far as the request tells.
    pub write: Result<(), Skip>,
    /// Whether the prompt asks about now: its answer is for equal requests only, and not for long.
    pub is_volatile: bool,
    /// Whether the answer may later serve requests that are only similar.
    pub is_semantic: bool,
    /// How long the answer stays fresh.
    pub ttl: Duration,
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The cache was left alone altogether.
    Bypass,
    /// The caller said `no-store`.
    NoStore,
    /// The scope is `user`, and the request names none.
    NoUser,
    /// Hotter than `max_temperature`.
    Temperature,
    /// Nobody said why the answer ended, or a choice is missing.
    Unfinished,
    /// Cut at the output limit.
    Length,
    ContentFilter,
    /// Ended for a reason we do not know.
    UnknownFinish,
    Refusal,
    Empty,
    /// Calls tools, which have effects; a route may allow it.
    ToolCalls,
    /// Cites what was found on the web a moment ago.
    Citations,
    /// Shows what a tool on the vendor's side did.
    ServerTools,
    /// JSON was asked for, and this is none.
    InvalidJson,
    /// It is worth too little.
    Quality,
    /// One upstream began it and another one finished it.
    Spliced,
    /// Another model than the route's first wrote it, and the route says that these are not interchangeable.
    OtherModel,
}

impl Skip {
    /// Returns the metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::NoStore => "no_store",
            Self::NoUser => "no_user",
            Self::Temperature => "temperature",
            Self::Unfinished => "unfinished",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::UnknownFinish => "unknown_finish",
            Self::Refusal => "refusal",
            Self::Empty => "empty",
            Self::ToolCalls => "tool_calls",
            Self::Citations => "citations",
            Self::ServerTools => "server_tools",
            Self::InvalidJson => "invalid_json",
            Self::Quality => "quality",
            Self::Spliced => "spliced",
            Self::OtherModel => "other_model",
        }
    }
}

impl Policy {
    /// Judges a request under its route's settings. `has_user` says whether the user that the scope asks for is named.
    ///
    /// Whether the prompt asks about now is not looked at: an equal request may be answered either way, and the look
    /// costs more than the answer. See [`Policy::of_volatile`].
    pub fn of_request(
        request: &ChatRequest,
        directives: &Directives,
        settings: &CacheConfig,
        has_user: bool,
    ) -> Self {
        let mode = settings.mode.min(directives.mode);
        let is_hot = match (request.sampling.temperature, settings.max_temperature) {
            (Some(asked), Some(highest)) => asked > highest,
            _ => false,
        };
        let write = if mode == CacheMode::Off || directives.is_bypass() {
            Err(Skip::Bypass)
        } else if !has_user {
            Err(Skip::NoUser)
        } else if is_hot {
            Err(Skip::Temperature)
        } else if directives.no_store {
            Err(Skip::NoStore)
        } else {
            Ok(())
        };
        let is_semantic = mode >= CacheMode::Shadow && request.last_prompt().is_some();
        let read = match write {
            Err(Skip::Bypass | Skip::NoUser | Skip::Temperature) => CacheMode::Off,
            _ if directives.no_cache => CacheMode::Off,
            _ if is_semantic => mode,
            _ => CacheMode::Exact,
        };
        let ttl = directives.ttl.unwrap_or(Duration::from_secs(settings.ttl_seconds));
        Self { read, write, is_volatile: false, is_semantic, ttl }
    }

    /// Returns the policy for a prompt that asks about now: answered only by an equal one, and not for long.
    #[must_use]
    pub fn of_volatile(self, settings: &CacheConfig) -> Self {
        Self {
            read: self.read.min(CacheMode::Exact),
            is_volatile: true,
            is_semantic: false,
            ttl: self.ttl.min(Duration::from_secs(settings.volatile_ttl_seconds)),
            ..self
        }
    }

    /// Returns the policy on a route that is switched to equal requests only. What it writes may answer similar ones again
    /// once that is over.
    #[must_use]
    pub fn of_exact_route(self) -> Self {
        Self { read: self.read.min(CacheMode::Exact), ..self }
    }

    /// Returns whether the cache takes no part at all: `cache-status: refrain; fwd=bypass`.
    pub fn is_bypass(&self) -> bool {
        matches!(self.write, Err(Skip::Bypass | Skip::NoUser | Skip::Temperature))
    }
}

/// Judges an answer: only one that ended cleanly, in every choice, is worth keeping.
///
/// # Errors
/// The first reason not to keep it.
pub fn judge_answer(
    request: &ChatRequest,
    answer: &ChatResponse,
    settings: &CacheConfig,
) -> Result<(), Skip> {
    if answer.choices.len() < request.choices() as usize {
        return Err(Skip::Unfinished);
    }
    // Search models of compatible servers put their sources beside the choices.
    let is_list =
        |field: &str| answer.unknown.get(field).and_then(Value::as_array).is_some_and(|a| !a.is_empty());
    if ["citations", "search_results"].into_iter().any(is_list) {
        return Err(Skip::Citations);
    }
    if answer.unknown.get("moderation").is_some_and(is_flagged) {
        return Err(Skip::ContentFilter);
    }
    // Anthropic's place where code of the answer ran.
    if answer.unknown.contains_key("container") {
        return Err(Skip::ServerTools);
    }
    answer.choices.iter().try_for_each(|choice| judge_choice(request, choice, settings))
}

/// Judges what an answer is worth by the least that a stored one must be.
///
/// # Errors
/// A defect whatever the score, or a score below that line.
pub fn judge_worth(worth: Worth, threshold: f64) -> Result<(), Skip> {
    match worth.defect {
        Some(Defect::Empty) => Err(Skip::Empty),
        Some(Defect::InvalidJson) => Err(Skip::InvalidJson),
        Some(Defect::Endless | Defect::BrokenEncoding) => Err(Skip::Quality),
        None if worth.score < threshold => Err(Skip::Quality),
        None => Ok(()),
    }
}

/// Returns whether a vendor's moderation objects anywhere in what it says.
fn is_flagged(moderation: &Value) -> bool {
    match moderation {
        Value::Object(fields) => {
            fields.iter().any(|(field, value)| (field == "flagged" && *value == true) || is_flagged(value))
        }
        Value::Array(items) => items.iter().any(is_flagged),
        _ => false,
    }
}

fn judge_choice(request: &ChatRequest, choice: &Choice, settings: &CacheConfig) -> Result<(), Skip> {
    let calls_tools = choice.calls_tools() || choice.finish == Some(FinishReason::ToolCalls);
    match &choice.finish {
        None => return Err(Skip::Unfinished),
        Some(FinishReason::Length) => return Err(Skip::Length),
        Some(FinishReason::ContentFilter) => return Err(Skip::ContentFilter),
        Some(FinishReason::Refusal) => return Err(Skip::Refusal),
        Some(FinishReason::Other(_)) => return Err(Skip::UnknownFinish),
        Some(FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls) => {}
    }
    choice.content.iter().try_for_each(judge_part)?;
    let cites =
        choice.unknown.get("annotations").and_then(|value| value.as_array()).is_some_and(|a| !a.is_empty());
    if cites {
        return Err(Skip::Citations);
    }
    if calls_tools {
        // A vendor that tells a call twice makes one out of two, and no value of its arguments.
        let is_call = |call: &ToolCall| call.arguments.is_empty() || quality::is_json(&call.arguments);
        return match (settings.store_tool_calls, choice.tool_calls().all(is_call)) {
            (false, _) => Err(Skip::ToolCalls),
            (true, false) => Err(Skip::InvalidJson),
            (true, true) => Ok(()),
        };
    }
    let text = choice.text().unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Skip::Empty);
    }
    match request.output_format {
        OutputFormat::Text | OutputFormat::Other(_) => {
            if quality::is_refusal(&text) {
                return Err(Skip::Refusal);
            }
        }
        OutputFormat::JsonObject | OutputFormat::JsonSchema(_) => {
            if !quality::is_json(&text) {
                return Err(Skip::InvalidJson);
            }
        }
    }
    Ok(())
}

fn judge_part(part: &Part) -> Result<(), Skip> {
    match part {
        Part::Text(_) | Part::Reasoning(_) | Part::ToolCall(_) => Ok(()),
        Part::Refusal(words) if words.is_empty() => Ok(()),
        Part::Refusal(_) => Err(Skip::Refusal),
        Part::Cited { .. } => Err(Skip::Citations),
        // Thoughts that Anthropic shows to nobody else.
        Part::Other(fields) if fields.get("type").is_some_and(|kind| kind == "redacted_thinking") => Ok(()),
        Part::Image(_) | Part::Other(_) => Err(Skip::ServerTools),
    }
}

/// Returns whether an answer that may be stored may also serve requests that are only similar: never one that calls
/// tools, since what it does belongs to one request.
pub fn shares_with_similar(answer: &ChatResponse) -> bool {
    !answer.choices.iter().any(Choice::calls_tools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::TenantId;
    use serde_json::json;

    fn directives() -> Directives {
        Directives::of(TenantId::new("t"))
    }

    fn policy(directives: &Directives, settings: &CacheConfig) -> Policy {
        Policy::of_request(&ChatRequest::from_prompt("q"), directives, settings, true)
    }

    fn answer(choice: Choice) -> ChatResponse {
        ChatResponse { choices: vec![choice], ..ChatResponse::default() }
    }

    fn choice(text: &str, finish: Option<FinishReason>) -> Choice {
        Choice { content: vec![Part::Text(text.into())], finish, ..Choice::default() }
    }

    fn skip(choice: Choice) -> Result<(), Skip> {
        judge_answer(&ChatRequest::from_prompt("q"), &answer(choice), &CacheConfig::default())
    }

    #[test]
    fn by_default_everything_is_read_and_written() {
        let policy = policy(&directives(), &CacheConfig::default());
        assert_eq!((policy.read, policy.write), (CacheMode::Semantic, Ok(())));
        assert_eq!(policy.ttl, Duration::from_hours(24));
    }

    #[test]
    fn a_request_may_only_narrow_what_is_configured() {
        let exact = CacheConfig { mode: CacheMode::Exact, ..CacheConfig::default() };
        assert_eq!(policy(&directives(), &exact).read, CacheMode::Exact);
        let off = Directives { mode: CacheMode::Off, ..directives() };
        assert!(policy(&off, &exact).is_bypass());
    }

    #[test]
    fn no_cache_writes_and_no_store_reads_and_both_bypass() {
        let settings = CacheConfig::default();
        let refresh = policy(&Directives { no_cache: true, ..directives() }, &settings);
        assert_eq!((refresh.read, refresh.write), (CacheMode::Off, Ok(())));
        assert!(!refresh.is_bypass());
        let read_only = policy(&Directives { no_store: true, ..directives() }, &settings);
        assert_eq!((read_only.read, read_only.write), (CacheMode::Semantic, Err(Skip::NoStore)));
        let both = policy(&Directives { no_cache: true, no_store: true, ..directives() }, &settings);
        assert!(both.is_bypass());
    }

    #[test]
    fn a_volatile_prompt_is_exact_only_and_short_lived() {
        let settings = CacheConfig::default();
        let request = ChatRequest::from_prompt("what is the weather today");
        let volatile = Policy::of_request(&request, &directives(), &settings, true).of_volatile(&settings);
        assert_eq!(volatile.read, CacheMode::Exact);
        assert!(!volatile.is_semantic);
        assert_eq!(volatile.ttl, Duration::from_secs(300));
        let asked = Directives { ttl: Some(Duration::from_secs(10)), ..directives() };
        let asked = Policy::of_request(&request, &asked, &settings, true).of_volatile(&settings);
        assert_eq!(asked.ttl, Duration::from_secs(10));
    }

    #[test]
    fn an_exact_route_reads_equal_requests_alone_and_writes_as_ever() {
        let settings = CacheConfig::default();
        let narrowed = policy(&directives(), &settings).of_exact_route();
        assert_eq!((narrowed.read, narrowed.write, narrowed.is_semantic), (CacheMode::Exact, Ok(()), true));
        let refresh = policy(&Directives { no_cache: true, ..directives() }, &settings);
        assert_eq!(refresh.of_exact_route().read, CacheMode::Off);
    }

    #[test]
    fn a_hot_request_and_one_without_its_user_leave_the_cache_alone() {
        let settings = CacheConfig { max_temperature: Some(0.5), ..CacheConfig::default() };
        let mut request = ChatRequest::from_prompt("q");
        request.sampling.temperature = Some(0.6);
        let hot = Policy::of_request(&request, &directives(), &settings, true);
        assert_eq!(hot.write, Err(Skip::Temperature));
        let nobody = Policy::of_request(&request, &directives(), &CacheConfig::default(), false);
        assert!(nobody.is_bypass());
    }

    #[test]
    fn only_an_answer_that_ended_cleanly_is_kept() {
        assert_eq!(skip(choice("fine", Some(FinishReason::Stop))), Ok(()));
        assert_eq!(skip(choice("cut", Some(FinishReason::Length))), Err(Skip::Length));
        assert_eq!(skip(choice("x", Some(FinishReason::ContentFilter))), Err(Skip::ContentFilter));
        assert_eq!(skip(choice("x", Some(FinishReason::Other("error".into())))), Err(Skip::UnknownFinish));
        assert_eq!(skip(choice("x", None)), Err(Skip::Unfinished));
        assert_eq!(skip(choice(" \n", Some(FinishReason::Stop))), Err(Skip::Empty));
        let with = |part| {
            let mut choice = choice("fine", Some(FinishReason::Stop));
            choice.content.push(part);
            skip(choice)
        };
        assert_eq!(with(Part::Refusal("no".into())), Err(Skip::Refusal));
        assert_eq!(with(Part::Cited { text: "x".into(), citations: vec![json!(1)] }), Err(Skip::Citations));
        let block = |kind: &str| Part::Other([("type".to_owned(), json!(kind))].into_iter().collect());
        assert_eq!(with(block("redacted_thinking")), Ok(()));
        assert_eq!(with(block("web_search_tool_result")), Err(Skip::ServerTools));
        assert_eq!(skip(choice("no", Some(FinishReason::Refusal))), Err(Skip::Refusal));
        assert_eq!(skip(choice("a", Some(FinishReason::StopText("b".into())))), Ok(()));
        let sorry = "I'm sorry, but I can't help with that.";
        assert_eq!(skip(choice(sorry, Some(FinishReason::Stop))), Err(Skip::Refusal));
        let mut cited = choice("x", Some(FinishReason::Stop));
        cited.unknown.insert("annotations".into(), json!([{"type": "url_citation"}]));
        assert_eq!(skip(cited), Err(Skip::Citations));
        let mut searched = answer(choice("x", Some(FinishReason::Stop)));
        searched.unknown.insert("search_results".into(), json!([{"title": "news"}]));
        let judged = judge_answer(&ChatRequest::from_prompt("q"), &searched, &CacheConfig::default());
        assert_eq!(judged, Err(Skip::Citations));
        for (is_flagged, judged) in [(true, Err(Skip::ContentFilter)), (false, Ok(()))] {
            let mut moderated = answer(choice("x", Some(FinishReason::Stop)));
            let verdict = json!({"output": {"results": [{"flagged": is_flagged}]}});
            moderated.unknown.insert("moderation".into(), verdict);
            let request = ChatRequest::from_prompt("q");
            assert_eq!(judge_answer(&request, &moderated, &CacheConfig::default()), judged);
        }
    }

    #[test]
    fn tool_calls_are_kept_only_where_a_route_says_so_and_never_shared() {
        let mut calls = choice("", Some(FinishReason::ToolCalls));
        calls.content = vec![Part::ToolCall(ToolCall::default())];
        assert_eq!(skip(calls.clone()), Err(Skip::ToolCalls));
        let settings = CacheConfig { store_tool_calls: true, ..CacheConfig::default() };
        let answer = answer(calls);
        assert_eq!(judge_answer(&ChatRequest::from_prompt("q"), &answer, &settings), Ok(()));
        assert!(!shares_with_similar(&answer));
    }

    #[test]
    fn json_that_was_asked_for_must_parse_and_every_choice_must_be_there() {
        let mut request = ChatRequest::from_prompt("q");
        request.output_format = OutputFormat::JsonObject;
        let judged = |text: &str, request: &ChatRequest| {
            judge_answer(request, &answer(choice(text, Some(FinishReason::Stop))), &CacheConfig::default())
        };
        assert_eq!(judged("{\"a\": 1}", &request), Ok(()));
        assert_eq!(judged("{\"a\": ", &request), Err(Skip::InvalidJson));
        let mut two = ChatRequest::from_prompt("q");
        two.sampling.n = Some(2);
        assert_eq!(judged("one", &two), Err(Skip::Unfinished));
    }

    #[test]
    fn an_answer_below_the_line_or_with_a_defect_is_not_kept() {
        let worth = |score, defect| Worth { score, defect };
        assert_eq!(judge_worth(worth(0.3, None), 0.3), Ok(()));
        assert_eq!(judge_worth(worth(0.29, None), 0.3), Err(Skip::Quality));
        assert_eq!(judge_worth(worth(0.0, None), 0.0), Ok(()));
        for (defect, skip) in [
            (Defect::Empty, Skip::Empty),
            (Defect::Endless, Skip::Quality),
            (Defect::BrokenEncoding, Skip::Quality),
            (Defect::InvalidJson, Skip::InvalidJson),
        ] {
            assert_eq!(judge_worth(worth(0.0, Some(defect)), 0.0), Err(skip));
        }
    }
}
