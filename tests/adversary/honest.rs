//! Honest processes: each tries its call again and again, whatever comes of it, and takes its handle anew when that is
//! of no use any more.

use crate::common::{setting, to_parent};
use crate::round::Round;
use crate::tally::{Diary, Dice, Page, is_over, own_words};
use nix::sys::resource::{Resource, setrlimit};
use shmlog::{Appender, JoinError, Log, Mode, Reader, Record, Slot, Snapshot, Start, Wait};
use std::hint::black_box;
use std::io::Write;
use std::thread::yield_now;
use std::time::Duration;

/// More address space than any of them has a use for: who asks for more is aborted, and the round fails.
const ADDRESS_SPACE: u64 = 2 << 30;
/// Errors in a row after which a handle is taken anew.
const VAIN: u32 = 24;
const MOMENT: Duration = Duration::from_millis(20);

/// What an honest process has.
pub struct Honest<'p> {
    pub round: Round,
    pub log: Log,
    pub snapshot: Snapshot,
    pub dice: Dice,
    pub diary: Diary<'p>,
    page: &'p Page,
}

impl Honest<'_> {
    pub fn is_over(&self) -> bool {
        is_over(self.page)
    }

    /// Whether to keep the handle in hand.
    pub fn goes_on(&mut self) -> bool {
        if self.diary.in_vain > 0 {
            yield_now();
        }
        let keeps = self.diary.in_vain < VAIN && self.dice.roll(2000) != 0;
        if !keeps {
            self.diary.in_vain = 0;
        }
        keeps && !self.is_over()
    }
}

/// In a child: plays a role until it is over, then tells what became of its calls.
pub fn play(role: fn(&mut Honest<'_>)) {
    let mut parent = to_parent();
    let page = Page::receive(&parent);
    let (log, snapshot) = (Log::receive(&parent).unwrap(), Snapshot::receive(&parent).unwrap());
    setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE).unwrap();
    let round = Round::of(setting("SHMLOG_TEST_SEED"));
    let dice = Dice::new(round.seed << 8 | setting::<u64>("SHMLOG_TEST_NUMBER"));
    let mut honest = Honest { round, log, snapshot, dice, diary: Diary::new(own_words(&page)), page: &page };
    while !honest.is_over() {
        role(&mut honest);
        yield_now();
    }
    parent.write_all(honest.diary.tally.lines().as_bytes()).unwrap();
}

/// Appends in every way.
fn append<M: Mode>(honest: &mut Honest<'_>, take: impl FnOnce(&Log) -> Result<Appender<M>, JoinError>) {
    let log = honest.log.clone();
    let Some(mut appender) = honest.diary.call("join", || take(&log)) else { return };
    if honest.dice.roll(3) == 0 {
        appender.set_stall_wait(Duration::from_millis(honest.dice.roll(5)));
    }
    let bytes = vec![7; appender.limit_bytes() + 1];
    while honest.goes_on() {
        let len = match honest.dice.roll(40) {
            0 => bytes.len() - honest.dice.index(3),
            1 => honest.dice.index(bytes.len()),
            _ => honest.dice.index(300),
        };
        let (some, diary) = (&bytes[..len], &mut honest.diary);
        match honest.dice.roll(12) {
            0 => diary.attempt("append_parts", || appender.append_parts(&[b"part", some])),
            1 => diary.attempt("commit", || {
                let mut slot = appender.reserve(len)?;
                slot.write(0, some);
                slot.commit().map_err(|error| error.error)
            }),
            2 => diary.attempt("reserve", || appender.reserve(len).map(|slot| slot.len())),
            3 => diary.attempt("append_wait", || appender.append_wait(some, MOMENT)),
            4 => diary.attempt("commit_first", || {
                appender.reserve(len).map(|slot: Slot<'_, M>| slot.commit_first(len / 2).is_ok())
            }),
            _ => diary.attempt("append", || appender.append(some)),
        }
    }
    if honest.dice.roll(500) == 0 {
        honest.diary.call("close", || appender.close());
    }
}

pub fn shared(honest: &mut Honest<'_>) {
    append(honest, |log| log.appender_named("honest"));
}

/// One that is alone, when the others let it.
pub fn exclusive(honest: &mut Honest<'_>) {
    append(honest, Log::exclusive);
}

/// A reader that nobody waits for, unless it has pinned.
pub fn free(honest: &mut Honest<'_>) {
    read(honest, false);
}

/// A reader that appenders wait for, where the log lets them; one that pins, elsewhere.
pub fn gated(honest: &mut Honest<'_>) {
    read(honest, true);
}

fn read(honest: &mut Honest<'_>, is_gated: bool) {
    let (log, round) = (honest.log.clone(), honest.round.clone());
    let gates = is_gated && round.has_gates();
    let start = match honest.dice.roll(4) {
        0 => Start::First,
        1 => Start::End,
        2 => Start::At(log.info().next_seq.wrapping_sub(honest.dice.roll(20))),
        _ => Start::Oldest,
    };
    let builder = log.reader_builder().name("honest").gated(gates);
    let Some(mut reader) = honest.diary.call("reader", || builder.start(start)) else { return };
    if is_gated && !gates {
        honest.diary.call("pin", || reader.pin());
    }
    while honest.goes_on() {
        look(honest, &mut reader);
    }
}

/// Everything that can be made of a record.
fn consume(record: &Record<'_>, dice: &mut Dice) {
    match dice.roll(4) {
        0 => drop(black_box(record.read::<[u64; 4]>())),
        1 => drop(black_box(record.parts().try_for_each(|part| part.map(|part| drop(black_box(part.to_vec())))))),
        2 => drop(black_box(record.atomics().map(<[_]>::len))),
        _ => {}
    }
}

/// One call of a reader.
fn look(honest: &mut Honest<'_>, reader: &mut Reader) {
    let (dice, diary) = (&mut honest.dice, &mut honest.diary);
    let near = reader.position().wrapping_add(dice.roll(60)).wrapping_sub(40);
    match dice.roll(24) {
        0 => diary.attempt("pin", || reader.pin()),
        1 => reader.unpin(),
        2 => diary.attempt("seek", || reader.seek(near)),
        3 => diary.attempt("seek", || reader.seek(dice.word())),
        4 => diary.attempt("peek", || reader.peek().map(|record| record.map(|record| record.len()))),
        5 => diary.attempt("batch", || reader.batch().map(Iterator::count)),
        6 => drop(black_box(reader.lag())),
        7 => {
            reader.set_wait(*dice.pick(&[Wait::Block, Wait::Block, Wait::Spin, Wait::SpinThenYield]));
            diary.attempt("wait_next", || reader.wait_next(MOMENT));
        }
        8..12 => diary.attempt("get", || {
            reader.get(near)?.map_or(Ok(()), |record| {
                consume(&record, dice);
                record.to_vec().map(drop)
            })
        }),
        12..15 => diary.attempt("next_timeout", || {
            reader.next_timeout(MOMENT)?.map_or(Ok(()), |record| record.to_vec().map(drop))
        }),
        _ => diary.attempt("try_next", || {
            reader.try_next()?.map_or(Ok(()), |record| {
                consume(&record, dice);
                record.to_vec().map(drop)
            })
        }),
    }
}
