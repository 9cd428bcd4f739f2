//! What a sweep found.

use crate::route::Path;
use crate::stage::Aftermath;
use std::fmt;
use std::time::Duration;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// After how many instructions.
    pub executed: usize,
    /// The address of the next one.
    pub ip: u64,
    /// What it is.
    pub what: String,
}

/// One operation's results.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Instructions from mark to mark.
    pub instructions: usize,
    /// Those that others can see.
    pub visible: usize,
    /// Of the others: those of stretches which were found to change nothing that others see.
    pub unseen: u64,
    /// Victims.
    pub victims: usize,
    /// Of these: right before, or right behind, an instruction that others can see.
    pub beside_visible: usize,
    /// Those that went another way than the one that was recorded, and were stepped anew.
    pub detours: usize,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// What the sweep took.
    pub took: Duration,
    /// By instructions executed: whether what the operation brings was there.
    outcomes: Vec<(usize, bool)>,
    /// The shortest, where there were several for one instruction.
    recoveries: Vec<Duration>,
    /// The longest of all.
    pub(crate) longest: Duration,
}

impl Report {
    pub(crate) fn new(name: &'static str, path: &Path) -> Self {
        Self {
            name,
            instructions: path.len(),
            visible: path.visible(),
            unseen: path.compared().1,
            victims: 0,
            beside_visible: 0,
            detours: 0,
            violations: Vec::new(),
            took: Duration::ZERO,
            outcomes: Vec::new(),
            recoveries: Vec::new(),
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn enter(&mut self, executed: usize, is_beside_visible: bool, aftermath: Aftermath) {
        self.victims += 1;
        self.beside_visible += usize::from(is_beside_visible);
        self.outcomes.extend(aftermath.is_there.map(|is_there| (executed, is_there)));
        self.recoveries.push(aftermath.recovery);
    }

    /// It appears by one instruction: not there up to it, there from it on.
    pub(crate) fn check_turn(&mut self, must_appear: bool) {
        let Some(&(last, is_there)) = self.outcomes.last() else { return };
        let mut wrong = |executed, what: &str| {
            self.violations.push(Violation { executed, ip: 0, what: what.to_owned() });
        };
        if must_appear && !is_there {
            wrong(last, "not there after the whole operation");
        }
        if let Some(&(first, true)) = self.outcomes.first() {
            wrong(first, "there before the operation");
        }
        if let Some(pair) = self.outcomes.windows(2).find(|pair| pair[0].1 && !pair[1].1) {
            wrong(pair[1].0, "not there, though it was after fewer instructions");
        }
    }

    /// How many times it was there, and not.
    pub fn outcomes(&self) -> (usize, usize) {
        let there = self.outcomes.iter().filter(|(_, is_there)| *is_there).count();
        (there, self.outcomes.len() - there)
    }

    /// After how many instructions it was first there.
    pub fn turn(&self) -> Option<usize> {
        self.outcomes.iter().find(|(_, is_there)| *is_there).map(|(executed, _)| *executed)
    }

    /// How long the survivors took: the median; the longest time that was so again, with another victim killed
    /// after the same instruction; the longest of all.
    pub fn recovery(&self) -> [Duration; 3] {
        let mut all = self.recoveries.clone();
        all.sort_unstable();
        let middle = all.get(all.len() / 2).copied().unwrap_or_default();
        [middle, all.last().copied().unwrap_or_default(), self.longest]
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} instructions (next {:#x}): {}", self.executed, self.ip, self.what)
    }
}

fn us(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}

/// What a table of killed victims begins with, of Markdown.
pub const KILLED: &str = "\
| operation | instructions | visible | checked unseen | kills | beside visible | detours | not there | there | there after | violations | recovery p50 (us) | longest, repeatable (us) | longest (us) | s |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// What a table of stopped victims begins with.
pub const STOPPED: &str = "\
| operation | instructions | stops | violations |
|---|---:|---:|---:|";

/// Its row in the table of killed victims.
pub fn killed(report: &Report) -> String {
    let (there, not_there) = report.outcomes();
    let [middle, repeatable, longest] = report.recovery().map(us);
    let turn = report.turn().map_or_else(|| "-".to_owned(), |turn| turn.to_string());
    let Report { name, instructions, visible, unseen, victims, beside_visible, detours, violations, .. } = report;
    let (violations, took) = (violations.len(), report.took.as_secs());
    format!(
        "| {name} | {instructions} | {visible} | {unseen} | {victims} | {beside_visible} | {detours} | {not_there} | {there} | {turn} | {violations} | {middle} | {repeatable} | {longest} | {took} |"
    )
}

/// Its row in the table of stopped victims.
pub fn stopped(report: &Report) -> String {
    let Report { name, instructions, victims, violations, .. } = report;
    format!("| {name} | {instructions} | {victims} | {} |", violations.len())
}
