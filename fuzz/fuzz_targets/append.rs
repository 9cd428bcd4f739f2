//! Appenders of every kind, one step after another, on a log that somebody scribbles over in between, also while a
//! reservation is out.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog_fuzz::ground::LogShape;
use shmlog_fuzz::model::Len;
use shmlog_fuzz::scribble::Scribble;
use shmlog_fuzz::stage::{Meanwhile, Stage};

#[derive(Arbitrary, Debug)]
enum Op {
    Scribble(Scribble),
    Append(u8, Len),
    Parts(u8, Len, u8),
    Reserve {
        who: u8,
        len: Len,
        meanwhile: Vec<Meanwhile>,
        first: Option<u16>,
    },
    Wait(u8, Len),
    Leave(u8),
    /// From shared to exclusive, and back.
    Swap,
    Read(u8),
    Pin(u8),
    Unpin(u8),
    Close(u8),
}

fuzz_target!(|input: (LogShape, Vec<Op>)| {
    let (shape, ops) = input;
    let mut stage = Stage::new(shape);
    for op in ops.iter().take(48) {
        match op {
            Op::Scribble(scribble) => stage.scribble(scribble),
            Op::Append(who, len) => {
                let rec = stage.rec(*len, None);
                let _ = stage.append(*who, rec);
            }
            Op::Parts(who, len, parts) => {
                let rec = stage.rec(*len, Some(parts % 6));
                let _ = stage.append(*who, rec);
            }
            Op::Reserve { who, len, meanwhile, first } => stage.reserve(*who, *len, meanwhile, *first),
            Op::Wait(who, len) => stage.append_wait(*who, *len),
            Op::Leave(who) => stage.leave(*who),
            Op::Swap => stage.swap(),
            Op::Read(who) => stage.try_next(*who),
            Op::Pin(who) => stage.pin(*who),
            Op::Unpin(who) => stage.unpin(*who),
            Op::Close(who) => stage.close(*who),
        }
    }
    stage.end_of_play();
});
