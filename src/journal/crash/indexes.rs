//! Indexes that are missing, half there, or wrong in any way: a record is found all the same, or made out in its file.

use super::explore::{check_real, come_to};
use super::images::Dice;
use super::memory_disk::Image;
use super::oracle::Truth;
use super::planted::{Mistake, making};
use super::runs::{TIMELY, is_long};
use super::workload::Session;
use std::sync::Arc;

/// Several files with indexes, all of it durable.
fn indexed() -> (Image, Truth) {
    let mut session = Session::native(TIMELY, 5);
    session.open().unwrap();
    for count in 0..60 {
        session.append(count * 137 % 7000);
        session.append_parts(&[count, 9]);
        session.sync();
    }
    session.delete(&[4, 40], true);
    session.tend();
    session.close();
    let (model, truth) = come_to(&session.end());
    (model.newest(), truth)
}

/// What may be made of an index: cut off, parts of it gone, wrong bits, places of other records, another file's.
fn spoil(index: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let len = index.len();
    match dice.below(6) {
        0 => index.truncate(dice.below(len)),
        1 => index[dice.below(len)..].fill(0),
        2 => index[dice.below(200)] ^= 1 << dice.below(8),
        3 => {
            let (a, b) = (64 + 4 * dice.below(12), 64 + 4 * dice.below(12));
            (0..4).for_each(|at| index.swap(a + at, b + at));
        }
        4 => *index = other.to_vec(),
        _ => index[64..].iter_mut().for_each(|byte| *byte = byte.wrapping_add(dice.next().to_le_bytes()[0] & 8)),
    }
}

fn violations() -> Vec<String> {
    let (image, truth) = indexed();
    let names: Vec<_> = image.0.keys().filter(|name| name.ends_with(".idx")).cloned().collect();
    assert!(names.len() >= 3);
    let mut dice = Dice::new(9);
    let mut wrong = Vec::new();
    for _ in 0..if is_long() { 4000 } else { 40 } {
        let mut spoilt = image.clone();
        for (at, name) in names.iter().enumerate() {
            let other = &image.0[&names[(at + 1) % names.len()]];
            spoil(Arc::make_mut(spoilt.0.get_mut(name).unwrap()), other, &mut dice);
        }
        wrong.extend(check_real(&spoilt, &truth).err());
    }
    wrong
}

#[test]
fn no_index_makes_one_record_pass_for_another() {
    assert_eq!(violations(), Vec::<String>::new());
    assert!(making(Mistake::Index, || !violations().is_empty()));
}
