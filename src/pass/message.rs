//! The two messages: an offer with descriptors, and the answer.
//!
//! ```text
//! offer    magic 8 | protocol u32 | kind u32 | access u32 | format u32 | id 16
//!          | sizes 4 x u64
//! answer   magic 8 | protocol u32 | verdict u32 | id 16
//! ```

use crate::error::{AttachError, PassError};
use crate::layout::control::FORMAT_VERSION;
use crate::log::Access;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the two messages.
pub(crate) const PROTOCOL: u32 = 1;
const OFFER_MAGIC: [u8; 8] = *b"SHMOFFER";
const ANSWER_MAGIC: [u8; 8] = *b"SHMANSWR";

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Log = 1,
    Arena = 2,
    Snapshot = 3,
}

/// What is sent along with the descriptors.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Offer {
    magic: [u8; 8],
    protocol: u32,
    kind: u32,
    access: u32,
    format: u32,
    id: [u8; 16],
    sizes: [u64; 4],
}

/// What the receiver makes of it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Answer {
    magic: [u8; 8],
    protocol: u32,
    verdict: u32,
    id: [u8; 16],
}

const ACCESSES: [Access; 4] = [Access::Append, Access::Read, Access::Observe, Access::Own];
const ACCEPTED: u32 = 0;
const REASONS: [&str; 7] = [
    "unknown",
    "another protocol version",
    "another format version",
    "not what the offer says",
    "not sealed",
    "damaged",
    "its system refused (see there)",
];

impl Offer {
    /// An offer of `kind`; `sizes` say what shape the region has.
    pub(crate) fn new(kind: Kind, access: Access, id: u128, sizes: [u64; 4]) -> Self {
        Self {
            magic: OFFER_MAGIC,
            protocol: PROTOCOL,
            kind: kind as u32,
            access: access as u32,
            format: u32::try_from(FORMAT_VERSION).unwrap_or(u32::MAX),
            id: id.to_le_bytes(),
            sizes,
        }
    }

    /// Reads an offer of `kind`, and its access.
    pub(crate) fn parse(bytes: &[u8], kind: Kind) -> Result<(Self, Access), PassError> {
        let offer =
            Self::read_from_bytes(bytes).map_err(|_| PassError::Foreign { what: "an offer of another length" })?;
        if offer.magic != OFFER_MAGIC {
            return Err(PassError::Foreign { what: "not an offer" });
        }
        if offer.protocol != PROTOCOL {
            return Err(PassError::Version { theirs: offer.protocol, ours: PROTOCOL });
        }
        if offer.kind != kind as u32 {
            return Err(PassError::Foreign {
                what: "another kind of region (log, snapshot, arena) was sent than is expected",
            });
        }
        let access = ACCESSES.into_iter().find(|&access| access as u32 == offer.access);
        access.map(|access| (offer, access)).ok_or(PassError::Foreign { what: "an offer of unknown access" })
    }

    /// Whether what was received is what was offered: `own` is the offer this process would make.
    pub(crate) fn check(&self, own: &Self) -> Result<(), PassError> {
        let wrong =
            [("id", self.id != own.id), ("format", self.format != own.format), ("sizes", self.sizes != own.sizes)];
        wrong
            .into_iter()
            .find(|(_, is_wrong)| *is_wrong)
            .map_or(Ok(()), |(field, _)| Err(PassError::Mismatch { field }))
    }

    /// Of what is offered.
    pub(crate) fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The id in what may be an offer, for the answer.
    pub(crate) fn id_of(bytes: &[u8]) -> [u8; 16] {
        Self::read_from_prefix(bytes).map_or([0; 16], |(offer, _)| offer.id)
    }
}

impl Answer {
    /// The answer to an offer of `id`.
    pub(crate) fn new<T>(id: [u8; 16], outcome: &Result<T, PassError>) -> Self {
        let verdict = match outcome {
            Ok(_) => ACCEPTED,
            Err(PassError::Version { .. }) => 1,
            Err(PassError::Attach(AttachError::NewerFormat { .. })) => 2,
            Err(PassError::Mismatch { .. } | PassError::Foreign { .. }) => 3,
            Err(PassError::Attach(AttachError::NotSealed { .. })) => 4,
            Err(PassError::Attach(AttachError::Os { .. } | AttachError::NoProc) | PassError::Os { .. }) => 6,
            Err(_) => 5,
        };
        Self { magic: ANSWER_MAGIC, protocol: PROTOCOL, verdict, id }
    }

    /// Checks the answer to an offer of `id`.
    pub(crate) fn check(bytes: &[u8], id: [u8; 16]) -> Result<(), PassError> {
        let answer =
            Self::read_from_bytes(bytes).map_err(|_| PassError::Foreign { what: "an answer of another length" })?;
        if answer.magic != ANSWER_MAGIC {
            return Err(PassError::Foreign { what: "not an answer" });
        }
        if answer.protocol != PROTOCOL {
            return Err(PassError::Version { theirs: answer.protocol, ours: PROTOCOL });
        }
        if answer.verdict != ACCEPTED {
            let reason = usize::try_from(answer.verdict).ok().and_then(|at| REASONS.get(at)).unwrap_or(&REASONS[0]);
            return Err(PassError::Refused { reason });
        }
        if answer.id == id { Ok(()) } else { Err(PassError::Mismatch { field: "id" }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Offer::parse(&bytes, Kind::Log).is_err());
            prop_assert!(Answer::check(&bytes, [0; 16]).is_err());
        }

        #[test]
        fn any_verdict_is_read(verdict in any::<u32>(), id in any::<[u8; 16]>()) {
            let answer = Answer { magic: ANSWER_MAGIC, protocol: PROTOCOL, verdict, id };
            prop_assert_eq!(Answer::check(answer.as_bytes(), id).is_ok(), verdict == ACCEPTED);
        }
    }

    #[test]
    fn another_version_is_told_apart() {
        let answer = Answer { magic: ANSWER_MAGIC, protocol: PROTOCOL + 1, verdict: 0, id: [0; 16] };
        assert!(matches!(Answer::check(answer.as_bytes(), [0; 16]), Err(PassError::Version { theirs: 2, ours: 1 })));
    }
}
