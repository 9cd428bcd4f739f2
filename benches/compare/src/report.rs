//! Rows: medians over rounds, spread, ratios; as JSON, one object a line.

use crate::case::{Case, Mode, Suite};
use crate::measure::{Figure, Measure, figure};
use crate::plan;
use crate::run::Series;
use crate::system::Kind;
use crate::told::{Times, no_times};
use serde::Serialize;
use std::collections::BTreeMap;

/// One system in one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its suite.
    pub suite: String,
    /// Its name.
    pub system: String,
    /// `process`, `threads` or `limit`.
    pub kind: &'static str,
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages in a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Processes, or threads, that append.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appenders: Option<usize>,
    /// Those that read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<usize>,
    /// `one` or `all` readers poll; `idle` or `restless` writer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Median over rounds of each round's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ns: Option<f64>,
    /// The same of the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<f64>,
    /// The same of the 99.9th.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_ns: Option<f64>,
    /// Messages, records or loads a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msgs_per_s: Option<f64>,
    /// The same in 10^9 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
    /// Publications a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_per_s: Option<f64>,
    /// Torn values that were taken for whole, in all rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn: Option<u64>,
    /// Records a second until all of them were on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_per_s: Option<f64>,
    /// The figure (`p50_ns` or `msgs_per_s`) divided by the limit's: the median of the rounds' ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_limit: Option<f64>,
    /// Which limit that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The figure divided by that of each other system of the case, in the same way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ratios: BTreeMap<String, f64>,
    /// The figure in the lowest and the highest round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<[f64; 2]>,
    /// How many rounds there were.
    pub rounds: usize,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The figure in each round.
    #[serde(skip)]
    pub figures: Vec<f64>,
    /// Of all rounds, for plots.
    #[serde(skip)]
    pub times: Option<Times>,
    /// Whether the figure is a time or a rate.
    #[serde(skip)]
    pub figure: Figure,
}

impl Row {
    /// What the system is compared by.
    pub fn figure(&self) -> Option<f64> {
        match self.figure {
            Figure::Time => self.p50_ns,
            Figure::Rate => self.msgs_per_s,
        }
    }

    /// Its name, and what it is if it is no system of processes.
    pub fn label(&self) -> String {
        let mark = if self.kind == Kind::Process.name() { String::new() } else { format!(" ({})", self.kind) };
        format!("{}{mark}", self.system)
    }

    /// The median of the rounds' ratios: what drifted from round to round did so under both.
    fn ratio_to(&self, other: &Self) -> Option<f64> {
        median(self.figures.iter().zip(&other.figures).map(|(own, other)| own / other))
    }

    /// Whether the two were measured in the same way.
    fn is_beside(&self, other: &Self) -> bool {
        (self.bytes, self.batch, self.appenders, self.readers, self.mode)
            == (other.bytes, other.batch, other.appenders, other.readers, other.mode)
    }
}

/// The middle one; of an even number the mean of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len.is_multiple_of(2) => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

/// The rows of a group.
pub fn rows(all: &[Series]) -> Vec<Row> {
    let mut rows: Vec<_> = all.iter().map(row).collect();
    let before = rows.clone();
    for (row, series) in rows.iter_mut().zip(all) {
        if row.figure().is_none() {
            continue;
        }
        let others = before.iter().filter(|other| row.is_beside(other) && other.system != row.system);
        let ratios = others.filter_map(|other| Some((other.system.clone(), row.ratio_to(other)?)));
        row.ratios = ratios.collect();
        let held_against = |other: &&Row| match plan::limit(&series.case) {
            Some(limit) => other.system == limit && row.is_beside(other),
            None => other.system == row.system && other.readers == Some(1),
        };
        if let Some(limit) = before.iter().find(held_against)
            && let Some(ratio) = row.ratio_to(limit)
        {
            row.ratio_to_limit = Some(ratio);
            let is_own = limit.system == row.system && row.kind != Kind::Limit.name();
            row.limit = Some(if is_own { "itself, one reader".to_owned() } else { limit.system.clone() });
        }
    }
    rows
}

fn row(series: &Series) -> Row {
    let (system, case) = (&series.system, &series.case);
    let mut row = Row {
        suite: case.suite.name(),
        system: system.name.to_owned(),
        kind: system.kind.name(),
        bytes: case.bytes,
        batch: matches!(case.suite, Suite::Stream | Suite::JournalCommit).then_some(case.batch),
        appenders: matches!(case.suite, Suite::Mpsc | Suite::JournalAppend | Suite::JournalCommit)
            .then_some(case.senders),
        readers: (case.suite == Suite::Fanout).then_some(case.receivers),
        mode: (case.mode != Mode::Plain).then_some(case.mode),
        p50_ns: None,
        p99_ns: None,
        p999_ns: None,
        msgs_per_s: None,
        gb_per_s: None,
        writes_per_s: None,
        torn: None,
        synced_per_s: None,
        ratio_to_limit: None,
        limit: None,
        ratios: BTreeMap::new(),
        spread: None,
        rounds: series.measures.len(),
        missing: series.missing.clone(),
        figures: Vec::new(),
        times: None,
        figure: figure(case),
    };
    if series.missing.is_none() {
        fill(&mut row, case, &series.measures);
    }
    row
}

fn fill(row: &mut Row, case: &Case, measures: &[Measure]) {
    let at = |quantile: f64| {
        let ns = |times: &Times| times.value_at_quantile(quantile) as f64 / 1000.0;
        median(measures.iter().filter_map(|measure| measure.times.as_ref()).map(ns))
    };
    (row.p50_ns, row.p99_ns, row.p999_ns) = (at(0.5), at(0.99), at(0.999));
    row.msgs_per_s = median(measures.iter().filter_map(|measure| measure.per_s));
    row.gb_per_s = row.msgs_per_s.map(|per_s| per_s * case.bytes as f64 / 1e9);
    row.writes_per_s = median(measures.iter().filter_map(|measure| measure.writes_per_s));
    row.synced_per_s = median(measures.iter().filter_map(|measure| measure.synced_per_s));
    row.torn = measures.iter().filter_map(|measure| measure.torn).reduce(|one, other| one + other);
    let figures = measures.iter().filter_map(|measure| match row.figure {
        Figure::Time => measure.times.as_ref().map(|times| times.value_at_quantile(0.5) as f64 / 1000.0),
        Figure::Rate => measure.per_s,
    });
    row.figures = figures.collect();
    row.spread = row.figures.iter().fold(None, |spread: Option<[f64; 2]>, &figure| {
        Some(spread.map_or([figure; 2], |[low, high]| [low.min(figure), high.max(figure)]))
    });
    let mut all = no_times();
    for times in measures.iter().filter_map(|measure| measure.times.as_ref()) {
        // Both were made with the same bounds.
        let _ = all.add(times);
    }
    row.times = (!all.is_empty()).then_some(all);
}

#[cfg(test)]
mod tests;
