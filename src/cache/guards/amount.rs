//! Reads one amount: digits or number words, their scale and their unit, whatever the spelling.

use std::sync::LazyLock;

use super::lexicon::{List, WordMap};
use super::literal::Literal;
use super::token::{Kind, Token};

/// A number with its unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Amount {
    /// Canonical decimal digits.
    pub(super) value: String,
    /// The canonical name of the unit, or the letters glued to the digits where no unit is known.
    pub(super) unit: Option<String>,
    /// A bound written behind the number: `18+`.
    pub(super) bound: Option<&'static str>,
    /// How many tokens it takes.
    pub(super) taken: usize,
}

struct Words {
    cardinals: WordMap<u32>,
    scales: WordMap<usize>,
    units: WordMap<&'static str>,
    glued: WordMap<&'static str>,
    by_case: WordMap<&'static str>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    cardinals: List::Numbers.pairs("cardinals").filter_map(|(w, v)| Some((w, v.parse().ok()?))).collect(),
    scales: List::Numbers.pairs("scales").filter_map(|(w, v)| Some((w, v.parse().ok()?))).collect(),
    units: List::Units.forms("units"),
    glued: List::Units.forms("units after digits"),
    by_case: List::Units.forms("units by case"),
});

/// Reads an amount that starts at `at`; `None` where there is no number, or one that is no amount (a date, a ratio).
pub(super) fn read(tokens: &[Token], at: usize) -> Option<Amount> {
    let token = tokens.get(at)?;
    match &token.kind {
        Kind::Number(Literal::Plain { value, currency, suffix }) => {
            Some(digits(tokens, at, value, *currency, suffix))
        }
        Kind::Word => spelled(tokens, at),
        _ => None,
    }
}

/// Returns the unit named by the token at `at`, and how many tokens it takes.
pub(super) fn unit_at(tokens: &[Token], at: usize) -> Option<(&'static str, usize)> {
    let token = tokens.get(at).filter(|token| token.kind == Kind::Word)?;
    let next = |offset: usize, word: &str| tokens.get(at + offset).is_some_and(|token| token.is_word(word));
    if token.text == "per" && next(1, "cent") {
        return Some(("percent", 2));
    }
    let text = token.text.as_str();
    let unit = WORDS.by_case.get(text).or_else(|| WORDS.units.get(text))?;
    let old = usize::from(matches!(*unit, "year" | "month" | "week" | "day") && next(1, "old"));
    Some((unit, 1 + old))
}

/// Whether a word is the canonical name of a unit.
pub(super) fn is_unit(name: &str) -> bool {
    WORDS.units.get(name) == Some(&name)
}

fn digits(tokens: &[Token], at: usize, value: &str, currency: Option<char>, suffix: &str) -> Amount {
    let mut value = value.to_owned();
    let mut taken = 1;
    let mut unit = currency
        .and_then(|sign| WORDS.units.get(&*sign.encode_utf8(&mut [0; 4])))
        .map(|unit| (*unit).to_owned());
    let lower = suffix.to_lowercase();
    let million = matches!(lower.as_str(), "m" | "mm") && currency.is_some();
    if let "st" | "nd" | "rd" | "th" = lower.as_str() {
        return Amount { value: format!("ordinal {value}"), unit, bound: None, taken };
    } else if lower == "s" && value.ends_with('0') && matches!(value.len(), 2 | 4) {
        let century = if value.len() == 2 { "19" } else { "" };
        return Amount { value: format!("decade {century}{value}"), unit, bound: None, taken };
    } else if let Some(scale) = WORDS.scales.get(lower.as_str()).copied().or(million.then_some(6)) {
        value = shifted(&value, scale);
    } else if !lower.is_empty() {
        unit = Some(glued_unit(suffix, &lower).to_owned());
    }
    while unit.is_none() || currency.is_some() {
        let Some(scale) =
            tokens.get(at + taken).filter(|t| t.kind == Kind::Word).and_then(|t| scale_word(&t.text))
        else {
            break;
        };
        value = shifted(&value, scale);
        taken += 1;
    }
    // "18+", "2+ years"; in "2+3" the sign joins two numbers.
    let plus = tokens.get(at + taken).is_some_and(|t| t.joined && t.kind == Kind::Symbol && t.text == "+");
    let open = plus && !tokens.get(at + taken + 1).is_some_and(|t| t.joined && t.kind != Kind::Break);
    taken += usize::from(open);
    if lower.is_empty() && currency.is_none() && is_clock_word(tokens, at + taken) {
        unit = tokens.get(at + taken).map(|token| token.text.clone());
        taken += 1;
    } else if let Some((found, length)) =
        unit_at(tokens, at + taken).filter(|_| unit.is_none() || currency.is_some())
    {
        unit.get_or_insert_with(|| found.to_owned());
        taken += length;
    }
    if unit.is_some() {
        value = without_trailing_zeros(&value);
    }
    Amount { value, unit, bound: open.then_some(">="), taken }
}

/// A scale that stands alone: not the single letters, which are words of their own.
fn scale_word(word: &str) -> Option<usize> {
    WORDS.scales.get(word).copied().filter(|_| word.len() > 1)
}

fn is_clock_word(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| token.is_word("am") || token.is_word("pm"))
}

fn glued_unit<'a>(suffix: &str, lower: &'a str) -> &'a str
where
    'static: 'a,
{
    let known =
        WORDS.by_case.get(suffix).or_else(|| WORDS.units.get(lower)).or_else(|| WORDS.glued.get(lower));
    known.copied().unwrap_or(lower)
}

/// Reads "twenty-one", "two hundred and five", "three million", "a hundred", "a dozen".
fn spelled(tokens: &[Token], at: usize) -> Option<Amount> {
    let word = |at: usize| tokens.get(at).filter(|t| t.kind == Kind::Word).map(|t| t.text.as_str());
    let cardinal = |at: usize| match word(at)? {
        "one" => Some(1),
        word => WORDS.cardinals.get(word).copied(),
    };
    let first = word(at)?;
    let (mut total, mut current, mut end) = (0_u64, 0_u64, at);
    if matches!(first, "a" | "an" | "one") {
        word(at + 1).and_then(scale_word)?;
        (current, end) = (1, at + 1);
    } else if !WORDS.cardinals.contains_key(first) {
        return None;
    }
    loop {
        let and = usize::from(end > at && word(end) == Some("and") && current >= 100);
        if let Some(number) = cardinal(end + and).map(u64::from) {
            let fits = match current % 100 {
                0 => true,
                tens => tens >= 20 && tens % 10 == 0 && (1..10).contains(&number),
            };
            if end > at && (!fits || current == 0 && total == 0) {
                break;
            }
            current += number;
            end += 1 + and;
        } else if let Some(scale) = word(end).and_then(scale_word) {
            let power = 10_u64.checked_pow(u32::try_from(scale).ok()?)?;
            current = current.max(1).checked_mul(power)?;
            if power > 100 {
                (total, current) = (total.checked_add(current)?, 0);
            }
            end += 1;
        } else {
            break;
        }
    }
    let value = (total + current).to_string();
    let clock = is_clock_word(tokens, end).then(|| (tokens[end].text.clone(), 1));
    let unit = clock.or_else(|| unit_at(tokens, end).map(|(unit, length)| (unit.to_owned(), length)));
    let (unit, length) = unit.map_or((None, 0), |(unit, length)| (Some(unit), length));
    Some(Amount { value, unit, bound: None, taken: end - at + length })
}

/// Moves the decimal point to the right.
fn shifted(value: &str, places: usize) -> String {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let mut digits = format!("{whole}{part}");
    let zeros = places.saturating_sub(part.len());
    digits.extend(std::iter::repeat_n('0', zeros));
    if part.len() > places {
        digits.insert(digits.len() - (part.len() - places), '.');
    }
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() || trimmed.starts_with('.') { format!("0{trimmed}") } else { trimmed.to_owned() }
}

/// `5.00` dollars are `5` dollars; without a unit `3.10` may be a version and stays.
fn without_trailing_zeros(value: &str) -> String {
    if value.contains('.') {
        value.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    fn read_text(text: &str) -> Option<(String, Option<String>)> {
        read(&tokens(text), 0).map(|amount| (amount.value, amount.unit))
    }

    #[test]
    fn the_same_amount_has_one_form() {
        let groups: &[&[&str]] = &[
            &["5km", "5 km", "5 kilometers", "five kilometres", "5-kilometer"],
            &["2 million", "2,000,000", "two million", "2mn"],
            &["$2m", "$2 million", "2000000 dollars", "2 million USD", "$2,000,000.00"],
            &["5%", "5 percent", "five per cent", "5.0 %"],
            &["21", "twenty-one", "twenty one"],
            &["205", "two hundred and five"],
            &["100", "a hundred", "one hundred"],
            &["500k", "500,000", "500 thousand"],
            &["10-year-old", "10 years", "ten years old"],
        ];
        for group in groups {
            let first = read_text(group[0]);
            assert!(first.is_some());
            for text in *group {
                assert_eq!(read_text(text), first, "{text}");
            }
        }
    }

    #[test]
    fn what_differs_stays_different() {
        for (a, b) in [
            ("3.1", "3.10"),
            ("5 MB", "5 kB"),
            ("5Mb", "5MB"),
            ("5 km", "5 miles"),
            ("$5", "€5"),
            ("-5", "5"),
        ] {
            assert_ne!(read_text(a), read_text(b), "{a} {b}");
        }
    }

    #[test]
    fn neighbouring_numbers_are_not_added() {
        let tokens = tokens("two three");
        assert_eq!(read(&tokens, 0).map(|amount| amount.taken), Some(1));
    }
}
