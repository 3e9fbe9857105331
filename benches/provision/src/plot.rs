//! The plot of `docs/performance.md`: a bar a verb, what the calls needed in dark, what the tool added in light.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Figures;

const ROW: usize = 22;
const LABEL: usize = 175;
const BARS: f64 = 400.0;
const WIDTH: usize = 760;

/// Writes `provision.svg` into `folder`.
pub fn write(folder: &Path, figures: &[(&str, Duration, Figures)]) {
    fs::create_dir_all(folder).expect("the folder can be made");
    fs::write(folder.join("provision.svg"), svg(figures)).expect("the folder can be written to");
}

fn svg(figures: &[(&str, Duration, Figures)]) -> String {
    let longest = figures.iter().map(|(_, _, f)| f.wall.max(f.floor)).max().unwrap_or_default().as_secs_f64();
    let width = |time: Duration| time.as_secs_f64() / longest * BARS;
    let height = (figures.len() + 3) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (row, (verb, delay, f)) in figures.iter().enumerate() {
        let (y, text) = ((row + 1) * ROW, (row + 1) * ROW + 12);
        let (floor, wall) = (width(f.floor.min(f.wall)), width(f.wall));
        let label = format!("{verb}, +{} ms a call", delay.as_millis());
        let told = format!("{:.2} s, {} calls, {:.2} × floor", f.wall.as_secs_f64(), f.calls, f.ratio());
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{wall:.1}\" height=\"15\" fill=\"#9ecae1\"/>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{floor:.1}\" height=\"15\" fill=\"#3182bd\"/>\
             <text x=\"{:.1}\" y=\"{text}\" font-size=\"10\" fill=\"#444\">{told}</text>",
            LABEL - 8,
            LABEL as f64 + wall + 6.0,
        );
    }
    let y = (figures.len() + 2) * ROW;
    let _ = writeln!(
        svg,
        "<rect x=\"{LABEL}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"#3182bd\"/>\
         <text x=\"{}\" y=\"{y}\">calls that had to follow one another</text>\
         <rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"#9ecae1\"/>\
         <text x=\"{}\" y=\"{y}\">what chatctl added</text>",
        y - 9,
        LABEL + 16,
        LABEL + 250,
        y - 9,
        LABEL + 266,
    );
    svg.push_str("</svg>\n");
    svg
}
