//! Curves for a terminal: what is served right against what is served wrong, in plain characters.
//!
//! Drawn here and not by a crate: those that draw in dots of Braille tell curves apart by colour alone, which a pipe, a
//! log and many eyes lose. A curve is one character here, so nothing is lost where there is no colour.

use super::curve::{Curve, Point};

/// Steps across and upwards; with the labels the picture is within 60 columns and 15 rows.
const COLUMNS: usize = 50;
const ROWS: usize = 10;
/// What curves are drawn with, the first on top of the others.
const MARKS: [char; 3] = ['#', '+', '.'];
const IN_FORCE: char = 'O';
/// Columns between two labels of the axis.
const LABEL_EVERY: usize = 10;
/// Room for `100 %`.
const LEFT: usize = 5;

/// Draws at most three curves over one another, each in its own character: across, the share of traps that is served, up
/// to `traps_max`; upwards, the share of shareable pairs. A curve ends where it can serve no more. `mark` is the point in
/// force.
pub fn plot(curves: &[(&str, &Curve)], mark: Option<Point>, traps_max: f64) -> String {
    let mut cells = [[' '; COLUMNS + 1]; ROWS + 1];
    for ((_, curve), character) in curves.iter().zip(MARKS).rev() {
        for (column, share) in heights(curve, traps_max).into_iter().enumerate() {
            cells[row(share)][column] = character;
        }
    }
    if let Some(point) = mark {
        cells[row(point.hit_rate().share)][column(point.trap_rate().share, traps_max)] = IN_FORCE;
    }
    let mut out = String::from("right served, over traps served");
    out.push_str(if mark.is_some() { "; O is in force\n" } else { "\n" });
    for (row, cells) in cells.iter().enumerate().rev() {
        let label = if row % 5 == 0 { format!("{} %", row * 100 / ROWS) } else { String::new() };
        let line: String = cells.iter().collect();
        out.push_str(format!("{label:>LEFT$}|{line}").trim_end());
        out.push('\n');
    }
    out.push_str(&format!("{:LEFT$}+{}\n", "", "-".repeat(COLUMNS + 1)));
    // Each label begins below its tick, so that the first stands below the corner.
    let labels = (0..=COLUMNS).step_by(LABEL_EVERY).map(|column| {
        let share = traps_max * 100.0 * column as f64 / COLUMNS as f64;
        format!("{:<LABEL_EVERY$}", format!("{} %", (share * 10.0).round() / 10.0))
    });
    out.push_str(format!("{:LEFT$} {}", "", labels.collect::<String>()).trim_end());
    out.push_str(&format!("\n{:LEFT$}", ""));
    for ((name, _), character) in curves.iter().zip(MARKS) {
        out.push_str(&format!(" {character} {name} "));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Returns the height of a curve above each column as far as the curve goes.
fn heights(curve: &Curve, traps_max: f64) -> Vec<f64> {
    let end = curve.points().last().map_or(0.0, |point| point.trap_rate().share);
    (0..=column_above(end, traps_max))
        .map(|column| curve.recall_at_traps(traps_max * column as f64 / COLUMNS as f64))
        .collect()
}

fn row(share: f64) -> usize {
    (share * ROWS as f64).round() as usize
}

fn column(share: f64, traps_max: f64) -> usize {
    ((share / traps_max * COLUMNS as f64).round() as usize).min(COLUMNS)
}

/// The first column at which a curve has served all that it ever does.
fn column_above(share: f64, traps_max: f64) -> usize {
    ((share / traps_max * COLUMNS as f64).ceil() as usize).min(COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Judged;

    fn judged(may_share: bool, score: f64) -> Judged {
        Judged { may_share, score, vetoed_by: None }
    }

    /// Ten shareable pairs and ten traps; this many of the traps are vetoed.
    fn curve(vetoed: usize) -> Curve {
        let shareable = (0..10).map(|at| judged(true, 0.1 * f64::from(at)));
        let traps = (0..10_u8).map(|at| Judged {
            vetoed_by: (usize::from(at) < vetoed).then_some("numbers"),
            ..judged(false, 0.05 + 0.1 * f64::from(at))
        });
        Curve::new(shareable.chain(traps).collect())
    }

    #[test]
    fn a_picture_fits_a_narrow_terminal_and_needs_no_colour() {
        let (guarded, bare) = (curve(9), curve(0));
        let curves = [("guards and score", &guarded), ("score alone", &bare), ("cosine alone", &bare)];
        let picture = plot(&curves, Some(guarded.at(0.5)), 0.25);
        let lines: Vec<_> = picture.lines().collect();
        assert!(lines.len() <= 15 && lines.iter().all(|line| line.chars().count() <= 60), "{picture}");
        assert!(picture.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{picture}");
        assert!(picture.contains("# guards and score  + score alone  . cosine alone"), "{picture}");
        assert_eq!(picture.matches('O').count(), 2, "one in the picture and one in its heading:\n{picture}");
    }

    #[test]
    fn a_curve_ends_where_it_can_serve_no_more_and_the_first_lies_on_top() {
        let (guarded, bare) = (curve(9), curve(0));
        let picture = plot(&[("ours", &guarded), ("theirs", &bare)], None, 1.0);
        let rows: Vec<_> =
            picture.lines().filter_map(|line| line.split_once('|')).map(|(_, row)| row).collect();
        // One of ten traps passes, so the first curve ends at a tenth of the width, with everything served.
        let furthest = |mark| rows.iter().filter_map(|row| row.rfind(mark)).max();
        assert_eq!((furthest('#'), furthest('+')), (Some(5), Some(50)));
        assert!(rows[0].starts_with("     #"), "{picture}");
    }

    #[test]
    fn nothing_to_draw_is_no_failure() {
        let curve = Curve::new(vec![Judged { vetoed_by: Some("numbers"), ..judged(true, 0.5) }]);
        assert!(plot(&[("ours", &curve)], None, 0.25).contains("  0 %|#"));
    }
}
