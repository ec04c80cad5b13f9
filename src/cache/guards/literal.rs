//! Reads what starts with a digit: numbers, dates, times, fractions, and the letters glued to them.

/// A piece of text that starts with digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Literal {
    /// A number: digits without separators, an optional currency sign, and the letters glued to it.
    Plain { value: String, currency: Option<char>, suffix: String },
    /// A calendar date without doubt about which part is the month.
    Date { year: String, month: u8, day: u8 },
    /// A time of the day in seconds.
    Time { seconds: u32 },
    /// A fraction, a ratio, or a date whose parts may be read two ways: equal only to itself.
    Ratio(String),
    /// Digits that are no number: a version with two dots or more, an address, a hash.
    Code,
}

impl Literal {
    /// A number with nothing around it.
    pub(super) fn plain(value: &str) -> Self {
        Literal::Plain { value: value.to_owned(), currency: None, suffix: String::new() }
    }
}

/// Currency signs that stand before the number.
const CURRENCIES: &[char] = &['$', '€', '£', '¥', '₹', '₩', '₽', '₿'];

/// Reads a literal at the start of `text` and returns it with its length in bytes.
///
/// A sign counts only where `fresh` says that nothing is joined to it from the left: `2-3` is no `-3`.
pub(super) fn scan(text: &str, fresh: bool) -> Option<(Literal, usize)> {
    let mut at = 0;
    let negative = fresh && text.starts_with(['-', '−']);
    if negative {
        at += text.chars().next().map_or(0, char::len_utf8);
    }
    let mut currency = None;
    if let Some(c) = text[at..].chars().next().filter(|c| CURRENCIES.contains(c)) {
        currency = Some(c);
        at += c.len_utf8();
    }
    if fresh && text[at..].starts_with('#') {
        at += 1;
    }
    let body = &text[at..];
    let leading_dot = fresh && body.starts_with('.') && body[1..].starts_with(|c: char| c.is_ascii_digit());
    if !leading_dot && !body.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if at == 0
        && let Some((literal, length)) = calendar(body)
    {
        return Some((literal, length));
    }
    let (mut value, length, dots) = digits(body);
    let rest = &body[length..];
    let suffix =
        rest.find(|c: char| !(c.is_alphabetic() || c == '°' || c == '%' || c == '‰')).unwrap_or(rest.len());
    let after = rest[suffix..].chars().next();
    if dots > 1 || (suffix > 0 && after.is_some_and(|c| c.is_ascii_digit() || c == '_')) {
        let end = body.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(body.len());
        return Some((Literal::Code, at + body[..end].trim_end_matches('.').len()));
    }
    if negative {
        value.insert(0, '-');
    }
    let suffix_text = &rest[..suffix];
    // "the 90's" is "the 90s"; any other number with an apostrophe owns something.
    let decade = ["'s", "’s"].into_iter().find(|ending| rest.starts_with(ending));
    if let Some(ending) = decade.filter(|_| value.ends_with('0') && matches!(value.len(), 2 | 4)) {
        return Some((
            Literal::Plain { value, currency, suffix: "s".to_owned() },
            at + length + ending.len(),
        ));
    }
    let length = at + length + suffix;
    Some((Literal::Plain { value, currency, suffix: suffix_text.to_owned() }, length))
}

/// Reads digits with separators of thousands and a decimal point; returns them canonical, the length, and the dots seen.
fn digits(text: &str) -> (String, usize, usize) {
    let bytes = text.as_bytes();
    let run = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = run(0);
    let mut value = text[..end].to_owned();
    let mut dots = 0;
    // 1,000 and 1,00,000 and 1'000 and 1_000: groups, of which the last has three digits.
    if (1..=3).contains(&end) {
        let (mut probe, mut grouped, mut groups) = (end, value.clone(), Vec::new());
        while matches!(bytes.get(probe), Some(b',' | b'\'' | b'_')) && (2..=3).contains(&run(probe + 1)) {
            let group = run(probe + 1);
            groups.push(group);
            grouped.push_str(&text[probe + 1..probe + 1 + group]);
            probe += 1 + group;
        }
        if groups.last() == Some(&3) {
            (end, value) = (probe, grouped);
        }
    }
    while bytes.get(end) == Some(&b'.') && run(end + 1) > 0 {
        let part = run(end + 1);
        value.push('.');
        value.push_str(&text[end + 1..end + 1 + part]);
        end += 1 + part;
        dots += 1;
    }
    if value.starts_with('.') {
        value.insert(0, '0');
    }
    (value, end, dots)
}

/// Reads `2025-06-01`, `25/12/2025`, `1.6.2025`, `17:00`, `3/4`, `16:9`.
fn calendar(text: &str) -> Option<(Literal, usize)> {
    let run = text.find(|c: char| !c.is_ascii_digit())?;
    let mark = text[run..].chars().next().filter(|c| matches!(c, '-' | '/' | '.' | ':'))?;
    let length = text.find(|c: char| !(c.is_ascii_digit() || c == mark)).unwrap_or(text.len());
    let body = text[..length].trim_end_matches(mark);
    if text[body.len()..].starts_with(|c: char| c.is_alphanumeric()) && mark != ':' {
        return None;
    }
    let parts: Vec<&str> = body.split(mark).collect();
    let number = |part: &str| part.parse::<u32>().ok();
    let literal = match (mark, parts.as_slice()) {
        ('-' | '/' | '.', [year, month, day]) if year.len() == 4 => date(year, number(month)?, number(day)?)?,
        ('.', [day, month, year]) if year.len() == 4 => date(year, number(month)?, number(day)?)?,
        ('/' | '-', [a, b, year]) if year.len() == 4 && a.len() <= 2 && b.len() <= 2 => {
            let (a, b) = (number(a)?, number(b)?);
            match (a > 12, b > 12) {
                (true, false) => date(year, b, a)?,
                (false, true) => date(year, a, b)?,
                (false, false) if a == b => date(year, a, b)?,
                _ => Literal::Ratio(format!("{a}/{b}/{year}")),
            }
        }
        ('/', [_, _]) | ('/', [_, _, _]) => Literal::Ratio(body.to_owned()),
        (':', [hours, minutes, rest @ ..]) if rest.len() <= 1 => {
            let seconds = rest.first().map_or(Some(0), |part| number(part))?;
            match (number(hours)?, number(minutes)?) {
                (h @ 0..24, m @ 0..60) if minutes.len() == 2 && seconds < 60 => {
                    Literal::Time { seconds: h * 3600 + m * 60 + seconds }
                }
                _ => Literal::Ratio(body.to_owned()),
            }
        }
        _ => return None,
    };
    Some((literal, body.len()))
}

fn date(year: &str, month: u32, day: u32) -> Option<Literal> {
    let month = u8::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
    Some(Literal::Date { year: year.to_owned(), month, day })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: &str, currency: Option<char>, suffix: &str) -> Literal {
        Literal::Plain { value: value.to_owned(), currency, suffix: suffix.to_owned() }
    }

    #[test]
    fn numbers_lose_their_separators() {
        for (text, value) in
            [("1,000", "1000"), ("1,00,000", "100000"), ("1'000'000", "1000000"), ("3.10", "3.10")]
        {
            assert_eq!(scan(text, true), Some((plain(value, None, ""), text.len())), "{text}");
        }
        assert_eq!(scan("1,2", true), Some((plain("1", None, ""), 1)));
        assert_eq!(scan("-5", true), Some((plain("-5", None, ""), 2)));
        assert_eq!(scan("-5", false), None);
        assert_eq!(scan("$500k", true), Some((plain("500", Some('$'), "k"), 5)));
        assert_eq!(scan("5km", true), Some((plain("5", None, "km"), 3)));
    }

    #[test]
    fn dates_and_times_are_read_only_where_there_is_no_doubt() {
        let christmas = Literal::Date { year: "2025".to_owned(), month: 12, day: 25 };
        for text in ["2025-12-25", "25/12/2025", "12/25/2025", "25.12.2025"] {
            assert_eq!(scan(text, true), Some((christmas.clone(), text.len())), "{text}");
        }
        assert_eq!(scan("03/04/2025", true), Some((Literal::Ratio("3/4/2025".to_owned()), 10)));
        assert_eq!(scan("17:00", true), Some((Literal::Time { seconds: 61_200 }, 5)));
        assert_eq!(scan("16:9", true), Some((Literal::Ratio("16:9".to_owned()), 4)));
        assert_eq!(scan("1.2.3", true), Some((Literal::Code, 5)));
    }
}
