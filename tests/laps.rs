//! Round and round: far beyond the lap at which the tags of the commit words come round.

mod common;

use common::is_long;
use shmlog::{Appender, Exclusive, Fencing, Log, Mode, ReadError, Reader, Retention, Shared, Start};

/// Laps after which a tag comes round.
const CYCLE: u64 = 16_383;
const WINDOWS: u64 = 2;
/// Records of a full segment.
const RECORDS: u64 = 7;

fn ring(entries: u64, retention: Retention, fencing: Fencing) -> Log {
    let builder = Log::builder().windows(WINDOWS).window_bytes(64 << 10).entries(entries);
    builder.retention(retention).fencing(fencing).create_memfd("laps").unwrap()
}

fn expect(reader: &mut Reader, seq: u64) {
    let record = reader.try_next().unwrap().expect("a record");
    assert_eq!((record.seq(), record.read::<u64>().unwrap()), (seq, seq));
}

fn laps(log: &Log) -> u64 {
    log.info().active / WINDOWS
}

/// Appends and reads every record for more than three cycles.
fn go_round<M: Mode>(log: &Log, mut appender: Appender<M>, is_gated: bool) {
    let mut reader = log.reader_builder().gated(is_gated).start(Start::First).unwrap();
    let total = (3 * CYCLE + 100) * WINDOWS * RECORDS;
    for seq in 0..total {
        assert_eq!(appender.append(&seq.to_le_bytes()).unwrap(), seq);
        expect(&mut reader, seq);
        if seq % 4096 == 0 {
            assert!(reader.try_next().unwrap().is_none(), "nothing of an older cycle comes back");
            assert!(reader.get(seq + 1).unwrap().is_none());
            assert_eq!(reader.get(seq).unwrap().unwrap().read::<u64>().unwrap(), seq);
        }
    }
    assert!(laps(log) > 3 * CYCLE);
}

#[test]
fn a_shared_appender_goes_round_with_a_gated_reader() {
    let log = ring(8, Retention::Gated, Fencing::Asymmetric);
    go_round::<Shared>(&log, log.appender().unwrap(), true);
}

#[test]
fn an_exclusive_appender_goes_round_with_a_free_reader() {
    let log = ring(8, Retention::Overwrite, Fencing::Portable);
    go_round::<Exclusive>(&log, log.exclusive().unwrap(), false);
}

#[test]
fn the_roles_take_turns_for_a_cycle() {
    let log = ring(8, Retention::Gated, Fencing::Portable);
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    let mut seq = 0_u64;
    while laps(&log) < CYCLE + 100 {
        let mut shared = [log.appender().unwrap(), log.appender().unwrap()];
        for turn in 0..500 {
            assert_eq!(shared[turn % 2].append(&seq.to_le_bytes()).unwrap(), seq);
            expect(&mut reader, seq);
            seq += 1;
        }
        drop(shared);
        let mut exclusive = log.exclusive().unwrap();
        for _ in 0..500 {
            assert_eq!(exclusive.append(&seq.to_le_bytes()).unwrap(), seq);
            expect(&mut reader, seq);
            seq += 1;
        }
    }
}

/// Appends `len` bytes of which only the first eight are written.
fn append_long<M: Mode>(appender: &mut Appender<M>, seq: u64, len: usize) {
    let mut slot = appender.reserve(len).unwrap();
    slot.write(0, &seq.to_le_bytes());
    assert_eq!(slot.commit().unwrap(), seq);
}

/// Segments that large records end early leave most of their index as older laps left it; exactly one cycle later
/// those words would look current if no roll had cleared them.
#[test]
fn words_that_stay_stale_never_come_back() {
    for is_exclusive in [false, true] {
        // One word is refreshed by each roll, in 1,024 of them all are.
        let log = ring(64, Retention::Gated, Fencing::Portable);
        let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
        let mut append: Box<dyn FnMut(u64, usize)> = if is_exclusive {
            let mut appender = log.exclusive().unwrap();
            Box::new(move |seq, len| append_long(&mut appender, seq, len))
        } else {
            let mut appender = log.appender().unwrap();
            Box::new(move |seq, len| append_long(&mut appender, seq, len))
        };
        let large = log.info().max_record_bytes;
        let mut bytes = [0; 8];
        for seq in 0..126 + (CYCLE + 10) * WINDOWS {
            // One dense lap; in all others a record takes the whole segment.
            let is_dense = seq < 126;
            append(seq, if is_dense { 8 } else { large });
            let record = reader.try_next().unwrap().expect("a record");
            assert_eq!((record.seq(), record.len()), (seq, if is_dense { 8 } else { large }));
            record.copy_to(&mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), seq);
            assert!(reader.try_next().unwrap().is_none(), "{seq}: nothing behind it");
            assert_eq!(reader.lag(), 0);
        }
        assert!(laps(&log) > CYCLE);
    }
}

/// The words under a reader that sleeps for exactly a cycle carry the tag that it expects.
#[test]
fn a_reader_that_slept_for_a_cycle_learns_what_it_missed() {
    for slept in [1, CYCLE - 1, CYCLE, CYCLE + 1] {
        let log = ring(8, Retention::Overwrite, Fencing::Portable);
        let mut appender = log.appender().unwrap();
        let mut append = |seq: u64| assert_eq!(appender.append(&seq.to_le_bytes()).unwrap(), seq);
        (0..3).for_each(&mut append);
        let mut readers: Vec<_> = (0..=3).map(|at| log.reader(Start::At(at)).unwrap()).collect();
        let total = slept * WINDOWS * RECORDS + 5;
        (3..total).for_each(&mut append);
        let oldest = log.info().oldest_seq;
        for (reader, from) in readers.iter_mut().zip(0..) {
            let mut seen = from;
            while seen < total {
                match reader.try_next() {
                    Ok(record) => {
                        let value: u64 = record.expect("there are more").read().unwrap();
                        assert!(value == seen && value >= oldest, "it looked current, but its segment is long gone");
                        seen += 1;
                    }
                    Err(error) => {
                        assert_eq!(error, ReadError::Lagged { missed: oldest - seen, next: oldest });
                        seen = oldest;
                    }
                }
            }
            assert!(reader.try_next().unwrap().is_none());
        }
    }
}

#[test]
fn an_idle_appender_finds_its_way_after_a_cycle() {
    let log = ring(8, Retention::Overwrite, Fencing::Portable);
    let (mut idle, mut busy) = (log.appender().unwrap(), log.appender().unwrap());
    assert_eq!(idle.append(b"idle").unwrap(), 0);
    let mut seq = 1;
    for _ in 0..if is_long() { 100 } else { 3 } {
        for _ in 0..CYCLE * WINDOWS * RECORDS {
            assert_eq!(busy.append(b"busy").unwrap(), seq);
            seq += 1;
        }
        assert_eq!(idle.append(b"idle").unwrap(), seq);
        seq += 1;
        let reader = log.reader(Start::Oldest).unwrap();
        assert_eq!(reader.get(seq - 1).unwrap().unwrap().to_vec().unwrap(), b"idle");
        assert_eq!(reader.get(seq - 2).unwrap().unwrap().to_vec().unwrap(), b"busy");
    }
}
