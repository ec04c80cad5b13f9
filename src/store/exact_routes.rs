//! Which routes answer equal requests only, though their configuration would let similar ones be answered?
//!
//! Only those have a row, so the table is small, and it is written whole.

use super::database::{Connection, Row, sql};
use super::writer::Write;
use super::{SCAN_TIMEOUT, Store, StoreError};
use crate::chat::UnixMillis;

/// A route whose semantic look-ups are switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactRoute {
    /// The route's label: its alias, or `other`.
    pub route: String,
    pub since: UnixMillis,
    pub reason: ExactReason,
    /// How many of its semantic hits were checked with a result at that time, and how many of those were wrong.
    pub checked: u64,
    pub different: u64,
}

/// Who switched it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactReason {
    /// Too many of its checked hits were wrong.
    Checks,
    /// An administrator.
    Person,
}

impl ExactReason {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Person => "person",
        }
    }
}

impl Store {
    /// Writes down which routes answer equal requests only, in place of all that was written before. Returns after the
    /// commit. Of each route there may be one row.
    pub async fn put_exact_routes(&self, all: Vec<ExactRoute>) -> Result<(), StoreError> {
        self.write(Write::PutExactRoutes(all)).await.map(drop)
    }

    /// Returns what was last written down, by name.
    pub async fn exact_routes(&self) -> Result<Vec<ExactRoute>, StoreError> {
        let all = sql("SELECT route, since, reason, checked, different FROM exact_routes ORDER BY route");
        self.read(all, SCAN_TIMEOUT).await?.iter().map(read_route).collect()
    }
}

/// Replaces the whole table.
pub(super) async fn put_exact_routes(
    connection: &mut Connection,
    all: &[ExactRoute],
) -> Result<(), StoreError> {
    connection.execute(sql("DELETE FROM exact_routes")).await?;
    for ExactRoute { route, since, reason, checked, different } in all {
        let row = sql("INSERT INTO exact_routes (route, since, reason, checked, different) \
             VALUES ($1, $2, $3, $4, $5)")
        .bind(route.as_str())
        .bind(since.0)
        .bind(reason.name())
        .bind(i64::try_from(*checked).unwrap_or(i64::MAX))
        .bind(i64::try_from(*different).unwrap_or(i64::MAX));
        connection.execute(row).await?;
    }
    Ok(())
}

fn read_route(row: &Row) -> Result<ExactRoute, StoreError> {
    let reason: String = row.get("reason")?;
    let count = |column| {
        let count: i64 = row.get(column)?;
        u64::try_from(count).map_err(|_| StoreError::Unfit { reason: "a count is below zero" })
    };
    Ok(ExactRoute {
        route: row.get("route")?,
        since: UnixMillis(row.get("since")?),
        // A word of a later version is somebody's reason all the same, and the route stays as it was left.
        reason: if reason == ExactReason::Checks.name() { ExactReason::Checks } else { ExactReason::Person },
        checked: count("checked")?,
        different: count("different")?,
    })
}
