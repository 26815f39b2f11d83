//! From figures to places.

/// A range of figures, drawn between two places.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// From 0 to `high`, or a little more, so that it ends on a line.
    pub fn linear(high: f64, from: f64, to: f64) -> Scale {
        let high = if high > 0.0 { high } else { 1.0 };
        Scale { low: 0.0, high, from, to, logarithmic: false }
    }

    /// With all figures inside, from one of 1, 2, 5, 10, … to another.
    pub fn logarithmic(figures: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (low, high) = figures
            .filter(|figure| *figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), figure| (low.min(figure), high.max(figure)));
        let (low, high) = if low.is_finite() { (low, high) } else { (1.0, 10.0) };
        Scale { low: round_down(low), high: round_up(high), from, to, logarithmic: true }
    }

    pub fn high(&self) -> f64 {
        self.high
    }

    pub fn place(&self, figure: f64) -> f64 {
        let part = if self.logarithmic {
            let figure = figure.clamp(self.low, self.high);
            (figure / self.low).ln() / (self.high / self.low).ln()
        } else {
            figure.clamp(self.low, self.high) / self.high
        };
        self.from + part * (self.to - self.from)
    }

    /// Where lines are drawn.
    pub fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            return self.logarithmic_ticks();
        }
        let step = step(self.high / 5.0);
        (0..).map(|number| f64::from(number) * step).take_while(|tick| *tick <= self.high * 1.0001).collect()
    }

    fn logarithmic_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 3.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001).collect()
    }
}

const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// The next of 1, 2, 5, 10, … that is no less.
fn step(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    STEPS.iter().map(|step| step * power).find(|step| *step >= figure * 0.9999).unwrap_or(10.0 * power)
}

fn round_up(figure: f64) -> f64 {
    step(figure * 1.02)
}

fn round_down(figure: f64) -> f64 {
    let figure = figure / 1.02;
    let power = 10_f64.powf(figure.log10().floor());
    STEPS.iter().rev().map(|step| step * power).find(|step| *step <= figure * 1.0001).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_at_round_figures() {
        let scale = Scale::linear(4.7, 0.0, 470.0);
        assert_eq!(scale.ticks(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(scale.place(2.0), 200.0);
        assert_eq!(scale.place(9.0), 470.0, "what is too large ends at the end");
        let near = |ticks: Vec<f64>, expected: &[f64]| {
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            assert!(ticks.iter().zip(expected).all(|(tick, wanted)| (tick / wanted - 1.0).abs() < 1e-9), "{ticks:?}");
        };
        let scale = Scale::logarithmic([43.0, 436.0, 0.0].into_iter(), 100.0, 0.0);
        near(scale.ticks(), &[20.0, 50.0, 100.0, 200.0, 500.0]);
        assert!(scale.place(500.0).abs() < 1e-9 && (scale.place(20.0) - 100.0).abs() < 1e-9);
        let scale = Scale::logarithmic([3.0, 29_000.0].into_iter(), 0.0, 1.0);
        near(scale.ticks(), &[10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(Scale::logarithmic(std::iter::empty(), 0.0, 1.0).ticks().len(), 6, "nothing is a chart, too");
    }
}
