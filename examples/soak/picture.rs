//! The curves, as a small SVG.

use std::fmt::Write;

use crate::flatness::Sample;

const WIDTH: f64 = 720.0;
const PANEL: f64 = 90.0;
const LEFT: f64 = 150.0;

type Panel = (&'static str, fn(&Sample) -> u64, &'static str);

const PANELS: [Panel; 3] = [
    ("resident, KiB", |sample| sample.resident_kib, "#0b6e99"),
    ("open files", |sample| sample.open_files, "#b35c00"),
    ("in flight", |sample| sample.in_flight, "#3a7d34"),
];

pub fn draw(samples: &[Sample]) -> String {
    let height = PANEL * PANELS.len() as f64 + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
    let right = WIDTH - 15.0;
    for (index, (name, figure, colour)) in PANELS.into_iter().enumerate() {
        let (top, bottom) = (index as f64 * PANEL + 12.0, (index as f64 + 1.0) * PANEL);
        let most = samples.iter().map(figure).max().unwrap_or(0).max(1);
        // From nothing on, so that a slope looks as steep as it is.
        let y = |value: u64| bottom - (bottom - top) * value as f64 / most as f64;
        let x = |sample: &Sample| LEFT + (right - LEFT) * sample.at.as_secs_f64() / end;
        let points: String =
            samples.iter().map(|sample| format!("{:.1},{:.1} ", x(sample), y(figure(sample)))).collect();
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#999\"/>\n\
             <text x=\"8\" y=\"{:.0}\">{name}</text>\n\
             <text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{most}</text>\n\
             <text x=\"{}\" y=\"{bottom:.0}\" text-anchor=\"end\">0</text>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
            top + 30.0,
            LEFT - 5.0,
            top + 8.0,
            LEFT - 5.0,
            points.trim_end()
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\">0</text>\n<text x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\">{end:.0} s</text>\n</svg>\n",
        height - 12.0,
        height - 12.0
    );
    svg
}
