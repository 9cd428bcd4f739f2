//! System calls that the kernel refuses from here on, as in a sandbox (seccomp(2)).
#![allow(unsafe_code, reason = "fork, and installing a filter")]

use nix::libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_NO_NEW_PRIVS,
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_long, c_ulong, prctl, sock_filter,
    sock_fprog,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::panic::catch_unwind;

/// Which calls are refused.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// All of this number.
    All(c_long),
    /// Those whose argument at this place is this.
    With(c_long, usize, u32),
    /// Those whose argument at this place has one of these bits.
    WithBits(c_long, usize, u32),
    /// Those whose argument at this place has none of these bits.
    WithoutBits(c_long, usize, u32),
}

/// Plays in a forked child, which must not fail. The caller has one thread.
pub fn in_fork(what: &str, play: impl FnOnce() + std::panic::UnwindSafe) {
    // SAFETY: this process has one thread, so whatever the child calls is in order.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = i32::from(catch_unwind(play).is_err());
            // SAFETY: ends the process.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "{what}");
        }
    }
}

fn step(code: u32, k: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap(), jt: if_true, jf: if_false, k }
}

/// Has the kernel refuse some calls of this process with `errno`, for good.
pub fn refuse(calls: &[Which], errno: i32) {
    let answer = step(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno.cast_unsigned(), 0, 0);
    let load = |offset: usize| step(BPF_LD | BPF_W | BPF_ABS, u32::try_from(offset).unwrap(), 0, 0);
    let mut program = Vec::new();
    for call in calls {
        let (Which::All(number)
        | Which::With(number, ..)
        | Which::WithBits(number, ..)
        | Which::WithoutBits(number, ..)) = *call;
        // The lower half of an argument.
        let (at, test) = match *call {
            Which::All(_) => (0, step(BPF_ALU | BPF_AND | BPF_K, u32::MAX, 0, 0)),
            Which::With(_, at, value) => (at, step(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)),
            Which::WithBits(_, at, bits) => (at, step(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1)),
            Which::WithoutBits(_, at, bits) => (at, step(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0)),
        };
        let number = step(BPF_JMP | BPF_JEQ | BPF_K, u32::try_from(number).unwrap(), 0, 3);
        program.extend([load(0), number, load(16 + 8 * at), test, answer]);
    }
    program.push(step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0));
    let program = sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    let (one, zero): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: changes what later calls may do, no memory.
    assert_eq!(unsafe { prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) }, 0);
    // SAFETY: the program is as long as it says, and lives through the call, which copies it.
    assert_eq!(unsafe { prctl(PR_SET_SECCOMP, c_ulong::from(SECCOMP_MODE_FILTER), &raw const program) }, 0);
}
