//! Unix sockets by hand: messages of any bytes, with any descriptors, bent on the way.

use crate::ground::{Ground, LogShape};
use crate::image::Word;
use crate::shelf::{Shelf, SnapshotShape};
use arbitrary::{Arbitrary, Unstructured};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen, recvmsg, sendmsg, socket_with,
};
use shmlog::Arena;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A change of a message.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    Byte(u16, u8),
    /// A word of four bytes.
    Half(u16, Word),
    Word(u16, Word),
    /// Nothing after so many bytes.
    Cut(u16),
    More(Vec<u8>),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let end = bytes.len().max(1);
        match self {
            Self::Byte(at, byte) => {
                if let Some(old) = bytes.get_mut(usize::from(*at) % end) {
                    *old = *byte;
                }
            }
            Self::Half(at, word) => {
                if let Some(old) =
                    bytes.get_mut(4 * (usize::from(*at) % end.div_ceil(4))..).and_then(<[u8]>::first_chunk_mut)
                {
                    *old = (word.of(u32::from_le_bytes(*old).into()) as u32).to_le_bytes();
                }
            }
            Self::Word(at, word) => {
                if let Some(old) =
                    bytes.get_mut(8 * (usize::from(*at) % end.div_ceil(8))..).and_then(<[u8]>::first_chunk_mut)
                {
                    *old = word.of(u64::from_le_bytes(*old)).to_le_bytes();
                }
            }
            Self::Cut(len) => bytes.truncate((*len).into()),
            Self::More(more) => bytes.extend(more),
        }
    }
}

/// The message with these changes.
pub fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    edits.iter().take(8).for_each(|edit| edit.apply(&mut bytes));
    bytes
}

fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket")
}

/// Connects to who listens there.
pub fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = seqpacket();
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Listens.
pub fn listen_at(path: &Path) -> OwnedFd {
    let socket = seqpacket();
    bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("a free path");
    listen(&socket, 8).expect("a listener");
    socket
}

/// The next who connects.
pub fn answer(listener: &OwnedFd) -> OwnedFd {
    accept(listener).expect("it has connected")
}

/// Sends without waiting.
pub fn say(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// The next message, and the descriptors in it. Empty at the end.
pub fn hear(socket: impl AsFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut bytes = [0; 2048];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let rights = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
        _ => None,
    });
    let fds = rights.flatten().collect();
    Ok((bytes[..got.bytes].to_vec(), fds))
}

/// One region of each kind, to be handed on.
pub struct Stock {
    pub ground: Rc<Ground>,
    pub shelf: Rc<Shelf>,
    pub arena: Arc<Arena>,
}

impl Stock {
    /// The same in every input, and as they were.
    pub fn new() -> Self {
        thread_local!(static ARENA: Arc<Arena> = Arc::new(Arena::create_memfd("symbols", 20_000).expect("an arena")));
        Self {
            ground: Ground::named(LogShape::usual()),
            shelf: Shelf::named(SnapshotShape::usual()),
            arena: ARENA.with(Arc::clone),
        }
    }
}

impl Default for Stock {
    fn default() -> Self {
        Self::new()
    }
}

/// A kind of region.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Log = 1,
    Arena = 2,
    Snapshot = 3,
}

/// A message that was sent in earnest, to be sent again.
pub struct Template {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Which descriptors to send.
#[derive(Arbitrary, Clone, Debug)]
pub enum Fds {
    /// Those that go with the message.
    Same,
    Some(Few),
}

/// Up to six, by number.
#[derive(Clone, Debug)]
pub struct Few(Vec<u8>);

impl<'a> Arbitrary<'a> for Few {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let count = u.arbitrary::<u8>()? % 6;
        (0..count).map(|_| u.arbitrary()).collect::<Result<_, _>>().map(Self)
    }
}

/// What else a descriptor may be open on.
pub fn strays() -> Vec<OwnedFd> {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let open = |path: &str| File::open(path).map(OwnedFd::from).expect("it is everywhere");
    vec![
        reader.into(),
        writer.into(),
        open("/"),
        open("/dev/null"),
        open("/dev/zero"),
        open("/proc/self/maps"),
        seqpacket(),
    ]
}

impl Fds {
    /// Those of the template, or some out of all there are.
    pub fn pick<'f>(&self, template: &'f Template, all: &'f [Template], strays: &'f [OwnedFd]) -> Vec<BorrowedFd<'f>> {
        match self {
            Self::Same => template.fds.iter().map(AsFd::as_fd).collect(),
            Self::Some(Few(numbers)) => {
                let pool: Vec<_> = all.iter().flat_map(|other| &other.fds).chain(strays).collect();
                numbers.iter().map(|number| pool[usize::from(*number) % pool.len()].as_fd()).collect()
            }
        }
    }
}
