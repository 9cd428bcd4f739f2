//! Workloads that are written down.

use super::runs::TIMELY;
use super::workload::Session;
use crate::journal::files;
use crate::journal::settings::Flush;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A workload: name, flush policy, steps.
pub(super) type Script = (&'static str, Flush, fn(&mut Session));

fn singles(session: &mut Session) {
    for len in [5, 100, 0, 700, 512, 40] {
        session.append(len);
        session.sync();
    }
}

fn groups(session: &mut Session) {
    for count in 1..5 {
        for len in 0..count {
            session.append(len * 150);
            session.append_parts(&[len * 10, 0, 600]);
        }
        session.sync();
    }
}

fn rolls(session: &mut Session) {
    for count in 0..14 {
        session.append(15_000);
        session.append(3000);
        // More than a file takes.
        if count % 4 == 3 {
            session.sync();
        }
    }
}

fn unsynced(session: &mut Session) {
    for count in 0..40 {
        session.append(9000 + count);
        if count == 17 || count == 30 {
            session.sync();
        }
    }
}

fn reopened(session: &mut Session) {
    for count in 0..4 {
        session.append(200);
        session.sync();
        session.append(2000 * count);
        session.close();
        session.open().unwrap();
    }
}

fn killed(session: &mut Session) {
    for count in 0..4 {
        session.append(1200);
        session.sync();
        session.append(30_000);
        session.append(30_000);
        session.append(300 * count);
        if count % 2 == 1 {
            session.append(25_000);
            session.append(25_000);
            session.append(25_000);
        }
        session.kill();
        session.open().unwrap();
    }
}

fn lengths(session: &mut Session) {
    let limit = session.limit_bytes();
    for len in [0, 1, 7, 8, 9, 471, 472, 473, 511, 512, 4047, 4048, 4056, limit, 0, limit - 8, 0] {
        session.append(len);
        if len % 2 == 0 {
            session.sync();
        }
    }
}

fn prepared(session: &mut Session) {
    for count in 0..10 {
        session.append(20_000);
        session.sync();
        if count % 3 == 0 {
            session.prepare_ahead();
        }
    }
}

fn full(session: &mut Session) {
    for count in 0..12 {
        session.append(7000);
        session.recorder.is_full.store(count % 3 == 1, Relaxed);
        session.sync();
        session.append(400);
        session.sync();
    }
}

fn pointed(session: &mut Session) {
    for count in 0..12 {
        session.append(9000);
        session.sync();
        for _ in 0..count % 5 {
            session.append(7000);
        }
        let end = session.journal().next_seq();
        session.advance("a", end - count % 2);
        if count % 4 == 1 {
            session.sync_cursors();
        }
        session.advance("b", end / 2);
        if count % 4 == 3 {
            session.kill();
            session.open().unwrap();
            let end = session.journal().next_seq();
            session.advance("a", end);
            session.sync_cursors();
        }
    }
}

fn pruned(session: &mut Session) {
    for count in 0..24 {
        session.append(9000);
        session.append(9000);
        session.sync();
        if count % 5 == 4 {
            let end = session.journal().next_seq();
            session.prune(end - 3);
        }
    }
}

fn retained(session: &mut Session) {
    session.close();
    session.retain.files = Some(2);
    session.open().unwrap();
    for _ in 0..18 {
        session.append(12_000);
        session.append(12_000);
        session.sync();
    }
}

fn deleted(session: &mut Session) {
    for count in 0..6 {
        for _ in 0..40 {
            session.append(1000);
        }
        let end = session.journal().next_seq();
        session.delete(&[end - 3, end / 2], count % 2 == 0);
        let many: Vec<_> = (0..end).filter(|seq| seq % 7 == 0 || seq + 90 < end && seq + 170 > end).collect();
        session.delete(&many, false);
        session.delete(&[end - 1], false);
        session.sync();
        if count % 3 == 1 {
            session.kill();
            session.open().unwrap();
        }
    }
}

/// Cursors that come, go and go back.
fn moved(session: &mut Session) {
    for count in 0..7 {
        session.append(9000);
        session.append(9000);
        let end = session.journal().next_seq();
        session.advance("a", end - 1);
        session.advance("b", end);
        session.sync_cursors();
        session.set_cursor("a", end / 3);
        if count % 2 == 0 {
            session.sync();
        }
        session.append(3000);
        if count % 3 == 1 {
            session.remove_cursor("b");
        }
        if count % 4 == 3 {
            session.close();
            session.open().unwrap();
        }
    }
}

/// What is old goes, with its index and its marks, and its files are used again.
fn aged(session: &mut Session) {
    session.close();
    session.retain.age = Some(Duration::from_nanos(1));
    session.open().unwrap();
    for count in 0..9 {
        for _ in 0..3 {
            session.append(12_000);
        }
        session.sync();
        let end = session.journal().next_seq();
        session.delete(&[end - 2], count % 3 == 0);
        session.tend();
        session.prepare_ahead();
    }
}

/// Files that are emptied, in the middle and at the beginning, with indexes beside them.
fn emptied(session: &mut Session) {
    for _ in 0..5 {
        for _ in 0..7 {
            session.append(9000);
            session.append(150);
        }
        session.sync();
        session.tend();
    }
    let end = session.journal().next_seq();
    session.delete(&(15..38).collect::<Vec<_>>(), true);
    session.append(100);
    session.delete(&(2..14).collect::<Vec<_>>(), false);
    session.sync();
    session.kill();
    session.open().unwrap();
    session.delete(&[0, 1, 14], true);
    session.delete(&(38..end).collect::<Vec<_>>(), true);
    session.prune(20);
    for _ in 0..9 {
        session.append(9000);
        session.sync();
    }
    session.tend();
}

/// The story: two files went, and of that a crash left only that the second one was gone. As the file behind them had been
/// emptied, and its cursors with it, the first one was kept, and the second one missed.
fn holed(session: &mut Session) {
    for _ in 0..22 {
        session.append(9000);
        session.sync();
    }
    let core = session.journal().core();
    let firsts = files::firsts(&*core.disk, &core.names).unwrap();
    session.delete(&(firsts[2]..firsts[3]).collect::<Vec<_>>(), true);
    session.prepare_ahead();
    session.prune(firsts[1]);
    session.prune(firsts[2]);
    session.append(100);
    session.sync();
}

/// Many cursors, so that a file is full of them after a few changes.
pub(super) fn crowd(session: &mut Session) {
    session.append(200);
    session.sync();
    for number in 0..200 {
        session.advance(&format!("c{number}"), number % 2);
    }
    session.sync_cursors();
}

/// Cursors that go back and forth where no records come: a file that is full of them, which is lengthened, and replaced.
fn dithering(session: &mut Session) {
    crowd(session);
    for count in 0..52 {
        session.set_cursor("c7", count % 2);
        session.sync_cursors();
        if count % 20 == 19 {
            session.kill();
            session.open().unwrap();
        }
        if count == 45 {
            session.append(session.limit_bytes());
        }
    }
}

pub(super) const SCRIPTS: [Script; 18] = [
    ("dithering", TIMELY, dithering),
    ("holed", TIMELY, holed),
    ("moved", TIMELY, moved),
    ("aged", TIMELY, aged),
    ("emptied", TIMELY, emptied),
    ("singles", TIMELY, singles),
    ("groups", TIMELY, groups),
    ("rolls", TIMELY, rolls),
    ("unsynced", Flush::Never, unsynced),
    ("reopened", TIMELY, reopened),
    ("killed", Flush::Never, killed),
    ("lengths", TIMELY, lengths),
    ("prepared", TIMELY, prepared),
    ("full", TIMELY, full),
    ("pointed", TIMELY, pointed),
    ("pruned", TIMELY, pruned),
    ("retained", TIMELY, retained),
    ("deleted", TIMELY, deleted),
];
