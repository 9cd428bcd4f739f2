//! Who asks, what for, and what the policy says to that.

use crate::log::Access;
use crate::pass::message::Kind;
use std::fmt;

/// A process at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its process id when it connected; 0 if it is in a pid namespace that the hub does not see. Only for
    /// people: the hub follows the process itself, not its number.
    pub pid: u32,
    /// Its effective user when it connected, as the kernel says.
    pub uid: u32,
    /// Its effective group when it connected, as the kernel says.
    pub gid: u32,
    /// Whether [`Hub::spawn`](crate::Hub::spawn) started it.
    pub is_inherited: bool,
}

impl Peer {
    /// Whether it runs as the user that this process does.
    pub fn is_same_user(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of user {}", self.pid, self.uid)
    }
}

/// What kind of region is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum RegionKind {
    /// A [`Log`](crate::Log).
    Log = Kind::Log as u32,
    /// An [`Arena`](crate::Arena).
    Arena = Kind::Arena as u32,
    /// A [`Snapshot`](crate::Snapshot).
    Snapshot = Kind::Snapshot as u32,
}

impl RegionKind {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Log => Self::Log,
            Kind::Arena => Self::Arena,
            Kind::Snapshot => Self::Snapshot,
        }
    }

    pub(crate) fn from_word(word: u32) -> Option<Self> {
        [Self::Log, Self::Arena, Self::Snapshot].into_iter().find(|&kind| kind as u32 == word)
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "a log",
            Self::Arena => "an arena",
            Self::Snapshot => "a snapshot",
        })
    }
}

/// What a client asks for. Its name is what the client sent: there need not be anything of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The region's name, 1 to 64 bytes without control characters.
    pub name: String,
    /// What it is thought to be.
    pub kind: RegionKind,
    /// What the client wants to do with it.
    pub access: Access,
}

/// What a policy says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets it for this, or for what it asked for if that is less. In order: `Observe`, `Read`,
    /// `Append`, `Own`.
    Grant(Access),
    /// The client gets nothing and reads this; at most 128 bytes of it.
    Refuse(String),
}

/// Decides about requests.
pub(crate) type Policy = Box<dyn FnMut(&Peer, &Request) -> Verdict + Send>;

/// Grants what is asked for to the hub's own user, root, and workers that the hub started.
pub(crate) fn own_user_only() -> Policy {
    let own = rustix::process::geteuid().as_raw();
    Box::new(move |peer, request| {
        if peer.is_inherited || peer.uid == own || peer.uid == 0 {
            return Verdict::Grant(request.access);
        }
        let uid = peer.uid;
        Verdict::Refuse(format!("user {uid} is not the hub's user ({own}); HubBuilder::policy can allow it"))
    })
}

/// The lesser of two.
pub(crate) fn lesser(a: Access, b: Access) -> Access {
    if rank(a) <= rank(b) { a } else { b }
}

/// Greater for what allows more.
pub(crate) fn rank(access: Access) -> u8 {
    match access {
        Access::Observe => 0,
        Access::Read => 1,
        Access::Append => 2,
        Access::Own => 3,
    }
}
