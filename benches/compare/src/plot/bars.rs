//! Rates by size: one bar for each system, the spread over the rounds as a line in it.

use super::page::{BOTTOM, LEFT, Page, RIGHT, TOP};
use crate::report::Row;

/// Part of the room of a size that its bars take.
const FILLED: f64 = 0.86;
/// Lines across.
const LINES: u32 = 5;

/// The bars of all rows that have rates; nothing if there are none.
pub fn draw(title: &str, under: &str, rows: &[&Row]) -> Option<String> {
    let rated: Vec<_> = rows.iter().filter(|row| row.msgs_per_s.is_some()).collect();
    let most =
        rated.iter().filter_map(|row| row.spread.map_or(row.msgs_per_s, |[_, high]| Some(high))).reduce(f64::max)?;
    let most = rounded_up(most);
    let group = |row: &Row| (row.bytes, row.readers);
    let mut groups: Vec<_> = rated.iter().map(|row| group(row)).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut names: Vec<String> = Vec::new();
    for row in &rated {
        if !names.contains(&row.label()) {
            names.push(row.label());
        }
    }

    let mut page = Page::new(title, under);
    let y_of = |per_s: f64| BOTTOM - per_s / most * (BOTTOM - TOP);
    for line in 0..=LINES {
        let per_s = most * f64::from(line) / f64::from(LINES);
        page.across(y_of(per_s), &format!("{}", (per_s / 1e4).round() / 100.0));
    }
    page.axes("million a second", "message");
    let room = (RIGHT - LEFT) / groups.len() as f64;
    let width = room * FILLED / names.len() as f64;
    for (at, (bytes, readers)) in groups.iter().enumerate() {
        let readers = readers.map_or_else(String::new, |readers| format!(", {readers} readers"));
        page.below(LEFT + room * (at as f64 + 0.5), &format!("{bytes} B{readers}"));
    }
    for row in &rated {
        let (Some(at), Some(number)) =
            (groups.iter().position(|one| *one == group(row)), names.iter().position(|name| *name == row.label()))
        else {
            continue;
        };
        let per_s = row.msgs_per_s.unwrap_or(0.0);
        let [low, high] = row.spread.unwrap_or([per_s; 2]);
        let x = LEFT + room * (at as f64 + (1.0 - FILLED) / 2.0) + width * number as f64;
        page.bar(number, x, width, y_of(per_s), (y_of(low), y_of(high)));
    }
    names.iter().enumerate().for_each(|(number, name)| page.legend(number, name));
    Some(page.finish())
}

/// To 1, 2 or 5 with zeroes.
fn rounded_up(most: f64) -> f64 {
    let decade = 10_f64.powf(most.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * decade).find(|&end| end >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::rounded_up;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([1.0, 1.5e6, 2.5e6, 9.9e6].map(rounded_up), [1.0, 2e6, 5e6, 1e7]);
    }
}
