//! The cases of each suite, who takes part in them, and which limit is theirs.

use crate::args::Args;
use crate::case::{Case, Mode, Part, Seat, Shape, Suite};
use crate::durable;
use crate::system::{Kind, System};
use crate::systems;
use std::path::Path;

/// Cases whose systems take turns with each other.
#[derive(Clone)]
pub struct Group {
    /// Who, and in which case.
    pub entries: Vec<(System, Case)>,
}

/// All groups of a suite.
pub fn groups(suite: Suite, args: &Args) -> Vec<Group> {
    let sets: Vec<Vec<Case>> = match suite {
        Suite::Rtt => each_size(suite, args, &[8, 64, 256, 1024, 4096]),
        Suite::Stream => stream(args),
        Suite::Mpsc => mpsc(args),
        Suite::Fanout => fanout(args),
        Suite::Append => each_size(suite, args, &[8, 64, 256, 1024, 4096]),
        Suite::Scan | Suite::Random => each_size(suite, args, &[64]),
        Suite::Snapshot => snapshot(args),
        Suite::Wake => each_size(suite, args, &[64]),
        Suite::Attach => each_size(suite, args, &[64]),
        _ => durable::plan::cases(suite, args),
    };
    sets.into_iter().map(|cases| Group { entries: entries(suite, &cases, args) }).collect()
}

fn entries(suite: Suite, cases: &[Case], args: &Args) -> Vec<(System, Case)> {
    let is_wanted = |system: &System| {
        args.systems.is_empty() || system.kind == Kind::Limit || args.systems.iter().any(|name| name == system.name)
    };
    let chosen: Vec<System> = systems::all().into_iter().filter(|one| one.suites.contains(&suite)).collect();
    let fits = |system: &System, case: &Case| is_wanted(system) && durable::plan::is_for(system, case);
    cases
        .iter()
        .flat_map(|case| chosen.iter().filter(|one| fits(one, case)).map(|system| (*system, case.clone())))
        .collect()
}

/// One sender, one receiver.
pub fn plain(suite: Suite, bytes: usize, args: &Args) -> Case {
    let records = args.records.unwrap_or(if suite.is_durable() { 2_000_000 } else { 10_000_000 });
    Case { suite, bytes, batch: 1, senders: 1, receivers: 1, mode: Mode::Plain, records }
}

/// The sizes that were asked for, or the suite's own.
pub fn sizes<'a>(args: &'a Args, own: &'a [usize]) -> &'a [usize] {
    if args.sizes.is_empty() { own } else { &args.sizes }
}

fn each_size(suite: Suite, args: &Args, own: &[usize]) -> Vec<Vec<Case>> {
    sizes(args, own).iter().map(|&bytes| vec![plain(suite, bytes, args)]).collect()
}

/// A unit must leave room for others: the large batches of large messages are left out.
fn stream(args: &Args) -> Vec<Vec<Case>> {
    let largest = usize::try_from(args.window_bytes / 4).unwrap_or(usize::MAX);
    let mut sets = Vec::new();
    for &batch in &args.batches {
        for &bytes in sizes(args, &[8, 64, 256, 1024, 4096]) {
            if bytes * batch <= largest || batch == 1 {
                sets.push(vec![Case { batch, ..plain(Suite::Stream, bytes, args) }]);
            }
        }
    }
    sets
}

fn mpsc(args: &Args) -> Vec<Vec<Case>> {
    let mut sets = Vec::new();
    for &senders in &args.appenders {
        for &bytes in sizes(args, &[8, 64, 256, 1024, 4096]) {
            sets.push(vec![Case { senders, ..plain(Suite::Mpsc, bytes, args) }]);
        }
    }
    sets
}

/// All numbers of readers take turns with each other: what more of them cost is the figure.
fn fanout(args: &Args) -> Vec<Vec<Case>> {
    let mut sets = Vec::new();
    for mode in [Mode::One, Mode::All] {
        for &bytes in sizes(args, &[64]) {
            let with = |&receivers: &usize| Case { receivers, mode, ..plain(Suite::Fanout, bytes, args) };
            sets.push(args.readers.iter().map(with).collect());
        }
    }
    sets
}

fn snapshot(args: &Args) -> Vec<Vec<Case>> {
    let mut sets = Vec::new();
    for mode in [Mode::Idle, Mode::Restless] {
        for &bytes in sizes(args, &[64, 1024, 64 << 10, 1 << 20]) {
            sets.push(vec![Case { mode, ..plain(Suite::Snapshot, bytes, args) }]);
        }
    }
    sets
}

/// The shape of a trial.
pub fn shape(system: &System, case: &Case, args: &Args, dir: &Path) -> Shape {
    let ends = match case.suite {
        Suite::Mpsc => case.senders + 1,
        Suite::Fanout if case.mode == Mode::All => 1 + case.receivers,
        Suite::Append | Suite::Scan | Suite::Random | Suite::Attach => 1,
        _ => 2,
    };
    let ahead_bytes = durable::plan::ahead_bytes(args);
    let most_bytes = if case.suite == Suite::JournalCommit { ahead_bytes / 2 } else { args.most_bytes };
    Shape {
        system: system.name.to_owned(),
        suite: case.suite,
        // The line carries one word, whatever the size of the others' messages.
        bytes: if system.name == "line" { 8 } else { case.bytes },
        batch: case.batch,
        mode: case.mode,
        lanes: if case.suite == Suite::Rtt { 2 } else { 1 },
        senders: case.senders,
        receivers: case.receivers,
        windows: args.windows,
        window_bytes: args.window_bytes,
        records: case.records,
        dir: dir.to_owned(),
        most_bytes,
        ahead_bytes,
        yields: ends > args.cores.len(),
    }
}

/// Who plays what, and where.
pub fn seats(case: &Case, cores: &[usize]) -> Vec<Seat> {
    let core = |at: usize| cores.get(at % cores.len().max(1)).copied();
    let seat = |part, index, at: usize| Seat { part, index, core: core(at) };
    match case.suite {
        Suite::Rtt => vec![seat(Part::Ping, 0, 0), seat(Part::Pong, 0, 1)],
        Suite::Stream => vec![seat(Part::Send, 0, 0), seat(Part::Receive, 0, 1)],
        Suite::Wake => vec![seat(Part::Stamp, 0, 0), seat(Part::Doze, 0, 1)],
        Suite::Snapshot => vec![seat(Part::First, 0, 0), seat(Part::Second, 0, 1)],
        Suite::Append => vec![seat(Part::Append, 0, 0)],
        Suite::Scan | Suite::Random | Suite::Attach => vec![seat(Part::First, 0, 0)],
        Suite::Mpsc => {
            let senders = (0..case.senders).map(|index| seat(Part::Send, index, index));
            senders.chain([seat(Part::Receive, 0, case.senders)]).collect()
        }
        Suite::Fanout => fanout_seats(case, &seat),
        // What a journal does beside its writers would be pinned with them.
        Suite::JournalAppend | Suite::JournalCommit => durable::plan::seats(Part::Write, case.senders),
        Suite::JournalScan | Suite::JournalRandom | Suite::JournalOpen => durable::plan::seats(Part::Look, 1),
    }
}

fn fanout_seats(case: &Case, seat: &impl Fn(Part, usize, usize) -> Seat) -> Vec<Seat> {
    let mut seats = Vec::new();
    for index in 0..case.receivers {
        if index == 0 || case.mode == Mode::All {
            seats.push(seat(Part::Receive, index, 1 + index));
        } else {
            seats.push(Seat { part: Part::Attend, index, core: None });
        }
    }
    seats.push(seat(if case.mode == Mode::All { Part::Send } else { Part::Pace }, 0, 0));
    seats
}

/// The limit of a case: a system, if there is one for it. Fan-out is held against its own figure with one reader.
pub fn limit(case: &Case) -> Option<&'static str> {
    match case.suite {
        Suite::Rtt => Some("line"),
        Suite::Stream => Some("memcpy-ring"),
        Suite::Mpsc => Some("claim-memcpy"),
        Suite::Fanout => None,
        Suite::Append => Some("cmpxchg-memcpy"),
        Suite::Scan => Some("memory"),
        Suite::Random => Some("line-loads"),
        Suite::Snapshot if case.bytes <= 64 => Some("line-transfer"),
        Suite::Snapshot => Some("memcpy"),
        Suite::Wake => Some("futex"),
        Suite::Attach => Some("process"),
        Suite::JournalAppend
        | Suite::JournalCommit
        | Suite::JournalScan
        | Suite::JournalRandom
        | Suite::JournalOpen => Some("raw"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn every_suite_has_cases_and_its_limit_takes_part() {
        let args = Args::parse_from(["compare", "all"]);
        for suite in args.suite.suites() {
            let groups = groups(suite, &args);
            assert!(!groups.is_empty(), "{suite:?}");
            for group in groups {
                let case = &group.entries[0].1;
                let Some(limit) = limit(case) else { continue };
                let found = group.entries.iter().find(|(system, _)| system.name == limit);
                assert_eq!(found.map(|(system, _)| system.kind), Some(Kind::Limit), "{suite:?}: {limit}");
            }
        }
    }

    #[test]
    fn systems_are_chosen_by_name_and_limits_stay() {
        let args = Args::parse_from(["compare", "stream", "--systems", "pipe", "--sizes", "64", "--batches", "1"]);
        let groups = groups(Suite::Stream, &args);
        let names: Vec<_> = groups[0].entries.iter().map(|(system, _)| system.name).collect();
        assert_eq!((groups.len(), names.contains(&"pipe"), names.contains(&"memcpy-ring")), (1, true, true));
        assert!(!names.contains(&"shmlog-shared"));
    }
}
