//! shmlog's snapshot slots. The reader copies the value, on a mapping that is read-only.

use super::{Board, Load, Publish, is_one_version};
use crate::case::Shape;
use crate::system::{End, Home, Place};
use anyhow::Result;
use shmlog::{Access, Snapshot, SnapshotReader, SnapshotWriter};
use std::os::unix::net::UnixStream;

/// As many as suit values near 1 KB under a writer that never rests.
const BUFFERS: u64 = 8;

/// A region of one slot.
pub struct Slots;

struct Region(Snapshot);

impl Home for Region {
    fn admit(&self, place: Place, socket: &UnixStream) -> Result<()> {
        let access = if place.end == End::Tx { Access::Append } else { Access::Read };
        Ok(self.0.send(socket, access)?)
    }
}

impl Board for Slots {
    type Writer = SnapshotWriter;
    type Reader = SlotReader;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        let snapshot = Snapshot::builder().value_bytes(shape.bytes as u64).buffers(BUFFERS).create_memfd("compare")?;
        Ok(Box::new(Region(snapshot)))
    }

    fn writer(_: &Shape, socket: &UnixStream) -> Result<SnapshotWriter> {
        Ok(Snapshot::receive(socket)?.writer()?)
    }

    fn reader(shape: &Shape, socket: &UnixStream) -> Result<SlotReader> {
        let reader = Snapshot::receive(socket)?.reader()?;
        Ok(SlotReader { reader, value: vec![0; shape.bytes] })
    }
}

impl Publish for SnapshotWriter {
    fn publish(&mut self, value: &[u8]) -> Result<bool> {
        self.publish_bytes(value)?;
        Ok(true)
    }
}

/// Copies.
pub struct SlotReader {
    reader: SnapshotReader,
    value: Vec<u8>,
}

impl Load for SlotReader {
    #[inline]
    fn load(&mut self) -> Result<bool> {
        Ok(self.reader.load_into(&mut self.value)?.is_some())
    }

    #[inline]
    fn is_whole(&self) -> bool {
        is_one_version(&self.value)
    }
}
