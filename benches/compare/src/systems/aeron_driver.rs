//! Aeron's media driver: on a thread of the parent, which is not pinned.
//!
//! Over IPC it moves no message, but it moves the limit up to which senders may write, and zeroes what was read. It
//! runs all its agents in turn (`SHARED`) and sleeps in between: with as many busy ends as cores, every spin of it
//! would be taken from them.

use crate::case::{Shape, Suite};
use crate::system::Home;
use anyhow::{Context, Result, anyhow};
use rusteron_media_driver::bindings::aeron_threading_mode_t;
use rusteron_media_driver::{AeronDriver, AeronDriverContext};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// Subscriptions that never poll: after a while the driver lets go of them for good, and senders go on.
pub const IDLE_CHANNEL_PARAMS: &str = "tether=false|rejoin=false";

/// A driver that runs.
pub struct Driver {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Home for Driver {}

impl Driver {
    /// Starts one in the directory of the trial.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(shape: &Shape) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (started, is_started) = channel();
        let (stopped, shape) = (Arc::clone(&stop), shape.clone());
        let run = move || {
            if let Err(error) = run(&shape, &stopped, &started) {
                let _ = started.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("aeron-driver".to_owned()).spawn(run)?;
        let driver = Self { stop, thread: Some(thread) };
        is_started.recv().map_err(|_| anyhow!("the media driver ended"))??;
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shape: &Shape, stop: &AtomicBool, started: &Sender<Result<()>>) -> Result<()> {
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).context("setting the timer slack")?;
    let context = context(shape)?;
    let driver = AeronDriver::new(&context).context("making a media driver")?;
    driver.start(true).context("starting a media driver")?;
    started.send(Ok(()))?;
    let period = period(shape);
    while !stop.load(Ordering::Acquire) {
        if driver.main_do_work()? == 0 {
            sleep(period);
        }
    }
    Ok(())
}

/// How long it sleeps when there was nothing to do. In the round trip a window lasts for milliseconds, and whatever
/// runs beside the ends would show as their latency; a stream reads a window in some 100 us.
fn period(shape: &Shape) -> Duration {
    match shape.suite {
        Suite::Rtt => Duration::from_millis(1),
        _ => Duration::from_micros(20),
    }
}

fn context(shape: &Shape) -> Result<AeronDriverContext> {
    let context = AeronDriverContext::new()?;
    context.set_dir(&dir(shape)?)?;
    context.set_threading_mode(aeron_threading_mode_t::AERON_THREADING_MODE_SHARED)?;
    context.set_dir_delete_on_start(true)?;
    context.set_dir_delete_on_shutdown(true)?;
    context.set_dir_warn_if_exists(false)?;
    context.set_term_buffer_sparse_file(false)?;
    context.set_timer_interval_ns(5_000_000)?;
    context.set_untethered_window_limit_timeout_ns(20_000_000)?;
    Ok(context)
}

/// Where a trial's driver and its clients meet.
///
/// # Errors
/// There is a zero in the path.
pub fn dir(shape: &Shape) -> Result<CString> {
    let dir = shape.dir.join("aeron");
    Ok(CString::new(dir.into_os_string().into_encoded_bytes())?)
}
