//! The instructions of an operation, and the short way to any of them.

use crate::victim::Victim;
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
    /// First to here, if this is given.
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
}

impl Path {
    /// Steps a victim from its first mark to the end.
    ///
    /// # Errors
    /// What the system says; an operation that does not end.
    pub fn record(victim: &mut Victim, end: End) -> Result<Self> {
        let mut ips = vec![victim.ip()?];
        loop {
            if end == End::Futex && victim.is_before_futex()? {
                break;
            }
            victim.step()?;
            if victim.is_behind_mark()? {
                break;
            }
            ips.push(victim.ip()?);
            ensure!(ips.len() < MOST, "the operation does not end");
        }
        // The first one is passed when a breakpoint is set.
        let mut hits = vec![None];
        let mut seen = HashMap::new();
        for pair in ips.windows(2) {
            let hit = seen.entry(pair[1]).or_insert(0);
            *hit += usize::from(pair[0] != pair[1]);
            hits.push((pair[0] != pair[1]).then_some(*hit));
        }
        Ok(Self { ips, hits })
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
        Route { breakpoint: None, steps: executed, ip: self.ips[executed] }
    }

    /// The short way there.
    pub fn route_to(&self, executed: usize) -> Route {
        let plain = self.steps_to(executed);
        if executed <= FEW {
            return plain;
        }
        let first = executed.saturating_sub(LOOK_BACK);
        let breakpoints =
            (first..=executed).filter_map(|at| self.hits[at].map(|hits| (hits + executed - at, at, hits)));
        match breakpoints.min() {
            Some((cost, at, hits)) if cost + BREAKPOINT_STEPS < executed => Route {
                breakpoint: Some(Breakpoint { ip: self.ips[at], hits }),
                steps: executed - at,
                ip: self.ips[executed],
            },
            _ => plain,
        }
    }
}
