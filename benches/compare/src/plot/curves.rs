//! Latencies by percentile: both axes logarithmic, the one below by 1 / (1 - p).

use super::page::{BOTTOM, LEFT, Page, RIGHT, TOP};
use crate::report::Row;
use crate::told::Times;

/// How far to the right the picture goes: 99.999 %.
const NINES: f64 = 5.0;
/// Points of a line.
const POINTS: u32 = 200;

/// The curves of all rows that have times; nothing if there are none.
pub fn draw(title: &str, under: &str, rows: &[&Row]) -> Option<String> {
    let curves: Vec<_> = rows.iter().filter_map(|row| Some((row, points(row.times.as_ref()?)))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points.iter().map(|(_, ns)| *ns));
    let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let (low, high) = (low.max(0.1).log10().floor(), high.max(1.0).log10().ceil());
    let (low, high) = (low, high.max(low + 1.0));
    let y_of = |ns: f64| BOTTOM - (ns.max(0.1).log10() - low) / (high - low) * (BOTTOM - TOP);
    let x_of = |nines: f64| LEFT + nines / NINES * (RIGHT - LEFT);

    let mut page = Page::new(title, under);
    for decade in low as i32..=high as i32 {
        page.across(y_of(10_f64.powi(decade)), &time(10_f64.powi(decade)));
    }
    for (nines, label) in ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"].iter().enumerate() {
        page.below(x_of(nines as f64), label);
    }
    page.axes("time", "percentile");
    for (number, (row, points)) in curves.iter().enumerate() {
        let points: Vec<_> = points.iter().map(|&(nines, ns)| (x_of(nines), y_of(ns))).collect();
        page.line(number, &points);
        let readers = row.readers.map_or_else(String::new, |readers| format!(", {readers} readers"));
        page.legend(number, &format!("{}{readers}", row.label()));
    }
    Some(page.finish())
}

/// (-log10(1 - p), nanoseconds), as far as there are samples.
fn points(times: &Times) -> Vec<(f64, f64)> {
    let most = (times.len().max(2) as f64).log10().min(NINES);
    (0..=POINTS)
        .map(|at| {
            let nines = most * f64::from(at) / f64::from(POINTS);
            (nines, times.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64 / 1000.0)
        })
        .collect()
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{} us", ns / 1e3),
        ns => format!("{ns} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::no_times;

    #[test]
    fn a_curve_rises_as_far_as_there_are_samples() {
        let mut times = no_times();
        (1..=1000_u64).for_each(|ns| times.saturating_record(ns * 1000));
        let points = points(&times);
        assert!(points.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1));
        assert!((points[points.len() - 1].0 - 3.0).abs() < 1e-9, "1000 samples say nothing beyond 99.9 %");
        assert!((points[0].1 - 1.0).abs() < 0.02, "{:?}", points[0]);
    }
}
