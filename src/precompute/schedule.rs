//! When does the server buy by itself?

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Window;
use super::window::{WindowError, zone_of};

/// Runs at certain times, by the clock of one time zone. On the night when clocks change, a time that is left out is made up
/// for at once, and one that comes twice counts once.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: croner::Cron,
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "`{0}` is no schedule; expected minute, hour, day of month, month and day of week, such as `0 1 * * *`"
    )]
    Form(String),
    #[error(transparent)]
    Zone(#[from] WindowError),
}

/// How late a run may be made up for where no window says until when it is of use.
const LATE_HOURS_MAX: i64 = 6;

impl Schedule {
    /// Reads a schedule as cron writes it, in a time zone of the IANA database.
    ///
    /// # Errors
    /// [`ScheduleError`], which says what was expected.
    pub fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let cron = text.parse().map_err(|_| ScheduleError::Form(text.to_owned()))?;
        Ok(Self { cron, zone: zone_of(zone)? })
    }

    /// Returns the next time after this one; `None` where there is none.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&now, false).ok().map(|next| next.timestamp())
    }

    /// Returns whether a run was missed and is still of use: its time has come since the last one began, and the window is
    /// open, or where there is none it is not many hours ago.
    pub fn is_missed(&self, last: Option<Timestamp>, window: Option<&Window>, now: Timestamp) -> bool {
        let Some(before) = self.previous(now) else { return false };
        let is_of_use = match window {
            Some(window) => window.closes(now).is_some(),
            None => now.duration_since(before).as_hours() < LATE_HOURS_MAX,
        };
        is_of_use && last.is_none_or(|last| last < before)
    }

    fn previous(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&now, true).ok().map(|before| before.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn nightly(zone: &str) -> Schedule {
        Schedule::parse("0 1 * * *", zone).expect("a schedule")
    }

    #[test]
    fn the_next_time_is_by_the_clock_of_the_time_zone() {
        assert_eq!(nightly("UTC").next(at("2026-03-01T01:00:00Z")), Some(at("2026-03-02T01:00:00Z")));
        assert_eq!(nightly("Asia/Tokyo").next(at("2026-03-01T01:00:00Z")), Some(at("2026-03-01T16:00:00Z")));
        // In Berlin an hour earlier by Greenwich once the clocks have gone on.
        let berlin = nightly("Europe/Berlin");
        assert_eq!(berlin.next(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T00:00:00Z")));
        assert_eq!(berlin.next(at("2026-03-29T12:00:00Z")), Some(at("2026-03-29T23:00:00Z")));
    }

    #[test]
    fn a_missed_run_is_made_up_for_while_it_is_of_use() {
        let (schedule, noon) = (nightly("UTC"), at("2026-03-01T12:00:00Z"));
        let window = Window::parse("01:00-05:00", "UTC").expect("a window");
        let three = at("2026-03-01T03:00:00Z");
        assert!(schedule.is_missed(None, Some(&window), three));
        assert!(schedule.is_missed(Some(at("2026-02-28T01:00:00Z")), Some(&window), three));
        assert!(!schedule.is_missed(Some(at("2026-03-01T01:00:00Z")), Some(&window), three), "it ran");
        assert!(!schedule.is_missed(None, Some(&window), noon), "the window is shut");
        assert!(schedule.is_missed(None, None, three) && !schedule.is_missed(None, None, noon));
    }

    #[test]
    fn what_is_no_schedule_says_what_was_expected() {
        let wrong = Schedule::parse("every night", "UTC").unwrap_err().to_string();
        assert!(wrong.contains("expected minute, hour"), "{wrong}");
        assert!(Schedule::parse("0 1 * * *", "Europe/Atlantis").is_err());
    }
}
