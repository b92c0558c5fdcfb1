//! What was measured, what it is held against, and how both are shown.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// Samples of one quantity, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Of any samples.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// Of nanoseconds, in milliseconds.
    pub(crate) fn of_ns(samples: impl IntoIterator<Item = u64>) -> Self {
        Self::of(samples.into_iter().map(|ns| ns as f64 / 1e6))
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least this share of all does not exceed. NaN without samples: then nothing holds.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    /// Median.
    pub(crate) fn p50(&self) -> f64 {
        self.at(0.5)
    }

    /// Ninety-nine of a hundred.
    pub(crate) fn p99(&self) -> f64 {
        self.at(0.99)
    }

    /// Largest.
    pub(crate) fn max(&self) -> f64 {
        self.at(1.0)
    }

    fn json(&self) -> Value {
        json!({"n": self.count(), "p50": self.p50(), "p99": self.p99(), "max": self.max()})
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    measured: Samples,
    limit: Option<Samples>,
    ratio: Option<f64>,
    target: String,
    /// `None` for figures that only explain others.
    reached: Option<bool>,
    note: String,
}

impl Row {
    /// A figure that only explains others.
    pub(crate) fn shown(name: impl Into<String>, unit: &'static str, measured: Samples) -> Self {
        let (name, target) = (name.into(), String::new());
        Self { name, unit, measured, limit: None, ratio: None, target, reached: None, note: String::new() }
    }

    /// Must not exceed so much, at this share of samples.
    pub(crate) fn at_most(self, share: f64, most: f64) -> Self {
        let reached = self.measured.at(share) <= most;
        let target = format!("{} ≤ {most} {}", share_name(share), self.unit);
        Self { reached: Some(reached), target, ..self }
    }

    /// The median must not exceed so many times the limit's median.
    pub(crate) fn within(self, limit: Samples, times: f64) -> Self {
        let ratio = self.measured.p50() / limit.p50();
        let target = format!("p50 ≤ {times} × limit");
        Self { ratio: Some(ratio), limit: Some(limit), reached: Some(ratio <= times), target, ..self }
    }

    /// The ninety-ninth of a hundred must not exceed the limit's by more than so much.
    pub(crate) fn above(self, limit: Samples, by: f64) -> Self {
        let reached = self.measured.p99() <= limit.p99() + by;
        let target = format!("p99 ≤ limit + {by} {}", self.unit);
        let ratio = self.measured.p99() / limit.p99();
        Self { ratio: Some(ratio), limit: Some(limit), reached: Some(reached), target, ..self }
    }

    /// Shown beside a limit, without a target.
    pub(crate) fn beside(self, limit: Samples) -> Self {
        Self { ratio: Some(self.measured.p50() / limit.p50()), limit: Some(limit), ..self }
    }

    /// What is compared with what.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn json(&self) -> Value {
        json!({
            "figure": self.name, "unit": self.unit, "measured": self.measured.json(),
            "limit": self.limit.as_ref().map(Samples::json), "ratio": self.ratio, "target": self.target,
            "reached": self.reached, "note": self.note,
        })
    }
}

fn share_name(share: f64) -> String {
    if share >= 1.0 { "max".to_owned() } else { format!("p{}", (share * 100.0).round()) }
}

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order they were measured.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Whether every target was reached.
    pub(crate) fn good(&self) -> bool {
        self.rows.iter().all(|row| row.reached != Some(false))
    }

    /// For a program.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let doc = json!({"schema": "holdfast.perf.v1", "good": self.good(), "cores": cores(), "rows": rows});
        format!("{doc:#}\n")
    }
}

/// The table's first line.
pub(crate) fn head() -> String {
    format!(
        "{:<52} {:>4} {:>9} {:>9} {:>9} {:>9} {:>6}  {:<24} {}\n",
        "figure", "n", "p50", "p99", "max", "limit", "ratio", "target", "verdict"
    )
}

/// Lines of the table, for a person.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let limit = row.limit.as_ref().map_or_else(String::new, |limit| format!("{:.2}", limit.p50()));
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let verdict = match row.reached {
            Some(true) => "ok",
            Some(false) => "OVER",
            None => "",
        };
        let _ = writeln!(
            text,
            "{:<52} {:>4} {:>9.2} {:>9.2} {:>9.2} {limit:>9} {ratio:>6}  {:<24} {verdict}",
            format!("{} [{}]", row.name, row.unit),
            row.measured.count(),
            row.measured.p50(),
            row.measured.p99(),
            row.measured.max(),
            row.target,
        );
        if !row.note.is_empty() {
            let _ = writeln!(text, "    {}", row.note);
        }
    }
    text
}

/// Cores this machine gives us.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_samples() {
        let samples = Samples::of((1..=200).map(f64::from));
        assert_eq!([samples.p50(), samples.p99(), samples.max()], [100.0, 198.0, 200.0]);
        let one = Samples::of([7.0]);
        assert_eq!([one.p50(), one.p99(), one.max()], [7.0; 3]);
        assert!(Samples::default().p50().is_nan());
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let few = || Samples::of([1.0, 2.0, 3.0]);
        let row = |samples| Row::shown("figure", "ms", samples);
        for (row, good) in [
            (row(few()).at_most(1.0, 3.0), true),
            (row(few()).at_most(1.0, 2.9), false),
            (row(few()).within(few(), 1.5), true),
            (row(Samples::of([4.0])).within(few(), 1.5), false),
            (row(Samples::of([4.0])).above(few(), 2.0), true),
            (row(Samples::of([5.1])).above(few(), 2.0), false),
            (row(Samples::default()).at_most(1.0, 3.0), false),
            (row(Samples::default()).within(few(), 1.5), false),
            (row(few()).within(Samples::default(), 1.5), false),
            (row(Samples::default()), true),
        ] {
            let report = Report { rows: vec![row] };
            assert_eq!(report.good(), good, "{}", table(&report.rows));
        }
    }
}
