//! What rkyv can serialize.

use rkyv::Serialize;
use rkyv::api::high::HighSerializer;
use rkyv::rancor::BoxedError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;

/// Every type that derives `rkyv::Archive` and `rkyv::Serialize`; a short name for what these ask for.
pub trait Archivable<'a>: Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, BoxedError>> {}

impl<'a, T: Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, BoxedError>>> Archivable<'a> for T {}
