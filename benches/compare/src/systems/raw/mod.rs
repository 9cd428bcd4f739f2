//! The limits: what the hardware and the kernel allow, without a system around it.

pub mod claim;
pub mod commit;
pub mod line;
pub mod mailbox;
pub mod map;
pub mod ring;

use crate::case::Shape;
use crate::system::{Home, NoHome};
use anyhow::Result;
use map::Map;
use std::path::PathBuf;

/// Where the memory of a lane is.
fn path(shape: &Shape, lane: usize) -> PathBuf {
    shape.dir.join(format!("lane-{lane}"))
}

/// Makes the memory of all lanes.
fn make(shape: &Shape, bytes: usize) -> Result<Box<dyn Home>> {
    (0..shape.lanes).try_for_each(|lane| Map::make(&path(shape, lane), bytes))?;
    Ok(Box::new(NoHome))
}
