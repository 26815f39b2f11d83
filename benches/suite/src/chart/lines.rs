//! Lines over steps: how something changes with connections, depth or percentile. Both figures and steps are on log
//! scales or by name; each line has its name at its end.

use super::scale::Scale;
use super::{Chart, Width, fitting};
use crate::candidate::Kind;

pub struct Series {
    pub name: String,
    pub kind: Kind,
    /// One for each step; `None` where nothing was measured.
    pub figures: Vec<Option<f64>>,
}

pub struct Lines<'a> {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Of the steps.
    pub across: &'a str,
    /// Of the figures.
    pub upwards: String,
    pub steps: Vec<String>,
    pub series: Vec<Series>,
    pub show: &'a dyn Fn(f64) -> String,
    pub show_round: &'a dyn Fn(f64) -> String,
}

const COLOURS: usize = 10;
/// From here on lines are dashed: so many colours cannot be told apart.
const DASHED_FROM: usize = 6;
const LETTERS: f64 = 12.0;

impl Lines<'_> {
    pub fn draw(self, width: Width) -> Chart {
        let mut chart = Chart::new(&self.name, &self.title, self.description.clone(), width);
        let (left, right, plot): (f64, f64, f64) = match width {
            Width::Wide => (64.0, 600.0, 280.0),
            Width::Narrow => (52.0, 220.0, 280.0),
        };
        let (top, bottom) = (28.0, 28.0 + plot.max(self.series.len() as f64 * 16.0));
        chart.height = bottom + 40.0;
        let figures = self.series.iter().flat_map(|series| series.figures.iter().flatten().copied());
        let scale = Scale::logarithmic(figures, bottom, top);
        chart.text(4.0, 14.0, "dim small", format!("{}; log scale, less is better", self.upwards));
        for tick in scale.ticks() {
            let y = scale.place(tick);
            chart.line("grid", (left, y), (right, y));
            chart.text(left - 6.0, y + 4.0, "dim small end", (self.show_round)(tick));
        }
        let place = |step: usize| {
            let last = self.steps.len().max(2) - 1;
            left + 14.0 + (right - left - 28.0) * step as f64 / last as f64
        };
        for (step, name) in self.steps.iter().enumerate() {
            chart.line("axis", (place(step), bottom), (place(step), bottom + 4.0));
            chart.text(place(step), bottom + 17.0, "dim small middle", name);
        }
        chart.line("axis", (left, bottom), (right, bottom));
        chart.text((left + right) / 2.0, bottom + 34.0, "dim small middle", self.across);
        let labels = self.labels(&scale, top, bottom);
        // Ours last, over the others.
        let mut order: Vec<usize> = (0..self.series.len()).collect();
        order.sort_by_key(|&number| self.series[number].kind == Kind::Ours);
        for number in order {
            self.series(&mut chart, number, &scale, &place, labels[number], width);
        }
        chart
    }

    /// Heights of the names: beside the ends of their lines, and not over each other.
    fn labels(&self, scale: &Scale, top: f64, bottom: f64) -> Vec<f64> {
        let ends: Vec<f64> =
            self.series.iter().map(|series| series.last().map_or(bottom, |(_, end)| scale.place(end))).collect();
        spread(&ends, 15.0, top, bottom)
    }

    fn series(
        &self,
        chart: &mut Chart,
        number: usize,
        scale: &Scale,
        place: &dyn Fn(usize) -> f64,
        label: f64,
        width: Width,
    ) {
        let series = &self.series[number];
        let Some((last, end)) = series.last() else { return };
        let kind = if series.kind == Kind::Ours { "ours " } else { "" };
        let dashes = match series.kind {
            Kind::Limit => " dotted",
            _ if number % COLOURS < DASHED_FROM => "",
            _ => " dashed",
        };
        let shown: Vec<String> = self
            .steps
            .iter()
            .zip(&series.figures)
            .filter_map(|(step, figure)| Some(format!("{step}: {}", (self.show)((*figure)?))))
            .collect();
        let tip = format!("{}: {}", series.name, shown.join(", "));
        chart.open_for(&format!("{kind}s{}{dashes}", number % COLOURS), &series.name, &tip);
        let mut path = String::new();
        let mut drawing = false;
        for (step, figure) in series.figures.iter().enumerate() {
            let Some(figure) = figure else {
                drawing = false;
                continue;
            };
            path.push_str(&format!(
                "{}{:.1} {:.1}",
                if drawing { "L" } else { "M" },
                place(step),
                scale.place(*figure)
            ));
            drawing = true;
        }
        chart.path("series", &path);
        for (step, figure) in series.figures.iter().enumerate() {
            if let Some(figure) = figure {
                chart.path("mark", &shape(number, place(step), scale.place(*figure)));
            }
        }
        let (x, end) = (place(last), scale.place(end));
        let from = place(self.steps.len().max(1) - 1) + 14.0;
        chart.path("lead", &format!("M{:.1} {end:.1}L{from:.1} {end:.1}L{:.1} {label:.1}", x + 5.0, from + 12.0));
        chart.path("mark", &shape(number, from + 19.0, label));
        let strong = if series.kind == Kind::Ours { "strong" } else { "" };
        let name = fitting(&series.name, LETTERS, width.pixels() - from - 27.0);
        chart.text(from + 27.0, label + 4.0, strong, name);
        chart.close();
    }
}

impl Series {
    /// The last figure and its step.
    fn last(&self) -> Option<(usize, f64)> {
        self.figures.iter().enumerate().rev().find_map(|(step, figure)| Some((step, (*figure)?)))
    }
}

/// Places that are `apart` from each other and near to what was wanted, in the same order.
fn spread(wanted: &[f64], apart: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut places = vec![0.0; wanted.len()];
    let mut free = low;
    for &number in &order {
        places[number] = wanted[number].max(free);
        free = places[number] + apart;
    }
    // What was pushed out at the end comes back.
    let mut free = high;
    for &number in order.iter().rev() {
        places[number] = places[number].min(free);
        free = places[number] - apart;
    }
    places
}

/// A shape for each series, so that nobody needs its colour.
fn shape(number: usize, x: f64, y: f64) -> String {
    match number % 4 {
        0 => format!("M{:.1} {y:.1}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z", x - 4.5),
        1 => format!("M{:.1} {:.1}h8v8h-8z", x - 4.0, y - 4.0),
        2 => format!("M{x:.1} {:.1}l5 9h-10z", y - 5.0),
        _ => format!("M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z", y - 5.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lie_over_each_other() {
        assert_eq!(spread(&[50.0, 52.0, 10.0], 15.0, 0.0, 100.0), [50.0, 65.0, 10.0]);
        assert_eq!(spread(&[99.0, 98.0, 97.0], 15.0, 0.0, 100.0), [100.0, 85.0, 70.0]);
    }
}
