//! Readers step through a log that somebody scribbles over between the steps.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog_fuzz::ground::LogShape;
use shmlog_fuzz::model::Len;
use shmlog_fuzz::scribble::Scribble;
use shmlog_fuzz::stage::{From, Stage};

#[derive(Arbitrary, Debug)]
enum Op {
    Scribble(Scribble),
    Append(Len, Option<u8>),
    Fill(u8),
    Join(u8, bool, From),
    TryNext(u8),
    Peek(u8),
    NextTimeout(u8),
    Batch(u8),
    Pin(u8),
    Unpin(u8),
    Close,
}

fuzz_target!(|input: (LogShape, Vec<Op>)| {
    let (shape, ops) = input;
    let mut stage = Stage::new(shape);
    for op in ops.iter().take(48) {
        match op {
            Op::Scribble(scribble) => stage.scribble(scribble),
            Op::Append(len, parts) => {
                let rec = stage.rec(*len, parts.map(|parts| parts % 5));
                let _ = stage.append(0, rec);
            }
            Op::Fill(count) => stage.fill(0, count % 32),
            Op::Join(who, is_gated, from) => stage.join(*who, *is_gated, *from),
            Op::TryNext(who) => stage.try_next(*who),
            Op::Peek(who) => stage.peek(*who),
            Op::NextTimeout(who) => stage.next_timeout(*who),
            Op::Batch(who) => stage.batch(*who),
            Op::Pin(who) => stage.pin(*who),
            Op::Unpin(who) => stage.unpin(*who),
            Op::Close => stage.close(0),
        }
    }
    stage.end_of_play();
});
