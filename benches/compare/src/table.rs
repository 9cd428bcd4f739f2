//! Rows for people.

use crate::case::Mode;
use crate::durable::report as durable;
use crate::measure::Figure;
use crate::report::Row;
use std::fmt::Write;

/// The rows of a group: figures first, then what is missing, then how each shmlog stands to the others.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else { return text };
    let is_time = first.figure == Figure::Time;
    let _ = writeln!(text, "\n{}", title(first));
    let _ = writeln!(
        text,
        "{:<24} {} {:>20} {:>9}",
        "",
        durable::head(first).unwrap_or_else(|| if is_time { times_head() } else { rates_head() }),
        "spread",
        "limit x"
    );
    let mut present: Vec<_> = rows.iter().filter(|row| row.figure().is_some()).collect();
    present.sort_by(|one, other| {
        let order = one.figure().unwrap_or(0.0).total_cmp(&other.figure().unwrap_or(0.0));
        if is_time { order } else { order.reverse() }
    });
    for row in present {
        let _ =
            writeln!(text, "{:<24} {} {:>20} {:>9}", name(row), figures(row), spread(row), ratio(row.ratio_to_limit));
    }
    for row in rows.iter().filter(|row| row.figure().is_none()) {
        let _ = writeln!(text, "{:<24} missing: {}", name(row), row.missing.as_deref().unwrap_or("no figure"));
    }
    for row in rows.iter().filter(|row| row.system.starts_with("shmlog") && !row.ratios.is_empty()) {
        let ratios: Vec<_> = row.ratios.iter().map(|(other, ratio)| format!("{other} {ratio:.2}")).collect();
        let _ = writeln!(text, "  {} against {}", name(row), ratios.join(", "));
    }
    text
}

fn title(row: &Row) -> String {
    let mut title = format!("{} {} B", row.suite, row.bytes);
    if let Some(batch) = row.batch.filter(|&batch| batch > 1) {
        let _ = write!(title, ", {batch} in a unit");
    }
    if let Some(appenders) = row.appenders {
        let _ = write!(title, ", {appenders} appender{}", if appenders == 1 { "" } else { "s" });
    }
    match row.mode {
        Some(Mode::One) => title.push_str(", one reader polls: cost of an append"),
        Some(Mode::All) => title.push_str(", all readers poll: deliveries"),
        Some(Mode::Idle) => title.push_str(", the value stays"),
        Some(Mode::Restless) => title.push_str(", restless writer"),
        _ => {}
    }
    title
}

fn name(row: &Row) -> String {
    let readers = row.readers.map_or_else(String::new, |readers| format!(" r{readers}"));
    format!("{}{readers}", row.label())
}

fn times_head() -> String {
    format!("{:>10} {:>10} {:>10} {:>11} {:>11}", "p50 ns", "p99 ns", "p99.9 ns", "M/s", "writes M/s")
}

fn rates_head() -> String {
    format!("{:>10} {:>10}", "M msg/s", "GB/s")
}

fn figures(row: &Row) -> String {
    let millions = |per_s: Option<f64>| per_s.map_or_else(|| "-".to_owned(), |per_s| format!("{:.3}", per_s / 1e6));
    if let Some(figures) = durable::figures(row) {
        return figures.into_iter().map(|one| format!("{:>11}", fine(one))).collect::<Vec<_>>().join(" ");
    }
    if row.figure == Figure::Rate {
        return format!("{:>10} {:>10}", millions(row.msgs_per_s), number(row.gb_per_s));
    }
    let mut text = format!("{:>10} {:>10} {:>10}", number(row.p50_ns), number(row.p99_ns), number(row.p999_ns));
    let _ = write!(text, " {:>11} {:>11}", millions(row.msgs_per_s), millions(row.writes_per_s));
    if let Some(torn) = row.torn.filter(|&torn| torn > 0) {
        let _ = write!(text, " TORN {torn}");
    }
    text
}

/// What may be a small part of its unit.
fn fine(value: Option<f64>) -> String {
    value.filter(|&value| value < 1.0).map_or_else(|| number(value), |value| format!("{value:.4}"))
}

fn spread(row: &Row) -> String {
    let scale = durable::unit(row).unwrap_or(if row.figure == Figure::Rate { 1e6 } else { 1.0 });
    let show = if durable::unit(row).is_some() { fine } else { number };
    let part = |value: f64| show(Some(value / scale));
    row.spread.map_or_else(String::new, |[low, high]| format!("{}-{}", part(low), part(high)))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}
