//! Records by number, and going to them, in a log that somebody scribbles over.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog_fuzz::ground::LogShape;
use shmlog_fuzz::model::Len;
use shmlog_fuzz::scribble::Scribble;
use shmlog_fuzz::stage::{From, Seq, Stage};

#[derive(Arbitrary, Debug)]
enum Op {
    Scribble(Scribble),
    Get(u8, Seq),
    Seek(u8, Seq),
    Join(u8, bool, Seq),
    Append(Len),
    Fill(u8),
    TryNext(u8),
    Batch(u8),
    Pin(u8),
    Unpin(u8),
    Lag(u8),
    Info,
}

fuzz_target!(|input: (LogShape, Vec<Op>)| {
    let (shape, ops) = input;
    let mut stage = Stage::new(shape);
    for op in ops.iter().take(48) {
        match op {
            Op::Scribble(scribble) => stage.scribble(scribble),
            Op::Get(who, seq) => stage.get(*who, *seq),
            Op::Seek(who, seq) => stage.seek(*who, *seq),
            Op::Join(who, is_gated, seq) => stage.join(*who, *is_gated, From::At(*seq)),
            Op::Append(len) => {
                let rec = stage.rec(*len, None);
                let _ = stage.append(0, rec);
            }
            Op::Fill(count) => stage.fill(0, count % 32),
            Op::TryNext(who) => stage.try_next(*who),
            Op::Batch(who) => stage.batch(*who),
            Op::Pin(who) => stage.pin(*who),
            Op::Unpin(who) => stage.unpin(*who),
            Op::Lag(who) => stage.lag(*who),
            Op::Info => stage.info(),
        }
    }
    stage.end_of_play();
});
