//! iceoryx2: publish and subscribe of slices, without overflow, so that nothing is lost.
//!
//! The publisher borrows a sample and copies the message into it; the subscriber looks at it in place. A batch is
//! one sample with all messages. In `wake` the publisher notifies a listener, which sleeps.

pub mod attach;

use crate::case::{Shape, Suite};
use crate::system::{Channel, End, Home, Place, Rx, Tx};
use anyhow::{Context, Result, anyhow, ensure};
use iceoryx2::config::Config;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::PortFactory as _;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use std::os::unix::net::UnixStream;
use std::path::Path as StdPath;
use std::thread;
use std::time::{Duration, Instant};

/// Samples that a subscriber has room for, if the footprint is larger.
const MOST_SAMPLES: usize = 512;
/// How long an end waits for the others.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest sleep.
const SLEEP: Duration = Duration::from_millis(100);

type Local = ipc::Service;
type Messages = PortFactory<Local, [u8], ()>;

/// The service.
pub struct Iceoryx;

/// What a killed child leaves behind has names of this trial, and goes with it.
struct Remains {
    prefix: String,
}

impl Home for Remains {}

impl Drop for Remains {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.prefix)) {
            // It may be gone by now.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn prefix(shape: &Shape) -> String {
    let name = shape.dir.file_name().unwrap_or_default().to_string_lossy();
    format!("{}_", name.replace('.', ""))
}

impl Channel for Iceoryx {
    type Tx = IceoryxTx;
    type Rx = IceoryxRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        Ok(Box::new(Remains { prefix: prefix(shape) }))
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<IceoryxTx> {
        let (node, service) = attach(shape, place)?;
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(shape.bytes * shape.batch)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(|error| anyhow!("a publisher: {error:?}"))?;
        let notifier = if shape.sleeps() {
            let event = event(&node, place)?;
            Some(event.notifier_builder().create().map_err(|error| anyhow!("a notifier: {error:?}"))?)
        } else {
            None
        };
        let subscribers = if shape.suite == Suite::Append { 0 } else { shape.receivers };
        until(|| subscribers == 0 || service.dynamic_config().number_of_subscribers() == subscribers)?;
        publisher.update_connections().map_err(|error| anyhow!("connecting: {error:?}"))?;
        Ok(IceoryxTx { publisher, notifier, subscribers, _node: node })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<IceoryxRx> {
        let (node, service) = attach(shape, place)?;
        ensure!(
            place.end != End::Idle,
            "a subscriber that does not receive stops the publisher, if nothing is to be lost"
        );
        let subscriber = service.subscriber_builder().create().map_err(|error| anyhow!("a subscriber: {error:?}"))?;
        // A publisher skips a subscriber that has not connected yet when its buffer is full, which is a loss.
        until(|| service.dynamic_config().number_of_publishers() == shape.senders)?;
        subscriber.update_connections().map_err(|error| anyhow!("connecting: {error:?}"))?;
        let listener = if shape.sleeps() {
            let event = event(&node, place)?;
            Some(event.listener_builder().create().map_err(|error| anyhow!("a listener: {error:?}"))?)
        } else {
            None
        };
        Ok(IceoryxRx { subscriber, listener, bytes: shape.bytes, _node: node })
    }
}

/// Waits until the other ends are there.
fn until(is_there: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_there() {
        ensure!(began.elapsed() < PATIENCE, "the other ends did not come within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The node of this process, and the service of the lane.
fn attach(shape: &Shape, place: Place) -> Result<(Node<Local>, Messages)> {
    set_log_level(LogLevel::Error);
    let config = config(shape)?;
    let node = NodeBuilder::new().config(&config).create::<Local>().map_err(|error| anyhow!("a node: {error:?}"))?;
    let samples = (shape.footprint_bytes() / (shape.bytes * shape.batch)).clamp(2, MOST_SAMPLES);
    let service = node
        .service_builder(&name(place, "messages")?)
        .publish_subscribe::<[u8]>()
        .payload_alignment(Alignment::new(64).context("a power of two")?)
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(samples)
        .history_size(usize::from(shape.suite == Suite::Attach))
        .max_publishers(shape.senders)
        .max_subscribers(shape.receivers)
        .max_nodes(shape.senders + shape.receivers)
        .open_or_create()
        .map_err(|error| anyhow!("a service: {error:?}"))?;
    Ok((node, service))
}

fn event(node: &Node<Local>, place: Place) -> Result<iceoryx2::service::port_factory::event::PortFactory<Local>> {
    node.service_builder(&name(place, "bell")?).event().open_or_create().map_err(|error| anyhow!("an event: {error:?}"))
}

fn name(place: Place, what: &str) -> Result<ServiceName> {
    let name = format!("compare/{what}/{}", place.lane);
    ServiceName::new(&name).map_err(|error| anyhow!("a name: {error:?}"))
}

/// Of this trial alone.
fn config(shape: &Shape) -> Result<Config> {
    let mut config = Config::default();
    let root = StdPath::new(&shape.dir).to_str().context("a path in UTF-8")?;
    let root = Path::new(root.as_bytes()).map_err(|error| anyhow!("a path: {error:?}"))?;
    config.global.set_root_path(&root);
    config.global.prefix = FileName::new(prefix(shape).as_bytes()).map_err(|error| anyhow!("a prefix: {error:?}"))?;
    Ok(config)
}

/// Publishes.
pub struct IceoryxTx {
    publisher: Publisher<Local, [u8], ()>,
    notifier: Option<Notifier<Local>>,
    subscribers: usize,
    _node: Node<Local>,
}

impl Tx for IceoryxTx {
    /// Waits for room by itself.
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        let sample = self.publisher.loan_slice_uninit(message.len()).map_err(|error| anyhow!("a sample: {error:?}"))?;
        let heard = sample.write_from_slice(message).send().map_err(|error| anyhow!("sending: {error:?}"))?;
        ensure!(heard == self.subscribers, "{heard} of {} subscribers got it", self.subscribers);
        if let Some(notifier) = &self.notifier {
            notifier.notify().map_err(|error| anyhow!("notifying: {error:?}"))?;
        }
        Ok(true)
    }

    fn try_send_batch(&mut self, messages: &[u8], _: usize) -> Result<bool> {
        self.try_send(messages)
    }
}

/// Receives.
pub struct IceoryxRx {
    subscriber: Subscriber<Local, [u8], ()>,
    listener: Option<Listener<Local>>,
    bytes: usize,
    _node: Node<Local>,
}

impl Rx for IceoryxRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let Some(sample) = self.subscriber.receive().map_err(|error| anyhow!("receiving: {error:?}"))? else {
            return Ok(0);
        };
        let messages = sample.payload();
        messages.chunks_exact(self.bytes).for_each(see);
        Ok(messages.len() / self.bytes)
    }

    fn sleep(&mut self) -> Result<()> {
        let listener = self.listener.as_mut().context("it listens in `wake` only")?;
        listener.timed_wait(|_| {}, SLEEP).map_err(|error| anyhow!("listening: {error:?}"))?;
        Ok(())
    }
}
