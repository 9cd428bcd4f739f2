//! An arena whose bytes are bent before somebody attaches, and scribbled over afterwards.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Allocation, Arena, ArenaError, Typed};
use shmlog_fuzz::bytes::Bytes;
use shmlog_fuzz::exercise;
use shmlog_fuzz::image::{Bend, Word};
use std::path::PathBuf;

#[derive(Arbitrary, Debug)]
enum Op {
    /// The word that counts what was handed out.
    Bump(Word),
    Allocate(Word, u8),
    Write(Word, Word, u16, Vec<u8>),
    Read(Word, Word, u8),
    Load(Word),
    Store(Word),
    Words(Word, Word),
}

struct Ground {
    path: PathBuf,
    bytes: Bytes,
}

thread_local!(static GROUND: Ground = {
    let path = tempfile::tempdir().expect("a directory").keep().join("arena");
    drop(Arena::create_at(&path, 20_000).expect("an arena"));
    Ground { bytes: Bytes::open(&path), path }
});

fn play(arena: &Arena, bytes: &Bytes, ops: &[Op]) {
    let (mut is_clean, mut end) = (true, arena.used_bytes());
    let capacity = arena.capacity_bytes();
    let inside = |at: u64, len: u64| at.checked_add(len).is_some_and(|end| end <= capacity.next_multiple_of(8));
    for op in ops.iter().take(32) {
        match op {
            Op::Bump(word) => is_clean &= !bytes.set_word(128, word.of(bytes.word(128))),
            Op::Allocate(len, align) => {
                let (len, align) = (len.of(0), 1 << (align % 16));
                match arena.allocate(len, align) {
                    Ok(got) => {
                        assert!(inside(got.offset_bytes, len) && got.len_bytes == len);
                        assert_eq!(got.offset_bytes % align.max(8), 0);
                        assert!(got.offset_bytes >= end || !is_clean, "handed out twice");
                        end = got.offset_bytes + len;
                    }
                    Err(ArenaError::Full { left_bytes, .. }) => assert!(left_bytes <= capacity),
                    Err(_) => {}
                }
            }
            Op::Write(at, len, from, what) => {
                let got = Allocation { offset_bytes: at.of(0), len_bytes: len.of(0) };
                if let Ok(count) = arena.write(got, (*from).into(), what) {
                    assert!(inside(got.offset_bytes, got.len_bytes) && count <= what.len());
                }
            }
            Op::Read(at, len, room) => {
                let got = Allocation { offset_bytes: at.of(0), len_bytes: len.of(0) };
                if let Ok(count) = arena.read(got, &mut vec![0; (*room).into()]) {
                    assert!(inside(got.offset_bytes, count as u64));
                }
            }
            Op::Load(at) => {
                let _ = arena.load(Typed::<[u8; 13]>::at(at.of(0)));
            }
            Op::Store(at) => {
                let _ = arena.store(Typed::at(at.of(0)), &[1_u64, 2, 3]);
            }
            Op::Words(at, len) => {
                let got = Allocation { offset_bytes: at.of(0), len_bytes: len.of(0) };
                if let Ok(words) = arena.atomics(got) {
                    assert!(words.len() as u64 == got.len_bytes.div_ceil(8) && inside(got.offset_bytes, got.len_bytes));
                }
            }
        }
    }
}

fuzz_target!(|input: (Vec<Bend>, bool, Vec<Op>)| {
    let (bends, is_writable, ops) = input;
    GROUND.with(|Ground { path, bytes }| {
        bytes.restore();
        bends.iter().take(8).for_each(|bend| bend.apply(bytes));
        if let Ok(arena) = Arena::open(path, is_writable) {
            play(&arena, bytes, &ops);
            exercise::arena(&arena);
        }
    });
});
