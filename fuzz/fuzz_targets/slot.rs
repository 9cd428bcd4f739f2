//! Publishing, loading and pinning in a snapshot that somebody scribbles over, also while a value is pinned.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog_fuzz::model::Len;
use shmlog_fuzz::shelf::{Scribble, SnapshotShape};
use shmlog_fuzz::table::{Meanwhile, Table, Way};

#[derive(Arbitrary, Debug)]
enum Op {
    Scribble(Scribble),
    Publish { second: bool, len: Len, as_of: Option<u16>, in_place: bool },
    Archive(bool),
    Write(Option<bool>),
    Join(u8, bool),
    Load(u8, Way),
    Pin(u8, Vec<Meanwhile>),
    Name(bool, String),
    Look(String),
}

fuzz_target!(|input: (SnapshotShape, Vec<Op>)| {
    let (shape, ops) = input;
    let mut table = Table::new(shape);
    for op in ops.iter().take(48) {
        match op {
            Op::Scribble(scribble) => table.scribble(scribble),
            Op::Publish { second, len, as_of, in_place } => table.publish(*second, *len, *as_of, *in_place),
            Op::Archive(second) => table.publish_archive(*second),
            Op::Write(of) => table.write(*of),
            Op::Join(who, second) => table.join(*who, *second),
            Op::Load(who, way) => table.load(*who, *way),
            Op::Pin(who, meanwhile) => table.pin(*who, meanwhile),
            Op::Name(second, letters) => table.set_name(*second, letters),
            Op::Look(name) => table.look(name),
        }
    }
    table.end_of_play();
});
