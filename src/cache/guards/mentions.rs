//! Finds the numbers, dates, times and ordinals of a prompt and brings each into one canonical form.

use std::sync::LazyLock;

use super::amount::{self, Amount};
use super::lexicon::{List, Phrases, WordMap, WordSet};
use super::literal::Literal;
use super::token::{Kind, Token};

/// What a mention proves that need not be a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// May be missing on one side, but must not differ from another of its kind.
    Loose(&'static str),
    /// May be missing, and differs from nothing: the pronoun "one".
    Pronoun,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mention {
    /// Canonical and readable: `5 kilometer`, `< 30 euro`, `month 6 day 1`.
    pub(super) key: String,
    pub(super) weight: Weight,
}

/// The numbers of one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Mentions {
    pub(super) firm: Vec<String>,
    pub(super) loose: Vec<Mention>,
    /// Pairs whose order means something: `2 to 3`, `10 / 5`.
    pub(super) ordered: Vec<(String, String)>,
}

impl Mention {
    pub(super) fn clashes_with(&self, other: &Mention) -> bool {
        matches!((self.weight, other.weight), (Weight::Loose(a), Weight::Loose(b)) if a == b)
    }
}

struct Words {
    months: WordMap<u8>,
    doubtful_months: WordMap<u8>,
    before_month: WordMap<&'static str>,
    weekdays: WordMap<&'static str>,
    hours: WordMap<&'static str>,
    loose: WordMap<(&'static str, &'static str)>,
    numerals: WordMap<&'static str>,
    ordinals: WordMap<&'static str>,
    numbered: WordMap<&'static str>,
    sequence: WordMap<&'static str>,
    bounds: Phrases,
    /// Units that stand before the number: `Rs 500`.
    leading_units: WordMap<&'static str>,
    after_numeral: WordMap<&'static str>,
    /// Every word that can start a number: most words are none, and one lookup tells.
    any: WordSet,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let months = |section| {
        List::Numbers.pairs(section).filter_map(|(name, month)| Some((name, month.parse().ok()?))).collect()
    };
    let pairs = |section| List::Numbers.pairs(section).collect();
    let loose = List::Numbers.pairs("loose").filter_map(|(word, key)| {
        let kind = key.split(' ').next()?;
        Some((word, (kind, key)))
    });
    let bounds = List::Numbers.forms("bounds").into_iter();
    let starts =
        ["cardinals", "ordinals", "loose", "one", "numerals", "months", "months beside a date", "weekdays"];
    let starts = starts.into_iter().flat_map(|section| List::Numbers.pairs(section)).map(|(word, _)| word);
    let hours = || List::Numbers.lines("hours").filter_map(|line| line.split_once(": "));
    Words {
        months: months("months"),
        doubtful_months: months("months beside a date"),
        before_month: pairs("before a month"),
        weekdays: pairs("weekdays"),
        hours: hours().collect(),
        loose: loose.collect(),
        numerals: pairs("numerals"),
        ordinals: pairs("ordinals"),
        numbered: pairs("numbered"),
        sequence: pairs("sequence"),
        bounds: Phrases::new(bounds),
        leading_units: List::Units.forms("units before a number"),
        after_numeral: pairs("after a numeral"),
        any: starts.chain(hours().map(|(word, _)| word)).chain(["a", "an", "i", "v", "x"]).collect(),
    }
});

/// Returns whether a word may be a number, a date or a part of one.
pub(super) fn is_numeral(word: &str) -> bool {
    WORDS.any.contains(word) || WORDS.before_month.contains_key(word)
}

impl Mentions {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut reader = Reader { tokens, found: Mentions::default(), last: None };
        let mut at = 0;
        while at < tokens.len() {
            at += reader.step(at).max(1);
        }
        let mut mentions = reader.found;
        mentions.firm.sort_unstable();
        mentions.loose.sort_unstable();
        mentions
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    found: Mentions,
    /// The last number and the index after it.
    last: Option<(String, usize)>,
}

impl Reader<'_> {
    /// Reads what starts at `at` and returns how many tokens it took.
    fn step(&mut self, at: usize) -> usize {
        if self.tokens[at].kind == Kind::Word && !WORDS.any.contains(self.tokens[at].text.as_str()) {
            return 1;
        }
        if let Some(taken) = self.date(at) {
            return taken;
        }
        if let Some(amount) = amount::read(self.tokens, at) {
            return self.amount(at, amount);
        }
        let token = &self.tokens[at];
        let word = token.text.as_str();
        match &token.kind {
            Kind::Number(Literal::Date { year, month, day }) => {
                self.firm(at, date_key(Some(year), *month, Some(*day)), 1)
            }
            Kind::Number(Literal::Time { seconds }) => {
                let (seconds, taken) = self.half_of_day(at + 1, *seconds);
                self.firm(at, time_key(seconds), 1 + taken)
            }
            Kind::Number(Literal::Ratio(text)) => self.firm(at, text.clone(), 1),
            Kind::Word => {
                if let Some(day) = WORDS.weekdays.get(word) {
                    self.firm(at, (*day).to_owned(), 1)
                } else if let Some(hour) = WORDS.hours.get(word) {
                    self.firm(at, format!("time {hour}"), 1)
                } else if let Some(number) = WORDS.numerals.get(word) {
                    self.firm(at, (*number).to_owned(), 1)
                } else if let Some(number) = WORDS.ordinals.get(word) {
                    self.firm(at, format!("ordinal {number}"), 1)
                } else if let Some((kind, key)) = WORDS.loose.get(word) {
                    let key = key.strip_prefix("roman ").unwrap_or(key).to_owned();
                    self.found.loose.push(Mention { key, weight: Weight::Loose(kind) });
                    1
                } else {
                    self.counted_thing(at)
                }
            }
            Kind::Number(_) | Kind::Code { .. } | Kind::Symbol | Kind::Break => 1,
        }
    }

    /// "one", "i", "v" and "x" after a thing that is numbered, and "one" elsewhere.
    fn counted_thing(&mut self, at: usize) -> usize {
        let word = self.tokens[at].text.as_str();
        let numeral = match word {
            "one" | "i" => "1",
            "v" => "5",
            "x" => "10",
            "a" | "an" => "",
            _ => return 1,
        };
        // "World War I", but "the question I asked".
        let pronoun = word == "i"
            && self.tokens.get(at + 1).is_some_and(|next| {
                next.kind != Kind::Break && !WORDS.after_numeral.contains_key(next.text.as_str())
            });
        let numbered = at > 0
            && !pronoun
            && !numeral.is_empty()
            && WORDS.numbered.contains_key(self.tokens[at - 1].text.as_str());
        if numbered {
            return self.firm(at, numeral.to_owned(), 1);
        }
        let unit = amount::unit_at(self.tokens, at + 1);
        // "a month" may be "1 month".
        if word == "one" || numeral.is_empty() && unit.is_some() {
            let key = unit.map_or_else(|| "1".to_owned(), |(unit, _)| format!("1 {unit}"));
            self.found.loose.push(Mention { key, weight: Weight::Pronoun });
        }
        1
    }

    fn amount(&mut self, at: usize, amount: Amount) -> usize {
        if let Some(unit @ ("am" | "pm")) = amount.unit.as_deref()
            && let Ok(hour @ 1..=12) = amount.value.parse::<u32>()
        {
            let hour = hour % 12 + if unit == "pm" { 12 } else { 0 };
            return self.firm(at, time_key(hour * 3600), amount.taken);
        }
        let leading = self.leading_unit(at).filter(|_| amount.unit.is_none());
        let bound = self.bound_before(leading.map_or(at, |(_, start)| start));
        let mut key = String::with_capacity(24);
        if let Some(bound) = bound.or(amount.bound) {
            key.push_str(bound);
            key.push(' ');
        }
        key.push_str(&amount.value);
        if let Some(unit) = amount.unit.as_deref().or(leading.map(|(unit, _)| unit)) {
            key.push(' ');
            key.push_str(unit);
        }
        self.firm(at, key, amount.taken)
    }

    /// "Rs. 500", "USD 20": the unit and where it stands.
    fn leading_unit(&self, at: usize) -> Option<(&'static str, usize)> {
        let dot = at > 0 && self.tokens[at - 1].kind == Kind::Break && self.tokens[at - 1].text == ".";
        let start = at.checked_sub(1 + usize::from(dot))?;
        WORDS.leading_units.get(self.tokens[start].text.as_str()).map(|unit| (*unit, start))
    }

    fn firm(&mut self, at: usize, key: String, taken: usize) -> usize {
        if let Some((before, end)) = self.last.take()
            && before != key
            && self.in_sequence(end, at)
        {
            self.found.ordered.push((before, key.clone()));
        }
        self.last = Some((key.clone(), at + taken));
        self.found.firm.push(key);
        taken
    }

    /// Whether what stands between two numbers says which comes first.
    fn in_sequence(&self, from: usize, to: usize) -> bool {
        match &self.tokens[from..to] {
            [] => self.tokens.get(to).is_some_and(|token| token.joined),
            [between] => match between.kind {
                Kind::Symbol => matches!(between.text.as_str(), "-" | "/" | "<" | ">" | "<=" | ">=" | "^"),
                Kind::Word => WORDS.sequence.contains_key(between.text.as_str()),
                _ => false,
            },
            between => between.iter().any(|token| token.is_word("to")) && between.len() <= 4,
        }
    }

    /// "under", "at least", "<" just before the number.
    fn bound_before(&self, at: usize) -> Option<&'static str> {
        if at > 0 && self.tokens[at - 1].kind == Kind::Symbol {
            return match self.tokens[at - 1].text.as_str() {
                "<" => Some("<"),
                ">" => Some(">"),
                "<=" => Some("<="),
                ">=" => Some(">="),
                _ => None,
            };
        }
        let found = |length: &usize| {
            let start = at.checked_sub(*length)?;
            WORDS
                .bounds
                .at(&self.tokens[..at], start)
                .filter(|(taken, _)| taken == length)
                .map(|(_, name)| name)
        };
        [3, 2, 1].iter().find_map(found)
    }

    /// Reads "am" or "pm" after a time.
    fn half_of_day(&self, at: usize, seconds: u32) -> (u32, usize) {
        let hour = seconds / 3600;
        match self.tokens.get(at) {
            Some(token) if token.is_word("pm") && hour < 12 => (seconds + 12 * 3600, 1),
            Some(token) if token.is_word("am") && hour == 12 => (seconds - 12 * 3600, 1),
            Some(token) if token.is_word("pm") || token.is_word("am") => (seconds, 1),
            _ => (seconds, 0),
        }
    }

    /// "1 June 2025", "June 1st, 2025", "June 2025", "1st of June", "June".
    fn date(&mut self, at: usize) -> Option<usize> {
        let before = self.day_at(at);
        let month_at = match before {
            Some(_) if self.tokens.get(at + 1).is_some_and(|token| token.is_word("of")) => at + 2,
            Some(_) => at + 1,
            None => at,
        };
        let month = self.month_at(month_at, before.is_some())?;
        let mut end = month_at + 1;
        let mut day = before;
        if day.is_none()
            && let Some(number) = self.day_at(end)
        {
            day = Some(number);
            end += 1;
        }
        let skip =
            self.tokens.get(end).is_some_and(|t| t.kind == Kind::Break && t.text == "," || t.is_word("of"));
        let year = self.year_at(end + usize::from(skip));
        if year.is_some() {
            end += 1 + usize::from(skip);
        }
        Some(self.firm(at, date_key(year.as_deref(), month, day), end - at))
    }

    fn month_at(&self, at: usize, after_day: bool) -> Option<u8> {
        let token = self.tokens.get(at).filter(|token| token.kind == Kind::Word)?;
        if let Some(month) = WORDS.months.get(token.text.as_str()) {
            return Some(*month);
        }
        let month = WORDS.doubtful_months.get(token.text.as_str())?;
        let told = at > 0 && WORDS.before_month.contains_key(self.tokens[at - 1].text.as_str());
        let dated = self.day_at(at + 1).is_some() || self.year_at(at + 1).is_some();
        (after_day || told || dated).then_some(*month)
    }

    fn day_at(&self, at: usize) -> Option<u8> {
        let token = self.tokens.get(at)?;
        match &token.kind {
            Kind::Number(Literal::Plain { value, currency: None, suffix })
                if matches!(suffix.to_lowercase().as_str(), "" | "st" | "nd" | "rd" | "th") =>
            {
                value.parse().ok().filter(|day| (1..=31).contains(day))
            }
            Kind::Word => {
                let number = WORDS.ordinals.get(token.text.as_str()).copied();
                let number =
                    number.or_else(|| WORDS.loose.get(token.text.as_str())?.1.strip_prefix("ordinal "));
                number?.parse().ok()
            }
            _ => None,
        }
    }

    fn year_at(&self, at: usize) -> Option<String> {
        match &self.tokens.get(at)?.kind {
            Kind::Number(Literal::Plain { value, currency: None, suffix })
                if suffix.is_empty() && value.len() == 4 && value.starts_with(['1', '2']) =>
            {
                Some(value.clone())
            }
            _ => None,
        }
    }
}

fn date_key(year: Option<&str>, month: u8, day: Option<u8>) -> String {
    let mut key = format!("month {month}");
    if let Some(day) = day {
        key.push_str(&format!(" day {day}"));
    }
    if let Some(year) = year {
        key.push_str(&format!(" year {year}"));
    }
    key
}

fn time_key(seconds: u32) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if seconds == 0 {
        format!("time {hours}:{minutes:02}")
    } else {
        format!("time {hours}:{minutes:02}:{seconds:02}")
    }
}
