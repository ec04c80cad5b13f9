//! The quiet hours: when may it run, and until when?
//!
//! A window is two times of day in one time zone, so it may reach over midnight, and on the night when clocks change it is
//! an hour shorter or longer. A time that such a night leaves out is read by the clock before the change, as calendars do
//! (RFC 5545, section 3.3.5); of one that comes twice, a window begins at the first and ends at the last.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The hours of every day in which something may run.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("`{0}` is no window; expected two times of day such as `01:00-05:00`")]
    Form(String),
    #[error("`{0}` begins when it ends")]
    Empty(String),
    #[error("`{0}` is no time zone that is known; expected a name such as `Europe/Berlin`, or `UTC`")]
    Zone(String),
}

impl Window {
    /// Reads a window such as `22:30-05:00`, in a time zone of the IANA database.
    ///
    /// # Errors
    /// [`WindowError`], which says what was expected.
    pub fn parse(text: &str, zone: &str) -> Result<Self, WindowError> {
        let form = || WindowError::Form(text.to_owned());
        let (from, to) = text.split_once(['-', '–']).ok_or_else(form)?;
        let time = |text: &str| Time::from_str(text.trim()).map_err(|_| form());
        let (from, to) = (time(from)?, time(to)?);
        if from == to {
            return Err(WindowError::Empty(text.to_owned()));
        }
        Ok(Self { from, to, zone: zone_of(zone)? })
    }

    /// Returns when the window that is open now closes; `None` outside of it.
    pub fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        // The one that began yesterday may reach into today.
        [today.yesterday().ok()?, today]
            .into_iter()
            .filter_map(|day| self.on(day))
            .find(|(opens, closes)| (*opens..*closes).contains(&now))
            .map(|(_, closes)| closes)
    }

    /// Returns when it opens next, or `now` where it is open.
    pub fn opens(&self, now: Timestamp) -> Timestamp {
        if self.closes(now).is_some() {
            return now;
        }
        let mut day = now.to_zoned(self.zone.clone()).date();
        // Some day's window lies ahead, even where a change of clocks swallowed one whole.
        for _ in 0..4 {
            if let Some((opens, _)) = self.on(day).filter(|(opens, _)| *opens > now) {
                return opens;
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        now
    }

    /// Returns how long it is open from now on, or from when it opens next.
    pub fn length(&self, now: Timestamp) -> Duration {
        let opens = self.opens(now);
        let closes = self.closes(opens).unwrap_or(opens);
        Duration::try_from(closes.duration_since(opens)).unwrap_or_default()
    }

    /// Returns the window that begins on this day; `None` where the clocks leave nothing of it.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let end = if self.to > self.from { day } else { day.tomorrow().ok()? };
        let opens = moment(&self.zone, day.to_datetime(self.from), Twice::First)?;
        let closes = moment(&self.zone, end.to_datetime(self.to), Twice::Last)?;
        (opens < closes).then_some((opens, closes))
    }
}

/// Finds a time zone by its name.
///
/// # Errors
/// [`WindowError::Zone`].
pub fn zone_of(name: &str) -> Result<TimeZone, WindowError> {
    TimeZone::get(name).map_err(|_| WindowError::Zone(name.to_owned()))
}

/// Which one, of a time that comes twice in a night.
#[derive(Clone, Copy)]
enum Twice {
    First,
    Last,
}

fn moment(zone: &TimeZone, at: DateTime, twice: Twice) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    let moment = match (ambiguous.offset(), twice) {
        (AmbiguousOffset::Gap { .. }, _) => ambiguous.compatible(),
        (_, Twice::First) => ambiguous.earlier(),
        (_, Twice::Last) => ambiguous.later(),
    };
    moment.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn window(text: &str, zone: &str) -> Window {
        Window::parse(text, zone).expect("a window")
    }

    #[test]
    fn a_window_is_open_from_its_first_moment_to_before_its_last() {
        let window = window("01:00-05:00", "UTC");
        assert_eq!(window.closes(at("2026-03-01T00:59:59Z")), None);
        assert_eq!(window.closes(at("2026-03-01T01:00:00Z")), Some(at("2026-03-01T05:00:00Z")));
        assert_eq!(window.closes(at("2026-03-01T04:59:59Z")), Some(at("2026-03-01T05:00:00Z")));
        assert_eq!(window.closes(at("2026-03-01T05:00:00Z")), None);
        assert_eq!(window.opens(at("2026-03-01T05:00:00Z")), at("2026-03-02T01:00:00Z"));
        assert_eq!(window.length(at("2026-03-01T12:00:00Z")), Duration::from_secs(4 * 3600));
    }

    #[test]
    fn it_may_reach_over_midnight_in_another_time_zone() {
        // Two hours before midnight in Tokyo is one in the afternoon in Greenwich.
        let window = window("22:00-04:00", "Asia/Tokyo");
        assert_eq!(window.closes(at("2026-03-01T13:00:00Z")), Some(at("2026-03-01T19:00:00Z")));
        assert_eq!(window.closes(at("2026-03-01T18:59:00Z")), Some(at("2026-03-01T19:00:00Z")));
        assert_eq!(window.opens(at("2026-03-01T19:00:00Z")), at("2026-03-02T13:00:00Z"));
    }

    #[test]
    fn on_the_night_when_clocks_change_it_is_an_hour_shorter_or_longer() {
        // Berlin, 2026-03-29: two becomes three. 2026-10-25: three becomes two again.
        let window = window("23:00-05:00", "Europe/Berlin");
        assert_eq!(window.length(at("2026-03-28T12:00:00Z")), Duration::from_secs(5 * 3600));
        assert_eq!(window.length(at("2026-10-24T12:00:00Z")), Duration::from_secs(7 * 3600));
        assert_eq!(window.closes(at("2026-03-29T02:30:00Z")), Some(at("2026-03-29T03:00:00Z")));
    }

    #[test]
    fn a_time_that_is_left_out_or_comes_twice_neither_cuts_nor_ends_it() {
        let left_out = window("02:30-05:00", "Europe/Berlin");
        assert_eq!(left_out.opens(at("2026-03-28T12:00:00Z")), at("2026-03-29T01:30:00Z"), "half past three");
        let twice = window("02:30-02:45", "Europe/Berlin");
        let first = at("2026-10-25T00:30:00Z");
        assert_eq!(twice.opens(at("2026-10-24T12:00:00Z")), first);
        assert_eq!(twice.closes(first), Some(at("2026-10-25T01:45:00Z")));
        let swallowed = window("02:00-03:00", "Europe/Berlin");
        assert_eq!(swallowed.opens(at("2026-03-29T00:30:00Z")), at("2026-03-30T00:00:00Z"));
    }

    #[test]
    fn what_is_no_window_says_what_was_expected() {
        for (text, zone, says) in [
            ("01:00", "UTC", "expected two times of day"),
            ("25:00-05:00", "UTC", "expected two times of day"),
            ("01:00-01:00", "UTC", "begins when it ends"),
            ("01:00-05:00", "Europe/Atlantis", "Europe/Atlantis` is no time zone"),
        ] {
            assert!(Window::parse(text, zone).unwrap_err().to_string().contains(says), "{text}");
        }
    }
}
