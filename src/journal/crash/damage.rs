//! A journal that has seen a lot, and what may happen to it.

use super::explore::come_to;
use super::memory_disk::Image;
use super::oracle::{Truth, frames};
use super::runs::TIMELY;
use super::workload::Session;
use std::collections::BTreeSet;

/// Bytes of a file.
const FILE_BYTES: u64 = 64 << 10;

/// How far the newest file is filled.
fn filled(session: &Session) -> u64 {
    session.journal().core().state.progress().written.offset
}

/// Goes on until a file has just so much room left.
fn fill_up(session: &mut Session, room: u64) {
    while filled(session) > FILE_BYTES || filled(session) + 9000 + 200 + room < FILE_BYTES {
        session.append(9000);
        session.sync();
    }
    // A mark and two heads.
    let len = FILE_BYTES - filled(session) - room - 40;
    session.append(usize::try_from(len).unwrap() & !7);
    session.sync();
}

/// A journal of several files, all of it durable: with cursors behind the last record of a file, others twice at the
/// beginning of one, deletions, and a file that was emptied.
pub(super) fn worn(is_closed: bool) -> (Image, Truth) {
    let mut session = Session::native(TIMELY, 11);
    session.open().unwrap();
    for count in 0..20 {
        session.append(count * 211 % 5000);
        session.append_parts(&[count, 30]);
        if count % 2 == 0 {
            session.sync();
        }
    }
    session.advance("a", 3);
    fill_up(&mut session, 300);
    session.sync_cursors();
    session.append(9000);
    session.sync();
    let from = session.journal().next_seq() - 1;
    fill_up(&mut session, 16);
    let end = session.journal().next_seq();
    session.advance("a", end);
    session.sync_cursors();
    session.append(700);
    session.sync();
    session.delete(&(from..end).collect::<Vec<_>>(), true);
    for count in 0..28 {
        session.append(count * 503 % 4000);
        session.append(6000);
        session.sync();
    }
    let last = session.journal().next_seq();
    session.delete(&[1, 7, 8, end, end + 4, end + 5, last - 2], true);
    if is_closed {
        session.close();
    }
    let (model, truth) = come_to(&session.end());
    // That the file was emptied need not be durable.
    (if is_closed { model.newest() } else { model.least() }, truth)
}

/// Something that happened to a journal.
#[derive(Clone, Debug)]
pub(super) enum Damage {
    /// A byte of a file is another one.
    Byte(String, usize),
    Gone(String),
    Control,
}

/// The frames of a file that a byte of is to be wrong: at its beginning, in the middle, at its end.
fn bytes_of(image: &Image, name: &str) -> Vec<usize> {
    let frames = frames(&image.0[name]);
    let some = [0, 1, 2, 3, frames.len() / 2, frames.len() / 2 + 1];
    let some = some.into_iter().chain(frames.len().saturating_sub(6)..frames.len());
    let some: BTreeSet<_> = some.filter(|&at| at < frames.len()).collect();
    some.into_iter().map(|at| frames[at].offset + 5).collect()
}

/// What may have happened: one thing, or two.
pub(super) fn damages(image: &Image) -> Vec<Vec<Damage>> {
    let logs: Vec<_> = image.0.keys().filter(|name| name.ends_with(".log")).cloned().collect();
    let mut all = vec![vec![Damage::Control]];
    for (index, name) in logs.iter().enumerate() {
        let bytes: Vec<_> = bytes_of(image, name).into_iter().map(|at| Damage::Byte(name.clone(), at)).collect();
        all.extend(bytes.iter().map(|byte| vec![byte.clone()]));
        all.extend([vec![Damage::Byte(name.clone(), 50)], vec![Damage::Gone(name.clone())]]);
        if let [_, second, .., last] = bytes.as_slice() {
            all.push(vec![second.clone(), last.clone()]);
            all.push(vec![second.clone(), Damage::Control]);
            if let Some(next) = logs.get(index + 1) {
                all.push(vec![last.clone(), Damage::Gone(next.clone())]);
                all.push(vec![second.clone(), Damage::Byte(next.clone(), 50)]);
            }
        }
    }
    all
}
