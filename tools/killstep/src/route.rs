//! The instructions of an operation, and the short way to any of them.

use crate::victim::Victim;
use crate::visible::Sight;
use crate::world::World;
use anyhow::{Result, ensure};
use std::collections::HashMap;

/// More instructions than any operation has.
const MOST: usize = 10_000_000;
/// How far back a breakpoint is looked for.
const LOOK_BACK: usize = 4000;
/// Up to so many instructions are stepped.
const FEW: usize = 16;
/// What a breakpoint costs more than a step.
const BREAKPOINT_STEPS: usize = 4;

/// Where an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its second mark.
    Mark,
    /// Before it goes to sleep.
    Futex,
}

/// A breakpoint, and which of the times that it is come upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// Its address.
    pub ip: u64,
    /// How often it is come upon.
    pub hits: usize,
}

/// How to get to one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// First to somewhere before it that is come upon for the first time, if this is given. So what is done now more often
    /// and now less, as what depends on chance, does not lead astray unless it lies between there and the end.
    pub anchor: Option<Breakpoint>,
    /// Then to here.
    pub breakpoint: Option<Breakpoint>,
    /// Then so many steps.
    pub steps: usize,
    /// Where one is then.
    pub ip: u64,
}

/// The addresses of all instructions of an operation, in the order of their execution; the last one is that of
/// the mark, or of the system call that sleeps, and is not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    ips: Vec<u64>,
    /// Of each one: how often a breakpoint there has stopped the victim so far, itself included; `None` where none
    /// does, as it repeats itself (`rep`).
    hits: Vec<Option<usize>>,
    /// Where a breakpoint at an address stops the victim.
    stops: HashMap<u64, Vec<usize>>,
    /// Those where one stops it for the first time, in order.
    firsts: Vec<usize>,
    /// Of each one that is executed: whether others can see it.
    visible: Vec<bool>,
    /// Stretches of those that nobody sees which were compared, and their instructions.
    compared: (u64, u64),
}

impl Path {
    /// Steps a victim from its first mark to the end.
    ///
    /// # Errors
    /// What the system says; an operation that does not end.
    pub fn record(victim: &mut Victim, end: End) -> Result<Self> {
        Self::record_in(victim, end, None)
    }

    /// Steps a victim from its first mark to the end. Between instructions that others can see, what they see of it must
    /// not change: neither shared memory nor, if given, the files in a directory.
    ///
    /// # Errors
    /// What the system says; an operation that does not end; that something changed.
    pub fn record_in(victim: &mut Victim, end: End, files: Option<&std::path::Path>) -> Result<Self> {
        let mut sight = Sight::of(victim)?;
        let mut world = World::of(victim, files)?;
        let mut registers = victim.registers()?;
        let (mut ips, mut visible) = (vec![registers.rip], Vec::new());
        loop {
            if end == End::Futex && victim.is_before_futex()? {
                break;
            }
            let executed = registers.rip;
            let is_visible = sight.sees(&registers)?;
            world.pass(victim, visible.len(), is_visible)?;
            victim.step()?;
            visible.push(is_visible);
            registers = victim.registers()?;
            if victim.is_at_mark(&registers) {
                break;
            }
            ips.push(registers.rip);
            if is_visible {
                sight.refresh(victim, executed)?;
            }
            ensure!(ips.len() < MOST, "the operation does not end");
        }
        // The mark itself is no part of it.
        visible.truncate(ips.len() - 1);
        world.pass(victim, visible.len(), true)?;
        let (hits, stops) = hits(&ips);
        let firsts = (0..ips.len()).filter(|&at| hits[at] == Some(1)).collect();
        Ok(Self { ips, hits, stops, firsts, visible, compared: world.compared() })
    }

    /// Whether others can see the instruction that comes after `executed` ones.
    pub fn is_visible(&self, executed: usize) -> bool {
        self.visible.get(executed).is_some_and(|&is_visible| is_visible)
    }

    /// How many instructions others can see.
    pub fn visible(&self) -> usize {
        self.visible.iter().filter(|&&is_visible| is_visible).count()
    }

    /// Whether a death here is the one right before, or right behind, an instruction that others can see.
    pub fn is_beside_visible(&self, executed: usize) -> bool {
        self.is_visible(executed) || executed.checked_sub(1).is_some_and(|before| self.is_visible(before))
    }

    /// Stretches of instructions that nobody sees, at whose beginning and end all that others see was the same; and how
    /// many instructions these were.
    pub fn compared(&self) -> (u64, u64) {
        self.compared
    }

    /// How many instructions are executed.
    pub fn len(&self) -> usize {
        self.ips.len() - 1
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The address of the instruction that comes after `executed` ones.
    pub fn ip(&self, executed: usize) -> u64 {
        self.ips[executed]
    }

    /// The plain way there.
    pub fn steps_to(&self, executed: usize) -> Route {
        Route { anchor: None, breakpoint: None, steps: executed, ip: self.ips[executed] }
    }

    /// The short way there.
    pub fn route_to(&self, executed: usize) -> Route {
        let plain = self.steps_to(executed);
        if executed <= FEW {
            return plain;
        }
        let breakpoint = |at: usize, hits| Breakpoint { ip: self.ips[at], hits };
        let anchor = self.firsts[..self.firsts.partition_point(|&at| at <= executed)].last().copied();
        let first = anchor.map_or(0, |anchor| anchor + 1).max(executed.saturating_sub(LOOK_BACK));
        // How often one comes upon it from the anchor on.
        let hits = |at: usize| Some(self.hits[at]? - anchor.map_or(0, |anchor| self.hits_up_to(anchor, self.ips[at])));
        let candidates = (first..=executed).filter_map(|at| hits(at).map(|hits| (hits + executed - at, at, hits)));
        let best = candidates.min();
        let straight = anchor.map(|anchor| executed - anchor);
        match (best, straight) {
            (Some((cost, at, hits)), straight) if straight.is_none_or(|steps| cost + BREAKPOINT_STEPS < steps) => {
                Route {
                    anchor: anchor.map(|anchor| breakpoint(anchor, 1)),
                    breakpoint: Some(breakpoint(at, hits)),
                    steps: executed - at,
                    ..plain
                }
            }
            (_, Some(steps)) => Route { anchor: anchor.map(|anchor| breakpoint(anchor, 1)), steps, ..plain },
            _ => plain,
        }
    }

    /// How often a breakpoint at `ip` stops the victim up to `executed`.
    fn hits_up_to(&self, executed: usize, ip: u64) -> usize {
        self.stops.get(&ip).map_or(0, |stops| stops.partition_point(|&at| at <= executed))
    }
}

/// How often a breakpoint at each one has stopped the victim so far, itself included; and where one at an address does.
fn hits(ips: &[u64]) -> (Vec<Option<usize>>, HashMap<u64, Vec<usize>>) {
    // The first one is passed when a breakpoint is set.
    let mut hits = vec![None];
    let mut stops: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, pair) in ips.windows(2).enumerate() {
        // One that repeats itself stops it once.
        let is_stop = pair[0] != pair[1];
        let stops = stops.entry(pair[1]).or_default();
        stops.extend(is_stop.then_some(at + 1));
        hits.push(is_stop.then_some(stops.len()));
    }
    (hits, stops)
}
