//! Playing a case: a server, its upstreams, and somebody who asks.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::case::{Act, Ask, Case, Mode, Route, Seed, Sight, Upstream};
use super::look::fits;
use super::parse;
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::faults::{FaultServer, halves};
use crate::support::reply::answer_to;
use crate::support::response::Response;
use crate::support::upstream::KEY;
use crate::vendors::client::{Client, Read};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/cases");
/// Nobody wants to wait in a test for what only has to be shorter than something else.
const USUAL: &str = "cache.mode = \"exact\"\nretry.base_ms = 10\n";

/// Returns the name of every case file, without its ending.
pub fn files() -> Vec<String> {
    let names =
        std::fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| name.strip_suffix(".case").unwrap_or_else(|| panic!("{name} is no case")).to_owned())
        .collect()
}

/// Plays a case once for each of its modes.
pub async fn play(name: &str) {
    let path = format!("{CASES}/{name}.case");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let case = parse::case(&text).unwrap_or_else(|wrong| panic!("{name}.case:{}: {}", wrong.line, wrong.why));
    let case = &case;
    let plays = case.modes.iter().map(|mode| async move {
        let line = Cell::new(0);
        let play = AssertUnwindSafe(Stage::play(case, *mode, &line)).catch_unwind().await;
        if let Err(panic) = play {
            // What a look says does not tell where it stands.
            #[expect(clippy::print_stderr, reason = "it belongs to the words of the panic")]
            {
                eprintln!("at {name}.case:{} ({mode:?})", line.get());
            }
            resume_unwind(panic);
        }
    });
    join_all(plays).await;
}

/// A server and its upstreams.
struct Stage<'a> {
    case: &'a Case,
    mode: Mode,
    app: TestApp,
    servers: HashMap<&'a str, FaultServer>,
    /// Prompts so far that nothing else asks.
    asked: usize,
}

impl<'a> Stage<'a> {
    /// Plays a case in one mode, and says in which line it is.
    async fn play(case: &'a Case, mode: Mode, line: &Cell<usize>) {
        let mut stage = Self::set(case, mode).await;
        for (at, act) in &case.acts {
            line.set(*at);
            stage.act(act, line).await;
        }
    }

    async fn set(case: &'a Case, mode: Mode) -> Self {
        let mut servers = HashMap::new();
        for Upstream { name, format, door, .. } in &case.upstreams {
            servers.insert(name.as_str(), FaultServer::start_as(*format, *door).await);
        }
        let app = TestApp::with(&settings(case, &servers)).await;
        let stage = Self { case, mode, app, servers, asked: 0 };
        for Seed { prompt, is_fresh } in &case.seeds {
            stage.seed(prompt, *is_fresh).await;
        }
        for Upstream { name, scripts, .. } in &case.upstreams {
            let server = &stage.servers[name.as_str()];
            server.begin_anew();
            for (model, script) in scripts {
                server.on(model, script.clone());
            }
        }
        stage
    }

    /// Has a request answered while all is well, and waits until the answer has expired.
    async fn seed(&self, prompt: &str, is_fresh: bool) {
        let ttl: &[_] = if is_fresh { &[] } else { &[("x-cache-ttl", "1")] };
        let body = Client::OpenAi.ask(&self.case.routes[0].model, prompt);
        assert_eq!(self.app.chat_with(body.clone(), ttl).await.status, 200);
        if !is_fresh {
            eventually("the end of an entry", async || (!self.is_kept(&body).await).then_some(())).await;
        }
    }

    /// Returns whether a request could be answered from the cache.
    async fn is_kept(&self, body: &Value) -> bool {
        let response = self.app.chat_with(body.clone(), &[("cache-control", "only-if-cached")]).await;
        assert!(matches!(response.status, 200 | 504), "{}", response.text());
        response.status == 200
    }

    async fn act(&mut self, act: &Act, line: &Cell<usize>) {
        match act {
            Act::Ask(ask) => self.ask(ask, line).await,
            Act::AskUntil { upstream, times } => self.ask_until(upstream, *times).await,
            Act::Asked { upstream, times } => {
                let calls = self.servers[upstream.as_str()].calls();
                assert!(times.contains(&calls), "{upstream} was asked {calls} times");
            }
            Act::Paused { upstream, call, time } => {
                let heard = self.servers[upstream.as_str()].heard();
                let [.., earlier, later] = &heard[..*call] else { panic!("call {call} follows on none") };
                let pause = later.at.duration_since(earlier.at);
                assert!(time.contains(&pause), "{upstream} was left alone for {pause:?}");
            }
            Act::Healthy { upstream, is_healthy } => {
                let said =
                    format!("refrain_upstream_healthy{{provider=\"{upstream}\"}} {}", u8::from(*is_healthy));
                let metrics = self.app.admin_get("/metrics").await.text();
                assert!(metrics.lines().any(|line| line == said), "not told: {said}");
            }
            Act::Metric { series, value } => {
                let counted = self.app.metric(series).await;
                assert!(value.contains(&counted), "{series} is {counted}");
            }
            Act::Alert(kind) => {
                let series = format!("refrain_alerts_total{{kind=\"{kind}\",outcome=\"logged\"}}");
                self.app.counted(&series, 1.0).await;
            }
            Act::Entries(entries) => {
                let stats = self.app.admin_get("/admin/stats").await.json();
                assert_eq!(stats["memory"]["entries"], *entries);
            }
        }
    }

    /// Asks well-answered questions until an upstream is tried again.
    async fn ask_until(&mut self, upstream: &str, times: usize) {
        eventually("another call of the upstream", async || {
            let prompt = self.new_prompt();
            let body = Client::OpenAi.ask(&self.case.routes[0].model, &prompt);
            let response = self.app.chat(body).await;
            assert_eq!((response.status, response.answer()), (200, answer_to(&prompt)));
            (self.servers[upstream].calls() >= times).then_some(())
        })
        .await;
    }

    /// Returns a prompt that nothing else asks.
    fn new_prompt(&mut self) -> String {
        self.asked += 1;
        format!("What is sea number {}?", self.asked)
    }

    async fn ask(&mut self, ask: &Ask, line: &Cell<usize>) {
        let prompt = ask.prompt.clone().unwrap_or_else(|| self.new_prompt());
        let prompt = prompt + &padding(ask.padding);
        let model = ask.model.as_ref().unwrap_or(&self.case.routes[0].model);
        let mut body = ask.client.ask(model, &prompt);
        for (name, value) in &ask.fields {
            body[name] = value.clone();
        }
        let mut sent = body.clone();
        if self.mode == Mode::Stream {
            sent["stream"] = json!(true);
            if ask.client == Client::OpenAi {
                sent["stream_options"] = json!({"include_usage": true});
            }
        }
        let headers: Vec<_> =
            ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let began = Instant::now();
        let response = self.app.post(ask.client.path(), &headers, sent).await;
        let seen = Seen { ask, mode: self.mode, prompt, time: began.elapsed(), response };
        seen.check();
        for (at, sight) in seen.looks() {
            line.set(at);
            seen.look(sight);
            if let Sight::Kept(expected) = sight {
                assert_eq!(self.is_kept(&body).await, *expected, "kept");
            }
        }
    }
}

/// A response, and what was asked.
struct Seen<'a> {
    ask: &'a Ask,
    mode: Mode,
    prompt: String,
    time: Duration,
    response: Response,
}

impl Seen<'_> {
    /// Returns what is looked at in this mode.
    fn looks(&self) -> impl Iterator<Item = (usize, &Sight)> {
        let is_of_mode = |mode: Option<Mode>| mode.is_none_or(|mode| mode == self.mode);
        self.ask.looks.iter().filter(move |look| is_of_mode(look.mode)).map(|look| (look.line, &look.sight))
    }

    /// Checks what holds of every response: it is whole and well, unless something else is expected.
    fn check(&self) {
        let Self { ask, prompt, response, .. } = self;
        for name in ["x-request-id", "cache-status"] {
            assert!(response.has_header(name), "no {name}: {} {}", response.status, response.text());
        }
        assert!(!response.text().contains(KEY), "our key is nobody's business");
        let is_said = |is_it: fn(&Sight) -> bool| self.looks().any(|(_, sight)| is_it(sight));
        if is_said(|sight| matches!(sight, Sight::Breaks { .. })) {
            return;
        }
        if !is_said(|sight| matches!(sight, Sight::Status(_))) {
            assert_eq!(response.status, 200, "{}", response.text());
        }
        if response.status != 200 {
            let [_, _, message] = ask.client.error(response);
            assert!(!message.contains("org-1"), "{message}");
            return;
        }
        let is_answer = |sight: &Sight| {
            matches!(sight, Sight::Text(_) | Sight::AnyText | Sight::Refused(_) | Sight::Called(..))
        };
        if !is_said(is_answer) {
            assert_eq!(self.read().text, answer_to(prompt));
        }
    }

    /// Reads an answer to its good end.
    fn read(&self) -> Read {
        match self.mode {
            Mode::Whole => self.ask.client.whole(&self.response),
            Mode::Stream => self.ask.client.streamed(&self.response),
        }
    }

    fn look(&self, sight: &Sight) {
        let Self { ask, prompt, response, time, .. } = self;
        match sight {
            Sight::Status(status) => assert_eq!(response.status, *status, "{}", response.text()),
            Sight::AnyText | Sight::Kept(_) => {}
            Sight::Text(text) => assert_eq!(self.read().text, *text),
            Sight::Refused(text) => assert_eq!(self.read().refusal, *text),
            Sight::Called(name, arguments) => {
                let arguments: Value = serde_json::from_str(arguments).unwrap();
                assert_eq!(self.read().calls, [(name.clone(), arguments)]);
            }
            Sight::By(upstream) => assert_eq!(response.header("x-provider"), upstream),
            Sight::Attempts(expected) => {
                let made = response.header("x-upstream-attempts");
                let list: Vec<_> = made.split(", ").filter(|attempt| !attempt.is_empty()).collect();
                assert!(fits(&list, expected), "the attempts were: {made}");
            }
            Sight::Source(source) => assert_eq!(response.source(), source),
            Sight::Header(name, held) => held.check(response, name),
            Sight::Error { code, message, param } => {
                let [_, is_code, is_message] = ask.client.error(response);
                for (is, expected) in
                    [(is_code, code), (is_message, message), (response.error("param"), param)]
                {
                    assert_eq!(is, *expected.as_ref().unwrap_or(&is), "{}", response.text());
                }
            }
            Sight::Breaks { code, said } => {
                let due = answer_to(prompt);
                let (read, [_, is_code, _]) = ask.client.broken(response);
                assert_eq!(read, said.as_deref().unwrap_or(halves(&due).0));
                // Anthropic's errors have no code.
                assert!(is_code == *code || ask.client == Client::Anthropic, "{is_code}");
            }
            Sight::Finish(finish) => assert_eq!(self.read().finish, *finish),
            Sight::Usage(prompt, completion) => {
                let usage = self.read().usage;
                let count = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
                let counts =
                    (count(["prompt_tokens", "input_tokens"]), count(["completion_tokens", "output_tokens"]));
                assert_eq!(counts, (Some(*prompt), Some(*completion)), "{usage}");
            }
            Sight::Within(most) => assert!(time <= most, "it took {time:?}"),
            Sight::NotBefore(least) => assert!(time >= least, "it took only {time:?}"),
            Sight::Says(words) => assert!(response.text().contains(words), "{}", response.text()),
            Sight::NeverSays(words) => assert!(!response.text().contains(words), "{}", response.text()),
        }
    }
}

/// Returns so many bytes, or some more, that do not repeat themselves.
fn padding(bytes: usize) -> String {
    let mut padding = String::new();
    for number in 1_u64.. {
        if padding.len() >= bytes {
            break;
        }
        padding += &format!(" {number}");
    }
    padding
}

/// Writes the configuration of a case's server.
fn settings(case: &Case, servers: &HashMap<&str, FaultServer>) -> String {
    let mut settings = format!("{USUAL}{}", case.config);
    for Upstream { name, format, address, config, .. } in &case.upstreams {
        let base_url = address.as_deref().unwrap_or_else(|| servers[name.as_str()].base_url());
        settings += &format!(
            "[[providers]]\nname = \"{name}\"\nkind = \"{}\"\nbase_url = \"{base_url}\"\napi_key_env = \"FAKE_KEY\"\n{config}",
            format.kind()
        );
    }
    for Route { model, chain, config } in &case.routes {
        settings += &format!("[[routes]]\nmodel = \"{model}\"\nchain = {chain:?}\n{config}");
    }
    settings
}
