//! What an upstream does: a line for each reply.

use super::text::{Parsed, Words};
use crate::support::faults::{Failure, Reply, Said, Script, Step, Words as Answer};

/// Reads replies, in the order in which they are given.
pub fn script<'a>(lines: impl Iterator<Item = Words<'a>>) -> Parsed<Script> {
    let mut replies = Vec::new();
    let mut lines = lines.peekable();
    while let Some(mut words) = lines.next() {
        if words.takes("always") {
            replies.push(reply(words)?);
            return match lines.next() {
                Some(words) => words.wrong("nothing comes after what is always done"),
                None => Ok(Script::once(replies).and_so_on()),
            };
        }
        if words.takes("again") {
            words.end()?;
            return match lines.next() {
                Some(words) => words.wrong("nothing comes after the end"),
                None => Ok(Script::in_turn(replies)),
            };
        }
        let mut ahead = words.clone();
        let times = match ahead.number() {
            Ok(times) if ahead.takes("times") => {
                words = ahead;
                times
            }
            _ => 1,
        };
        replies.extend(std::iter::repeat_n(reply(words)?, times));
    }
    Ok(Script::once(replies))
}

/// Reads the steps of one reply, parted by `then`.
fn reply(mut words: Words<'_>) -> Parsed<Reply> {
    let mut steps = Vec::new();
    if words.is_empty() {
        return words.wrong("a reply does something");
    }
    while !words.is_empty() {
        let mut step_words = words.up_to("then");
        steps.push(step(&mut step_words)?);
        step_words.end()?;
    }
    Ok(Reply::new(steps))
}

fn step(words: &mut Words<'_>) -> Parsed<Step> {
    let verb = words.bare("what is done")?;
    if let Ok(status) = verb.parse() {
        return Ok(Step::Fail(status, failure(words)?));
    }
    Ok(match verb {
        "answer" => Step::Answer(answer(words)?),
        "call" => Step::Answer(Answer::saying(Said::Call(words.bare("a name")?.to_owned(), words.text()?))),
        "refuse" => Step::Answer(Answer::saying(Said::Refusal(words.text()?))),
        "block" => Step::Answer(Answer::saying(Said::Blocked(one_of(words, &["SAFETY", "JAILBREAK"])?))),
        "header" => {
            let mut line = words.text()?;
            if words.takes("and") {
                let times = words.number()?;
                words.expect("times")?;
                line += &words.text()?.repeat(times);
            }
            Step::Header(line)
        }
        "status" => Step::Status(words.number()?),
        "body" => Step::Body(words.bare("a content type")?.to_owned(), words.bytes()?),
        "begin" => {
            let is_typed = !words.is_empty() && !words.clone().takes("claiming");
            let content_type = if is_typed { words.bare("a content type")? } else { "text/event-stream" };
            let length = if words.takes("claiming") { Some(words.number()?) } else { None };
            Step::Begin(content_type.to_owned(), length)
        }
        "say" if words.takes("half") => Step::SayHalf,
        "say" if words.takes("rest") => Step::SayRest,
        "say" => {
            let text = words.text()?;
            if words.takes("every") { Step::SayEvery(words.time()?, text) } else { Step::Say(text) }
        }
        "event" => Step::Event(words.text()?),
        "finish" => Step::Finish(words.bare("a reason")?.to_owned()),
        "usage" => Step::Usage(words.number()?, words.number()?),
        "done" => Step::Done,
        "raw" => Step::Raw(words.bytes()?),
        "every" => Step::Every(words.time()?, words.bytes()?),
        "pour" => {
            let bytes = words.bytes()?;
            let total = if words.takes("up") {
                words.expect("to")?;
                Some(words.number()?)
            } else {
                None
            };
            Step::Pour(total, bytes)
        }
        "bomb" => Step::Bomb,
        "bytes" => Step::Bytes(words.bytes()?),
        "wait" => Step::Wait(words.time()?),
        "stall" => Step::Stall,
        "close" => Step::Close,
        "reset" => Step::Reset,
        other => return words.wrong(format_args!("an upstream cannot `{other}`")),
    })
}

/// The reasons to end that answers are scripted with.
const FINISHES: [&str; 8] =
    ["stop", "length", "content_filter", "end_turn", "max_tokens", "refusal", "STOP", "MAX_TOKENS"];

fn answer(words: &mut Words<'_>) -> Parsed<Answer> {
    let mut answer = if words.has_text() { Answer::text(&words.text()?) } else { Answer::due() };
    while !words.is_empty() {
        match words.bare("what the answer has")? {
            "finish" => answer.finish = Some(one_of(words, &FINISHES)?),
            "usage" => answer.usage = Some((words.number()?, words.number()?)),
            "uncounted" => answer.usage = None,
            other => return words.wrong(format_args!("an answer has no `{other}`")),
        }
    }
    Ok(answer)
}

fn one_of(words: &mut Words<'_>, known: &[&'static str]) -> Parsed<&'static str> {
    let word = words.bare("a word")?;
    match known.iter().find(|known| **known == word) {
        Some(known) => Ok(known),
        None => words.wrong(format_args!("`{word}` is none of {known:?}")),
    }
}

fn failure(words: &mut Words<'_>) -> Parsed<Failure> {
    let mut failure = Failure::default();
    while !words.is_empty() {
        match words.bare("what the error says")? {
            "code" => failure.code = words.bare("a code")?.into(),
            "number" => failure.code = words.number::<u64>()?.into(),
            "type" => failure.kind = Some(words.bare("a type")?.to_owned()),
            "param" => failure.param = Some(words.bare("a parameter")?.to_owned()),
            "message" => failure.message = Some(words.text()?),
            "details" => {
                let text = words.text()?;
                failure.details = Some(serde_json::from_str(&text).or_else(|error| words.wrong(error))?);
            }
            other => return words.wrong(format_args!("an error has no `{other}`")),
        }
    }
    Ok(failure)
}
