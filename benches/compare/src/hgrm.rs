//! Percentiles as text, as HdrHistogram's plotter reads them: `.hgrm`.

use crate::report::Row;
use crate::told::Times;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::Path;

/// Lines for each halving of what is left.
const TICKS_PER_HALF: u32 = 5;

/// One file for each row that has times.
///
/// # Errors
/// They can't be written.
pub fn write_all(dir: &Path, rows: &[Row]) -> Result<()> {
    for row in rows {
        if let Some(times) = &row.times {
            let path = dir.join(format!("{}.hgrm", file_name(row)));
            std::fs::write(&path, text(times)).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

/// What tells a row from all others.
pub fn file_name(row: &Row) -> String {
    let mut name = format!("{}-{}-{}", row.suite, row.system, row.bytes);
    if let Some(mode) = row.mode {
        let _ = write!(name, "-{mode:?}");
    }
    if let Some(batch) = row.batch {
        let _ = write!(name, "-batch{batch}");
    }
    if let Some(appenders) = row.appenders {
        let _ = write!(name, "-a{appenders}");
    }
    if let Some(readers) = row.readers {
        let _ = write!(name, "-r{readers}");
    }
    name.to_lowercase()
}

/// Values in nanoseconds.
pub fn text(times: &Times) -> String {
    let ns = |ps: u64| ps as f64 / 1000.0;
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for at in times.iter_quantiles(TICKS_PER_HALF) {
        total += at.count_since_last_iteration();
        let quantile = at.quantile_iterated_to();
        let _ = write!(text, "{:12.3} {quantile:2.12} {total:10}", ns(at.value_iterated_to()));
        if quantile < 1.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        text.push('\n');
    }
    let (mean, deviation) = (times.mean() / 1000.0, times.stdev() / 1000.0);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", ns(times.max()), times.len());
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", times.buckets(), times.distinct_values());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::no_times;

    #[test]
    fn percentiles_rise_to_the_maximum() {
        let mut times = no_times();
        (1..=1000_u64).for_each(|ns| times.saturating_record(ns * 1000));
        let text = text(&times);
        let values: Vec<f64> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        assert!(values.len() > 20 && values.is_sorted(), "{text}");
        assert!((values[values.len() - 1] / 1000.0 - 1.0).abs() < 0.01);
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
