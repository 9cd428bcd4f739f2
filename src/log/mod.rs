//! The log: creating, opening, and what it says of itself.

mod appender;
mod batch;
mod blocked;
mod builder;
mod directory;
mod info;
mod reader;
mod record;
mod seat;
mod slot;
mod start;
mod wait;
