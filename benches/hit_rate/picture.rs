//! Shares as bars: what is served right, and beside it what is served wrong.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
const ROW: f64 = 30.0;
const BOTTOM: f64 = 52.0;
/// Colours that people who see no red or green can tell apart (Okabe and Ito 2008).
const RIGHTLY: &str = "#0072b2";
const WRONGLY: &str = "#d55e00";

/// One method; both shares are of all prompts.
pub struct Bar<'a> {
    pub name: &'a str,
    pub right: f64,
    pub wrong: f64,
}

/// Draws bars from 0 to 100 %, and a line at `most`, which is what could be served at all.
pub fn bars(title: &str, bars: &[Bar<'_>], most: f64) -> String {
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"22\" \
         font-size=\"14\" font-weight=\"600\">{title}</text>\n"
    );
    // A String takes whatever is written to it.
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {TOP}V{bottom}\" stroke=\"#e4e4e4\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} %</text>",
            x(share),
            x(share),
            bottom + 18.0,
            share * 100.0
        );
    }
    for (at, Bar { name, right, wrong }) in bars.iter().enumerate() {
        let top = TOP + ROW * at as f64 + 6.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            top + 13.0
        );
        for (colour, from, to) in [(RIGHTLY, 0.0, *right), (WRONGLY, *right, right + wrong)] {
            let (from, width) = (x(from), x(to) - x(from));
            let _ = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                ROW - 12.0
            );
        }
    }
    let _ = writeln!(
        out,
        "<path d=\"M{:.1} {TOP}V{bottom}\" stroke=\"#222\" stroke-dasharray=\"4 3\"/>\n\
         <text x=\"{LEFT}\" y=\"{:.1}\"><tspan fill=\"{RIGHTLY}\">right</tspan>, <tspan fill=\"{WRONGLY}\">wrong</tspan>; \
         dashed: the intent was asked before</text>\n</svg>",
        x(most),
        bottom + 38.0
    );
    out
}
