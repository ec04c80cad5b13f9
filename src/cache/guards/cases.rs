//! The tables of cases in `models/guards/cases/`, and what must hold for any prompt.

use proptest::prelude::*;

use super::{Aligned, Analysed, Scripts, Side};
use unicode_script::Script;

type Guard = fn(&Side<'_>, &Side<'_>) -> Option<String>;

fn side(prompt: &Analysed) -> Side<'_> {
    Side { prompt, tokens: 10, truncated: false }
}

/// The script guard of an English model.
fn english(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    super::script(asked, stored, Some(&Scripts::new(&[Script::Latin])))
}

fn any_script(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    super::script(asked, stored, None)
}

fn names_differ(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    Aligned::of(asked.prompt, stored.prompt).names()
}

fn roles_differ(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    Aligned::of(asked.prompt, stored.prompt).roles()
}

fn substitution_differ(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    Aligned::of(asked.prompt, stored.prompt).substitution()
}

/// Asked for more and answered for more are two things; the table looks at the stored side.
fn surplus_differ(asked: &Side<'_>, stored: &Side<'_>) -> Option<String> {
    let either = Aligned::of(asked.prompt, stored.prompt).surplus();
    either.or_else(|| Aligned::of(stored.prompt, asked.prompt).surplus())
}

/// Those that must say the same whichever prompt is asked.
const GUARDS: [Guard; 12] = [
    super::payload,
    super::numbers,
    super::negation,
    super::code,
    super::opposites,
    super::scope,
    super::person,
    super::asked,
    names_differ,
    roles_differ,
    substitution_differ,
    any_script,
];

fn run(table: &str, guard: Guard) {
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let fields: Vec<String> = line.split('\t').map(|field| field.replace("\\n", "\n")).collect();
        let [expected, a, b] = fields.as_slice() else { panic!("three fields expected: {line}") };
        assert!(matches!(expected.as_str(), "pass" | "veto"), "pass or veto expected: {line}");
        let (a, b) = (Analysed::new(a), Analysed::new(b));
        for (asked, stored) in [(&a, &b), (&b, &a)] {
            let reason = guard(&side(asked), &side(stored));
            if reason.is_some() != (expected == "veto") {
                wrong.push(format!("{line}: {reason:?}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn payload() {
    run(include_str!("../../../models/guards/cases/payload.txt"), super::payload);
}

#[test]
fn numbers() {
    run(include_str!("../../../models/guards/cases/numbers.txt"), super::numbers);
}

#[test]
fn negation() {
    run(include_str!("../../../models/guards/cases/negation.txt"), super::negation);
}

#[test]
fn code() {
    run(include_str!("../../../models/guards/cases/code.txt"), super::code);
}

#[test]
fn opposites() {
    run(include_str!("../../../models/guards/cases/opposites.txt"), super::opposites);
}

#[test]
fn names() {
    run(include_str!("../../../models/guards/cases/names.txt"), names_differ);
}

#[test]
fn roles() {
    run(include_str!("../../../models/guards/cases/roles.txt"), roles_differ);
}

#[test]
fn scope() {
    run(include_str!("../../../models/guards/cases/scope.txt"), super::scope);
}

#[test]
fn person() {
    run(include_str!("../../../models/guards/cases/person.txt"), super::person);
}

#[test]
fn asked() {
    run(include_str!("../../../models/guards/cases/asked.txt"), super::asked);
}

#[test]
fn substitution() {
    run(include_str!("../../../models/guards/cases/substitution.txt"), substitution_differ);
}

#[test]
fn surplus() {
    run(include_str!("../../../models/guards/cases/surplus.txt"), surplus_differ);
}

#[test]
fn script() {
    run(include_str!("../../../models/guards/cases/script.txt"), english);
}

#[test]
fn a_truncated_prompt_is_refused_on_either_side() {
    let prompt = Analysed::new("Summarise this");
    let (whole, cut) = (side(&prompt), Side { truncated: true, ..side(&prompt) });
    assert!(super::window(&whole, &whole).is_none());
    assert!(super::window(&cut, &whole).is_some());
    assert!(super::window(&whole, &cut).is_some());
}

#[test]
fn prompts_in_unknown_languages_are_refused() {
    let refused = |prompt: &str, tokens| {
        let prompt = Analysed::new(prompt);
        let side = Side { tokens, ..side(&prompt) };
        super::language(&side, &side, &["en".to_owned()]).is_some()
    };
    // The token counts are those of all-MiniLM-L6-v2.
    assert!(refused("¿Cuál es la capital de Francia?", 12));
    assert!(refused("Jaka jest stolica Francji?", 15));
    assert!(refused("Hoe kan ik mijn wachtwoord opnieuw instellen?", 18));
    assert!(!refused("What is the capital of France?", 9));
    assert!(!refused("cheap flights london tokyo", 6));
    assert!(!refused("Where is the Café de Flore?", 9));
    assert!(!refused("latest kubernetes useEffect docs", 14));
}

fn vetoes(a: &str, b: &str) -> Vec<String> {
    let (a, b) = (Analysed::new(a), Analysed::new(b));
    GUARDS.iter().filter_map(|guard| guard(&side(&a), &side(&b))).collect()
}

/// Prose as people type it, with the words that the guards look for.
fn prose() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "how", "many", "people", "not", "never", "without", "two", "million", "the", "5", "km", "is", "it",
        "can't", "june", "first", "one", "dogs", "safe", "under", "percent", "monday", "unknown", "who",
        "to", "from", "boston", "denver", "java", "faster", "than", "only", "all", "my", "his", "turn",
        "off",
    ]);
    prop::collection::vec(word, 1..12).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn a_prompt_passes_against_itself(prompt in any::<String>()) {
        prop_assert_eq!(vetoes(&prompt, &prompt), Vec::<String>::new());
    }

    #[test]
    fn code_like_text_passes_against_itself(prompt in "[-a-zA-Z0-9 .,:;/()'\"`_<>=+*$€%#@\n]{0,60}") {
        prop_assert_eq!(vetoes(&prompt, &prompt), Vec::<String>::new());
    }

    #[test]
    fn the_sides_may_change_places(a in "[-a-zA-Z0-9 .:/()'\"_<>=+$%\n]{0,40}", b in "[-a-zA-Z0-9 .:/()'\"_<>=+$%\n]{0,40}") {
        let (a, b) = (Analysed::new(&a), Analysed::new(&b));
        for guard in GUARDS {
            prop_assert_eq!(guard(&side(&a), &side(&b)).is_some(), guard(&side(&b), &side(&a)).is_some());
        }
    }

    #[test]
    fn prose_is_symmetric_too(a in prose(), b in prose()) {
        let (a, b) = (Analysed::new(&a), Analysed::new(&b));
        for guard in GUARDS {
            prop_assert_eq!(guard(&side(&a), &side(&b)).is_some(), guard(&side(&b), &side(&a)).is_some());
        }
    }

    #[test]
    fn case_and_end_punctuation_do_not_matter_in_prose(prompt in prose(), end in prop::sample::select(vec!["", ".", "?", "!", "…", " ?"])) {
        let other = format!("{}{end}", prompt.to_uppercase());
        prop_assert_eq!(vetoes(&prompt, &other), Vec::<String>::new());
    }
}
