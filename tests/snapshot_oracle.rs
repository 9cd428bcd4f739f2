//! Random interleavings of publishing, loading, pinning and letting go, for all numbers of buffers, against a tiny
//! oracle.
#![allow(unsafe_code, reason = "a reader is kept beside the pin that borrows from it")]

mod common;

use common::{number_of, value};
use proptest::prelude::*;
use shmlog::{Pinned, PublishError, Snapshot, SnapshotBuilder, SnapshotReader, SnapshotWriter};
use std::time::Duration;

const READERS: usize = 6;
const SLOTS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish {
        slot: usize,
        words: usize,
        as_of: Option<u64>,
    },
    /// A publication that begins and does not end, as of one who is killed; then the next writer comes.
    Abandon {
        slot: usize,
        words: usize,
    },
    Load(usize),
    Pin(usize),
    Unpin(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, words) = (0..SLOTS, 1..20_usize);
    prop_oneof![
        6 => (slot.clone(), words.clone(), any::<Option<u32>>())
            .prop_map(|(slot, words, seq)| Step::Publish { slot, words, as_of: seq.map(u64::from) }),
        1 => (slot, words).prop_map(|(slot, words)| Step::Abandon { slot, words }),
        3 => (0..READERS).prop_map(Step::Load),
        4 => (0..READERS).prop_map(Step::Pin),
        2 => (0..READERS).prop_map(Step::Unpin),
    ]
}

/// A value as it was published.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Held {
    version: u64,
    number: u64,
    words: usize,
    as_of: Option<u64>,
}

/// What a slot and its readers must know.
#[derive(Default)]
struct Oracle {
    newest: Held,
    /// Newest version that was begun.
    begun: u64,
}

impl Oracle {
    /// The version that the next value gets: the first one, not older than one that was begun, whose buffer is neither
    /// the current one nor pinned.
    fn next(&self, buffers: u64, pins: &[Option<Kept>], slot: usize) -> Option<u64> {
        let current = self.newest.version;
        let is_pinned = |version: u64| {
            let of_slot = pins.iter().skip(slot).step_by(SLOTS).flatten();
            of_slot.into_iter().any(|kept| kept.held.version % buffers == version % buffers)
        };
        (self.begun.max(current + 1)..current + buffers).find(|&version| !is_pinned(version))
    }
}

/// A pin, and the reader that it borrows from.
struct Kept {
    pin: Option<Pinned<'static>>,
    reader: *mut SnapshotReader,
    held: Held,
}

impl Kept {
    /// `None`, and the reader back, if there is nothing to pin.
    fn new(reader: Box<SnapshotReader>, held: Held) -> Result<Self, Box<SnapshotReader>> {
        let reader = Box::into_raw(reader);
        // SAFETY: just made; nobody else uses it before `free`, which drops the pin first.
        let pin = unsafe { &mut *reader }.pin().unwrap();
        let kept = Self { pin, reader, held };
        if kept.pin.is_some() { Ok(kept) } else { Err(kept.free()) }
    }

    fn free(mut self) -> Box<SnapshotReader> {
        drop(self.pin.take());
        // SAFETY: from `into_raw`, and the pin that borrowed from it is gone.
        unsafe { Box::from_raw(self.reader) }
    }

    fn check(&self) {
        let Held { version, number, words, as_of } = self.held;
        let pin = self.pin.as_ref().unwrap();
        assert_eq!((pin.version(), pin.as_of(), pin.len()), (version, as_of, words * 8));
        assert_eq!(number_of(&pin.to_vec()), Some(number), "changed while pinned");
    }
}

fn check_load(reader: &mut SnapshotReader, seen: &mut u64, newest: Held) {
    let held = (newest.version > 0).then_some(newest);
    assert_eq!(reader.changed_since(*seen), newest.version != *seen);
    // Asked for as what it is not, it says that there is something new, and has not loaded it.
    assert_eq!(reader.load_newer::<u8>().is_err(), newest.version != *seen);
    let loaded = reader.load_bytes().unwrap().map(|loaded| {
        let number = number_of(&loaded.value).expect("torn");
        Held { version: loaded.version, number, words: loaded.value.len() / 8, as_of: loaded.as_of }
    });
    assert_eq!(loaded, held);
    assert!(reader.load_newer::<u8>().unwrap().is_none(), "nothing new since");
    *seen = newest.version;
}

/// Publishes, or learns from the right one that it can't.
fn publish(writer: &mut SnapshotWriter, wanted: Held, slot: usize, expected: Option<u64>, pins: &[Option<Kept>]) {
    let target = writer.slot(slot).unwrap();
    let target = if let Some(seq) = wanted.as_of { target.as_of(seq) } else { target };
    match target.publish_bytes(&value(wanted.number, wanted.words * 8)) {
        Ok(version) => assert_eq!(Some(version), expected),
        Err(PublishError::Busy { by }) => {
            assert_eq!(expected, None, "there was a buffer that nobody pins");
            let reader: usize = by.name().parse().unwrap();
            assert!(reader % SLOTS == slot && pins[reader].is_some(), "{by} does not pin slot {slot}");
        }
        Err(error) => panic!("{error}"),
    }
}

fn abandon(writer: &mut SnapshotWriter, slot: usize, words: usize, expected: Option<u64>) {
    let publish = || {
        writer.slot(slot).unwrap().publish_with(words * 8, |draft| {
            draft.write(0, &value(u64::MAX, words * 4));
            std::panic::resume_unwind(Box::new("killed"));
        })
    };
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(publish));
    assert_eq!(ended.is_err(), expected.is_some(), "{ended:?}");
}

fn run(builder: &SnapshotBuilder, buffers: u64, steps: &[Step]) {
    let snapshot = builder.clone().slots(SLOTS as u64).buffers(buffers).create_memfd("oracle").unwrap();
    let new_writer = || {
        let mut writer = snapshot.writer().unwrap();
        writer.set_patience(Duration::ZERO);
        writer
    };
    let new_reader = |number: usize| {
        let mut reader = snapshot.reader_of(number % SLOTS).unwrap();
        reader.set_name(number.to_string());
        Some(Box::new(reader))
    };
    let mut writer = new_writer();
    let mut readers: Vec<_> = (0..READERS).map(new_reader).collect();
    let mut pins: Vec<Option<Kept>> = (0..READERS).map(|_| None).collect();
    let mut seen = [0; READERS];
    let mut oracles: [Oracle; SLOTS] = Default::default();
    for (number, &step) in (1..).zip(steps) {
        match step {
            Step::Publish { slot, words, as_of } => {
                let expected = oracles[slot].next(buffers, &pins, slot);
                let held = Held { version: expected.unwrap_or(0), number, words, as_of };
                publish(&mut writer, held, slot, expected, &pins);
                oracles[slot].newest = expected.map_or(oracles[slot].newest, |_| held);
            }
            Step::Abandon { slot, words } => {
                let expected = oracles[slot].next(buffers, &pins, slot);
                abandon(&mut writer, slot, words, expected);
                oracles[slot].begun = expected.unwrap_or(oracles[slot].begun);
                drop(writer);
                writer = new_writer();
            }
            Step::Load(reader) => {
                let Some(handle) = &mut readers[reader] else { continue };
                check_load(handle, &mut seen[reader], oracles[reader % SLOTS].newest);
            }
            Step::Pin(reader) => {
                let Some(handle) = readers[reader].take() else { continue };
                let newest = oracles[reader % SLOTS].newest;
                match Kept::new(handle, newest) {
                    Ok(kept) => (pins[reader], seen[reader]) = (Some(kept), newest.version),
                    Err(handle) => {
                        assert_eq!(newest.version, 0, "there was something to pin");
                        readers[reader] = Some(handle);
                    }
                }
            }
            Step::Unpin(reader) => readers[reader] = readers[reader].take().or(pins[reader].take().map(Kept::free)),
        }
        pins.iter().flatten().for_each(Kept::check);
    }
    drop(pins.into_iter().flatten().map(Kept::free).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if common::is_long() { 20_000 } else { 300 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_interleaving_agrees_with_the_oracle(
        buffers in prop_oneof![2..6_u64, 2..65_u64],
        is_sparse: bool,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        run(&Snapshot::builder().capacity_bytes(160).sparse(is_sparse), buffers, &steps);
    }
}
