//! The images that a crash may leave: all of them where they are few, a sample where they are many.

use super::memory_disk::{Content, Image};
use super::model::Model;
use super::recording::InodeId;
use std::sync::Arc;

/// Random numbers from a seed: xorshift64*.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(((self.next() >> 32) * end as u64) >> 32).unwrap()
    }

    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

const ZEROES: [u8; 4096] = [0; 4096];

/// What may be one way or another: which of so many ways is a choice, 0 the oldest one.
#[derive(Clone, Debug)]
enum Slot {
    /// A unit of a file: the moments at which it was different.
    Unit(InodeId, usize, Vec<usize>),
    /// The length of a file.
    Length(InodeId, Vec<usize>),
    /// A change of names, which is there or not.
    Name,
}

impl Slot {
    fn ways(&self) -> usize {
        match self {
            Self::Unit(_, _, moments) => moments.len(),
            Self::Length(_, lengths) => lengths.len(),
            Self::Name => 2,
        }
    }
}

/// All that may be one way or another, when whole units of a length are written or not.
#[derive(Debug)]
struct Plan<'m> {
    model: &'m Model,
    unit: usize,
    slots: Vec<Slot>,
}

fn unit_of(content: &[u8], unit: usize, index: usize) -> &[u8] {
    let from = (unit * index).min(content.len());
    &content[from..(from + unit).min(content.len())]
}

/// Moments at which a unit was different.
fn moments(history: &[Content], unit: usize, index: usize) -> Vec<usize> {
    // Whether two are the same, as what is missing counts as zeroes.
    let is_same = |a: usize, b: usize| {
        let (a, b) = (unit_of(&history[a], unit, index), unit_of(&history[b], unit, index));
        let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
        *short == long[..short.len()] && long[short.len()..] == ZEROES[..long.len() - short.len()]
    };
    let mut moments: Vec<usize> = vec![0];
    for moment in 1..history.len() {
        if !moments.iter().any(|&other| is_same(other, moment)) {
            moments.push(moment);
        }
    }
    moments
}

impl<'m> Plan<'m> {
    fn of(model: &'m Model, unit: usize) -> Self {
        let mut slots: Vec<Slot> = model.changes.iter().map(|_| Slot::Name).collect();
        for (id, inode) in model.inodes.iter().enumerate().filter(|(_, inode)| inode.history.len() > 1) {
            let mut lengths: Vec<usize> = inode.history.iter().map(|content| content.len()).collect();
            lengths.dedup();
            let longest = lengths.iter().copied().max().unwrap_or(0);
            if lengths.len() > 1 {
                slots.push(Slot::Length(id, lengths));
            }
            for index in 0..longest.div_ceil(unit) {
                let moments = moments(&inode.history, unit, index);
                if moments.len() > 1 {
                    slots.push(Slot::Unit(id, index, moments));
                }
            }
        }
        Self { model, unit, slots }
    }

    /// How many choices there are, at most `limit`.
    fn count(&self, limit: usize) -> usize {
        self.slots
            .iter()
            .try_fold(1usize, |count, slot| count.checked_mul(slot.ways()).filter(|&count| count < limit))
            .unwrap_or(limit)
    }

    /// The image of a choice for each slot.
    fn build(&self, choices: &[usize]) -> Image {
        let mut names = self.model.names.clone();
        for (change, _) in self.model.changes.iter().zip(choices).filter(|&(_, &choice)| choice == 1) {
            change.apply(&mut names);
        }
        let mut contents: Vec<Content> = self.model.inodes.iter().map(|inode| inode.history[0].clone()).collect();
        let mut ends: Vec<_> = contents.iter().map(|content| content.len()).collect();
        for (slot, &choice) in self.slots.iter().zip(choices) {
            match slot {
                Slot::Unit(id, index, moments) if choice > 0 => {
                    let content = Arc::make_mut(&mut contents[*id]);
                    let (from, to) = (index * self.unit, (index + 1) * self.unit);
                    if content.len() < to {
                        content.resize(to, 0);
                    }
                    content[from..to].fill(0);
                    let bytes = unit_of(&self.model.inodes[*id].history[moments[choice]], self.unit, *index);
                    content[from..from + bytes.len()].copy_from_slice(bytes);
                }
                Slot::Length(id, lengths) => ends[*id] = lengths[choice],
                Slot::Unit(..) | Slot::Name => {}
            }
        }
        for (content, &end) in contents.iter_mut().zip(&ends).filter(|(content, end)| content.len() != **end) {
            Arc::make_mut(content).resize(end, 0);
        }
        Image(names.into_iter().map(|(name, inode)| (name, contents[inode].clone())).collect())
    }

    fn all(&self) -> Vec<Image> {
        let mut choices = vec![0; self.slots.len()];
        let mut images = Vec::new();
        loop {
            images.push(self.build(&choices));
            let Some(at) = (0..choices.len()).find(|&at| choices[at] + 1 < self.slots[at].ways()) else {
                return images;
            };
            choices[..at].fill(0);
            choices[at] += 1;
        }
    }

    /// A choice by one of some rules.
    fn pick(&self, dice: &mut Dice) -> Vec<usize> {
        let newest = |at: usize| self.slots[at].ways() - 1;
        let (len, rule) = (self.slots.len(), dice.below(6));
        let (edge, odds) = (dice.below(len + 1), 1 + dice.below(8));
        (0..len)
            .map(|at| match rule {
                // All up to a place is there, or all from it on; all but little, or little of it.
                0 if at < edge => newest(at),
                1 if at >= edge => newest(at),
                0 | 1 => 0,
                2 if at == edge => dice.below(newest(at)),
                2 => newest(at),
                3 if at == edge => newest(at),
                3 => 0,
                4 if dice.one_in(1 + odds) => dice.below(newest(at)),
                4 => newest(at),
                _ => dice.below(newest(at) + 1),
            })
            .collect()
    }
}

/// Bytes that a disk writes as one: blocks of a file system, sectors, words of a disk that promises nothing.
const UNITS: [usize; 3] = [4096, 512, 8];
/// Words are tried one by one only where so few sectors are concerned.
const MAX_SECTORS: usize = 32;

/// Images of a crash after what `model` has seen: about `budget`, or all, if there are no more.
pub(super) fn images(model: &Model, dice: &mut Dice, budget: usize) -> Vec<Image> {
    let [block, sector, word] = UNITS;
    let sectors = Plan::of(model, sector);
    let is_small = !sectors.slots.is_empty() && sectors.slots.len() <= MAX_SECTORS;
    let words = is_small.then(|| Plan::of(model, word));
    if sectors.count(budget + 1) <= budget {
        let mut images = sectors.all();
        if let Some(words) = words {
            images.extend((0..budget / 4).map(|_| words.build(&words.pick(dice))));
        }
        return images;
    }
    let plans: Vec<_> = [Plan::of(model, block), sectors].into_iter().chain(words).collect();
    let mut images = vec![model.least(), model.newest()];
    while images.len() < budget {
        let plan = &plans[dice.below(plans.len())];
        images.push(plan.build(&plan.pick(dice)));
    }
    images
}

#[cfg(test)]
mod tests {
    use super::super::recording::Entry;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_write_is_there_in_any_of_its_parts() {
        let base = Image([("a".to_owned(), Arc::new(vec![0; 4096]))].into());
        let mut model = Model::of(&base);
        model.apply(&Entry::Write(0, 0, vec![1; 1024].into()));
        let sectors = Plan::of(&model, 512);
        let found: HashSet<_> = sectors.all().into_iter().map(|image| (image.0["a"][0], image.0["a"][512])).collect();
        assert_eq!(found, HashSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
        assert_eq!(Plan::of(&model, 4096).all().len(), 2);
        model.apply(&Entry::Write(0, 512, vec![2; 512].into()));
        assert_eq!(Plan::of(&model, 512).all().len(), 6, "the second sector was three things");
        model.apply(&Entry::Sync(0));
        assert_eq!(images(&model, &mut Dice::new(1), 100), [model.newest()]);
    }

    #[test]
    fn names_come_and_go_as_makes_sense() {
        let mut model = Model::of(&Image::default());
        model.apply(&Entry::Create("draft".into(), 0));
        model.apply(&Entry::Rename("draft".into(), "file".into()));
        let names = |image: &Image| image.0.keys().cloned().collect::<Vec<_>>().join(" ");
        let found: HashSet<_> = images(&model, &mut Dice::new(1), 100).iter().map(names).collect();
        assert_eq!(found, HashSet::from(["", "draft", "file"].map(str::to_owned)));
        model.apply(&Entry::Allocate(0, 8));
        let lens: HashSet<_> = Plan::of(&model, 512)
            .all()
            .iter()
            .map(|image| image.0.values().map(|file| file.len()).sum::<usize>())
            .collect();
        assert_eq!(lens, HashSet::from([0, 8]));
    }
}
