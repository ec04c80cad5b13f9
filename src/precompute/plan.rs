//! What is to be bought, in which order, and what will it cost? Decided before anything is spent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pace::per_minute;
use crate::chat::{Fingerprint, UnixMillis};
use crate::gateway::Preview;
use crate::router::Room;
use crate::store::Shelf;

/// What an answer is taken for of which nobody knows how long it will be.
const COMPLETION_TOKENS: u64 = 300;
/// Seconds that a call is taken for where nothing else says how fast it goes.
const CALL_SECONDS: f64 = 5.0;

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// In a list.
    Line(Bytes),
    /// In the store: live traffic asked it.
    Entry(Fingerprint),
}

/// One request of a list, as it would go now.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub asked: Asked,
    pub template: Arc<str>,
    pub priority: i32,
    pub preview: Preview,
}

/// What is to be done with a request.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub asked: Asked,
    pub template: Arc<str>,
    pub key: Fingerprint,
    pub upstream: Option<Arc<str>>,
    pub is_refresh: bool,
    /// What it is expected to cost, where the price is known.
    pub cost_usd: Option<f64>,
    pub tokens: u64,
}

/// The rules of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Entries with less time left than this are bought anew, but for those that are still in the first half of theirs.
    pub refresh_within: Duration,
    /// The most items that are bought.
    pub max_items: Option<usize>,
    pub max_cost_usd: Option<f64>,
}

/// What a list comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    pub new: usize,
    pub refresh: usize,
    /// Fresh for long enough.
    pub fresh: usize,
    /// Asked for more than once.
    pub duplicates: usize,
    /// Beyond `max_items`.
    pub left_out: usize,
    /// Not to be stored, by the word for why.
    pub refused: BTreeMap<&'static str, usize>,
    pub tokens: u64,
    /// `None` where a price is not known.
    pub cost_usd: Option<f64>,
    pub seconds: f64,
    /// Whether `max_cost_usd` will be reached before the end.
    pub exceeds_budget: bool,
}

impl Forecast {
    /// Returns how many answers are to be bought.
    pub const fn items(&self) -> usize {
        self.new + self.refresh
    }
}

/// Decides what is to be bought, what comes first, and what it comes to. `shelves` is what is there already.
pub(super) fn plan(
    candidates: Vec<Candidate>,
    shelves: &HashMap<Fingerprint, Shelf>,
    rules: &Rules,
    now: UnixMillis,
) -> (Vec<Item>, Forecast) {
    let lengths = lengths(&candidates, shelves);
    let mut forecast = Forecast { cost_usd: Some(0.0), ..Forecast::default() };
    let mut known = HashSet::with_capacity(candidates.len());
    let mut ordered = Vec::with_capacity(candidates.len());
    for Candidate { asked, template, priority, preview } in candidates {
        if let Some(reason) = refusal(&preview) {
            *forecast.refused.entry(reason).or_default() += 1;
            continue;
        }
        if !known.insert(preview.key) {
            forecast.duplicates += 1;
            continue;
        }
        let shelf = shelves.get(&preview.key).filter(|shelf| serves(shelf, &preview));
        if shelf.is_some_and(|shelf| stays(shelf, preview.ttl, rules, now)) {
            forecast.fresh += 1;
            continue;
        }
        let length =
            shelf.and_then(|shelf| shelf.completion_tokens).or_else(|| lengths.get(&template).copied());
        let most = preview.limit.map_or(u64::MAX, u64::from);
        let length = length.unwrap_or(COMPLETION_TOKENS).min(most);
        let cost_usd = preview.cost_usd(length);
        let worth =
            shelf.map_or(0, |shelf| shelf.hits) as f64 * cost_usd.unwrap_or(1.0).max(f64::MIN_POSITIVE);
        let is_refresh = shelf.is_some();
        let (key, tokens) = (preview.key, preview.prompt_tokens + length);
        let item = Item { asked, template, key, upstream: preview.upstream, is_refresh, cost_usd, tokens };
        ordered.push((Reverse(priority), is_refresh, -worth, item));
    }
    // Stable, so that what is equal stays in the order of the list.
    ordered.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    let most = rules.max_items.unwrap_or(usize::MAX);
    forecast.left_out = ordered.len().saturating_sub(most);
    let items: Vec<Item> = ordered.into_iter().take(most).map(|(.., item)| item).collect();
    for item in &items {
        *(if item.is_refresh { &mut forecast.refresh } else { &mut forecast.new }) += 1;
        forecast.tokens += item.tokens;
        forecast.cost_usd = forecast.cost_usd.zip(item.cost_usd).map(|(sum, cost)| sum + cost);
    }
    forecast.exceeds_budget =
        forecast.cost_usd.zip(rules.max_cost_usd).is_some_and(|(cost, most)| cost > most);
    (items, forecast)
}

/// Returns why buying it would be of no use.
fn refusal(preview: &Preview) -> Option<&'static str> {
    // Its answer is stale before anybody has had breakfast.
    preview.refusal.or_else(|| preview.is_volatile.then_some("volatile"))
}

/// Returns whether what is there would be served: an answer made under a tighter limit would not.
fn serves(shelf: &Shelf, preview: &Preview) -> bool {
    match (preview.limit.map(u64::from), shelf.completion_tokens, shelf.limit.map(u64::from)) {
        (None, ..) => true,
        (Some(limit), Some(length), _) => length <= limit,
        (Some(limit), None, written_under) => {
            written_under.is_some_and(|written_under| written_under <= limit)
        }
    }
}

/// Returns whether an entry need not be bought anew before the next run.
fn stays(shelf: &Shelf, ttl: Duration, rules: &Rules, now: UnixMillis) -> bool {
    // A run that is resumed must not buy again what it bought an hour ago, however short the life of answers is.
    let margin = rules.refresh_within.min(ttl / 2);
    shelf.expires_at >= now.after(margin)
}

/// Returns how long the answers of each template were so far, in tokens.
fn lengths(candidates: &[Candidate], shelves: &HashMap<Fingerprint, Shelf>) -> HashMap<Arc<str>, u64> {
    let mut sums: HashMap<Arc<str>, (u64, u64)> = HashMap::new();
    for candidate in candidates {
        let shelf = shelves.get(&candidate.preview.key);
        if let Some(tokens) = shelf.and_then(|shelf| shelf.completion_tokens) {
            let (sum, count) = sums.entry(Arc::clone(&candidate.template)).or_default();
            (*sum, *count) = (*sum + tokens, *count + 1);
        }
    }
    sums.into_iter().map(|(template, (sum, count))| (template, sum / count)).collect()
}

/// Returns how many seconds the items will take at the share that is allowed: upstreams work side by side.
pub(super) fn seconds(
    items: &[Item],
    share: f64,
    concurrency: usize,
    room: impl Fn(&str) -> Option<Room>,
) -> f64 {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for item in items {
        *counts.entry(item.upstream.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let of_upstream = |(upstream, count): (&str, usize)| {
        let room = room(upstream);
        let paced = room.and_then(|room| room.requests_per_minute);
        let paced = paced.map_or(0.0, |limit: NonZeroU32| count as f64 * 60.0 / per_minute(share, limit));
        let places = room.map_or(concurrency, |room| ((room.places as f64 * share) as usize).max(1));
        paced.max(count as f64 * CALL_SECONDS / places.min(concurrency).max(1) as f64)
    };
    counts.into_iter().map(of_upstream).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn rules() -> Rules {
        Rules { refresh_within: 24 * HOUR, max_items: None, max_cost_usd: None }
    }

    fn candidate(number: u8, priority: i32) -> Candidate {
        Candidate {
            asked: Asked::Line(Bytes::copy_from_slice(&[number])),
            template: "t".into(),
            priority,
            preview: Preview::for_tests(Fingerprint::from_bytes([number; 32]), 24 * HOUR),
        }
    }

    fn shelf(left: Duration, hits: u64) -> Shelf {
        Shelf { expires_at: NOW.after(left), limit: None, completion_tokens: Some(100), hits }
    }

    fn on(shelves: &[(u8, Shelf)]) -> HashMap<Fingerprint, Shelf> {
        shelves.iter().map(|(number, shelf)| (Fingerprint::from_bytes([*number; 32]), *shelf)).collect()
    }

    fn order(items: &[Item]) -> Vec<u8> {
        items.iter().map(|item| item.key.as_bytes()[0]).collect()
    }

    #[test]
    fn what_is_fresh_for_long_enough_or_asked_for_twice_is_not_bought() {
        let candidates = [1, 2, 2, 3, 4].map(|number| candidate(number, 0)).to_vec();
        let there = on(&[(1, shelf(20 * HOUR, 0)), (3, shelf(HOUR, 0)), (4, shelf(Duration::ZERO, 0))]);
        let (items, forecast) = plan(candidates, &there, &rules(), NOW);
        assert_eq!(order(&items), [2, 3, 4]);
        assert_eq!((forecast.new, forecast.refresh, forecast.fresh, forecast.duplicates), (1, 2, 1, 1));
        assert_eq!(forecast.items(), 3);
    }

    #[test]
    fn an_answer_in_the_first_half_of_its_life_is_not_bought_again() {
        let (items, _) = plan(vec![candidate(1, 0)], &on(&[(1, shelf(13 * HOUR, 0))]), &rules(), NOW);
        assert!(items.is_empty(), "bought eleven hours ago for a day, and the next run is in a day");
        let (items, _) = plan(vec![candidate(1, 0)], &on(&[(1, shelf(11 * HOUR, 0))]), &rules(), NOW);
        assert!(items[0].is_refresh);
    }

    #[test]
    fn priority_comes_first_then_what_is_new_then_what_was_asked_for_most() {
        let candidates =
            vec![candidate(1, 0), candidate(2, 0), candidate(3, 0), candidate(4, 0), candidate(5, 9)];
        let there = on(&[(1, shelf(HOUR, 1)), (2, shelf(HOUR, 50)), (5, shelf(HOUR, 0))]);
        let (items, _) = plan(candidates.clone(), &there, &rules(), NOW);
        assert_eq!(order(&items), [5, 3, 4, 2, 1]);
        let few = Rules { max_items: Some(2), ..rules() };
        let (items, forecast) = plan(candidates, &there, &few, NOW);
        assert_eq!((order(&items), forecast.left_out), (vec![5, 3], 3));
    }

    #[test]
    fn what_cannot_be_stored_or_asks_about_now_is_told_by_its_reason() {
        let mut candidates = vec![candidate(1, 0), candidate(2, 0), candidate(3, 0)];
        candidates[0].preview.refusal = Some("temperature");
        candidates[1].preview.is_volatile = true;
        let (items, forecast) = plan(candidates, &HashMap::new(), &rules(), NOW);
        assert_eq!(order(&items), [3]);
        assert_eq!(forecast.refused, BTreeMap::from([("temperature", 1), ("volatile", 1)]));
    }

    #[test]
    fn an_entry_that_would_not_be_served_for_its_length_is_bought() {
        let mut short = candidate(1, 0);
        short.preview.limit = Some(50);
        let (items, _) = plan(vec![short], &on(&[(1, shelf(24 * HOUR, 0))]), &rules(), NOW);
        assert_eq!(items.len(), 1);
        assert!(!items[0].is_refresh);
    }

    #[test]
    fn the_time_is_that_of_the_slowest_upstream_at_its_share() {
        let candidates = (0..60).map(|number| candidate(number, 0)).collect();
        let (items, _) = plan(candidates, &HashMap::new(), &rules(), NOW);
        let room = Room {
            is_well: true,
            places: 64,
            in_use: 0,
            waiting: 0,
            requests_per_minute: NonZeroU32::new(60),
        };
        assert_eq!(seconds(&items, 0.5, 100, |_| Some(room)), 120.0);
        let wide = Room { requests_per_minute: None, ..room };
        assert_eq!(seconds(&items, 1.0, 4, |_| Some(wide)), 60.0 * CALL_SECONDS / 4.0);
    }
}
