//! What a load brings.

use std::ops::Deref;

/// A value, whole, and when it was the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The version: greater than that of every value published before, though not always by one.
    pub version: u64,
    /// The log position that the value stands for, if its writer said so: everything up to and with this
    /// record is in it.
    pub as_of: Option<u64>,
    /// The value.
    pub value: T,
}

/// What a load brings beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The version.
    pub version: u64,
    /// The log position that the value stands for.
    pub as_of: Option<u64>,
    /// Bytes of the value.
    pub len_bytes: u64,
}

impl<T> Deref for Loaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(feature = "rkyv")]
impl<T> Loaded<T> {
    /// The same moment with another value.
    pub(crate) fn with<U>(self, make: impl FnOnce(T) -> U) -> Loaded<U> {
        Loaded { version: self.version, as_of: self.as_of, value: make(self.value) }
    }
}
