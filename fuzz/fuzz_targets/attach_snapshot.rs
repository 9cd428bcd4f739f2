//! Attaching to a snapshot whose files are bent, in every way there is but by socket, and using what was let in.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Access, Snapshot};
use shmlog_fuzz::exercise;
use shmlog_fuzz::image::Bend;
use shmlog_fuzz::shelf::{Scribble, Shelf, SnapshotShape};
use std::os::fd::AsRawFd;

#[derive(Arbitrary, Debug)]
enum Op {
    Region(Bend),
    Board(Bend),
    Word(Scribble),
    Open(u8),
    Observe,
    /// By the path of a descriptor.
    ObserveDescriptor,
}

fuzz_target!(|input: (SnapshotShape, Vec<Op>)| {
    let (shape, ops) = input;
    let shelf = Shelf::named(shape);
    let accesses = [Access::Append, Access::Read, Access::Observe, Access::Own];
    let (mut attached, mut has_looked) = (0, false);
    for op in ops.iter().take(16) {
        let snapshot = match op {
            Op::Region(bend) => {
                bend.apply(&shelf.region);
                continue;
            }
            Op::Board(bend) => {
                bend.apply(&shelf.board);
                continue;
            }
            Op::Word(scribble) => {
                scribble.apply(&shelf);
                continue;
            }
            Op::Open(access) => Snapshot::open(&shelf.path, accesses[usize::from(access % 4)]),
            Op::Observe => Snapshot::observe(&shelf.path),
            // It looks at all descriptors there are.
            Op::ObserveDescriptor if std::mem::replace(&mut has_looked, true) => continue,
            Op::ObserveDescriptor => Snapshot::observe(format!("/proc/self/fd/{}", shelf.region.file().as_raw_fd())),
        };
        if let Ok(snapshot) = snapshot {
            exercise::snapshot(&snapshot);
            attached += 1;
        }
    }
    if attached == 0
        && let Ok(snapshot) = Snapshot::open(&shelf.path, Access::Append)
    {
        exercise::snapshot(&snapshot);
    }
});
