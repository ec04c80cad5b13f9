//! Numbers, units and dates must be the same on both sides, however they are written.
//!
//! No grace: a number that one side lacks is another question. Only words that are numbers by chance ("one",
//! "second", "half", "vi") may stand alone on one side; two different ones of a kind may not.

use super::amount;
use super::mentions::{Mention, Mentions};

/// Returns why the two sides may not share an answer.
pub(super) fn differ(asked: &Mentions, stored: &Mentions) -> Option<String> {
    let (mut missing, mut extra) = (surplus(&asked.firm, &stored.firm), surplus(&stored.firm, &asked.firm));
    let (mut here, mut there) = (asked.loose.clone(), stored.loose.clone());
    missing.retain(|key| !take(&mut there, key));
    extra.retain(|key| !take(&mut here, key));
    without_omitted_units(&mut missing, &mut extra);
    if !missing.is_empty() || !extra.is_empty() {
        return Some(format!(
            "numbers, units and dates must agree: the asked prompt says {}, the stored one {}",
            list(&missing),
            list(&extra)
        ));
    }
    here.retain(|mention| !take(&mut there, &mention.key));
    let clash = here.iter().find_map(|a| there.iter().find(|b| a.clashes_with(b)).map(|b| (a, b)));
    if let Some((a, b)) = clash {
        return Some(format!("the asked prompt says {}, the stored one {}", a.key, b.key));
    }
    let swapped = asked.ordered.iter().find(|(a, b)| {
        let reverse = (b.clone(), a.clone());
        stored.ordered.contains(&reverse) && !stored.ordered.contains(&(a.clone(), b.clone()))
    });
    swapped.map(|(a, b)| format!("the asked prompt goes from {a} to {b}, the stored one from {b} to {a}"))
}

/// Returns what `left` holds more often than `right`; both are sorted.
fn surplus<'a>(left: &'a [String], right: &[String]) -> Vec<&'a str> {
    let mut right = right.iter().peekable();
    let mut surplus = Vec::new();
    for key in left {
        while right.next_if(|other| *other < key).is_some() {}
        if right.next_if(|other| *other == key).is_none() {
            surplus.push(key.as_str());
        }
    }
    surplus
}

/// Takes out the pairs of which one side leaves the unit unsaid: "5 and 10 cents" beside "10 cents".
///
/// A share or a factor is never left unsaid.
fn without_omitted_units(missing: &mut Vec<&str>, extra: &mut Vec<&str>) {
    let omits = |short: &str, long: &str| {
        let unit = long.strip_prefix(short).and_then(|rest| rest.strip_prefix(' '));
        short.ends_with(|c: char| c.is_ascii_digit())
            && unit.is_some_and(|unit| {
                !matches!(unit, "percent" | "per mille" | "times") && amount::is_unit(unit)
            })
    };
    missing.retain(|a| match extra.iter().position(|b| omits(a, b) || omits(b, a)) {
        Some(at) => {
            extra.swap_remove(at);
            false
        }
        None => true,
    });
}

/// Takes a mention with this key out of `mentions`.
fn take(mentions: &mut Vec<Mention>, key: &str) -> bool {
    let found = mentions.iter().position(|mention| mention.key == key);
    found.map(|at| mentions.swap_remove(at)).is_some()
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() { "none of these".to_owned() } else { keys.join(", ") }
}
