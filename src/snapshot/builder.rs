//! Making a snapshot region.

use crate::create::{HugePages, OWNER, REOPENED, label, map_memfd, on_pages, padded, random_id, small_pages, unix_ns};
use crate::directory::{self, SNAPSHOT};
use crate::error::CreateError;
use crate::layout::geometry::BadGeometry;
use crate::layout::slots::SlotGeometry;
use crate::log::Access;
use crate::name::{is_name, put_name};
use crate::region::Region;
use crate::snapshot::Snapshot;
use crate::snapshot::preamble::{self, SlotTraits};
use crate::snapshot::slots::Slots;
use crate::sync::Fencing;
use crate::sys::inspect::small_page_bytes;
use crate::sys::memory::{self, Allocate, HugePage, allocate_unasked, check_room};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// Settings of a new snapshot, by [`Snapshot::builder`].
///
/// ```
/// use shmlog::Snapshot;
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Quote { bid: u32, bid_shares: u32, ask: u32, ask_shares: u32 }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A price board: one cache line a symbol.
/// let board = Snapshot::builder().values::<Quote>().slots(4096).buffers(2).create_memfd("prices")?;
/// // The state of a process, of any length up to 64 MiB; memory is taken as it grows.
/// let state = Snapshot::builder().capacity_bytes(64 << 20).sparse(true).create_memfd("state")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SnapshotBuilder {
    geometry: SlotGeometry,
    names: Vec<String>,
    huge_pages: HugePages,
    fencing: Fencing,
    mode: u32,
    is_write_sealed: bool,
}

impl Default for SnapshotBuilder {
    fn default() -> Self {
        Self {
            geometry: SlotGeometry {
                slots: 1,
                buffers: 4,
                capacity_bytes: 4096,
                is_fixed: false,
                is_sparse: false,
                page_bytes: small_page_bytes(),
                seats: 64,
            },
            names: Vec::new(),
            huge_pages: HugePages::Off,
            fencing: Fencing::Asymmetric,
            mode: 0o600,
            is_write_sealed: false,
        }
    }
}

impl SnapshotBuilder {
    /// Values of any length up to this many bytes, at most 1 TiB; 4,096 by default.
    #[must_use]
    pub fn capacity_bytes(mut self, capacity_bytes: u64) -> Self {
        (self.geometry.capacity_bytes, self.geometry.is_fixed) = (capacity_bytes, false);
        self
    }

    /// All values have exactly this many bytes, and no length is stored: with two buffers, values of up to 16
    /// bytes take one cache line, of up to 48 a pair of them.
    #[must_use]
    pub fn value_bytes(mut self, value_bytes: u64) -> Self {
        (self.geometry.capacity_bytes, self.geometry.is_fixed) = (value_bytes, true);
        self
    }

    /// All values are `T`s: [`SnapshotBuilder::value_bytes`] of its size. Only the size is known to others.
    #[must_use]
    pub fn values<T: FromBytes + IntoBytes>(self) -> Self {
        self.value_bytes(size_of::<T>() as u64)
    }

    /// Buffers of each slot, 2 to 64; 4 by default. Two suffice for small values that are not pinned. A
    /// reader that copies needs that the writer doesn't publish as many versions meanwhile, and the writer
    /// needs one more than are pinned at once, and the current one.
    #[must_use]
    pub fn buffers(mut self, buffers: u64) -> Self {
        self.geometry.buffers = buffers;
        self
    }

    /// Number of slots, up to 1,048,576; 1 by default, or as many as there are names.
    #[must_use]
    pub fn slots(mut self, slots: u64) -> Self {
        self.geometry.slots = slots;
        self
    }

    /// Names of the first slots, which are as many as that at least; each differs, and has at most 32 bytes.
    /// Others can be named later
    /// ([`SnapshotWriter::set_name`](crate::SnapshotWriter::set_name)).
    #[must_use]
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self.geometry.slots = self.geometry.slots.max(self.names.len() as u64);
        self
    }

    /// Whether memory is taken as values need it, a publication that can't have it being refused, instead of
    /// all at once; false by default. What was taken is kept. Not on huge pages.
    #[must_use]
    pub fn sparse(mut self, is_sparse: bool) -> Self {
        self.geometry.is_sparse = is_sparse;
        self
    }

    /// How many readers can pin at once, 1 to 4,096; 64 by default.
    #[must_use]
    pub fn seats(mut self, seats: u64) -> Self {
        self.geometry.seats = seats;
        self
    }

    /// Huge pages, as for a log; [`HugePages::Off`] by default.
    #[must_use]
    pub fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Which side pays for the fence between publishing and pinning; asymmetric, the pinning one, by
    /// default.
    #[must_use]
    pub fn fencing(mut self, fencing: Fencing) -> Self {
        self.fencing = fencing;
        self
    }

    /// Permissions of the three files of a named snapshot; 0600 by default.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whether nobody but this process can ever write to it, not even root: the kernel refuses (fcntl(2),
    /// F_SEAL_FUTURE_WRITE). Nobody can take over when this process ends; and only an anonymous snapshot
    /// can be sealed. False by default.
    ///
    /// The writer must live in this very process: children that are forked and not execed don't have the
    /// region.
    #[must_use]
    pub fn write_sealed(mut self, is_write_sealed: bool) -> Self {
        self.is_write_sealed = is_write_sealed;
        self
    }

    /// Makes an anonymous snapshot, to be passed on by descriptor. `name` is for people, at most 64 bytes of
    /// it.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_memfd(&self, name: &str) -> Result<Snapshot, CreateError> {
        let (file, traits) = on_pages(self.huge_pages, |huge| {
            let traits = self.traits(name, huge.map_or_else(small_page_bytes, HugePage::bytes))?;
            let (bytes, first) = (traits.geometry.region_bytes(), first_bytes(&traits.geometry));
            Ok((memory::create_memfd(&label(name, SNAPSHOT.region), bytes, huge, OWNER, first)?, traits))
        })?;
        allocate_heads(&file, &traits.geometry)?;
        let beside = |what: &str, bytes| memory::create_memfd(&label(name, what), bytes, None, REOPENED, Allocate::All);
        let board = beside(SNAPSHOT.board, small_pages(traits.geometry.board_bytes()))?;
        let region = map_memfd(file, "snapshot", self.is_write_sealed)?;
        self.format(&traits, region, map_memfd(board, "board", false)?, beside(SNAPSHOT.lock, 0)?)
    }

    /// Makes a named snapshot: a directory at `path` with the files `snapshot`, `pins` and `writers`, which
    /// appears at once and whole. It survives its processes; on tmpfs as long as the machine runs.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_at(&self, path: impl AsRef<Path>) -> Result<Snapshot, CreateError> {
        let path = path.as_ref();
        if self.is_write_sealed {
            return Err(CreateError::NoSeals { path: path.to_owned() });
        }
        directory::create(path, |dir, page_bytes| {
            let traits = self.traits(&directory::name_of(path), page_bytes)?;
            let make = |name, bytes: u64, allocate| {
                memory::create_file(&dir.join(name), bytes.next_multiple_of(page_bytes), self.mode, allocate)
            };
            let shape = &traits.geometry;
            let file = make(SNAPSHOT.region, shape.region_bytes(), first_bytes(shape))?;
            allocate_heads(&file, shape)?;
            let board = make(SNAPSHOT.board, shape.board_bytes(), Allocate::All)?;
            let region = Region::map_sparse(file.into(), true, "snapshot")?;
            let board = Region::map(board.into(), true, "board")?;
            self.format(&traits, region, board, make(SNAPSHOT.lock, 0, Allocate::All)?)
        })
    }

    /// Opens the named snapshot at `path` for publishing, or makes it if there is none; for a writer that is
    /// started again. Others may do the same at once.
    ///
    /// # Errors
    /// [`CreateError::OtherShape`] if what is there has slots or values of another kind; else [`CreateError`].
    pub fn open_or_create_at(&self, path: impl AsRef<Path>) -> Result<Snapshot, CreateError> {
        let path = path.as_ref();
        match self.create_at(path) {
            Err(CreateError::Exists { .. }) => {}
            made => return made,
        }
        let there = Snapshot::open(path, Access::Append)?;
        let found = SlotGeometry { page_bytes: 0, ..there.mapped().traits().geometry };
        if found != (SlotGeometry { page_bytes: 0, ..self.geometry }) {
            return Err(CreateError::OtherShape { path: path.to_owned() });
        }
        Ok(there)
    }

    fn traits(&self, name: &str, page_bytes: u64) -> Result<SlotTraits, CreateError> {
        let geometry = SlotGeometry { page_bytes, ..self.geometry }.check()?;
        let bad = |field, value, allowed| CreateError::Geometry(BadGeometry { field, value, allowed });
        if geometry.is_sparse && page_bytes != small_page_bytes() {
            return Err(bad("is_sparse", 1, "0 on huge pages: they are all taken at once"));
        }
        if let Some(bad_name) = self.names.iter().find(|name| !is_name(name)) {
            return Err(bad("bytes of a name", bad_name.len() as u64, "1 to 32, none of them zero"));
        }
        if self.names.len() as u64 > geometry.slots {
            return Err(bad("slots", geometry.slots, "as many as there are names, or more"));
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.names.iter().position(|name| !names.insert(name)) {
            return Err(bad("the place of a name that another slot has", twice as u64, "none: names differ"));
        }
        Ok(SlotTraits {
            id: random_id()?,
            geometry,
            fencing: self.fencing,
            created_unix_ns: unix_ns(),
            name: padded(name),
        })
    }

    fn format(&self, traits: &SlotTraits, region: Region, board: Region, lock: File) -> Result<Snapshot, CreateError> {
        if !traits.geometry.is_sparse {
            region.populate()?;
        }
        board.populate()?;
        preamble::format_board(&board, traits)?;
        preamble::format_snapshot(&region, traits)?;
        let slots = Slots::attach(region, Some(board), Some(OwnedFd::from(lock)))?;
        for (index, name) in self.names.iter().enumerate() {
            put_name(slots.name_words(index), name);
        }
        Ok(Snapshot::of(slots))
    }
}

/// What is allocated at once.
fn first_bytes(shape: &SlotGeometry) -> Allocate {
    if shape.is_sparse { Allocate::First(shape.first_slot()) } else { Allocate::All }
}

/// Allocates the words of a sparse region's slots that are not in a buffer, and writes to each page: until
/// then it counts as a hole (lseek(2), SEEK_HOLE), which a reader does not touch.
fn allocate_heads(file: &File, shape: &SlotGeometry) -> Result<(), CreateError> {
    let slots = if shape.is_sparse { shape.slots } else { 0 };
    let room = check_room(file, slots.saturating_mul(shape.first_buffer()));
    let heads = (0..slots).map(|slot| {
        let at = shape.first_slot() + slot * shape.slot_bytes();
        allocate_unasked(file, at, shape.first_buffer()).and_then(|()| file.write_all_at(&[0; 8], at))
    });
    for done in std::iter::once(room).chain(heads) {
        done.map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => CreateError::NoSpace { wanted_bytes: slots * shape.first_buffer() },
            std::io::ErrorKind::Unsupported => {
                CreateError::os("a sparse snapshot, on a file system that can't allocate (fallocate)", error)
            }
            _ => CreateError::os("allocating the slots", error),
        })?;
    }
    Ok(())
}
