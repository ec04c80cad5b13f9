//! What does a night without providers look like from outside?
//!
//! Long drills of the real binary against upstreams that fail on command, run by `make drill` and not by the tests:
//! `outage` (a primary that is lost, then all of them, then their return, under fifty clients), `kill` (the process is
//! killed in the middle of it, again and again) and `load` (400 requests a second for minutes with half of the upstreams
//! failing). Each prints what it measured and fails where a promise was not kept.
//!
//! `make drill ARGS="outage --seconds 20"` runs one of them; `--rounds N` is for `kill`.

#![expect(clippy::unwrap_used, reason = "a drill that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "its tasks end with it, and it has a client of its own")]
#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

mod caller;
mod kill;
mod load;
mod outage;
mod server;
mod tally;

#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it than the drills do")]
mod support;

use std::process::ExitCode;
use std::time::Duration;

/// What is drilled, and for how long.
struct Plan {
    drills: Vec<String>,
    /// The length of one phase of `outage`, and a fifth of that of `load`.
    phase: Duration,
    rounds: usize,
}

const DRILLS: [&str; 3] = ["outage", "kill", "load"];

impl Plan {
    /// Reads the command line; cargo adds words of its own.
    fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { drills: Vec::new(), phase: Duration::from_secs(60), rounds: 50 };
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut number =
                || words.next().and_then(|number| number.parse().ok()).ok_or(format!("{word} N"));
            match word.as_str() {
                "--seconds" => plan.phase = Duration::from_secs(number()?),
                "--rounds" => plan.rounds = number()? as usize,
                drill if DRILLS.contains(&drill) => plan.drills.push(word),
                _ => {
                    return Err(format!(
                        "{word} is not one of {}, --seconds N, --rounds N",
                        DRILLS.join(", ")
                    ));
                }
            }
        }
        if plan.drills.is_empty() {
            plan.drills = DRILLS.map(str::to_owned).into();
        }
        Ok(plan)
    }
}

fn main() -> ExitCode {
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(usage) => {
            println!("{usage}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut broken = Vec::new();
    for drill in &plan.drills {
        println!("\n## {drill}\n");
        broken.extend(runtime.block_on(async {
            match drill.as_str() {
                "outage" => outage::run(plan.phase).await,
                "kill" => kill::run(plan.rounds).await,
                _ => load::run(plan.phase * 5).await,
            }
        }));
    }
    println!();
    for promise in &broken {
        println!("NOT KEPT: {promise}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Adds a promise to those that were not kept, unless it was.
fn promise(broken: &mut Vec<String>, is_kept: bool, what: impl Into<String>) {
    if !is_kept {
        broken.push(what.into());
    }
}
