//! The names of a journal's files, which begin with its prefix.

use crate::journal::format::MAX_SEQ;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

/// Digits of a sequence number.
const DIGITS: usize = 20;

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// The control file.
    pub(crate) fn control(&self) -> String {
        self.name("control")
    }

    /// The control file while it is made.
    pub(crate) fn control_draft(&self) -> String {
        self.name("control.draft")
    }

    /// The file whose bytes are locked.
    pub(crate) fn lock(&self) -> String {
        self.name("lock")
    }

    /// A file that waits to be used.
    pub(crate) fn spare(&self) -> String {
        self.name("spare")
    }

    /// A file that is prepared to wait.
    pub(crate) fn spare_draft(&self) -> String {
        self.name("spare.draft")
    }

    /// The front, where it is in the directory.
    pub(crate) fn front(&self) -> String {
        self.name("front")
    }

    /// The file of the records from `first` on.
    pub(crate) fn log(&self, first: u64) -> String {
        format!("{}{first:0DIGITS$}.log", self.prefix)
    }

    /// The index of the file of the records from `first` on.
    pub(crate) fn index(&self, first: u64) -> String {
        format!("{}{first:0DIGITS$}.idx", self.prefix)
    }

    /// The marks of the file of the records from `first` on.
    pub(crate) fn marks(&self, first: u64) -> String {
        format!("{}{first:0DIGITS$}.del", self.prefix)
    }

    /// Marks while they are cut.
    pub(crate) fn marks_draft(&self) -> String {
        self.name("del.draft")
    }

    /// Whether a file is of no use: made half, or beside a file of records that is none of `firsts`.
    pub(crate) fn is_orphan(&self, name: &str, firsts: &[u64]) -> bool {
        let drafts = [self.index_draft(), self.marks_draft(), self.control_draft(), self.spare_draft()];
        let beside = self.number(name, ".idx").or_else(|| self.number(name, ".del"));
        drafts.iter().any(|draft| draft == name) || beside.is_some_and(|first| !firsts.contains(&first))
    }

    /// The first record of the file that the marks of this name belong to.
    pub(crate) fn marks_of(&self, name: &str) -> Option<u64> {
        self.number(name, ".del")
    }

    /// An index while it is made.
    pub(crate) fn index_draft(&self) -> String {
        self.name("idx.draft")
    }

    /// Where record `seq` should have been: what was there instead when the journal was recovered for the
    /// `generation`th time.
    pub(crate) fn torn(&self, seq: u64, generation: u64) -> String {
        format!("{}{seq:0DIGITS$}.torn-{generation}", self.prefix)
    }

    /// The name of a file of records that was put aside.
    pub(crate) fn lost(&self, first: u64, generation: u64) -> String {
        format!("{}{first:0DIGITS$}.lost-{generation}", self.prefix)
    }

    /// The name of a copy of marks that were damaged.
    pub(crate) fn lost_marks(&self, first: u64, generation: u64) -> String {
        format!("{}{first:0DIGITS$}.marks-{generation}", self.prefix)
    }

    /// Whether a file was put aside.
    pub(crate) fn is_aside(&self, name: &str) -> bool {
        let Some((stem, generation)) = name.rsplit_once('-') else { return false };
        let kinds = [".torn", ".lost", ".marks"];
        kinds.iter().any(|kind| self.number(stem, kind).is_some()) && generation.parse::<u64>().is_ok()
    }

    /// The first record of the file of this name, if it is one of records.
    pub(crate) fn first_of(&self, name: &str) -> Option<u64> {
        self.number(name, ".log")
    }

    fn number(&self, name: &str, ending: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.prefix)?.strip_suffix(ending)?;
        let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|&number| is_number && number <= MAX_SEQ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_of_records_are_known_and_sorted_as_their_numbers() {
        let names = Names::new("a-");
        for first in [0, 7, 1 << 40, MAX_SEQ] {
            assert_eq!(names.first_of(&names.log(first)), Some(first));
        }
        assert!(names.log(9) < names.log(10));
        for other in ["00000000000000000001.log", "a-1.log", "a-+0000000000000000001.log", "a-control", "a-x.log"] {
            assert_eq!(names.first_of(other), None, "{other}");
        }
        assert_eq!(names.first_of("a-99999999999999999999.log"), None, "more than 64 bits");
        assert_eq!(names.first_of(&names.log(u64::MAX)), None, "more than there can be");
    }

    #[test]
    fn names_of_files_put_aside_are_known() {
        let names = Names::new("a-");
        for aside in [names.torn(7, 2), names.lost(0, 33), names.lost_marks(9, 1)] {
            assert!(names.is_aside(&aside) && !Names::new("").is_aside(&aside), "{aside}");
            assert_eq!((names.first_of(&aside), names.marks_of(&aside)), (None, None));
        }
        for other in [names.log(1), names.marks(1), names.control(), "a-00000000000000000001.torn-x".to_owned()] {
            assert!(!names.is_aside(&other), "{other}");
        }
    }
}
