//! Values of any type that rkyv can archive: what it asks for, and reading with a bound on their depth.

use crate::error::LoadError;
use rkyv::api::access_with_context;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::BoxedError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use rkyv::{Archive, Deserialize, Serialize};
use std::num::NonZeroUsize;

/// How deep an archive may be nested: validating and rebuilding it recurse, and a writer that is hostile or broken
/// must not exhaust the reader's stack.
const MAX_DEPTH: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Every type that derives `rkyv::Archive` and `rkyv::Serialize`; a short name for what these ask for.
pub trait Archivable<'a>: Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, BoxedError>> {}

impl<'a, T: Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, BoxedError>>> Archivable<'a> for T {}

/// Every archived form that can be validated.
pub trait Checked<'a>: CheckBytes<HighValidator<'a, BoxedError>> {}

impl<'a, A: CheckBytes<HighValidator<'a, BoxedError>>> Checked<'a> for A {}

/// Every archived form that a `T` can be rebuilt from.
pub trait Rebuilt<T>: Deserialize<T, HighDeserializer<BoxedError>> {}

impl<T, A: Deserialize<T, HighDeserializer<BoxedError>>> Rebuilt<T> for A {}

fn invalid(error: impl std::fmt::Display) -> LoadError {
    LoadError::Invalid { reason: error.to_string() }
}

/// The archive in these bytes, validated.
pub(crate) fn access<T>(bytes: &[u8]) -> Result<&T::Archived, LoadError>
where
    T: Archive,
    T::Archived: for<'a> Checked<'a>,
{
    let archive = ArchiveValidator::with_max_depth(bytes, Some(MAX_DEPTH));
    let mut validator = Validator::new(archive, SharedValidator::new());
    access_with_context::<T::Archived, _, BoxedError>(bytes, &mut validator).map_err(invalid)
}

/// The value in these bytes, validated and rebuilt.
pub(crate) fn read<T>(bytes: &[u8]) -> Result<T, LoadError>
where
    T: Archive,
    T::Archived: for<'a> Checked<'a> + Rebuilt<T>,
{
    rkyv::deserialize::<T, BoxedError>(access::<T>(bytes)?).map_err(invalid)
}
