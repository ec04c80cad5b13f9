//! What is to be seen of a response: how it is written, and whether it is so.

use super::case::{Attempt, Held, Look, Sight};
use super::parse::{mode, numbers};
use super::text::{Parsed, Words};
use crate::support::response::Response;

/// Reads one look.
pub fn look(words: &mut Words<'_>) -> Parsed<Look> {
    let line = words.line;
    let mode = mode(words)?;
    Ok(Look { line, mode, sight: sight(words)? })
}

fn sight(words: &mut Words<'_>) -> Parsed<Sight> {
    Ok(match words.bare("what is to be seen")? {
        "status" => Sight::Status(words.number()?),
        "text" if words.takes("any") => Sight::AnyText,
        "text" => Sight::Text(words.text()?),
        "refused" => Sight::Refused(words.text()?),
        "called" => Sight::Called(words.bare("a name")?.to_owned(), words.text()?),
        "by" => Sight::By(words.bare("an upstream")?.to_owned()),
        "attempts" => Sight::Attempts(attempts(words)?),
        "source" => Sight::Source(words.bare("a source")?.to_owned()),
        "header" => Sight::Header(words.bare("a name")?.to_owned(), held(words)?),
        "kept" => Sight::Kept(true),
        "not" if words.takes("kept") => Sight::Kept(false),
        "not" => {
            words.expect("before")?;
            Sight::NotBefore(words.time()?)
        }
        "error" => error(words)?,
        "breaks" => {
            let code = words.bare("a code")?.to_owned();
            words.expect("after")?;
            let said = if words.takes("half") { None } else { Some(words.text()?) };
            Sight::Breaks { code, said }
        }
        "finish" => Sight::Finish(words.bare("a reason")?.to_owned()),
        "usage" => Sight::Usage(words.number()?, words.number()?),
        "says" => Sight::Says(words.text()?),
        "within" => Sight::Within(words.time()?),
        "never" => {
            words.expect("says")?;
            Sight::NeverSays(words.text()?)
        }
        other => return words.wrong(format_args!("nobody can see `{other}`")),
    })
}

fn held(words: &mut Words<'_>) -> Parsed<Held> {
    if words.takes("absent") {
        return Ok(Held::Absent);
    }
    if words.takes("has") {
        return Ok(Held::Has(words.text()?));
    }
    let mut ahead = words.clone();
    if ahead.takes("is") && ahead.has_text() {
        words.expect("is")?;
        return Ok(Held::Is(words.text()?));
    }
    Ok(Held::Within(numbers(words)?))
}

fn error(words: &mut Words<'_>) -> Parsed<Sight> {
    let (mut code, mut message, mut param) = (None, None, None);
    while !words.is_empty() {
        match words.bare("`code`, `param` or `message`")? {
            "code" => code = Some(words.bare("a code")?.to_owned()),
            "param" => param = Some(words.bare("a parameter")?.to_owned()),
            "message" => message = Some(words.text()?),
            other => return words.wrong(format_args!("an error has no `{other}`")),
        }
    }
    Ok(Sight::Error { code, message, param })
}

/// Reads attempts such as `primary;500 [primary;reset|malformed] backup;200`.
fn attempts(words: &mut Words<'_>) -> Parsed<Vec<Attempt>> {
    let mut attempts = Vec::new();
    while !words.is_empty() {
        let word = words.bare("an attempt")?;
        if word == "none" {
            return Ok(Vec::new());
        }
        let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        let Some((upstream, results)) = inner.unwrap_or(word).split_once(';') else {
            return words.wrong(format_args!("`{word}` is no attempt, such as primary;500"));
        };
        let upstream = if upstream.contains('/') { upstream.to_owned() } else { format!("{upstream}/m") };
        let any_of = results.split('|').map(|result| format!("{upstream};{result}")).collect();
        attempts.push(Attempt { any_of, is_optional: inner.is_some() });
    }
    Ok(attempts)
}

/// Returns whether the attempts that were made are those that were expected.
pub fn fits(made: &[&str], expected: &[Attempt]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return made.is_empty() };
    let is_made = made.first().is_some_and(|made| first.any_of.iter().any(|it| it == made));
    (is_made && fits(&made[1..], rest)) || (first.is_optional && fits(made, rest))
}

impl Held {
    /// Checks a header of a response.
    pub fn check(&self, response: &Response, name: &str) {
        let value = response.header(name);
        match self {
            Self::Absent => assert!(!response.has_header(name), "{name} is {value:?}"),
            Self::Is(expected) => assert_eq!(value, expected, "{name}"),
            Self::Has(part) => {
                assert!(value.contains(part.as_str()), "{name} is {value:?}, without {part:?}")
            }
            Self::Within(range) => {
                let number = value.parse::<f64>();
                assert!(number.is_ok_and(|it| range.contains(&it)), "{name} is {value:?}, not in {range:?}");
            }
        }
    }
}
