//! From segment to segment, many times over, while somebody scribbles over what says which is which: laps, bases,
//! head, active, commit words, holds.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog_fuzz::ground::LogShape;
use shmlog_fuzz::scribble::{Place, Scribble, Value};
use shmlog_fuzz::stage::{From, Stage};

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Head,
    Active,
    Base(u8),
    Bump(u8),
    Index(u8, u8),
    Hold(u8),
    Role(u8),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Scribble(Word, Value),
    /// So many records, by a writer.
    Fill(u8, u8),
    Swap,
    Leave(u8),
    Read(u8),
    Pin(u8),
    Unpin(u8),
    Join(u8, bool, bool),
    Close,
}

fn place(word: Word) -> Place {
    match word {
        Word::Head => Place::Head,
        Word::Active => Place::Active,
        Word::Base(number) => Place::Base(number),
        Word::Bump(number) => Place::Bump(number),
        Word::Index(number, entry) => Place::Index(number, entry),
        Word::Hold(number) => Place::Hold(number),
        Word::Role(number) => Place::Slot(number, 0),
    }
}

fuzz_target!(|input: (LogShape, Vec<Op>)| {
    let (shape, ops) = input;
    let mut stage = Stage::new(shape);
    for op in ops.iter().take(32) {
        match op {
            Op::Scribble(word, value) => stage.scribble(&Scribble { place: place(*word), value: *value }),
            Op::Fill(who, count) => stage.fill(*who, count % 64),
            Op::Swap => stage.swap(),
            Op::Leave(who) => stage.leave(*who),
            Op::Read(who) => stage.batch(*who),
            Op::Pin(who) => stage.pin(*who),
            Op::Unpin(who) => stage.unpin(*who),
            Op::Join(who, is_gated, is_old) => {
                stage.join(*who, *is_gated, if *is_old { From::Oldest } else { From::End });
            }
            Op::Close => stage.close(0),
        }
    }
    stage.end_of_play();
});
