//! The two messages between a client and a hub. Each is one packet of fixed size.
//!
//! ```text
//! request  magic 8 | protocol u32 | kind u32 | access u32 | 0 u32 | name 64
//! reply    magic 8 | protocol u32 | outcome u32 | access u32 | 0 u32 | reason 128
//!          | offer 72 | zeroes 800                 descriptors, if granted
//! ```
//!
//! Magic and protocol stay where they are in every version.

use crate::error::HubError;
use crate::hub::peer::{RegionKind, Request};
use crate::log::Access;
use crate::pass::message::Offer;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the two messages.
pub(crate) const PROTOCOL: u32 = 1;
/// Bytes of a region's name.
pub(crate) const NAME_BYTES: usize = 64;
/// Bytes of a request.
pub(crate) const REQUEST_BYTES: usize = size_of::<RequestBytes>();
/// Bytes of a reply. So many that one unread reply shows in the hub's small buffer (`sys::packet::keep_short`).
pub(crate) const REPLY_BYTES: usize = size_of::<ReplyBytes>();

const REQUEST_MAGIC: [u8; 8] = *b"SHMHUBRQ";
const REPLY_MAGIC: [u8; 8] = *b"SHMHUBRE";
const REASON_BYTES: usize = 128;
const OFFER_BYTES: usize = size_of::<Offer>();
const ACCESSES: [Access; 4] = [Access::Append, Access::Read, Access::Observe, Access::Own];

const _: () = assert!(REQUEST_BYTES == 88 && REPLY_BYTES == 1024 && OFFER_BYTES == 72);

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Prefix {
    magic: [u8; 8],
    protocol: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RequestBytes {
    magic: [u8; 8],
    protocol: u32,
    kind: u32,
    access: u32,
    zero: u32,
    name: [u8; NAME_BYTES],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ReplyBytes {
    magic: [u8; 8],
    protocol: u32,
    outcome: u32,
    access: u32,
    zero: u32,
    reason: [u8; REASON_BYTES],
    offer: [u8; OFFER_BYTES],
    zeroes: [u8; 800],
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Outcome {
    Granted = 0,
    Refused = 1,
    Unknown = 2,
    Full = 3,
    Version = 4,
    Unavailable = 5,
}

const OUTCOMES: [Outcome; 6] =
    [Outcome::Granted, Outcome::Refused, Outcome::Unknown, Outcome::Full, Outcome::Version, Outcome::Unavailable];

/// Why a message is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is one of this other version.
    Version(u32),
    /// It is none.
    Garbage(&'static str),
}

/// A reply as the client has it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) access: Access,
    pub(crate) reason: String,
    pub(crate) offer: [u8; OFFER_BYTES],
}

/// Whether `name` can be a region's.
pub(crate) fn check_name(name: &str) -> Result<(), HubError> {
    let is_good = (1..=NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control);
    if is_good { Ok(()) } else { Err(HubError::BadName { name: name.to_owned() }) }
}

/// The bytes of a request.
pub(crate) fn write_request(kind: RegionKind, access: Access, name: &str) -> Result<[u8; REQUEST_BYTES], HubError> {
    check_name(name)?;
    let (kind, access) = (kind as u32, access as u32);
    let name = padded(name);
    Ok(zerocopy::transmute!(RequestBytes { magic: REQUEST_MAGIC, protocol: PROTOCOL, kind, access, zero: 0, name }))
}

/// What a client asks for by these bytes.
pub(crate) fn read_request(bytes: &[u8]) -> Result<Request, Unreadable> {
    check_prefix(bytes, REQUEST_MAGIC)?;
    let request = RequestBytes::read_from_bytes(bytes).map_err(|_| Unreadable::Garbage("of another length"))?;
    let kind = RegionKind::from_word(request.kind).ok_or(Unreadable::Garbage("of unknown kind"))?;
    let access = access_of(request.access).ok_or(Unreadable::Garbage("of unknown access"))?;
    let name = unpadded(&request.name).ok_or(Unreadable::Garbage("with a name that is not padded UTF-8"))?;
    check_name(name).map_err(|_| Unreadable::Garbage("with a name that can't be one"))?;
    Ok(Request { name: name.to_owned(), kind, access })
}

/// The bytes of a reply. Of the reason as much as fits.
pub(crate) fn write_reply(outcome: Outcome, access: Access, reason: &str, offer: Option<&Offer>) -> [u8; REPLY_BYTES] {
    let mut offered = [0; OFFER_BYTES];
    if let Some(offer) = offer {
        offered.copy_from_slice(offer.as_bytes());
    }
    zerocopy::transmute!(ReplyBytes {
        magic: REPLY_MAGIC,
        protocol: PROTOCOL,
        outcome: outcome as u32,
        access: access as u32,
        zero: 0,
        reason: padded(reason),
        offer: offered,
        zeroes: [0; 800],
    })
}

/// What a hub says by these bytes.
pub(crate) fn read_reply(bytes: &[u8]) -> Result<Reply, HubError> {
    check_prefix(bytes, REPLY_MAGIC).map_err(|unreadable| match unreadable {
        Unreadable::Version(theirs) => HubError::Version { theirs, ours: PROTOCOL },
        Unreadable::Garbage(_) => HubError::Foreign { what: "not a reply" },
    })?;
    let reply =
        ReplyBytes::read_from_bytes(bytes).map_err(|_| HubError::Foreign { what: "a reply of another length" })?;
    let outcome = OUTCOMES.into_iter().find(|&outcome| outcome as u32 == reply.outcome);
    let outcome = outcome.ok_or(HubError::Foreign { what: "a reply of unknown outcome" })?;
    let access = access_of(reply.access).ok_or(HubError::Foreign { what: "a reply of unknown access" })?;
    let end = reply.reason.iter().position(|&byte| byte == 0).unwrap_or(REASON_BYTES);
    let reason = String::from_utf8_lossy(&reply.reason[..end]).replace(char::is_control, " ");
    Ok(Reply { outcome, access, reason, offer: reply.offer })
}

fn check_prefix(bytes: &[u8], magic: [u8; 8]) -> Result<(), Unreadable> {
    let (prefix, _) = Prefix::read_from_prefix(bytes).map_err(|_| Unreadable::Garbage("too short"))?;
    if prefix.magic != magic {
        return Err(Unreadable::Garbage("without the magic number"));
    }
    if prefix.protocol == PROTOCOL { Ok(()) } else { Err(Unreadable::Version(prefix.protocol)) }
}

fn access_of(word: u32) -> Option<Access> {
    ACCESSES.into_iter().find(|&access| access as u32 == word)
}

/// As much of a text as fits, up to the end of a character.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let end = (0..=text.len().min(N)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut bytes = [0; N];
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}

/// The text before the zeroes, if nothing but zeroes follows.
fn unpadded(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    if bytes[end..].iter().any(|&byte| byte != 0) {
        return None;
    }
    std::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_are_neither(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
            prop_assert!(matches!(read_request(&bytes), Err(Unreadable::Garbage(_))));
            prop_assert!(read_reply(&bytes).is_err());
        }

        #[test]
        fn bent_messages_do_no_harm(at in 0..REPLY_BYTES, byte in any::<u8>()) {
            let mut request = write_request(RegionKind::Log, Access::Read, "feed").unwrap();
            request[at % REQUEST_BYTES] = byte;
            let _ = read_request(&request);
            let mut reply = write_reply(Outcome::Refused, Access::Read, "no", None);
            reply[at] = byte;
            let _ = read_reply(&reply);
        }

        #[test]
        fn requests_come_back(name in "[^\\p{Cc}]{1,16}", kind in 1_u32..4, access in 0_u32..4) {
            let kind = RegionKind::from_word(kind).unwrap();
            let access = access_of(access).unwrap();
            let bytes = write_request(kind, access, &name).unwrap();
            prop_assert_eq!(read_request(&bytes), Ok(Request { name, kind, access }));
        }
    }

    #[test]
    fn names_have_limits() {
        for bad in ["", "a\0b", "a\nb", &"x".repeat(65)] {
            assert!(matches!(write_request(RegionKind::Log, Access::Read, bad), Err(HubError::BadName { .. })));
        }
        let long = "x".repeat(64);
        let bytes = write_request(RegionKind::Log, Access::Read, &long).unwrap();
        assert_eq!(read_request(&bytes).unwrap().name, long);
        let mut hidden = write_request(RegionKind::Log, Access::Read, "a").unwrap();
        hidden[REQUEST_BYTES - 1] = b'z';
        assert!(matches!(read_request(&hidden), Err(Unreadable::Garbage(_))));
    }

    #[test]
    fn long_reasons_are_cut_between_characters_and_tamed() {
        let reason = format!("{}é and more\u{1b}[31m", "x".repeat(127));
        let reply = read_reply(&write_reply(Outcome::Refused, Access::Read, &reason, None)).unwrap();
        assert_eq!(reply.reason, "x".repeat(127));
        let reply = read_reply(&write_reply(Outcome::Refused, Access::Read, "\u{1b}[31mred", None)).unwrap();
        assert_eq!(reply.reason, " [31mred");
    }

    #[test]
    fn another_version_is_told_apart_whatever_its_length() {
        let mut newer = [0; 12];
        newer[..8].copy_from_slice(&REQUEST_MAGIC);
        newer[8] = 9;
        assert_eq!(read_request(&newer), Err(Unreadable::Version(9)));
        newer[..8].copy_from_slice(&REPLY_MAGIC);
        assert!(matches!(read_reply(&newer), Err(HubError::Version { theirs: 9, ours: PROTOCOL })));
    }
}
