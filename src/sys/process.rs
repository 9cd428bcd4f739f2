//! Other processes: who is at the other end of a socket, and a descriptor that tells when it dies (pidfd_open(2)).

use crate::sys::poll::readiness;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// 0: in a pid namespace that this process does not see.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who connected, as of then (SO_PEERCRED).
pub(crate) fn credentials_of_peer(socket: impl AsFd) -> rustix::io::Result<Credentials> {
    let found = getsockopt(&socket, sockopt::PeerCredentials).map_err(errno)?;
    Ok(Credentials { pid: u32::try_from(found.pid()).unwrap_or(0), uid: found.uid(), gid: found.gid() })
}

/// The process that connected (SO_PEERPIDFD); before Linux 6.5 the one that has its number now. `SRCH`: it is dead.
pub(crate) fn pidfd_of_peer(socket: impl AsFd, pid: u32) -> rustix::io::Result<OwnedFd> {
    match getsockopt(&socket, sockopt::PeerPidfd).map_err(errno) {
        Err(Errno::NOPROTOOPT) => pidfd_of(pid),
        Err(Errno::INVAL | Errno::NODATA) => Err(Errno::SRCH),
        other => other,
    }
}

/// The process of this number. `SRCH`: there is none.
pub(crate) fn pidfd_of(pid: u32) -> rustix::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// Whether the process is dead, that is, has let go of all its files.
pub(crate) fn is_dead(pidfd: impl AsFd) -> bool {
    !readiness(pidfd, PollFlags::IN).is_empty()
}

/// The effective user and group of a process, from /proc.
pub(crate) fn ids_of(pid: u32) -> Option<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = |field: &str| {
        let ids = status.lines().find_map(|line| line.strip_prefix(field))?;
        ids.split_whitespace().nth(1)?.parse().ok()
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_and_its_death_is_seen() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd_of(child.id()).unwrap();
        assert!(!is_dead(&pidfd));
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(ids_of(child.id()), Some(own));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_dead(&pidfd));
        assert_eq!(pidfd_of(0).unwrap_err(), Errno::SRCH);
    }
}
