//! Aeron over IPC: its own C client and media driver (crates `rusteron-*`, which bundle and build them).
//!
//! - Sent by `offer`, which copies by `memcpy` within one call to C; received by `poll`, in place.
//! - One stream a lane, in a log of three terms, which are touched before (see [`term_bytes`]).
//! - The client's conductor is its usual thread, which wakes every 16 ms.
//! - The driver: see `aeron_driver.rs`.

use super::aeron_driver::{Driver, IDLE_CHANNEL_PARAMS};
use crate::case::Shape;
use crate::system::{Channel, End, Home, Place, Rx, Tx};
use anyhow::{Context, Result, anyhow, ensure};
use rusteron_client::{
    Aeron, AeronContext, AeronExclusivePublication, AeronOfferError, AeronPublication, AeronSubscription, Handlers,
};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A publication of one sender alone.
pub type Exclusive = Ipc<AeronExclusivePublication>;
/// A publication that senders share.
pub type Concurrent = Ipc<AeronPublication>;

/// Aeron with one kind of publication.
pub struct Ipc<P>(PhantomData<P>);

impl<P: Publication> Channel for Ipc<P> {
    type Tx = AeronTx<P>;
    type Rx = AeronRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        Ok(Box::new(Driver::start(shape)?))
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<AeronTx<P>> {
        let client = client(shape)?;
        let publication = P::add(&client, &publication_channel(shape)?, stream(place))?;
        wait("a publication without a subscriber", || Ok(publication.has_receiver()))?;
        Ok(AeronTx { publication, _client: client })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<AeronRx> {
        let client = client(shape)?;
        let channel = match place.end {
            End::Idle => format!("aeron:ipc?{IDLE_CHANNEL_PARAMS}"),
            End::Tx | End::Rx => "aeron:ipc".to_owned(),
        };
        let adding =
            client.async_add_subscription(&CString::new(channel)?, stream(place), Handlers::NONE, Handlers::NONE);
        let adding = adding.context("adding a subscription")?;
        let subscription = added("subscription", || adding.poll())?;
        wait("a subscription without a publication", || Ok(subscription.image_count()? >= 1))?;
        let cut = (shape.batch > 1).then_some(shape.bytes);
        Ok(AeronRx { subscription, cut, _client: client })
    }
}

/// Sends.
pub struct AeronTx<P> {
    publication: P,
    _client: Aeron,
}

impl<P: Publication> Tx for AeronTx<P> {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        outcome(self.publication.offer_bytes(message))
    }

    #[inline]
    fn try_send_batch(&mut self, messages: &[u8], _: usize) -> Result<bool> {
        outcome(self.publication.offer_bytes(messages))
    }
}

/// What became of an offer: a position, or a negative code.
#[inline]
fn outcome(position: i64) -> Result<bool> {
    match AeronOfferError::from_position(position) {
        Ok(_) => Ok(true),
        Err(AeronOfferError::BackPressured | AeronOfferError::AdminAction) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Receives.
pub struct AeronRx {
    subscription: AeronSubscription,
    /// Fragments are batches of messages of that size.
    cut: Option<usize>,
    _client: Aeron,
}

impl AeronRx {
    /// Fragments that one call shows at most; the position is published once a call.
    const FRAGMENTS: usize = 64;
}

impl Rx for AeronRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let Some(bytes) = self.cut else {
            let shown = self.subscription.poll_fn(|fragment, _| see(fragment), Self::FRAGMENTS)?;
            return Ok(shown.unsigned_abs() as usize);
        };
        let mut shown = 0;
        let show = |fragment: &[u8], _| {
            for message in fragment.chunks_exact(bytes) {
                see(message);
                shown += 1;
            }
        };
        self.subscription.poll_fn(show, Self::FRAGMENTS)?;
        Ok(shown)
    }
}

/// What the two kinds of publications have in common.
pub trait Publication: Sized {
    /// Adds one.
    ///
    /// # Errors
    /// The driver refuses it.
    fn add(client: &Aeron, channel: &CStr, stream: i32) -> Result<Self>;
    /// Copies `bytes` into the log; the position afterwards, or a negative code.
    fn offer_bytes(&self, bytes: &[u8]) -> i64;
    /// Whether anybody subscribes.
    fn has_receiver(&self) -> bool;
}

macro_rules! publication {
    ($kind:ty, $add:ident) => {
        impl Publication for $kind {
            fn add(client: &Aeron, channel: &CStr, stream: i32) -> Result<Self> {
                let adding = client.$add(channel, stream).context("adding a publication")?;
                added("publication", || adding.poll())
            }

            #[inline]
            fn offer_bytes(&self, bytes: &[u8]) -> i64 {
                self.offer_raw::<rusteron_client::NoHandler>(bytes, None)
            }

            fn has_receiver(&self) -> bool {
                self.is_connected()
            }
        }
    };
}
publication!(AeronExclusivePublication, async_add_exclusive_publication);
publication!(AeronPublication, async_add_publication);

/// A client of the trial's driver.
fn client(shape: &Shape) -> Result<Aeron> {
    let context = AeronContext::new()?;
    context.set_dir(&super::aeron_driver::dir(shape)?)?;
    context.set_pre_touch_mapped_memory(true)?;
    let client = Aeron::new(&context).context("connecting to the media driver")?;
    client.start()?;
    Ok(client)
}

fn stream(place: Place) -> i32 {
    10 + i32::try_from(place.lane).unwrap_or(i32::MAX)
}

/// Bytes of a term: half the footprint of the others, at least Aeron's minimum. A log has three, of which a window
/// of half a term is under way (Aeron's default), so that the lines in use are about as many as elsewhere.
fn term_bytes(shape: &Shape) -> usize {
    const MIN: usize = 64 * 1024;
    1 << (shape.footprint_bytes() / 2).max(MIN).ilog2()
}

/// The channel for senders. A unit is one message of Aeron; what exceeds its largest fragment is cut between
/// messages, so that a receiver need not assemble them.
fn publication_channel(shape: &Shape) -> Result<CString> {
    const HEADER: usize = 32;
    const MAX_FRAGMENT: usize = 65_504 - HEADER;
    let term = term_bytes(shape);
    let unit = shape.bytes * shape.batch;
    ensure!(unit <= term / 8, "a message is an eighth of a term ({} bytes) at most", term / 8);
    let fragment = if unit <= MAX_FRAGMENT { unit } else { MAX_FRAGMENT / (shape.bytes * 4) * (shape.bytes * 4) };
    ensure!(fragment > 0, "a fragment is {MAX_FRAGMENT} bytes at most");
    let mtu = (fragment + HEADER).next_multiple_of(32);
    Ok(CString::new(format!("aeron:ipc?term-length={term}|mtu={mtu}"))?)
}

/// Waits until an asynchronous command is done.
fn added<T, E: Into<anyhow::Error>>(what: &str, poll: impl Fn() -> Result<Option<T>, E>) -> Result<T> {
    let mut made = None;
    wait(what, || {
        made = poll().map_err(Into::into)?;
        Ok(made.is_some())
    })?;
    made.ok_or_else(|| anyhow!("no {what}"))
}

/// Waits until `done`, but not for ever.
fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(10);
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < LIMIT, "{what} after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
