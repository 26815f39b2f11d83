//! From windows to figures.
//!
//! A shared machine's noise has one sign: something else makes a window slower, nothing makes one faster. So beside the
//! median stands the best quartile, which is what candidates are compared by, and the spread between the quartiles.

use serde::{Deserialize, Serialize};

/// One window as it was measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub ops: u64,
    pub wall_ns: u64,
    pub cpu_ns: u64,
    /// How busy the generator's CPU was, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_busy: Option<f64>,
    /// In an open loop: the 99th percentile of latency, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<u64>,
    /// Where memory is measured: bytes of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A figure of which less is better, in nanoseconds per operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub best_quartile: f64,
    pub median: f64,
    pub worst_quartile: f64,
}

impl Summary {
    pub fn of(mut values: Vec<f64>) -> Option<Summary> {
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(Summary {
            best_quartile: quantile(&values, 0.25),
            median: quantile(&values, 0.5),
            worst_quartile: quantile(&values, 0.75),
        })
    }

    /// The distance between the quartiles, as a part of the median.
    pub fn spread(&self) -> f64 {
        (self.worst_quartile - self.best_quartile) / self.median
    }

    /// How far the best quartile can be believed, as a part of it: half the way to the median and no less than `floor`.
    pub fn noise(&self, floor: f64) -> f64 {
        ((self.median - self.best_quartile) / self.best_quartile / 2.0).max(floor)
    }

    /// What it would be on a machine that is slower by this factor.
    pub fn times(&self, factor: f64) -> Summary {
        Summary {
            best_quartile: self.best_quartile * factor,
            median: self.median * factor,
            worst_quartile: self.worst_quartile * factor,
        }
    }

    /// Whether two cannot be told apart.
    pub fn ties(&self, other: &Summary, floor: f64) -> bool {
        let (low, high) = if self.best_quartile <= other.best_quartile { (self, other) } else { (other, self) };
        high.best_quartile <= low.best_quartile * (1.0 + low.noise(floor).max(high.noise(floor)))
    }
}

/// Linear between the neighbours.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let position = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

pub fn time_per_op(samples: &[Sample]) -> Option<Summary> {
    Summary::of(done(samples).map(|sample| sample.wall_ns as f64 / sample.ops as f64).collect())
}

pub fn cpu_per_op(samples: &[Sample]) -> Option<Summary> {
    Summary::of(done(samples).map(|sample| sample.cpu_ns as f64 / sample.ops as f64).collect())
}

pub fn p99(samples: &[Sample]) -> Option<Summary> {
    Summary::of(samples.iter().filter_map(|sample| sample.p99_ns).map(|ns| ns as f64).collect())
}

pub fn bytes(samples: &[Sample]) -> Option<Summary> {
    Summary::of(samples.iter().filter_map(|sample| sample.bytes).map(|bytes| bytes as f64).collect())
}

fn done(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| sample.ops > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(values: &[f64]) -> Summary {
        Summary::of(values.to_vec()).unwrap()
    }

    #[test]
    fn quartiles_lie_between_the_values() {
        let summary = summary(&[4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((summary.best_quartile, summary.median, summary.worst_quartile), (2.0, 3.0, 4.0));
        assert_eq!(Summary::of(Vec::new()), None);
        assert_eq!(self::summary(&[7.0]).spread(), 0.0);
    }

    #[test]
    fn what_lies_within_the_noise_is_a_tie() {
        let (steady, near, far) = (summary(&[100.0; 5]), summary(&[102.0; 5]), summary(&[110.0; 5]));
        assert!(steady.ties(&near, 0.03) && near.ties(&steady, 0.03));
        assert!(!steady.ties(&far, 0.03));
        let noisy = summary(&[100.0, 104.0, 130.0, 140.0, 150.0]);
        assert!(noisy.ties(&far, 0.03), "a noisy one is believed less");
    }
}
