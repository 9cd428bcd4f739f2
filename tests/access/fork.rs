//! Children that a creator forks and that do not exec.
#![allow(unsafe_code, reason = "fork")]

use crate::attempts::{Prey, mapping};
use crate::common::{self, finish};
use crate::stage::{Feeder, Thing, own_descriptor};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getpid};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::os::fd::OwnedFd;

/// Only the creator writes to what it has sealed: its mapping is not inherited, and its descriptor is worth nothing.
#[test]
fn a_forked_child_of_a_sealed_creator_has_no_mapping() {
    let mut child = common::child("forker");
    let status = finish(child.spawn().unwrap(), common::PATIENCE);
    assert!(status.success(), "{status}");
}

/// In a child, which has no other threads that matter.
pub fn forker() {
    for kind in ["log", "snapshot"] {
        for is_sealed in [true, false] {
            let thing = Thing::make(kind, is_sealed);
            let mut feeder = Feeder::alone(&thing);
            feeder.feed(0);
            // What the child must not ask for: the region tells.
            let (prey, board) = (prey_of(&thing), thing.link(true));
            // SAFETY: the child looks at itself and ends by `_exit`; what it allocates the C library keeps usable.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let code = look(&prey, &board, is_sealed);
                    // SAFETY: ends the process.
                    unsafe { nix::libc::_exit(code) }
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "{kind}, sealed {is_sealed}");
                }
            }
            feeder.feed(1);
            thing.check(2);
        }
    }
}

/// The region, and this process's own descriptor of it.
fn prey_of(thing: &Thing) -> Prey {
    let link = thing.link(false);
    let (parent, parents) = (getpid().as_raw(), own_descriptor(&link));
    let own = pidfd_open(Pid::from_raw(parent).unwrap(), PidfdFlags::empty()).unwrap();
    let received: OwnedFd = pidfd_getfd(own, parents, PidfdGetfdFlags::empty()).unwrap();
    let len = rustix::fs::fstat(&received).unwrap().st_size.try_into().unwrap();
    let parents_map = mapping("/proc/self/maps", &link, "rw-s").unwrap();
    Prey { received, link, len, parent, parents, parents_map }
}

/// In the forked child: 0 if it has what it should have, else what is wrong.
fn look(prey: &Prey, board: &str, is_sealed: bool) -> i32 {
    let is_mapped = |link: &str| mapping("/proc/self/maps", link, "").is_some();
    if is_mapped(&prey.link) == is_sealed {
        return 1;
    }
    if !is_mapped(board) {
        return 2;
    }
    let refused = "opened; punch EPERM, map EPERM, write EPERM, shrink EPERM, seal EPERM";
    if is_sealed && prey.use_if_opened(Ok(&prey.received)) != refused {
        return 3;
    }
    0
}
