//! What must happen when something fails: every row of the table of faults, by its number.
//!
//! What upstreams do is told in cases, one for each fault, in words that anybody reads; what callers do, and what becomes
//! of our own parts, in the files beside it and wherever else in these tests such things are looked at.
//!
//! A case is a file in `cases/`, named by the fault's number and a word or two. Its lines say, in this order:
//!
//! ```text
//! modes stream                      callers ask for streams only; without it the case is played whole and streamed
//! config breaker.failures = 1       a line of the server's configuration
//! upstream primary                  an upstream, first choice first; what follows, indented, are its replies to the
//!     500                           first request, the second, and so on; after the last it answers well
//!     2 times 503 then close
//!     always say half then reset
//! upstream backup
//!     config timeouts.idle_ms = 200 a line of its table in the configuration
//!     model other                   the replies that follow are for this model and not for `m`
//! route small primary backup/other  an alias and its chain; without any, `route` is all of them, each with model `m`
//! seed "What is a delta?"           a request that was answered when all was well, and whose answer has expired
//!
//! ask "What is a delta?"            a request; without a prompt, one that nothing else asks
//!     with header "x-deadline-ms: 500"
//!     status 503                    what is to be seen; without a word on it the status is 200, and the text is the
//!     whole kept                    prompt's answer, to its good end. `whole` and `stream`: only in this mode
//! primary was asked 2 times
//! primary paused at least 490ms before call 2
//! primary is not healthy
//! alert breaker                     somebody hears of it, in the word that `refrain_alerts_total` has for it
//! ```
//!
//! What each line may say stands where it is read: `parse`, `replies`, `look`. A word that is not of the language fails
//! the test, with its file and line.

mod callers;
mod case;
mod chain;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod crashes;
#[cfg(target_os = "linux")]
mod disk;
mod fetches;
mod language;
mod look;
mod parse;
mod parts;
mod process;
mod replies;
mod requests;
mod rescue;
mod rows;
mod run;
mod scenes;
mod server;
mod sixteen;
mod text;

use std::path::Path;

/// Makes a test of each case.
macro_rules! cases {
    ($($(#[$on:meta])? $test:ident,)+) => {
        /// The test of every case.
        const TESTS: &[&str] = &[$(stringify!($test)),+];

        $(
            $(#[$on])?
            #[tokio::test]
            async fn $test() {
                run::play(file(stringify!($test))).await;
            }
        )+
    };
}

/// Returns the file of a test.
fn file(test: &str) -> &str {
    test.strip_prefix("fault_").expect("the name of a test begins with `fault_`")
}

cases! {
    fault_01_wait_hint,
    fault_01_wait_hint_beyond_the_deadline,
    fault_02_an_hour,
    fault_03_429_without_hint,
    fault_04_billing_anthropic,
    fault_04_billing_gemini,
    fault_04_billing_openai,
    fault_05_garbage_for_a_hint,
    fault_06_402,
    fault_07_500_once_then_200,
    fault_08_500_always,
    fault_09_503_until_a_date,
    fault_10_529,
    fault_11_408_and_409,
    fault_12_401_bad_key,
    fault_13_403,
    fault_14_404_of_a_configured_model,
    fault_14_404_of_a_free_name,
    fault_15_400,
    fault_16_parameter_not_supported,
    fault_17_context_too_long,
    fault_18_blocked_prompt,
    fault_18_content_filter,
    fault_19_redirect,
    fault_20_odd_successes,
    fault_21_errors_of_a_cdn,
    fault_22_name_not_found,
    fault_23_connection_refused,
    // Elsewhere a full queue is met otherwise.
    #[cfg(target_os = "linux")]
    fault_23_no_answer_to_a_connection,
    fault_25_a_fifth_for_the_next,
    fault_25_silence_before_the_head,
    fault_25_silence_to_the_deadline,
    fault_26_silence_within_a_whole_answer,
    fault_27_drip,
    fault_27_drip_of_words,
    fault_28_only_pings,
    fault_28_pings_in_the_middle,
    fault_29_cut_before_the_first_word,
    fault_30_cut_and_told_otherwise,
    fault_30_cut_in_the_middle,
    fault_31_truncated_bodies,
    fault_33_idle_connections_closed,
    fault_33_idle_connections_reset,
    fault_34_answer_before_the_request,
    fault_34_upload_reset,
    fault_38_no_json,
    fault_38_no_json_in_a_stream,
    fault_39_login_page,
    fault_40_wrong_content_type,
    fault_41_nothing_in_the_body,
    fault_42_no_choices,
    fault_42_usage_without_choices,
    fault_43_callers_error_in_a_good_answer,
    fault_43_error_in_a_good_answer,
    fault_44_cut_at_the_limit,
    fault_45_refusal,
    fault_46_tool_call,
    fault_48_bomb,
    fault_48_wrong_encoding,
    fault_49_a_line_without_end,
    fault_50_a_call_told_twice,
    fault_50_more_after_the_end,
    fault_52_unknown_things,
    fault_53_counts_that_are_none,
    fault_54_odd_characters,
    fault_55_another_model_answers,
}

/// The rows of the table of faults.
const ROWS: std::ops::RangeInclusive<u32> = 1..=94;

/// Rows that nothing can be said of yet, and why.
const NOT_BUILT: &[(u32, &str)] = &[(91, "no templates yet"), (92, "no precompute yet")];

#[test]
fn every_case_is_a_test() {
    let mut listed: Vec<_> = TESTS.iter().map(|test| file(test).to_owned()).collect();
    let mut files = run::files();
    listed.sort();
    files.sort();
    assert_eq!(listed, files);
}

#[test]
fn every_row_has_a_test_of_its_name() {
    let written = functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"));
    let tests: Vec<_> = TESTS.iter().map(|test| (*test).to_owned()).chain(written).collect();
    let is_tested = |row: u32| tests.iter().any(|test| test.starts_with(&format!("fault_{row:02}_")));
    let missing: Vec<_> = ROWS
        .filter(|row| !is_tested(*row) && NOT_BUILT.iter().all(|(not_built, _)| row != not_built))
        .collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
    let built: Vec<_> = NOT_BUILT.iter().filter(|(row, _)| is_tested(*row)).collect();
    assert!(built.is_empty(), "it can be said now: {built:?}");
}

/// Returns the names of all functions in the files of a folder and of those in it.
fn functions(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(functions(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let after = |line: &str| {
                let line = line.trim_start();
                line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")).map(str::to_owned)
            };
            names.extend(text.lines().filter_map(after));
        }
    }
    names
}
