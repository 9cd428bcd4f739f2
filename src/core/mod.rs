//! The algorithms: pure state machines over borrowed words. They own no memory, see no base
//! pointer and no operating system; loom runs these very functions.
//!
//! | file | what |
//! |---|---|
//! | `memory` | the views the algorithms borrow |
//! | `bump` | the lock-free allocator of an arena |
//! | `commit` | the one instruction, and finding the end of a segment |
//! | `hold` | pins and gates against recycling |
//! | `roll` | giving up an old window, opening it as the next segment |
//! | `tip` | an appender's place: reserve, write, advance |
//! | `append`, `shared`, `exclusive` | the two appenders |
//! | `cursor`, `run`, `locate` | a reader's place; going over the records behind it; finding one by number |
//! | `copy` | bytes to words and back |
//! | `doorbell` | waking who sleeps |
//! | `cell` | a snapshot slot: announce, write, publish; load, pin |
//! | `pins` | who looks at a snapshot in place |

pub mod append;
pub mod bump;
pub mod cell;
pub mod commit;
pub mod copy;
pub mod cursor;
pub mod doorbell;
pub mod exclusive;
pub mod hold;
pub mod locate;
pub mod memory;
pub mod pins;
pub mod roll;
pub mod run;
pub mod shared;
pub mod tip;
