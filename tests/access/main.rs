//! Who can write to what he was let in to read: real processes, of the creator's user and of another one, that try
//! everything. What holds is in `docs/access.md`, and asserted here, error by error.

mod attempts;
mod board;
#[path = "../common/mod.rs"]
mod common;
mod fork;
mod named;
mod stage;

use attempts::WRITTEN;
use common::{is_root, setting, skip};
use shmlog::Access;
use stage::{Feeder, NOBODY, Program, Target, Thing, examine};
use std::process::Stdio;

#[test]
fn child_entry() {
    common::enter(&[
        ("reader", stage::reader),
        ("feeder", stage::feeder),
        ("creator", creator),
        ("scribbler", board::scribbler),
        ("forker", fork::forker),
        ("opener", named::opener),
    ]);
}

/// Who creates, and who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Both are root.
    Root,
    /// Both are one user without rights.
    Same,
    /// The same, and the creator does not let others look into it (prctl(2), PR_SET_DUMPABLE).
    Undumpable,
    /// The creator is root, the reader a user without rights.
    Other,
}

/// What an attempt and its outcome are called.
pub type Said = Vec<(String, String)>;

/// Lets a reader try everything to write to what this process makes, which goes on writing meanwhile: itself if it
/// is sealed, else by another process.
fn attack_here(users: Users, kind: &str, is_sealed: bool) -> Said {
    let program = Program::new();
    let thing = Thing::make(kind, is_sealed);
    let mut feeder = if is_sealed { Feeder::alone(&thing) } else { Feeder::other(&program, kind, &thing) };
    let user = (users == Users::Other).then_some(NOBODY);
    let target = Target { access: Access::Read, is_board: false };
    let said = examine(&thing, &mut feeder, program.child("reader", user), target);
    feeder.end();
    said
}

/// In a child, of a user without rights if its parent could choose: a creator whose readers are of the same user.
fn creator() {
    if setting("SHMLOG_TEST_UNDUMPABLE") {
        nix::sys::prctl::set_dumpable(false).unwrap();
    }
    let kind: String = setting("SHMLOG_TEST_KIND");
    // What the harness has begun to write ends here.
    println!();
    for (attempt, outcome) in attack_here(Users::Same, &kind, setting("SHMLOG_TEST_SEALED")) {
        println!("| {attempt}\t{outcome}");
    }
}

/// The same, where creator and reader are these users. `None`: there are none here.
fn attack(users: Users, kind: &str, is_sealed: bool) -> Option<Said> {
    if matches!(users, Users::Root | Users::Other) {
        if !is_root() {
            skip(&format!("{users:?}"), "only root can start processes of another user");
            return None;
        }
        return Some(attack_here(users, kind, is_sealed));
    }
    let program = Program::new();
    let mut creator = program.child("creator", is_root().then_some(NOBODY));
    creator.env("SHMLOG_TEST_KIND", kind).env("SHMLOG_TEST_SEALED", is_sealed.to_string());
    creator.env("SHMLOG_TEST_UNDUMPABLE", (users == Users::Undumpable).to_string());
    let output = creator.stdout(Stdio::piped()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "a creator failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once('\t'));
    Some(lines.map(|(attempt, outcome)| (attempt.to_owned(), outcome.to_owned())).collect())
}

/// What comes of each attempt, in order; alternatives where kernels or their settings differ.
fn expected(users: Users, is_sealed: bool) -> [&'static str; 18] {
    let used = if is_sealed {
        "opened; punch EPERM, map EPERM, write EPERM, shrink EPERM, seal EPERM"
    } else {
        "opened; punch WRITTEN, map WRITTEN, write WRITTEN, shrink EPERM, seal EPERM"
    };
    // Linux Security Modules may forbid what the kernel itself allows (Yama, ptrace_scope).
    let used_if_traceable = if is_sealed {
        "opened; punch EPERM, map EPERM, write EPERM, shrink EPERM, seal EPERM|EPERM"
    } else {
        "opened; punch WRITTEN, map WRITTEN, write WRITTEN, shrink EPERM, seal EPERM|EPERM"
    };
    let (traced, refused) = ("WRITTEN|EACCES|EPERM|EIO", "EACCES|EPERM");
    let later = match users {
        Users::Root => {
            ["opened", used, used, used_if_traceable, used_if_traceable, "done", "done", used, traced, traced]
        }
        Users::Same => ["opened", "EACCES", "EACCES", refused, used_if_traceable, "done", "done", used, traced, traced],
        Users::Undumpable => ["opened", "EACCES", "EACCES", refused, "EPERM", "done", "done", used, "EACCES", "EPERM"],
        Users::Other => nothing_of_anothers(),
    };
    // On a descriptor that is open for reading, and its mapping, whatever the region is.
    let first = ["EACCES", "EACCES", "EACCES", "EIO|EACCES|EPERM", "EBADF", "EBADF", "EINVAL", "EPERM"];
    let mut all = [""; 18];
    all[..8].copy_from_slice(&first);
    all[8..].copy_from_slice(&later);
    all
}

/// What is left to try for a reader of another user.
fn nothing_of_anothers() -> [&'static str; 10] {
    ["EACCES", "EACCES", "EACCES", "EACCES|EPERM", "EPERM", "EPERM", "EPERM", "EACCES", "EACCES", "EPERM"]
}

/// Prints what was said, and makes sure that it is what is expected.
pub fn compare(title: &str, said: &Said, expected: &[&str]) {
    assert_eq!(said.len(), expected.len(), "{title}");
    for ((attempt, outcome), expected) in said.iter().zip(expected) {
        println!("{title:<32} {attempt:<40} {outcome}");
        assert!(
            expected.split('|').any(|expected| expected == outcome),
            "{title}: {attempt}: {outcome}, not {expected}"
        );
    }
}

fn check(users: Users, is_sealed: bool) {
    for kind in ["log", "snapshot"] {
        let Some(said) = attack(users, kind, is_sealed) else { continue };
        let sealed = if is_sealed { "sealed" } else { "shared" };
        compare(&format!("{sealed} {kind}, {users:?}"), &said, &expected(users, is_sealed));
        if is_sealed {
            // Nothing but the memory of the one process that may write, for whoever may trace it.
            let written = said.iter().filter(|(_, outcome)| outcome.contains(WRITTEN));
            assert!(
                written
                    .map(|(attempt, _)| attempt)
                    .all(|attempt| attempt.contains("creator's mem") || attempt.contains("process_vm"))
            );
        }
    }
}

#[test]
fn to_what_is_sealed_nobody_else_can_write() {
    for users in [Users::Root, Users::Same, Users::Undumpable, Users::Other] {
        check(users, true);
    }
}

#[test]
fn what_only_its_owner_may_reopen_another_user_cannot_write() {
    check(Users::Other, false);
}

/// Not a boundary, and documented as none: that a descriptor is read-only keeps nobody of the creator's user from
/// writing.
#[test]
fn among_processes_of_one_user_reading_only_is_a_convention() {
    check(Users::Root, false);
    check(Users::Same, false);
    check(Users::Undumpable, false);
}
