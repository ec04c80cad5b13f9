//! Which entries go when the store is full?
//!
//! Those that save least: Greedy-Dual-Size-Frequency (Cherkasova, 1998). Each entry has a worth
//!
//! ```text
//! worth = floor + (hits + 1) × gain        gain = USD that one hit saves ÷ MiB that the entry takes
//! ```
//!
//! where `floor` is the worth of the last entry that was evicted, as it was at this entry's last hit (or its writing).
//! With each eviction the floor rises, so an entry that was worth much but is no longer asked for is overtaken by
//! newer ones: age counts without a clock, and only where there is a want of room. The USD are those that its
//! generation cost; where the cost is unknown, its completion tokens at [`NOMINAL_USD_PER_TOKEN`]; where nobody counted
//! those, a quarter of its text's bytes. Expired entries go before any other, and eviction stops at
//! [`TARGET_PERCENT`] of the capacity, so that it does not run for every new entry.

use super::StoreError;
use super::database::{Connection, Row, Statement, sql};
use super::entries::{Removed, integer, remove_entries};
use crate::chat::UnixMillis;

/// The price of a completion token where no price is known: 1 USD per million, that of a small model in 2026.
const NOMINAL_USD_PER_TOKEN: f64 = 1e-6;
/// Bytes of text in a token, about, where nobody counted.
const BYTES_PER_TOKEN: f64 = 4.0;
/// How full the store is left, in percent.
const TARGET_PERCENT: u64 = 95;
/// The most entries that one transaction removes, so that writes never wait long behind it.
pub(super) const BATCH: i64 = 256;

/// Returns the USD that one hit saves per MiB that removing the entry would free.
pub(super) fn gain(cost_usd: Option<f64>, completion_tokens: Option<u64>, text: &str, bytes: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
    let estimate = || completion_tokens.map_or(text.len() as f64 / BYTES_PER_TOKEN, |tokens| tokens as f64);
    let saved = cost_usd.unwrap_or_else(|| estimate() * NOMINAL_USD_PER_TOKEN);
    #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
    let mebibytes = bytes.max(1) as f64 / f64::from(1 << 20);
    saved.max(0.0) / mebibytes
}

/// Returns the query for up to [`BATCH`] entries that expired before this moment, the oldest first.
pub(super) fn expired(before: UnixMillis) -> Statement {
    sql("SELECT id, size FROM entries WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2")
        .bind(before.0)
        .bind(BATCH)
}

/// Removes up to [`BATCH`] entries that free these bytes or part of them: expired ones while there are any, then
/// those worth least.
pub(super) async fn evict(
    connection: &mut Connection,
    excess_bytes: u64,
    now: UnixMillis,
) -> Result<Removed, StoreError> {
    let excess = integer(excess_bytes);
    let expired = connection.rows(expired(now)).await?;
    if !expired.is_empty() {
        let (victims, _) = enough(&expired, excess)?;
        return remove_entries(connection, &victims).await;
    }
    let least = sql("SELECT id, size, worth FROM entries ORDER BY worth, id LIMIT $1").bind(BATCH);
    let least = connection.rows(least).await?;
    let (victims, last) = enough(&least, excess)?;
    if let Some(last) = last {
        let floor = sql("UPDATE eviction SET floor = $1 WHERE floor < $1").bind(last.get::<f64>("worth")?);
        connection.execute(floor).await?;
    }
    remove_entries(connection, &victims).await
}

/// Returns the ids of as many rows as free the excess, and the last of these rows.
fn enough(candidates: &[Row], excess: i64) -> Result<(Vec<i64>, Option<&Row>), StoreError> {
    let (mut victims, mut last, mut freed) = (Vec::new(), None, 0);
    for candidate in candidates {
        if freed >= excess {
            break;
        }
        freed += candidate.get::<i64>("size")?;
        victims.push(candidate.get("id")?);
        last = Some(candidate);
    }
    Ok((victims, last))
}

/// Returns the size at which eviction stops.
pub(super) const fn target_bytes(capacity_bytes: u64) -> u64 {
    capacity_bytes / 100 * TARGET_PERCENT
}

/// The bytes that all entries and contexts take, as we count them.
pub(super) const USED: &str = "SELECT CAST(coalesce((SELECT sum(size) FROM entries), 0) \
     + coalesce((SELECT sum(size) FROM contexts), 0) AS BIGINT) AS bytes";

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: usize = 1 << 20;

    #[test]
    fn a_hit_saves_the_cost_else_the_tokens_else_the_text() {
        let text = "x".repeat(4000);
        assert_eq!(gain(Some(0.5), Some(10), &text, MEBIBYTE), 0.5);
        assert_eq!(gain(None, Some(10), &text, MEBIBYTE), 10.0 * NOMINAL_USD_PER_TOKEN);
        assert_eq!(gain(None, None, &text, MEBIBYTE), 1000.0 * NOMINAL_USD_PER_TOKEN);
    }

    #[test]
    fn what_takes_more_room_must_save_more() {
        assert_eq!(gain(Some(0.5), None, "", 2 * MEBIBYTE), 0.25);
        assert_eq!(gain(Some(-1.0), None, "", MEBIBYTE), 0.0);
        assert!(gain(Some(0.5), None, "", 0).is_finite());
    }
}
