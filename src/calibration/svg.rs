//! A curve as a picture: what is served right against what is served wrong.

use std::fmt::Write as _;

use super::curve::{Curve, Point};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Colours that people who see no red or green can tell apart (Okabe and Ito 2008).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// Draws curves over one another, each with its name: across, the share of traps that is served, up to `traps_max`;
/// upwards, the share of shareable pairs. `mark` is the point in force.
pub fn svg(title: &str, curves: &[(&str, &Curve)], mark: Option<Point>, traps_max: f64) -> String {
    let x = |share: f64| LEFT + (share / traps_max).min(1.0) * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"22\" \
         font-size=\"14\" font-weight=\"600\">{}</text>\n",
        escaped(title)
    );
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        let (across, up) = (x(share * traps_max), y(share));
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        // A String takes whatever is written to it.
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {up:.1}H{right}M{across:.1} {TOP}V{bottom}\" stroke=\"#e4e4e4\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\n\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} %</text>",
            LEFT - 8.0,
            up + 4.0,
            share * 100.0,
            bottom + 18.0,
            share * traps_max * 100.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">traps served</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">shareable pairs served</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 16.0,
        (TOP + HEIGHT - BOTTOM) / 2.0
    );
    for (at, (name, curve)) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
        for point in curve.points() {
            let (wrong, hits) = (point.trap_rate().share, point.hit_rate().share);
            if wrong > traps_max {
                break;
            }
            let _ = write!(path, "L{:.1} {:.1}", x(wrong), y(hits));
        }
        let row = TOP + 16.0 * at as f64 + 14.0;
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{row:.1}\" fill=\"{colour}\">{}</text>",
            LEFT + 12.0,
            escaped(name)
        );
    }
    if let Some(point) = mark {
        let (wrong, hits) = (point.trap_rate().share, point.hit_rate().share);
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"#222\"/><text x=\"{:.1}\" y=\"{:.1}\">{:.3}</text>",
            x(wrong),
            y(hits),
            x(wrong) + 9.0,
            y(hits) + 4.0,
            point.threshold
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Judged;

    #[test]
    fn a_picture_holds_its_curves_and_the_point_in_force() {
        let judged = |may_share, score| Judged { may_share, score, vetoed_by: None };
        let curve = Curve::new(vec![judged(true, 0.9), judged(false, 0.5)]);
        let picture = svg("a < b", &[("ours", &curve)], Some(curve.at(0.9)), 0.2);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("a &lt; b") && picture.contains(">ours<") && picture.contains("<circle"));
    }
}
