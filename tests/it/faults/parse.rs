//! Reading a case file. Whatever it says that is not of the language is an error.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::case::{Act, Ask, Case, Mode, Route, Seed, Upstream};
use super::look::look;
use super::replies::script;
use super::text::{Line, Parsed, Words, lines, wrong};
use crate::support::faults::{Door, Format, Script};
use crate::vendors::client::Client;

/// Reads a case.
///
/// # Errors
/// At the first word that is not understood, with its line.
pub fn case(file: &str) -> Parsed<Case> {
    let lines = lines(file)?;
    let mut case = Case { modes: vec![Mode::Whole, Mode::Stream], ..Case::default() };
    let mut rest = lines.as_slice();
    while let Some((head, after)) = rest.split_first() {
        if head.is_indented {
            return wrong(head.number, "an indented line belongs to an `upstream`, a `route` or an `ask`");
        }
        let length = after.iter().take_while(|line| line.is_indented).count();
        let (block, after) = after.split_at(length);
        rest = after;
        statement(&mut case, head, block)?;
    }
    if case.upstreams.is_empty() || case.acts.is_empty() {
        return wrong(1, "a case has at least one `upstream` and one `ask`");
    }
    if case.routes.is_empty() {
        let chain = case.upstreams.iter().map(|upstream| format!("{}/m", upstream.name)).collect();
        case.routes.push(Route { model: "route".to_owned(), chain, config: String::new() });
    }
    Ok(case)
}

fn statement(case: &mut Case, head: &Line, block: &[Line]) -> Parsed<()> {
    let mut words = head.words();
    let mut ahead = words.clone();
    if let Ok(times) = ahead.number() {
        ahead.expect("times ask")?;
        for _ in 0..times {
            case.acts.push((head.number, Act::Ask(ask(ahead.clone(), block)?)));
        }
        return Ok(());
    }
    match words.bare("a statement")? {
        "upstream" => {
            let upstream = upstream(words, block)?;
            case.upstreams.push(upstream);
            return Ok(());
        }
        "route" => {
            case.routes.push(route(words, block)?);
            return Ok(());
        }
        "ask" if !words.takes("until") => {
            case.acts.push((head.number, Act::Ask(ask(words, block)?)));
            return Ok(());
        }
        "ask" => {
            let upstream = known(case, &mut words)?;
            words.expect("was asked")?;
            let times = words.number()?;
            words.expect("times")?;
            case.acts.push((head.number, Act::AskUntil { upstream, times }));
        }
        "modes" => {
            case.modes.clear();
            while !words.is_empty() {
                case.modes.push(mode(&mut words)?.map_or_else(|| words.wrong("no such mode"), Ok)?);
            }
        }
        "config" => {
            case.config += head.setting();
            case.config.push('\n');
            words = head.words();
            words.expect("config")?;
        }
        "seed" => {
            let is_fresh = words.takes("fresh");
            case.seeds.push(Seed { prompt: words.text()?, is_fresh });
        }
        "metric" => {
            let series = words.text()?;
            let value = numbers(&mut words)?;
            case.acts.push((head.number, Act::Metric { series, value }));
        }
        "alert" => case.acts.push((head.number, Act::Alert(words.bare("a kind of alert")?.to_owned()))),
        "entries" => case.acts.push((head.number, Act::Entries(words.number()?))),
        _ => {
            words = head.words();
            let upstream = known(case, &mut words)?;
            case.acts.push((head.number, of_upstream(upstream, &mut words)?));
        }
    }
    if let Some(line) = block.first() {
        return wrong(line.number, "nothing belongs to the line above");
    }
    words.end()
}

/// Reads the name of an upstream that was declared.
fn known(case: &Case, words: &mut Words<'_>) -> Parsed<String> {
    let name = words.bare("a statement, or the name of an upstream")?;
    if case.upstreams.iter().all(|upstream| upstream.name != name) {
        return words.wrong(format_args!("`{name}` is no statement and no upstream"));
    }
    Ok(name.to_owned())
}

/// Reads what is looked at on the upstream's side.
fn of_upstream(upstream: String, words: &mut Words<'_>) -> Parsed<Act> {
    if words.takes("is") {
        let is_healthy = !words.takes("not");
        words.expect("healthy")?;
        return Ok(Act::Healthy { upstream, is_healthy });
    }
    if words.takes("paused") {
        let time = match (words.takes("up"), words.takes("at")) {
            (true, _) => {
                words.expect("to")?;
                Duration::ZERO..=words.time()?
            }
            (false, true) => {
                words.expect("least")?;
                words.time()?..=Duration::MAX
            }
            (false, false) => return words.wrong("expected `at least TIME` or `up to TIME`"),
        };
        words.expect("before call")?;
        return Ok(Act::Paused { upstream, call: words.number()?, time });
    }
    words.expect("was")?;
    if words.takes("not") {
        words.expect("asked")?;
        return Ok(Act::Asked { upstream, times: 0..=0 });
    }
    words.expect("asked")?;
    let least = words.number()?;
    let most = if words.takes("to") { words.number()? } else { least };
    words.expect(if most == 1 { "time" } else { "times" })?;
    Ok(Act::Asked { upstream, times: least..=most })
}

/// Reads `is N`, `at least N` or `from N to N`.
pub fn numbers(words: &mut Words<'_>) -> Parsed<RangeInclusive<f64>> {
    if words.takes("is") {
        let number = words.number()?;
        return Ok(number..=number);
    }
    if words.takes("at") {
        words.expect("least")?;
        return Ok(words.number()?..=f64::INFINITY);
    }
    words.expect("from")?;
    let least = words.number()?;
    words.expect("to")?;
    Ok(least..=words.number()?)
}

/// Reads a mode, where the next word is one.
pub fn mode(words: &mut Words<'_>) -> Parsed<Option<Mode>> {
    Ok([("whole", Mode::Whole), ("stream", Mode::Stream)]
        .into_iter()
        .find_map(|(word, mode)| words.takes(word).then_some(mode)))
}

fn upstream(mut words: Words<'_>, block: &[Line]) -> Parsed<Upstream> {
    let mut upstream = Upstream {
        name: words.bare("a name")?.to_owned(),
        format: Format::OpenAi,
        door: Door::Open,
        address: None,
        config: String::new(),
        scripts: Vec::new(),
    };
    while !words.is_empty() {
        match words.bare("how the upstream is")? {
            "anthropic" => upstream.format = Format::Anthropic,
            "gemini" => upstream.format = Format::Gemini,
            "closed" => upstream.door = Door::Closed,
            "full" => upstream.door = Door::Full,
            "once" => upstream.door = Door::Once,
            "hasty" => upstream.door = Door::Hasty,
            "deaf" => upstream.door = Door::Deaf,
            "at" => upstream.address = Some(words.text()?),
            other => return words.wrong(format_args!("an upstream is not `{other}`")),
        }
    }
    let mut rest = block;
    let mut model = "m".to_owned();
    while let Some((line, after)) = rest.split_first() {
        let mut words = line.words();
        if words.takes("config") {
            upstream.config += line.setting();
            upstream.config.push('\n');
            rest = after;
        } else if words.takes("model") {
            words.bare("a model")?.clone_into(&mut model);
            words.end()?;
            rest = after;
        } else {
            let is_reply = |line: &Line| !["config", "model"].iter().any(|word| line.words().takes(word));
            let (replies, after) = rest.split_at(rest.iter().take_while(|line| is_reply(line)).count());
            upstream.scripts.push((model.clone(), replies_of(replies)?));
            rest = after;
        }
    }
    Ok(upstream)
}

fn replies_of(lines: &[Line]) -> Parsed<Script> {
    script(lines.iter().map(Line::words))
}

fn route(mut words: Words<'_>, block: &[Line]) -> Parsed<Route> {
    let mut route = Route { model: words.bare("a name")?.to_owned(), ..Route::default() };
    while !words.is_empty() {
        let step = words.bare("an upstream, or `upstream/model`")?;
        route.chain.push(if step.contains('/') { step.to_owned() } else { format!("{step}/m") });
    }
    for line in block {
        line.words().expect("config")?;
        route.config += line.setting();
        route.config.push('\n');
    }
    Ok(route)
}

fn ask(mut words: Words<'_>, block: &[Line]) -> Parsed<Ask> {
    let clients = [
        ("chat", Client::OpenAi),
        ("responses", Client::Responses),
        ("messages", Client::Anthropic),
        ("generate", Client::Native),
    ];
    let client = clients.into_iter().find_map(|(word, client)| words.takes(word).then_some(client));
    let mut ask = Ask {
        client: client.unwrap_or(Client::OpenAi),
        prompt: words.has_text().then(|| words.text()).transpose()?,
        model: None,
        headers: Vec::new(),
        fields: Vec::new(),
        padding: 0,
        looks: Vec::new(),
    };
    words.end()?;
    for line in block {
        let mut words = line.words();
        if words.takes("model") {
            ask.model = Some(words.bare("a model")?.to_owned());
        } else if words.takes("padded") {
            ask.padding = words.number()?;
        } else if words.takes("with") {
            part_of_request(&mut ask, &mut words)?;
        } else {
            ask.looks.push(look(&mut words)?);
        }
        words.end()?;
    }
    Ok(ask)
}

fn part_of_request(ask: &mut Ask, words: &mut Words<'_>) -> Parsed<()> {
    match words.bare("`header` or `field`")? {
        "header" => {
            let line = words.text()?;
            let Some((name, value)) = line.split_once(": ") else {
                return words.wrong("a header is `name: value`");
            };
            ask.headers.push((name.to_owned(), value.to_owned()));
            Ok(())
        }
        "field" => {
            let name = words.bare("a name")?.to_owned();
            let text = words.text()?;
            match serde_json::from_str(&text) {
                Ok(value) => {
                    ask.fields.push((name, value));
                    Ok(())
                }
                Err(error) => words.wrong(error),
            }
        }
        other => words.wrong(format_args!("a request has no `{other}`")),
    }
}
