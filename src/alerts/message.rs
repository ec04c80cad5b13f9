//! Alerts as one message in the form that Slack takes, and those that take Slack's: Mattermost, Rocket.Chat, Zulip.

use std::fmt::Write;

use serde_json::json;

use super::kind::Alert;

/// Alerts that are written out in one message; of more only the number is told.
const LINES_MAX: usize = 20;
/// The longest line, in characters.
const LINE_CHARS_MAX: usize = 300;

/// Returns the body of one message about all of these.
pub fn body(alerts: &[Alert]) -> String {
    json!({ "text": text(alerts) }).to_string()
}

fn text(alerts: &[Alert]) -> String {
    let line = |alert: &Alert| {
        let word = if alert.is_bad() { "alert" } else { "recovered" };
        let line: String = format!("[{word}] {alert}").chars().take(LINE_CHARS_MAX).collect();
        escaped(&line)
    };
    if let [alert] = alerts {
        return format!("Refrain {}", line(alert));
    }
    let mut text = format!("Refrain, {} alerts:", alerts.len());
    for alert in alerts.iter().take(LINES_MAX) {
        write!(text, "\n• {}", line(alert)).expect("a text takes whatever is written to it");
    }
    if alerts.len() > LINES_MAX {
        write!(text, "\n• and {} more; see the log", alerts.len() - LINES_MAX)
            .expect("a text takes whatever is written to it");
    }
    text
}

/// Names of models are the operator's, and may still hold what Slack takes for a link or a call of everybody.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::kind::{Kind, Turn};

    fn alert(subject: &str, turn: Turn) -> Alert {
        Alert { kind: Kind::Breaker, subject: subject.into(), turn }
    }

    #[test]
    fn one_alert_is_one_line() {
        let text = text(&[alert("openai/gpt-4o-mini", Turn::Well)]);
        assert_eq!(text, "Refrain [recovered] the breaker of openai/gpt-4o-mini closed: it answers again");
    }

    #[test]
    fn many_alerts_are_one_message_of_bounded_length() {
        let many: Vec<_> =
            (0..50).map(|at| alert(&format!("u/{at}{}", "x".repeat(9_999)), Turn::Bad(None))).collect();
        let text = text(&many);
        assert!(text.starts_with("Refrain, 50 alerts:\n• [alert] the breaker of u/0"), "{text}");
        assert!(text.ends_with("• and 30 more; see the log"), "{text}");
        assert!(text.len() < 10_000);
    }

    #[test]
    fn a_name_calls_nobody_and_breaks_no_json() {
        let body = body(&[alert("u/<!channel>&\"\n", Turn::Bad(None))]);
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(value["text"].as_str().unwrap().contains("u/&lt;!channel&gt;&amp;\"\n"), "{body}");
    }
}
