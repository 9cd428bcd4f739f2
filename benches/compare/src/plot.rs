//! Plots, as SVG that can be read on light and on dark pages.

mod bars;
mod curves;
mod page;

use crate::machine::Machine;
use crate::measure::Figure;
use crate::report::Row;
use anyhow::{Context, Result};
use std::path::Path;

/// For each suite: a plot of percentiles for each set of rows that have times, one of bars for those that have rates.
///
/// # Errors
/// They can't be written.
pub fn write_all(dir: &Path, rows: &[Row], machine: &Machine) -> Result<()> {
    let under = format!(
        "{}, {} cores, Linux {}; {} rounds of {} s, medians",
        machine.cpu, machine.cores, machine.kernel, machine.rounds, machine.seconds
    );
    let mut left: Vec<&Row> = rows.iter().collect();
    while let Some(first) = left.first().copied() {
        // All sizes of a suite are in one plot of bars; each has a plot of percentiles of its own.
        let is_time = first.figure == Figure::Time;
        let is_like = |row: &&Row| {
            let is_alike = (&row.suite, row.mode, row.batch, row.appenders)
                == (&first.suite, first.mode, first.batch, first.appenders);
            is_alike && (!is_time || row.bytes == first.bytes)
        };
        let (chosen, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_like);
        left = others;
        let (name, title) = (name(first, is_time), title(first, is_time));
        let picture = if is_time { curves::draw(&title, &under, &chosen) } else { bars::draw(&title, &under, &chosen) };
        if let Some(picture) = picture {
            let path = dir.join(format!("{name}.svg"));
            std::fs::write(&path, picture).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

fn name(row: &Row, with_size: bool) -> String {
    let mut name = row.suite.clone();
    if let Some(mode) = row.mode {
        name += &format!("-{mode:?}").to_lowercase();
    }
    if let Some(batch) = row.batch {
        name += &format!("-batch{batch}");
    }
    if let Some(appenders) = row.appenders {
        name += &format!("-a{appenders}");
    }
    if with_size {
        name += &format!("-{}", row.bytes);
    }
    name
}

fn title(row: &Row, with_size: bool) -> String {
    name(row, with_size).replace('-', " ") + if with_size { " B" } else { "" }
}
