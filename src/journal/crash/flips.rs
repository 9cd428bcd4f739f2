//! Wrong bits: found, and located; never served as good.
//!
//! After an unclean end the records of the last flush, and in each file of deletion marks the last frame, are the
//! exception: nothing behind them proves that they had been durable, so that they count as torn, though they may have
//! been acknowledged. How many is counted.

use super::explore::come_to;
use super::images::Dice;
use super::memory_disk::Image;
use super::oracle::{Truth, frames, mark_frames};
use super::runs::{TIMELY, is_long};
use super::workload::Session;
use crate::error::JournalError;
use crate::journal::format::BLOCK;
use crate::log::Start;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Deleted thrice, each time a little further on, as far as they are there: in two files.
const DELETED: [u64; 3] = [3, 9, 77];

/// A journal of several files, with cursors and deletions, closed or not; all of it durable.
fn journal(is_closed: bool) -> (Image, Truth) {
    let mut session = Session::native(TIMELY, 7);
    session.open().unwrap();
    for count in 0..60 {
        session.append(count * 97 % 6000);
        session.append_parts(&[count, 30]);
        if count % 3 == 0 {
            session.sync();
        }
        if [20, 30, 50].contains(&count) {
            session.delete(&DELETED.map(|seq| seq + count as u64 / 10), true);
        }
        if count % 20 == 19 {
            session.advance("a", count as u64);
        }
    }
    session.append(333);
    session.sync_cursors();
    session.sync();
    if is_closed {
        session.close();
    }
    let (model, truth) = come_to(&session.end());
    assert_eq!(model.least(), model.newest(), "all is durable");
    (model.newest(), truth)
}

/// The bits to be tried, as file, byte, bit: all that matter of headers, control file and marks, some of the records.
fn bits(image: &Image, dice: &mut Dice) -> Vec<(String, usize, u32)> {
    let mut bits = Vec::new();
    for (name, content) in &image.0 {
        let is_log = name.ends_with(".log");
        let used = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for at in 0..used {
            let is_special = if is_log { at < 136 } else { at % BLOCK < 520 };
            let odds = if is_long() { [3, 100] } else { [60, 3000] }[usize::from(!is_special)];
            // All of the marks.
            let odds = if name.ends_with(".del") { 1 } else { odds };
            bits.extend((0..8).filter(|_| dice.one_in(odds)).map(|bit| (name.clone(), at, bit)));
        }
    }
    bits
}

/// What came of a wrong bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything was read as it should be.
    Harmless,
    /// It was said when the journal was opened.
    Opening,
    /// It was said when the record was read.
    Reading,
    /// So many acknowledged records were taken to be torn.
    Lost(u64),
    /// The deletions of the last frame of a file, which had been durable, were taken to be torn.
    Undeleted,
    /// Cursors are not what they were.
    Beside,
}

/// What is known of the image before a bit is turned over.
struct Before<'i> {
    image: &'i Image,
    truth: &'i Truth,
    /// Records below this one are known to be durable, wherever it is said.
    proven: u64,
}

impl Before<'_> {
    /// The frame that a byte of a file is in: where it begins, and its record or the one that comes next.
    fn frame_at(&self, name: &str, at: usize) -> Option<(u64, u64)> {
        let frames = frames(&self.image.0[name]);
        let found = frames.iter().rev().find(|frame| frame.offset <= at)?;
        (at < found.end).then_some((found.offset as u64, found.seq))
    }

    fn try_bit(&self, name: &str, at: usize, bit: u32) -> Result<Outcome, String> {
        let mut image = self.image.clone();
        Arc::make_mut(image.0.get_mut(name).unwrap())[at] ^= 1 << bit;
        let mut session = Session::after(&image, TIMELY, 1);
        let place = name.ends_with(".log").then(|| self.frame_at(name, at)).flatten();
        let check_place = |error: &JournalError| match (error, place) {
            (JournalError::Damaged { file, offset, seq, .. }, Some(place)) => {
                let is_right = file.ends_with(name) && (*offset, *seq) == place;
                if is_right { Ok(()) } else { Err(format!("{error}; it is in {name} at {place:?}")) }
            }
            (_, Some(_)) => Err(format!("{error}")),
            (_, None) => Ok(()),
        };
        session.is_damaged = true;
        let opened = session.open();
        if name.ends_with(".del") {
            return self.check_marks(&session, opened, name, at);
        }
        if let Err(error) = opened {
            return check_place(&error).map(|()| Outcome::Opening);
        }
        let end = session.journal().next_seq();
        let read = self.read(&session, end, check_place)?;
        let acked = self.truth.acked;
        if end < acked {
            let is_fair = place.is_some_and(|(_, seq)| seq >= self.proven) && end >= self.proven;
            return if is_fair { Ok(Outcome::Lost(acked - end)) } else { Err(format!("{end} of {acked} are left")) };
        }
        Ok(read)
    }

    /// What had been durable as some frame says is found where it is, and nothing else is refused.
    fn check_marks(
        &self,
        session: &Session,
        opened: Result<(), JournalError>,
        name: &str,
        at: usize,
    ) -> Result<Outcome, String> {
        let (frames, durable) = mark_frames(self.image, name);
        let &(begin, _) = frames.iter().find(|&&(_, end)| at < end).unwrap();
        let is_proven = (begin as u64) < durable;
        match opened {
            Err(JournalError::MarksDamaged { file, offset }) if is_proven => {
                let is_right = file.ends_with(name) && offset == begin as u64;
                if is_right {
                    Ok(Outcome::Opening)
                } else {
                    Err(format!("found in {file} at {offset}; it is at {begin}"))
                }
            }
            Ok(()) if !is_proven => self.read(session, self.truth.acked, |error| Err(format!("{error}"))),
            other => Err(format!("durable below {durable}: {other:?}")),
        }
    }

    fn read(
        &self,
        session: &Session,
        end: u64,
        check_place: impl Fn(&JournalError) -> Result<(), String>,
    ) -> Result<Outcome, String> {
        let mut reader = session.journal().reader(Start::First).map_err(|error| format!("no reader: {error}"))?;
        let mut found = Vec::new();
        for _ in 0..=end {
            match reader.try_next() {
                Ok(Some(record)) => {
                    self.truth.check(record.seq(), record.bytes(), record.is_batch())?;
                    found.push(record.seq());
                }
                Ok(None) => break,
                Err(error) => return check_place(&error).map(|()| Outcome::Reading),
            }
        }
        let missing = (0..end).filter(|seq| found.binary_search(seq).is_err()).collect();
        let is_right = session.journal().cursors() == [("a".to_owned(), 59)];
        if self.truth.check_deleted(&missing, 0, end.min(self.truth.acked)).is_err() {
            return Ok(Outcome::Undeleted);
        }
        if missing.len() > 9 {
            return Err(format!("{missing:?} are not read"));
        }
        Ok(if is_right { Outcome::Harmless } else { Outcome::Beside })
    }
}

fn run(is_closed: bool) -> BTreeMap<(String, Outcome), u32> {
    let (image, truth) = journal(is_closed);
    let marks = image.0.iter().filter(|(name, _)| name.ends_with(".log")).flat_map(|(_, content)| frames(content));
    let proven = if is_closed { truth.acked } else { marks.filter_map(|frame| frame.proves).max().unwrap() };
    let before = Before { image: &image, truth: &truth, proven };
    let mut outcomes = BTreeMap::new();
    for (name, at, bit) in bits(&image, &mut Dice::new(3)) {
        let tried = catch_unwind(AssertUnwindSafe(|| before.try_bit(&name, at, bit)));
        let outcome = match tried {
            Ok(Ok(outcome)) => outcome,
            wrong => panic!("closed: {is_closed}, {name}, byte {at}, bit {bit}: {wrong:?}"),
        };
        let what = name.trim_start_matches(|letter: char| letter.is_ascii_digit());
        *outcomes.entry((format!("{what}{}", if at < 136 { ", header" } else { "" }), outcome)).or_insert(0) += 1;
    }
    println!("closed: {is_closed}, {} acknowledged, {proven} proven: {outcomes:#?}", truth.acked);
    outcomes
}

#[test]
fn wrong_bits_of_a_closed_journal_are_found_and_located() {
    let outcomes = run(true);
    let of_records = |wanted| outcomes.iter().filter(|((what, it), _)| what == ".log" && *it == wanted).count();
    assert_eq!(of_records(Outcome::Reading), 1);
    assert!(!outcomes.keys().any(|(_, outcome)| matches!(outcome, Outcome::Lost(_) | Outcome::Undeleted)));
    let of_marks = |wanted| outcomes.iter().filter(|((what, it), _)| what.starts_with(".del") && *it == wanted).count();
    assert!(of_marks(Outcome::Opening) > 0 && of_marks(Outcome::Harmless) > 0, "only those of the seal do nothing");
}

#[test]
fn wrong_bits_after_a_crash_cost_the_last_flush_at_most() {
    let outcomes = run(false);
    // Those of the last flush.
    let lost = outcomes.keys().filter_map(|(_, outcome)| match outcome {
        Outcome::Lost(lost) => Some(*lost),
        _ => None,
    });
    assert!(lost.max().unwrap_or(0) <= 5);
    let is_kind = |what: &str, outcome| outcomes.keys().any(|(name, it)| name.starts_with(what) && *it == outcome);
    assert!(is_kind(".del", Outcome::Opening) && is_kind(".del", Outcome::Undeleted));
    assert!(!outcomes.keys().any(|(name, it)| *it == Outcome::Undeleted && !name.starts_with(".del")));
}
