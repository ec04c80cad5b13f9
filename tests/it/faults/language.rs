//! The language of the cases is strict: what it does not know is an error at its line.

use super::parse::case;

/// A case to which a line is added.
const GOOD: &str = "upstream primary\n    500\n    answer\nask \"Why?\"\n    status 200\n";

#[test]
fn a_case_reads_as_it_is_written() {
    let case = case(&format!("# 7: a title\n\n{GOOD}primary was asked 1 to 2 times\n")).unwrap();
    assert_eq!((case.upstreams.len(), case.acts.len(), case.routes.len()), (1, 2, 1));
    assert_eq!(case.acts.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [6, 8]);
    assert_eq!(case.routes[0].chain, ["primary/m"]);
}

#[test]
fn a_word_that_is_not_known_is_an_error_at_its_line() {
    for (added, line, part) in [
        ("sleep 10", 6, "`sleep` is no statement and no upstream"),
        ("    colour red", 6, "nobody can see `colour`"),
        ("    status 200 at once", 6, "what is this: `at once`"),
        ("    status soon", 6, "`soon` is no such number"),
        ("    within 5", 6, "`5` is no time"),
        ("    text \"open", 6, "no closing quote"),
        ("    text \"\\q\"", 6, "`\\q` is no escape"),
        ("    with body x", 6, "a request has no `body`"),
        ("    attempts primary", 6, "`primary` is no attempt"),
        ("  status 200", 6, "indent by four spaces"),
        ("nobody was asked 1 time", 6, "`nobody` is no statement and no upstream"),
        ("primary was asked 1 times", 6, "expected `time`"),
        ("primary paused at least 1s", 6, "expected `before`"),
        ("upstream backup\n    explode", 7, "an upstream cannot `explode`"),
        ("upstream backup\n    500 colour red", 7, "an error has no `colour`"),
        ("upstream backup\n    always 500\n    answer", 8, "nothing comes after what is always done"),
        ("upstream backup asleep", 6, "an upstream is not `asleep`"),
        ("entries 1\n    status 200", 7, "nothing belongs to the line above"),
        ("modes sung", 6, "no such mode"),
    ] {
        let wrong = case(&format!("{GOOD}{added}\n")).unwrap_err();
        assert!((wrong.line, wrong.why.contains(part)) == (line, true), "{added}: {wrong:?}");
    }
}
