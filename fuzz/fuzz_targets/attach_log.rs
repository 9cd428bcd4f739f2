//! Attaching to a log whose files are bent, in every way there is but by socket, and using what was let in.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Access, Log, Prefault};
use shmlog_fuzz::exercise;
use shmlog_fuzz::ground::{Ground, LogShape};
use shmlog_fuzz::image::Bend;
use shmlog_fuzz::scribble::Scribble;
use std::os::fd::AsRawFd;

#[derive(Arbitrary, Debug)]
enum Op {
    Log(Bend),
    Board(Bend),
    Word(Scribble),
    Open(u8, bool),
    Observe,
    /// By the path of a descriptor.
    ObserveDescriptor,
}

fuzz_target!(|input: (LogShape, Vec<Op>)| {
    let (shape, ops) = input;
    let ground = Ground::named(shape);
    let accesses = [Access::Append, Access::Read, Access::Observe, Access::Own];
    let (mut attached, mut has_looked) = (0, false);
    for op in ops.iter().take(16) {
        let log = match op {
            Op::Log(bend) => {
                bend.apply(&ground.region);
                continue;
            }
            Op::Board(bend) => {
                bend.apply(&ground.board);
                continue;
            }
            Op::Word(scribble) => {
                scribble.apply(&ground);
                continue;
            }
            Op::Open(access, is_lazy) => {
                let prefault = if *is_lazy { Prefault::No } else { Prefault::Yes };
                Log::open_with(&ground.path, accesses[usize::from(access % 4)], prefault)
            }
            Op::Observe => Log::observe(&ground.path),
            // It looks at all descriptors there are.
            Op::ObserveDescriptor if std::mem::replace(&mut has_looked, true) => continue,
            Op::ObserveDescriptor => Log::observe(format!("/proc/self/fd/{}", ground.region.file().as_raw_fd())),
        };
        if let Ok(log) = log {
            exercise::log(&log);
            attached += 1;
        }
    }
    if attached == 0
        && let Ok(log) = Log::open(&ground.path, Access::Append)
    {
        exercise::log(&log);
    }
});
