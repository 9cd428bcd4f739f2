//! Making a log takes a system call that is long, and can be interrupted.

use crate::common::{PATIENCE, child, finish};
use crate::kernel::{interruptions, storm};
use shmlog::Log;
use std::time::Duration;

/// In a child: a profiler's timer, and a log that takes the kernel longer than its interval to allocate.
pub fn creator() {
    let _storm = storm(Duration::from_millis(1));
    let log = Log::builder().windows(2).window_bytes(32 << 20).create_memfd("long").unwrap();
    assert_eq!(log.info().region_bytes >> 20, 64);
    assert!(interruptions() > 0);
}

/// Kernels that let a signal end fallocate(2) on tmpfs undo what was allocated: who only began anew would do so for ever.
#[test]
fn a_timer_does_not_keep_a_log_from_being_made() {
    assert!(finish(child("creator").spawn().unwrap(), PATIENCE / 2).success());
}
